import type { Clock, Timer } from '../ports/clock.ts';

/** One timer for many deadlines: it fires at the earliest, and whoever is called says when it must fire next. */
export class EarliestTimer {
  readonly #clock: Clock;
  readonly #fire: () => number | null;
  #armed: { timer: Timer; atMs: number } | null = null;

  /** `fire` returns the next deadline (monotonic milliseconds), or null. */
  constructor(clock: Clock, fire: () => number | null) {
    this.#clock = clock;
    this.#fire = fire;
  }

  watch(atMs: number): void {
    if (this.#armed !== null && this.#armed.atMs <= atMs) return;
    this.#armed?.timer.cancel();
    const timer = this.#clock.after(Math.max(0, atMs - this.#clock.monotonicMs()), () => {
      this.#armed = null;
      const next = this.#fire();
      if (next !== null) this.watch(next);
    });
    this.#armed = { timer, atMs };
  }

  cancel(): void {
    this.#armed?.timer.cancel();
    this.#armed = null;
  }
}
