import type { Party } from '../model/control.ts';
import type { EdgeState } from './messages.ts';

export interface Situation {
  edgeState: EdgeState;
  /** An operator of this location asked for the hand-back that this negotiation is part of. */
  handbackOrdered: boolean;
  /** The restore window is open, no hold-down runs, no hand-back failed in this window, and the location is not paused. */
  windowUsable: boolean;
  masterLoading: boolean;
  /** From the moment that the master stored its epoch until it has sent the grant. */
  masterHolds: boolean;
}

export type VerdictReason =
  | 'edge-kept-devices'
  | 'operator-handback'
  | 'window-open'
  | 'master-loading'
  | 'master-holds'
  | 'no-takeover-happened';

export interface Verdict {
  winner: Party;
  reason: VerdictReason;
}

/** Who controls after a new connection: the table of section 2, asked in its order; the first row that applies wins. */
export function decide(situation: Situation): Verdict {
  if (situation.edgeState === 'holding') return { winner: 'edge', reason: 'edge-kept-devices' };
  if (situation.handbackOrdered) return { winner: 'edge', reason: 'operator-handback' };
  if (situation.windowUsable) return { winner: 'edge', reason: 'window-open' };
  if (situation.masterLoading) return { winner: 'edge', reason: 'master-loading' };
  if (situation.masterHolds) return { winner: 'master', reason: 'master-holds' };
  return { winner: 'edge', reason: 'no-takeover-happened' };
}
