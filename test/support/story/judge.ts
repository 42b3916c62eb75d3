import { formatEpoch, isOlder, partyOf } from '../../../src/shared/control/epoch.ts';
import type { Durable } from '../../../src/shared/control/step.ts';
import { isExclusive } from '../../../src/shared/control/step.ts';
import type { Epoch, Party } from '../../../src/shared/model/control.ts';
import { seconds } from './transcript.ts';

export interface Judged {
  journal: Durable | null;
  /** The epoch under which a byte would leave for a device now. */
  writesUnder: Epoch | null;
  override: boolean;
}

const mayBothDrive = (journal: Durable | null): boolean =>
  journal !== null && journal.terms.failover && !isExclusive(journal.terms);

/** Watches every story for what no story may show (control.md section 7), whatever its golden text says. */
export class Judge {
  readonly violations: string[] = [];
  readonly #stored: Record<Party, Durable | null> = { edge: null, master: null };
  #dualMs = 0;
  #dualSinceMs: number | null = null;

  /** For how long both sides drove the devices. */
  dualMs(nowMs: number): number {
    return this.#dualMs + (this.#dualSinceMs === null ? 0 : nowMs - this.#dualSinceMs);
  }

  /** A record is durable now. */
  stored(party: Party, record: Durable): void {
    const before = this.#stored[party];
    if (before !== null && (isOlder(record.epoch, before.epoch) || isOlder(record.floor, before.floor))) {
      this.violations.push(`the journal of the ${party} went down from ${formatEpoch(before.floor)} to ${formatEpoch(record.floor)}`);
    }
    if (record.holder === party && partyOf(record.epoch) !== party) {
      this.violations.push(`the ${party} holds under ${formatEpoch(record.epoch)}, which is not an epoch of its own`);
    }
    this.#stored[party] = record;
  }

  /** A restored backup is an older journal under a new generation. */
  restored(party: Party): void {
    this.#stored[party] = null;
  }

  /** Called whenever a gate moved. Returns what there is to tell. */
  gatesMoved(nowMs: number, edge: Judged, master: Judged): string | null {
    for (const [party, { journal, writesUnder }] of [['edge', edge], ['master', master]] as const) {
      if (writesUnder !== null && (journal === null || isOlder(journal.floor, writesUnder))) {
        this.violations.push(`the ${party} drives under ${formatEpoch(writesUnder)}, which it has not stored`);
      }
    }
    const dual = edge.writesUnder !== null && master.writesUnder !== null;
    if (dual === (this.#dualSinceMs !== null)) return null;
    if (dual) {
      this.#dualSinceMs = nowMs;
      if (!edge.override && !mayBothDrive(edge.journal) && !mayBothDrive(master.journal)) this.violations.push('both sides drive the devices, which the terms rule out');
      return 'BOTH SIDES DRIVE THE DEVICES';
    }
    const ms = nowMs - (this.#dualSinceMs ?? nowMs);
    this.#dualSinceMs = null;
    this.#dualMs += ms;
    return `one side drives again; both did for ${seconds(ms)}`;
  }
}
