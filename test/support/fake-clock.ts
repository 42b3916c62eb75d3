import { setImmediate as settle } from 'node:timers/promises';
import { createAlarm } from '../../src/shared/foundation/alarm.ts';
import type { Alarm, Clock, Timer } from '../../src/shared/ports/clock.ts';

interface Due {
  atMs: number;
  callback: () => void;
}

/** A clock that moves only when told to. Timers fire in order of time, then of creation. */
export class FakeClock implements Clock {
  #nowMs = 0;
  #wallOffsetMs: number;
  readonly #timers = new Set<Due>();

  constructor(wallMs = Date.UTC(2025, 0, 1)) {
    this.#wallOffsetMs = wallMs;
  }

  get pendingTimers(): number {
    return this.#timers.size;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#wallOffsetMs + this.#nowMs;
  }

  /** Somebody sets the clock of the machine: no timer minds. */
  jumpWall(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  after(delayMs: number, callback: () => void): Timer {
    const due: Due = { atMs: this.#nowMs + Math.max(0, delayMs), callback };
    this.#timers.add(due);
    return { cancel: () => this.#timers.delete(due) };
  }

  alarm(callback: () => void): Alarm {
    return createAlarm(this, callback);
  }

  sleep(delayMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const onAbort = (): void => {
        timer.cancel();
        reject(signal.reason as Error);
      };
      const timer = this.after(delayMs, () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      });
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Code runs for so long: time passes, and nothing fires meanwhile. */
  work(ms: number): void {
    this.#nowMs += ms;
  }

  /** Lets `ms` pass: fires what falls due, one timer at a time, and lets promises settle after each. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    for (let next = this.#next(untilMs); next !== null; next = this.#next(untilMs)) {
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.callback();
      await settle();
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  #next(untilMs: number): Due | null {
    let first: Due | null = null;
    for (const due of this.#timers) if (due.atMs <= untilMs && (first === null || due.atMs < first.atMs)) first = due;
    return first;
  }
}
