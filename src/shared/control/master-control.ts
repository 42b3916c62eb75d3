import type { Terms } from '../model/control.ts';
import type { VerdictReason } from './decide.ts';
import { EPOCH_ZERO } from './epoch.ts';
import { type HoldDown, isHeldDown, noHoldDown } from './hold-down.ts';
import { type ControlTimings, leaseSurelyOverMs } from './lease.ts';
import type { EdgeState, FromEdge, FromMaster, MasterState } from './messages.ts';
import type { Action, Durable, ShellEvent, Step } from './step.ts';
import { isExclusive } from './step.ts';

/** What a master knows of one location, and the questions that its rules ask of that. */

export interface MasterControl {
  state: MasterState;
  durable: Durable;
  /** What the location document asks for; in force (`durable.terms`) once the edge has acknowledged it. */
  wanted: Terms;
  link: MasterLink | null;
  /** Monotonic time from which a takeover is due by `timeout`; null while nothing is suspected. */
  dueMs: number | null;
  /** Before this monotonic time a lease that the edge was granted may still live, whatever the terms are by now. */
  leaseOverMs: number;
  run: number;
  /** While releasing: the negotiation that gets the grant when everything has stopped; null: nobody. */
  grantTo: number | null;
  window: { open: boolean; occurrence: number };
  /** The window in which a hand-back failed or an operator took over: control does not return by itself in it. */
  spentWindow: number | null;
  holdDown: HoldDown;
  /** An operator's takeover that waits for the edge's lease to end: a pause has no say in it. */
  takeoverOrdered: boolean;
}

export interface MasterLink {
  number: number;
  negotiation: number;
  edgeState: EdgeState;
  /**
   * `deferred`: said hello while the master lets go; `granted`: may claim; `confirmed`: claimed;
   * `waits`: told that the master holds; `rehello`: asked to say hello again; `ordered`: told to release.
   */
  phase: 'deferred' | 'granted' | 'confirmed' | 'waits' | 'rehello' | 'ordered';
  /** An operator or the window asked for the hand-back that this dialogue carries. */
  handback: 'operator' | 'window' | null;
  /** Why it was told to release; empty unless `ordered`. */
  orderedFor: string;
  /** Why the edge or the master won this negotiation; null while it is undecided. */
  verdict: VerdictReason | null;
  /** What the edge was told in this negotiation: only this can it have stored. */
  terms: Terms;
}

export type MasterTimer = 'due' | 'dialogue' | 'hold-down';
export type MasterOrder = 'takeover' | 'handback' | 'pause' | 'resume';

export type MasterEvent =
  | { type: 'booted'; nowMs: number }
  | { type: 'link-down'; nowMs: number; link: number; lastHeardMs: number }
  | { type: 'message'; nowMs: number; link: number; message: FromEdge }
  | { type: 'timer'; nowMs: number; timer: MasterTimer }
  | { type: 'window'; nowMs: number; open: boolean; occurrence: number }
  /** This process did not run for so long, and heard nobody: frozen, or on a machine that had no time for it. */
  | { type: 'stood-still'; nowMs: number; ms: number }
  | { type: 'terms'; nowMs: number; terms: Terms }
  | { type: 'order'; nowMs: number; order: MasterOrder }
  | ShellEvent;

export type MasterStep = Step<MasterControl, FromMaster, MasterTimer>;

/** Why nobody holds a location whose edge was never heard of. */
export const NEVER_HELD = 'never-held';

/** From the first hello on there is an edge that acts on the terms which it was told. */
export const meet = (durable: Durable): Durable => (durable.reason === NEVER_HELD ? { ...durable, reason: 'edge-met' } : durable);

/** A starting master: a stored "holder = master" is nobody, the epoch stays. `nowMs` is the moment of the boot. */
export function bootMaster(stored: Durable | null, wanted: Terms, nowMs: number, timings: ControlTimings): MasterControl {
  const durable: Durable = stored ?? { epoch: EPOCH_ZERO, floor: EPOCH_ZERO, holder: 'none', reason: NEVER_HELD, terms: wanted };
  // A second crash before anybody held again changes nothing.
  const held = durable.holder === 'master' || durable.reason === 'master-restarted';
  return {
    state: 'loading',
    durable: held ? { ...durable, holder: 'none', reason: 'master-restarted' } : durable,
    wanted: { ...wanted, paused: durable.terms.paused },
    link: null,
    // What it held when it went down is due at once after the wait for edges; other timeouts count from boot.
    dueMs: held ? nowMs : nowMs + wanted.timeoutMs,
    // It has forgotten which leases it granted: the last may have been renewed just before it went down.
    leaseOverMs: isExclusive(durable.terms) || isExclusive(wanted) ? leaseSurelyOverMs(nowMs, timings) : nowMs,
    run: 0,
    grantTo: null,
    window: { open: false, occurrence: 0 },
    spentWindow: null,
    holdDown: noHoldDown,
    takeoverOrdered: false,
  };
}

export const drives = (state: MasterControl): boolean => state.state === 'taking-over' || state.state === 'holding';

/** Has the edge of this link control, as far as is agreed? While terms are negotiated anew it goes on driving. */
export function edgeDrives({ state, link }: MasterControl): boolean {
  return link?.phase === 'confirmed' || (link?.phase === 'rehello' && state === 'standby') || (link?.phase === 'granted' && link.edgeState === 'holding');
}

/** May control return by itself right now? Row 2 of the table and the opening of a window ask the same. */
export function windowUsable(state: MasterControl, nowMs: number): boolean {
  const { window, holdDown, spentWindow, wanted } = state;
  return window.open && spentWindow !== window.occurrence && !isHeldDown(holdDown, nowMs) && !wanted.paused;
}

/** The failover that binds the master: stricter at once, looser only when the edge has acknowledged it. */
export const mayTakeOver = (state: MasterControl): boolean =>
  state.wanted.failover && state.durable.terms.failover && (state.takeoverOrdered || !state.wanted.paused);

export const leaseMayLive = (state: MasterControl, nowMs: number): boolean => nowMs < state.leaseOverMs;

export const dueTimer = (state: MasterControl): Action<MasterTimer> => {
  const atMs = takeoverAtMs(state);
  return atMs === null ? { type: 'clear-timer', timer: 'due' } : { type: 'set-timer', timer: 'due', atMs };
};

/** When the master may take over by itself: `timeout` has passed and no lease can live any more. */
export const takeoverAtMs = (state: MasterControl): number | null =>
  state.dueMs === null ? null : Math.max(state.dueMs, state.leaseOverMs);

/**
 * What the master could not hear says nothing of the edge: the time in which it stood still is no part of `timeout`. An operator's
 * takeover waits for the lease only, which ends for a frozen master too.
 */
export function afterStandstill(state: MasterControl, nowMs: number, ms: number): MasterControl {
  if (state.dueMs === null || state.takeoverOrdered) return state;
  // No later than that of an edge which was heard just now.
  return { ...state, dueMs: Math.max(state.dueMs, Math.min(state.dueMs + ms, nowMs + state.wanted.timeoutMs)) };
}

/** Why this order cannot be carried out now; null when it can. The same words reach the operator. */
export function refuseOrder(state: MasterControl, order: MasterOrder): string | null {
  switch (order) {
    case 'takeover':
      if (!state.wanted.failover || !state.durable.terms.failover) return 'failover is off, or its change waits for the edge to acknowledge it';
      if (drives(state)) return 'the master already has control';
      if (state.state === 'loading' || state.state === 'releasing') return `the master is ${state.state}`;
      return state.link?.phase === 'ordered' ? 'a takeover is already under way' : null;
    case 'handback':
      if (!drives(state)) return 'the master does not have control';
      if (state.link === null) return 'the edge is not connected';
      return state.link.phase === 'rehello' ? 'a hand-back is already under way' : null;
    case 'pause':
      return state.wanted.paused ? 'the location is already paused' : null;
    case 'resume':
      return state.wanted.paused ? null : 'the location is not paused';
  }
}
