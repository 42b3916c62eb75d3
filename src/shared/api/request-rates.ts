import { HoldfastError } from '../model/errors.ts';
import type { Clock } from '../ports/clock.ts';

const WINDOW_MS = 60_000;

/** So many requests of each in a minute, of so many askers at most; those beyond share one allowance. */
export class RequestRates {
  readonly #clock: Clock;
  readonly #perMinute: number;
  readonly #askers: number;
  #counts = new Map<string, number>();
  #endsMs: number;

  constructor(clock: Clock, { perMinute, askers }: { perMinute: number; askers: number }) {
    this.#clock = clock;
    this.#perMinute = perMinute;
    this.#askers = askers;
    this.#endsMs = clock.monotonicMs() + WINDOW_MS;
  }

  /** Throws RATE_LIMITED. */
  take(asker: string): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs >= this.#endsMs) {
      this.#counts = new Map();
      this.#endsMs = nowMs + WINDOW_MS;
    }
    const known = this.#counts.has(asker) || this.#counts.size < this.#askers ? asker : '';
    const count = (this.#counts.get(known) ?? 0) + 1;
    if (count > this.#perMinute) throw new HoldfastError('RATE_LIMITED', { retryAfterMs: Math.ceil(this.#endsMs - nowMs) });
    this.#counts.set(known, count);
  }
}
