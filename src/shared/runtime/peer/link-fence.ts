import { formatEpoch, isOlder } from '../../control/epoch.ts';
import type { Warnings } from '../../link/warnings.ts';
import type { Epoch } from '../../model/control.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { Metrics } from '../../ports/metrics.ts';

export interface LinkFenceOptions {
  peer: string;
  metrics: Metrics;
  warnings: Warnings;
  /** Highest epoch heard of for this link's location. */
  floor(): Epoch;
  /** The peer has taken an epoch of which no control message told. */
  heard(epoch: Epoch): void;
}

/** Fence 1 of section 6 of docs/control.md, before any handler: whatever commands or reports must carry an epoch that is not over. */
export class LinkFence {
  readonly #options: LinkFenceOptions;

  constructor(options: LinkFenceOptions) {
    this.#options = options;
  }

  /** Why this may not come in; null: it may. What is refused is counted. */
  refusal(type: string, needsEpoch: boolean, ep: Epoch | null): HoldfastError | null {
    if (ep !== null && isOlder(this.#options.floor(), ep)) this.#options.heard(ep);
    if (!needsEpoch || (ep !== null && this.isCurrent(ep))) return null;
    this.refused(type);
    return ep === null ? new HoldfastError('EPOCH_MISSING', { type }) : this.stale(ep);
  }

  /** The epoch that is stamped on what is sent. */
  epoch(): Epoch {
    return this.#options.floor();
  }

  isCurrent(ep: Epoch | null): boolean {
    return ep === null || !isOlder(ep, this.#options.floor());
  }

  stale(ep: Epoch): HoldfastError {
    return new HoldfastError('STALE_EPOCH', { location: this.#options.peer, epoch: formatEpoch(ep), floor: formatEpoch(this.#options.floor()) });
  }

  /** Counts a refusal; the first of its type is logged. */
  refused(type: string): void {
    this.#options.metrics.add('holdfast_fencing_refusals_total', { fence: 'link' });
    this.#options.warnings.once(`fenced ${type}`, 'stale-epoch-refused', { type });
  }
}
