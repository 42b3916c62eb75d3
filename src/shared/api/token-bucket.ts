import type { Clock } from '../ports/clock.ts';

/** So many a second on average, and `burst` at once after a rest. */
export class TokenBucket {
  readonly #clock: Clock;
  readonly #rate: { perSecond: number; burst: number };
  #tokens: number;
  #countedMs: number;

  constructor(clock: Clock, rate: { perSecond: number; burst: number }) {
    this.#clock = clock;
    this.#rate = rate;
    this.#tokens = rate.burst;
    this.#countedMs = clock.monotonicMs();
  }

  take(): boolean {
    const { perSecond, burst } = this.#rate;
    const nowMs = this.#clock.monotonicMs();
    this.#tokens = Math.min(burst, this.#tokens + ((nowMs - this.#countedMs) * perSecond) / 1_000);
    this.#countedMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
