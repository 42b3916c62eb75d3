import type { Scope } from '../foundation/scope.ts';
import { limits } from '../model/limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';

export interface ShutdownOptions {
  /** Everything that the process owns. */
  scope: Scope;
  clock: Clock;
  log: Log;
  /** Ends the process now. */
  exit: (code: number) => void;
}

/**
 * Ends what a process owns, in order and in time: `begin` starts the clock, `end` closes the scope.
 * A step that never ends would keep ports and files from the next start, and devices from the other side.
 */
export function createShutdown({ scope, clock, log, exit }: ShutdownOptions): { begin(): void; end(): Promise<void> } {
  let deadline: Timer | null = null;
  const begin = (): void => {
    deadline ??= clock.after(limits.shutdownMs, () => {
      log.error('shutdown-overdue', { step: scope.releasing });
      exit(1);
    });
  };
  return {
    begin,
    async end() {
      begin();
      for (const { name, error } of await scope.close('shutting down')) log.error('shutdown-step-failed', { step: name, error });
      deadline?.cancel();
    },
  };
}
