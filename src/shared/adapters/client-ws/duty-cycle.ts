import type { Clock } from '../../ports/clock.ts';

/** Timers know none that is shorter. */
const SHORTEST_REST_MS = 1;

/** Work that comes again and again, and rests as long as it took before it goes on: half of the time is left to everything else. */
export class DutyCycle {
  readonly #clock: Clock;
  readonly #longestRestMs: number;
  readonly #work: () => void;
  #resting = false;
  #restUntilMs = 0;

  constructor(clock: Clock, longestRestMs: number, work: () => void) {
    this.#clock = clock;
    this.#longestRestMs = longestRestMs;
    this.#work = work;
  }

  /** There is work: does it now, or when the rest is over, once for all that came up meanwhile. */
  demand(): void {
    if (this.#resting) return;
    const beganMs = this.#clock.monotonicMs();
    const restMs = this.#restUntilMs - beganMs;
    if (restMs > 0) {
      this.#resting = true;
      this.#clock.after(restMs, () => {
        this.#resting = false;
        this.demand();
      });
      return;
    }
    this.#work();
    const endedMs = this.#clock.monotonicMs();
    const tookMs = endedMs - beganMs;
    if (tookMs >= SHORTEST_REST_MS) this.#restUntilMs = endedMs + Math.min(tookMs, this.#longestRestMs);
  }
}
