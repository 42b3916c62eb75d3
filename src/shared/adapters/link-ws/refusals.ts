import type { Clock } from '../../ports/clock.ts';

const WINDOW_MS = 60_000;
const MAX_FAILURES = 10;
const MAX_KEYS = 10_000;

/** Counts failed proofs per key (edge id, address) and says when it is enough. Bounded: the oldest keys are forgotten first. */
export class Refusals {
  readonly #clock: Clock;
  readonly #failures = new Map<string, { count: number; untilMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  isBlocked(key: string): boolean {
    const entry = this.#failures.get(key);
    return entry !== undefined && entry.count >= MAX_FAILURES && entry.untilMs > this.#clock.monotonicMs();
  }

  /** True for the first failure of a burst: that one is worth a log line. */
  note(key: string): boolean {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#failures.get(key);
    if (known !== undefined && known.untilMs > nowMs) {
      known.count += 1;
      return false;
    }
    this.#failures.delete(key);
    this.#failures.set(key, { count: 1, untilMs: nowMs + WINDOW_MS });
    const oldest = this.#failures.keys().next();
    if (this.#failures.size > MAX_KEYS && !oldest.done) this.#failures.delete(oldest.value);
    return true;
  }

  clear(key: string): void {
    this.#failures.delete(key);
  }
}
