import { createAlarm } from '../../../src/shared/foundation/alarm.ts';
import type { Alarm, Clock, Timer } from '../../../src/shared/ports/clock.ts';

/** The clock of another machine: its own zero, and a rate that a story may bend. */
export class SkewedClock implements Clock {
  readonly #base: Clock;
  #rate = 1;
  #offsetMs = 0;

  constructor(base: Clock) {
    this.#base = base;
  }

  /** From now on; before the machine boots, for a running clock neither jumps nor bends. */
  skew(offsetMs: number, rate: number): void {
    this.#offsetMs = offsetMs;
    this.#rate = rate;
  }

  monotonicMs(): number {
    return this.#offsetMs + this.#base.monotonicMs() * this.#rate;
  }

  wallMs(): number {
    return this.#base.wallMs() + this.#offsetMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    return this.#base.after(this.#true(delayMs), callback);
  }

  alarm(callback: () => void): Alarm {
    return createAlarm(this, callback);
  }

  sleep(delayMs: number, signal: AbortSignal): Promise<void> {
    return this.#base.sleep(this.#true(delayMs), signal);
  }

  #true(delayMs: number): number {
    return this.#rate === 1 ? delayMs : Math.ceil(delayMs / this.#rate);
  }
}
