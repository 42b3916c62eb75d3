import { parseCronTimes, timeAfter } from '../shared/control/cron.ts';
import { problemOfOptions } from './definition.ts';
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

/** Waits for the next run, each time that it is armed. */
interface Wait {
  arm(): void;
  cancel(): void;
}

/** A clock that is set notices nobody: it is looked at this often. */
const LOOK_MS = 30_000;
/** A clock set back by less runs nothing twice. */
const SET_BACK_MS = 3_600_000;

export function createSchedule({ clock, signal, run }: ScheduleOptions): Schedule {
  let running = 0;

  const plan = (task: Task, again: boolean, createWait: (due: () => void) => Wait): Timer => {
    if (typeof task !== 'function') throw new TypeError(`a schedule runs a function, and not ${typeof task}`);
    if (running >= limits.moduleSchedules) throw new RangeError(`more than ${limits.moduleSchedules} schedules`);
    if (signal.aborted) return { cancel: () => undefined };
    let ended = false;
    const cancel = (): void => {
      if (ended) return;
      ended = true;
      running -= 1;
      wait.cancel();
      signal.removeEventListener('abort', cancel);
    };
    const arm = (): void => {
      if (!ended) wait.arm();
    };
    const wait = createWait(() => {
      if (!again) cancel();
      const work = run(task);
      if (work === null) arm();
      else void work.then(arm);
    });
    running += 1;
    signal.addEventListener('abort', cancel, { once: true });
    arm();
    return { cancel };
  };

  return {
    every: (intervalMs, task) => {
      requireDelay(intervalMs, 1);
      return plan(task, true, (due) => interval(clock, intervalMs, due));
    },
    in: (delayMs, task) => {
      requireDelay(delayMs, 0);
      return plan(task, false, (due) => {
        const alarm = clock.alarm(due);
        return { arm: () => alarm.set(delayMs), cancel: () => alarm.cancel() };
      });
    },
    at: (time, task) => {
      const dueMs = new Date(time).getTime();
      if (!Number.isFinite(dueMs)) throw new RangeError(`${String(time)} is no time`);
      return plan(task, false, (due) => untilWall(clock, () => dueMs, due));
    },
    cron: (expression, task, options = {}) => {
      const problem = problemOfOptions('cron', options);
      if (problem !== null) throw new TypeError(problem);
      const { timezone = 'UTC' } = options;
      const times = parseCronTimes(expression, timezone, 'cron');
      let lastMs = -Infinity;
      const next = (): number | null => {
        const nowMs = clock.wallMs();
        return timeAfter(times, lastMs - nowMs < SET_BACK_MS ? Math.max(nowMs, lastMs) : nowMs);
      };
      return plan(task, true, (due) =>
        untilWall(clock, next, (dueMs) => {
          lastMs = dueMs;
          due();
        }),
      );
    },
  };
}

function interval(clock: Clock, intervalMs: number, due: () => void): Wait {
  let nextMs = clock.monotonicMs();
  const alarm = clock.alarm(due);
  return {
    arm() {
      const nowMs = clock.monotonicMs();
      nextMs = Math.max(nextMs + intervalMs, nowMs);
      alarm.set(nextMs - nowMs);
    },
    cancel: () => alarm.cancel(),
  };
}

/** Waits until the clock on the wall says `next()`, in parts, for it may be set meanwhile. null: for nothing. */
function untilWall(clock: Clock, next: () => number | null, due: (dueMs: number) => void): Wait {
  let dueMs = 0;
  const wait = (): void => alarm.set(Math.min(LOOK_MS, dueMs - clock.wallMs()));
  const alarm = clock.alarm(() => (clock.wallMs() < dueMs ? wait() : due(dueMs)));
  return {
    arm() {
      const nextMs = next();
      if (nextMs === null) return;
      dueMs = nextMs;
      wait();
    },
    cancel: () => alarm.cancel(),
  };
}

function requireDelay(delayMs: number, leastMs: number): void {
  if (typeof delayMs !== 'number') throw new TypeError(`a schedule takes milliseconds first, and then what to run; not a ${typeof delayMs}`);
  if (!Number.isFinite(delayMs) || delayMs < leastMs) throw new RangeError(`${delayMs} ms cannot be scheduled`);
}
