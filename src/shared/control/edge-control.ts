import type { Terms } from '../model/control.ts';
import { EPOCH_ZERO } from './epoch.ts';
import type { EdgeState, FromEdge, FromMaster } from './messages.ts';
import type { Durable, ShellEvent, Step } from './step.ts';

/** What an edge knows of the control of its location. */

export interface EdgeControl {
  state: EdgeState;
  durable: Durable;
  /** Number of the newest negotiation: how many hellos were said since boot. */
  negotiation: number;
  link: EdgeLink | null;
  /** Since when no verdict came over any link; null while one stands. */
  noLinkSinceMs: number | null;
  /** Number of the newest start or stop of modules; older ones have no say any more. */
  run: number;
  /** While releasing: why, and what follows when everything has stopped. */
  release: { reason: string; after: 'answer' | 'hello' | 'redial' } | null;
  /** Under `exclusive` only. */
  lease: Lease | null;
  /** The person on site took control without a lease; lasts until the next grant. */
  override: boolean;
}

export interface EdgeLink {
  number: number;
  /** 0: hello not said yet. */
  negotiation: number;
  helloSentMs: number;
  upMs: number;
  /** What the verdict brought; null until then. */
  verdict: { winner: 'edge' | 'master'; reason: string; terms: Terms } | null;
  granted: boolean;
}

export interface Lease {
  /** Writes end here. */
  untilMs: number;
  /** Renewals under way: the answer counts from when they were sent. */
  sent: readonly { renewal: number; atMs: number }[];
  renewal: number;
}

export type EdgeTimer = 'grant' | 'renew' | 'lease';

export type EdgeEvent =
  | { type: 'loaded'; nowMs: number }
  | { type: 'link-up'; nowMs: number; link: number }
  /** `hasTwin`: the master refused it, because another live process of this identity is connected. */
  | { type: 'link-down'; nowMs: number; link: number; hasTwin?: boolean }
  | { type: 'dial-failed'; nowMs: number }
  | { type: 'message'; nowMs: number; link: number; message: FromMaster }
  | { type: 'timer'; nowMs: number; timer: EdgeTimer }
  | { type: 'override'; nowMs: number }
  | ShellEvent;

export type EdgeStep = Step<EdgeControl, FromEdge, EdgeTimer>;

/** A starting edge: its sockets are closed, so it holds nothing, whatever it held before. */
export function bootEdge(stored: Durable | null, terms: Terms): EdgeControl {
  const durable: Durable = stored ?? { epoch: EPOCH_ZERO, floor: EPOCH_ZERO, holder: 'none', reason: 'first-boot', terms };
  return {
    state: 'booting',
    durable: durable.holder === 'edge' ? { ...durable, holder: 'none', reason: 'edge-restarted' } : durable,
    negotiation: 0,
    link: null,
    noLinkSinceMs: null,
    run: 0,
    release: null,
    lease: null,
    override: false,
  };
}

/** Why the person on site may not take control now; null when they may. */
export function refuseOverride(state: EdgeControl): string | null {
  if (state.state === 'holding' || state.state === 'claiming') return 'the edge already has control';
  if (state.link !== null) return 'the master is connected: order the hand-back there';
  if (state.state !== 'standby' && state.state !== 'connecting') return `the edge is ${state.state}`;
  return null;
}
