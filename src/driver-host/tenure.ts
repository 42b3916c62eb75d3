import { gateError, WriteGate } from '../shared/control/write-gate.ts';
import type { Epoch } from '../shared/model/control.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { WriteJournal } from './write-journal.ts';

/**
 * The authority of the modules of one start of a location. Its epoch rises when the holder is re-stamped.
 * A module left over from an earlier start keeps the earlier tenure, and so an epoch that the gate refuses.
 */
export interface Tenure {
  readonly location: string;
  readonly run: number;
  epoch: Epoch;
}

/** The last fence before a device: fence 2 of section 6 of docs/control.md. */
export class DeviceFence {
  readonly gate = new WriteGate();
  readonly #clock: Clock;
  readonly #journal: WriteJournal;
  #refused = 0;

  constructor(clock: Clock, journal: WriteJournal) {
    this.#clock = clock;
    this.#journal = journal;
  }

  /** May a device of this tenure be contacted now? */
  allows({ location, epoch }: Tenure): boolean {
    return this.gate.check(location, epoch, this.#clock.monotonicMs()) === null;
  }

  /** Throws STALE_EPOCH or GATE_CLOSED. */
  check({ location, epoch }: Tenure, module: string): void {
    const refusal = this.gate.check(location, epoch, this.#clock.monotonicMs());
    if (refusal === null) return;
    this.#refused += 1;
    throw gateError(refusal, { location, module, epoch, floor: this.gate.state(location).epoch });
  }

  /**
   * Checks, puts on record, and checks again: writing the record may have taken until after the lease.
   * Send right after it.
   */
  stamp(tenure: Tenure, module: string, bytes: number): void {
    this.check(tenure, module);
    const { location, epoch } = tenure;
    const now = { wallMs: this.#clock.wallMs(), monotonicMs: this.#clock.monotonicMs() };
    this.#journal.stamp({ module, location, epoch, ...now, bytes });
    this.check(tenure, module);
  }

  /** Refusals since the last time this was asked. */
  takeRefused(): number {
    const refused = this.#refused;
    this.#refused = 0;
    return refused;
  }
}
