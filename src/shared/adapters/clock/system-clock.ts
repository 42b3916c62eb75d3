import { AsyncResource } from 'node:async_hooks';
// Not the global ones: those of a driver host are for drivers (`watchTimers`).
import { clearTimeout, setTimeout } from 'node:timers';
import { type Due, TimerHeap } from '../../foundation/timer-heap.ts';
import type { Alarm, Clock, Timer } from '../../ports/clock.ts';

/** Longer timers overflow in Node and would fire at once: those are waited for in parts. */
const LONGEST_MS = 2_147_483_647;

/** CLOCK_MONOTONIC, which all processes of one machine share: a lease deadline means the same in a driver host. */
export function monotonicMs(): number {
  // Not as one big integer: a command asks ten times.
  const time = process.hrtime();
  return time[0] * 1e3 + time[1] / 1e6;
}

/** The timer of Node belongs to nobody: else callbacks would run in the name of the module that happened to set it. */
const setNodeTimer = AsyncResource.bind((callback: () => void, delayMs: number): NodeJS.Timeout => setTimeout(callback, delayMs));

/** As Node does it between two timers: what the last one made promises and ticks do is done before the next. */
const afterPromises = AsyncResource.bind((next: () => void): void => queueMicrotask(() => process.nextTick(next)));

/**
 * All timers of a process behind one of Node's. Thousands of modules have one that waits, and each command has its
 * deadline: what waits for seconds is copied by the garbage collector, and one of Node's is ten times as large.
 */
class SystemTimers {
  readonly #heap = new TimerHeap<SystemTimer>();
  #nodeTimer: NodeJS.Timeout | null = null;
  /** When Node's will fire. While callbacks run, whoever runs them sets it afterwards. */
  #armedMs = Infinity;
  #firingMs = 0;

  /** `timer` waits for nothing yet. */
  add(timer: SystemTimer, delayMs: number): void {
    const nowMs = monotonicMs();
    // Never in the past, where it would be due for as long as it is set again; and no number at all is none.
    timer.dueMs = nowMs + (delayMs > 0 ? delayMs : 0);
    this.#heap.add(timer);
    if (timer.dueMs < this.#armedMs) this.#arm(timer.dueMs, nowMs);
  }

  remove(timer: SystemTimer): void {
    this.#heap.remove(timer);
    // A process that waits for nothing may end.
    if (this.#heap.first === undefined) this.#disarm();
  }

  #arm(dueMs: number, nowMs: number): void {
    this.#disarm();
    // Node's own clock has whole milliseconds.
    this.#nodeTimer = setNodeTimer(this.#fire, Math.min(LONGEST_MS, Math.max(0, Math.ceil(dueMs - nowMs))));
    this.#armedMs = dueMs;
  }

  #disarm(): void {
    if (this.#nodeTimer !== null) clearTimeout(this.#nodeTimer);
    this.#nodeTimer = null;
    this.#armedMs = Infinity;
  }

  readonly #fire = (): void => {
    this.#nodeTimer = null;
    this.#armedMs = -Infinity;
    this.#firingMs = monotonicMs();
    this.#next();
  };

  /** What was due when Node's timer fired, one after the other. */
  readonly #next = (): void => {
    const timer = this.#heap.first;
    if (timer === undefined || timer.dueMs > this.#firingMs) return this.#rest();
    this.#heap.remove(timer);
    try {
      timer.fire();
    } finally {
      const { first } = this.#heap;
      if (first !== undefined && first.dueMs <= this.#firingMs) afterPromises(this.#next);
      else this.#rest();
    }
  };

  #rest(): void {
    const { first } = this.#heap;
    this.#armedMs = Infinity;
    if (first !== undefined) this.#arm(first.dueMs, monotonicMs());
  }
}

class SystemTimer implements Alarm, Due {
  dueMs = 0;
  place = -1;
  readonly #timers: SystemTimers;
  readonly #once: boolean;
  #callback: (() => void) | null;

  constructor(timers: SystemTimers, callback: () => void, once: boolean) {
    this.#timers = timers;
    this.#callback = callback;
    this.#once = once;
  }

  set(delayMs: number): void {
    this.#timers.remove(this);
    this.#timers.add(this, delayMs);
  }

  cancel(): void {
    this.#over();
    this.#timers.remove(this);
  }

  fire(): void {
    const callback = this.#callback;
    this.#over();
    callback?.();
  }

  /** An old timer would keep alive what its callback refers to. */
  #over(): void {
    if (this.#once) this.#callback = null;
  }
}

export function createSystemClock(): Clock {
  const timers = new SystemTimers();
  const after = (delayMs: number, callback: () => void): Timer => {
    const timer = new SystemTimer(timers, callback, true);
    timers.add(timer, delayMs);
    return timer;
  };
  return {
    monotonicMs,
    wallMs: () => Date.now(),
    after,
    alarm: (callback) => new SystemTimer(timers, callback, false),
    sleep(delayMs, signal) {
      return new Promise((resolve, reject) => {
        if (signal.aborted) {
          reject(signal.reason as Error);
          return;
        }
        const timer = after(delayMs, () => {
          signal.removeEventListener('abort', aborted);
          resolve();
        });
        const aborted = (): void => {
          timer.cancel();
          reject(signal.reason as Error);
        };
        signal.addEventListener('abort', aborted, { once: true });
      });
    },
  };
}
