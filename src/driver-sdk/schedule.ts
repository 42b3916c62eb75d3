import type { Clock, Timer } from '../shared/ports/clock.ts';
import type { ModuleContext } from './driver.ts';

interface ScheduleOptions {
  clock: Clock;
  signal: AbortSignal;
  /** Runs a task of the driver; never rejects. */
  run(task: () => void | Promise<void>): Promise<void>;
}

/** Timers of a module. All end when it stops. */
export function createSchedule({ clock, signal, run }: ScheduleOptions): ModuleContext['schedule'] {
  const plan = (delayMs: number, task: () => void | Promise<void>, again: boolean): Timer => {
    const leastMs = again ? 1 : 0;
    if (!Number.isFinite(delayMs) || delayMs < leastMs) throw new RangeError(`${delayMs} ms cannot be scheduled`);
    let timer: Timer | null = null;
    let ended = false;
    const cancel = (): void => {
      ended = true;
      timer?.cancel();
      signal.removeEventListener('abort', cancel);
    };
    const fire = async (): Promise<void> => {
      if (!again) cancel();
      const startedMs = clock.monotonicMs();
      await run(task);
      if (!ended) arm(Math.max(0, delayMs - (clock.monotonicMs() - startedMs)));
    };
    const arm = (inMs: number): void => {
      timer = clock.after(inMs, () => void fire());
    };
    if (signal.aborted) return { cancel };
    signal.addEventListener('abort', cancel, { once: true });
    arm(delayMs);
    return { cancel };
  };
  return {
    every: (intervalMs, task) => plan(intervalMs, task, true),
    in: (delayMs, task) => plan(delayMs, task, false),
  };
}
