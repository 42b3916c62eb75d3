import type { Alarm, Clock, Timer } from '../shared/ports/clock.ts';

/**
 * The clock of one module. Its timers end what code of the driver waits for, and that goes on then without anybody being
 * told: the watchdog would take whoever was told last for the one that loops.
 */
export class ModuleClock implements Clock {
  readonly #clock: Clock;
  readonly #entered: () => void;

  constructor(clock: Clock, entered: () => void) {
    this.#clock = clock;
    this.#entered = entered;
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  wallMs(): number {
    return this.#clock.wallMs();
  }

  after(delayMs: number, callback: () => void): Timer {
    return this.#clock.after(delayMs, () => {
      this.#entered();
      callback();
    });
  }

  alarm(callback: () => void): Alarm {
    return this.#clock.alarm(() => {
      this.#entered();
      callback();
    });
  }

  async sleep(delayMs: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#clock.sleep(delayMs, signal);
    } finally {
      this.#entered();
    }
  }
}
