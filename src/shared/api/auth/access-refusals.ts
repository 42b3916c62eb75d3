import type { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { Refusals } from '../../runtime/refusals.ts';
import { TokenBucket } from '../token-bucket.ts';

export interface AccessRefusal {
  /** Id of the key or token; null: nobody's. */
  who: string | null;
  what: string;
  remote: string;
  requestId: string | null;
}

/** Says who was refused: once a minute for each address and reason, and so many a minute in all, so that nobody can fill the log by asking. */
export class AccessRefusals {
  readonly #deps: { log: Log; metrics: Metrics };
  readonly #seen: Refusals;
  readonly #bucket: TokenBucket;

  constructor(deps: { clock: Clock; log: Log; metrics: Metrics }) {
    this.#deps = deps;
    this.#seen = new Refusals(deps.clock);
    const burst = limits.accessRefusedPerMinute;
    this.#bucket = new TokenBucket(deps.clock, { perSecond: burst / 60, burst });
  }

  /** Does nothing unless the error says that access was refused. */
  note({ code, status }: HoldfastError, refusal: AccessRefusal): void {
    if (status !== 401 && status !== 403) return;
    const reason = code.toLowerCase();
    this.#deps.metrics.add('holdfast_access_refused_total', { reason });
    if (!this.#seen.note(`${refusal.remote} ${reason}`) || !this.#bucket.take()) return;
    this.#deps.log.warn('access-refused', { ...refusal, reason });
  }
}
