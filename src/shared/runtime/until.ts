import type { Clock } from '../ports/clock.ts';
import type { CancelSignal } from '../foundation/cancel.ts';
import { HoldfastError } from '../model/errors.ts';

export interface UntilOptions {
  clock: Clock;
  timeoutMs: number;
  signal: CancelSignal;
  /** When time is up: resolve all the same. Otherwise DEADLINE is thrown. */
  orGoOn?: boolean;
}

/** Waits for a condition that can only become true when `subscribe` calls back. */
export function until(done: () => boolean, subscribe: (listener: () => void) => () => void, options: UntilOptions): Promise<void> {
  const { clock, timeoutMs, signal, orGoOn } = options;
  if (done()) return Promise.resolve();
  return new Promise<void>((resolve, reject) => {
    const finish = (settle: () => void): void => {
      unsubscribe();
      timer.cancel();
      signal.removeEventListener('abort', aborted);
      settle();
    };
    const aborted = (): void => finish(orGoOn ? resolve : () => reject(new HoldfastError('CANCELLED', { fate: 'under way' })));
    const unsubscribe = subscribe(() => {
      if (done()) finish(resolve);
    });
    const timer = clock.after(timeoutMs, () => finish(orGoOn ? resolve : () => reject(new HoldfastError('DEADLINE', { fate: 'under way' }))));
    signal.addEventListener('abort', aborted, { once: true });
  });
}
