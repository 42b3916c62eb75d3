import { limits } from '../model/limits.ts';
import type { Clock } from '../ports/clock.ts';

const MAX_KEYS = 10_000;

/** Counts what happens per key within a window of time. Bounded: the oldest keys are forgotten first. */
export class Refusals {
  readonly #clock: Clock;
  readonly #counts = new Map<string, { count: number; untilMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  count(key: string): number {
    const entry = this.#counts.get(key);
    return entry !== undefined && entry.untilMs > this.#clock.monotonicMs() ? entry.count : 0;
  }

  /** True for the first of a burst: that one is worth a log line. */
  note(key: string): boolean {
    const count = this.count(key);
    const known = this.#counts.get(key);
    if (known !== undefined && count > 0) {
      known.count += 1;
      return false;
    }
    this.#counts.delete(key);
    this.#counts.set(key, { count: 1, untilMs: this.#clock.monotonicMs() + limits.proofFailureWindowMs });
    const oldest = this.#counts.keys().next();
    if (this.#counts.size > MAX_KEYS && !oldest.done) this.#counts.delete(oldest.value);
    return true;
  }

  clear(key: string): void {
    this.#counts.delete(key);
  }
}
