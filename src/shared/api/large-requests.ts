import { HoldfastError } from '../model/errors.ts';
import { limits } from '../model/limits.ts';

/** Of what these are, in the words of the error. */
export interface LargeRequestsOf {
  limitBytes: number;
  where: string;
  /** They count there too. */
  within?: LargeRequests;
}

/**
 * Bytes of large requests that are under way. Until it is answered a request lies in queues and pipes, and on the link it
 * goes before the next heartbeat: how many there are bounds neither. Small ones are not counted, so that nobody who sends
 * large ones keeps others from giving an order.
 */
export class LargeRequests {
  readonly #of: LargeRequestsOf;
  #bytes = 0;

  constructor(of: LargeRequestsOf) {
    this.#of = of;
  }

  /** Throws LIMIT_REACHED when there are too many already. */
  begin(bytes: number): void {
    if (bytes <= limits.smallRequestBytes) return;
    const { limitBytes, where, within } = this.#of;
    if (this.#bytes + bytes > limitBytes) {
      throw new HoldfastError('LIMIT_REACHED', { what: `bytes of large requests may be under way on one ${where}`, limit: limitBytes });
    }
    within?.begin(bytes);
    this.#bytes += bytes;
  }

  /** One that began is over. */
  ended(bytes: number): void {
    if (bytes <= limits.smallRequestBytes) return;
    this.#bytes -= bytes;
    this.#of.within?.ended(bytes);
  }
}
