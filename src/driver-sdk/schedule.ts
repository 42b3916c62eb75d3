import { parseCronTimes, timeAfter } from '../shared/control/cron.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock, Timer } from '../shared/ports/clock.ts';

export type Task = () => void | Promise<void>;

/** Timers of a module. All end when it stops; none survives a change of control. */
export interface Schedule {
  /** A run that takes longer than the interval delays the next. The clock on the wall does not matter. */
  every(intervalMs: number, task: Task): Timer;
  in(delayMs: number, task: Task): Timer;
  /** Once, when the clock of the machine says so: a Date, unix milliseconds, or ISO text with its offset. What has passed runs at once. */
  at(time: Date | number | string, task: Task): Timer;
  /**
   * Five fields of a cron in a time zone of the IANA database (UTC unless told). A time of day that the clocks skip comes
   * right after the gap, one that they repeat comes once. Throws INPUT_INVALID.
   */
  cron(expression: string, task: Task, options?: { timezone?: string }): Timer;
}

interface ScheduleOptions {
  clock: Clock;
  signal: AbortSignal;
  /** Runs a task of the driver; never throws. null: it has ended; the promise never rejects. */
  run(task: Task): Promise<void> | null;
}

/** A clock that is set notices nobody: it is looked at this often. */
const LOOK_MS = 30_000;
/** A clock set back by less runs nothing twice. */
const SET_BACK_MS = 3_600_000;

export function createSchedule({ clock, signal, run }: ScheduleOptions): Schedule {
  let running = 0;

  /** `wait` arms the next timer, and gets the way to run the task; it is called again after each run. */
  const plan = (task: Task, again: boolean, wait: (due: () => void) => Timer | null): Timer => {
    if (running >= limits.moduleSchedules) throw new RangeError(`more than ${limits.moduleSchedules} schedules`);
    if (signal.aborted) return { cancel: () => undefined };
    let timer: Timer | null = null;
    let ended = false;
    const cancel = (): void => {
      if (ended) return;
      ended = true;
      running -= 1;
      timer?.cancel();
      signal.removeEventListener('abort', cancel);
    };
    const due = (): void => {
      if (!again) cancel();
      const work = run(task);
      if (work === null) arm();
      else void work.then(arm);
    };
    const arm = (): void => {
      if (!ended) timer = wait(due);
    };
    running += 1;
    signal.addEventListener('abort', cancel, { once: true });
    arm();
    return { cancel };
  };

  return {
    every: (intervalMs, task) => {
      requireDelay(intervalMs, 1);
      let nextMs = clock.monotonicMs();
      return plan(task, true, (due) => {
        nextMs = Math.max(nextMs + intervalMs, clock.monotonicMs());
        return clock.after(nextMs - clock.monotonicMs(), due);
      });
    },
    in: (delayMs, task) => {
      requireDelay(delayMs, 0);
      return plan(task, false, (due) => clock.after(delayMs, due));
    },
    at: (time, task) => {
      const dueMs = new Date(time).getTime();
      if (!Number.isFinite(dueMs)) throw new RangeError(`${String(time)} is no time`);
      return plan(task, false, (due) => untilWall(clock, dueMs, due));
    },
    cron: (expression, task, { timezone = 'UTC' } = {}) => {
      const times = parseCronTimes(expression, timezone, 'cron');
      let lastMs = -Infinity;
      return plan(task, true, (due) => {
        const nowMs = clock.wallMs();
        const nextMs = timeAfter(times, lastMs - nowMs < SET_BACK_MS ? Math.max(nowMs, lastMs) : nowMs);
        if (nextMs === null) return null;
        return untilWall(clock, nextMs, () => {
          lastMs = nextMs;
          due();
        });
      });
    },
  };
}

/** Waits until the clock on the wall says `dueMs`, in parts, for it may be set meanwhile. */
function untilWall(clock: Clock, dueMs: number, due: () => void): Timer {
  let part: Timer | null = null;
  const look = (): void => {
    const leftMs = dueMs - clock.wallMs();
    part = leftMs <= LOOK_MS ? clock.after(leftMs, arrive) : clock.after(LOOK_MS, look);
  };
  const arrive = (): void => (clock.wallMs() < dueMs ? look() : due());
  look();
  return { cancel: () => part?.cancel() };
}

function requireDelay(delayMs: number, leastMs: number): void {
  if (!Number.isFinite(delayMs) || delayMs < leastMs) throw new RangeError(`${delayMs} ms cannot be scheduled`);
}
