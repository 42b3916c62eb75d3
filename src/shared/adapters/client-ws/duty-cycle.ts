import type { Clock } from '../../ports/clock.ts';

/** Of the time that work took, its rest. */
const REST_SHARE = 0.25;

/** Work that comes again and again, held to four fifths of the time: after a long one the next rests, and does all that came up meanwhile. */
export class DutyCycle {
  readonly #clock: Pick<Clock, 'monotonicMs' | 'after'>;
  readonly #longestRestMs: number;
  readonly #work: () => void;
  #resting = false;
  #restUntilMs = 0;

  constructor(clock: Pick<Clock, 'monotonicMs' | 'after'>, longestRestMs: number, work: () => void) {
    this.#clock = clock;
    this.#longestRestMs = longestRestMs;
    this.#work = work;
  }

  /** There is work: does it now, or when the rest is over. */
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
    this.#restUntilMs = endedMs + Math.min((endedMs - beganMs) * REST_SHARE, this.#longestRestMs);
  }
}
