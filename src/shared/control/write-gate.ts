import { assert } from '../foundation/assert.ts';
import type { Epoch } from '../model/control.ts';
import { HoldfastError } from '../model/errors.ts';
import { compareEpochs, EPOCH_ZERO, formatEpoch, isOlder } from './epoch.ts';

/** May this process write to the devices of a location now? Fence 2 of section 6. */
export interface GateState {
  epoch: Epoch;
  open: boolean;
  /** Monotonic time at which writes end; null: no lease. */
  leaseUntilMs: number | null;
}

export type GateRefusal = 'closed' | 'lease-ended' | 'stale-epoch' | 'epoch-not-open';

const SHUT: GateState = Object.freeze({ epoch: EPOCH_ZERO, open: false, leaseUntilMs: null });

/** One gate per location. Unknown locations are shut. */
export class WriteGate {
  readonly #gates = new Map<string, GateState>();

  state(location: string): GateState {
    return this.#gates.get(location) ?? SHUT;
  }

  set(location: string, state: GateState): void {
    this.#gates.set(location, state);
  }

  open(location: string, epoch: Epoch): void {
    this.#raise(location, epoch, true);
  }

  close(location: string): void {
    this.set(location, { ...this.state(location), open: false });
  }

  /** The holder stays, its epoch rose. */
  restamp(location: string, epoch: Epoch): void {
    this.#raise(location, epoch, this.state(location).open);
  }

  setLease(location: string, untilMs: number | null): void {
    this.set(location, { ...this.state(location), leaseUntilMs: untilMs });
  }

  /** null: the write may leave. Ask right before the bytes do. */
  check(location: string, epoch: Epoch, nowMs: number): GateRefusal | null {
    const gate = this.state(location);
    const order = compareEpochs(epoch, gate.epoch);
    if (order < 0) return 'stale-epoch';
    if (!gate.open) return 'closed';
    if (gate.leaseUntilMs !== null && nowMs >= gate.leaseUntilMs) return 'lease-ended';
    return order > 0 ? 'epoch-not-open' : null;
  }

  #raise(location: string, epoch: Epoch, open: boolean): void {
    const gate = this.state(location);
    assert(!isOlder(epoch, gate.epoch), `the write gate of ${location} was told a lower epoch`);
    this.set(location, { ...gate, epoch, open });
  }
}

const reasons: Record<Exclude<GateRefusal, 'stale-epoch'>, string> = {
  closed: 'this process does not control the location',
  'lease-ended': 'the lease has ended',
  'epoch-not-open': 'the epoch of the command was not opened here',
};

/** The refusal of a write as an operating error. */
export function gateError(refusal: GateRefusal, write: { location: string; module: string; epoch: Epoch; floor: Epoch }): HoldfastError {
  const { location, module, epoch, floor } = write;
  if (refusal === 'stale-epoch') return new HoldfastError('STALE_EPOCH', { location, epoch: formatEpoch(epoch), floor: formatEpoch(floor) });
  return new HoldfastError('GATE_CLOSED', { module, reason: reasons[refusal] });
}
