import { assert } from '../foundation/assert.ts';
import { decide, type Verdict } from './decide.ts';
import { isOlder, nextEpoch } from './epoch.ts';
import { type HoldDown, noteBreak } from './hold-down.ts';
import { type ControlTimings, leaseSurelyOverMs } from './lease.ts';
import type { MasterControl, MasterEvent, MasterLink, MasterOrder, MasterStep, MasterTimer } from './master-control.ts';
import { afterStandstill, drives, dueTimer, leaseMayLive, mayTakeOver, meet, NEVER_HELD, refuseOrder, takeoverAtMs, windowUsable } from './master-control.ts';
import type { ControlSnapshot, FromEdge, FromMaster } from './messages.ts';
import type { Action, AtOnce } from './step.ts';
import { hear, isExclusive, sameDurable, sameTerms, take } from './step.ts';

/** The master's half of control.md sections 2 to 5, one machine per location. Pure: `stepMaster(state, event) → { state, effects, reason }`. */

interface Outcome {
  state: MasterControl;
  reason: string;
  atOnce?: AtOnce[];
  send?: FromMaster[];
  run?: Action<MasterTimer>[];
  loses?: true;
}

export function stepMaster(state: MasterControl, event: MasterEvent, timings: ControlTimings): MasterStep {
  const outcome = handle(state, event, timings);
  const next = outcome.state;
  assert(!isOlder(next.durable.floor, state.durable.floor), 'the floor of a master went down');
  const link = next.link?.number ?? state.link?.number ?? 0;
  return {
    state: next,
    reason: outcome.reason,
    effects: {
      atOnce: outcome.atOnce ?? [],
      persist: sameDurable(state.durable, next.durable) ? null : { record: next.durable, onFailure: outcome.loses ? 'go-on' : 'refuse' },
      thenSend: (outcome.send ?? []).map((message) => ({ link, message })),
      thenRun: outcome.run ?? [],
    },
  };
}

function handle(state: MasterControl, event: MasterEvent, timings: ControlTimings): Outcome {
  switch (event.type) {
    case 'booted':
      return onBooted(state);
    case 'link-down':
      return onLinkDown(state, event, timings);
    case 'message':
      return onMessage(state, event, timings);
    case 'modules-started':
      return onStarted(state, event, timings);
    case 'modules-failed':
      return event.run === state.run && state.state === 'taking-over'
        ? enterReleasing(state, 'takeover-failed', null, timings)
        : ignored(state, 'stale-run');
    case 'modules-stopped':
      return event.run === state.run && state.state === 'releasing' ? onStopped(state, event, timings) : ignored(state, 'stale-run');
    case 'timer':
      return onTimer(state, event, timings);
    case 'window':
      return considerHandback({ ...state, window: { open: event.open, occurrence: event.occurrence } }, event.nowMs, timings);
    case 'stood-still':
      // Its timer may be set already, and finds a later time when it fires.
      return { state: afterStandstill(state, event.nowMs, event.ms), reason: 'stood-still' };
    case 'terms':
      return onTerms(state, event, timings);
    case 'order':
      return onOrder(state, event, timings);
    case 'epoch-heard':
      return { state: { ...state, durable: hear(state.durable, event.epoch) }, reason: 'epoch-heard' };
    case 'journal-failed':
      return onJournalFailed(state, event, timings);
  }
}

const ignored = (state: MasterControl, reason: string): Outcome => ({ state, reason });

// ── Boot and loss of the link ───────────────────────────────────────────────

function onBooted(state: MasterControl): Outcome {
  if (state.state !== 'loading') return ignored(state, 'already-booted');
  if (state.dueMs === null) return { state: { ...state, state: 'standby' }, reason: 'edge-confirmed' };
  // A takeover that is due is a step of its own: one that cannot be stored is tried again, the end of the wait never comes again.
  const suspect: MasterControl = { ...state, state: 'suspect' };
  return { state: suspect, reason: 'edge-awaited', run: mayTakeOver(suspect) ? [dueTimer(suspect)] : [] };
}

function onLinkDown(state: MasterControl, event: { nowMs: number; link: number; lastHeardMs: number }, timings: ControlTimings): Outcome {
  const link = state.link;
  if (link?.number !== event.link) return ignored(state, 'stale-link');
  const holdDown = noteBreak(state.holdDown, event.nowMs, timings.flap);
  const cut: MasterControl = { ...state, link: null, holdDown };
  const clear: Action<MasterTimer> = { type: 'clear-timer', timer: 'dialogue' };
  const withHoldDown = holdDown.untilMs === state.holdDown.untilMs ? [clear] : [clear, holdDownTimer(holdDown)];
  switch (state.state) {
    case 'standby':
      return also(enterSuspect(cut, event.lastHeardMs, 'link-lost', event.nowMs), withHoldDown);
    case 'suspect':
      // ◆ An order cut before `released` arrived is void: the timeout runs anew. Otherwise the old one goes on:
      // an edge that keeps crashing while it claims must not put it off.
      if (link.phase === 'ordered') return also(enterSuspect(cut, event.nowMs, 'order-cut', event.nowMs), withHoldDown);
      return { state: cut, reason: 'link-lost', run: withHoldDown };
    case 'releasing':
      if (link.phase === 'granted') return also(enterSuspect(failHandback(cut, link), event.nowMs, 'hand-back-cut', event.nowMs), withHoldDown);
      return { state: { ...failHandback(cut, link), grantTo: null }, reason: 'link-lost', run: withHoldDown };
    case 'loading':
      // A claim confirmed while loading counts from when that edge was last heard.
      return { state: { ...cut, dueMs: cut.dueMs ?? event.lastHeardMs + cut.wanted.timeoutMs }, reason: 'link-lost', run: withHoldDown };
    case 'taking-over':
    case 'holding':
      return { state: cut, reason: 'link-lost', run: withHoldDown };
  }
}

const spendWindow = (state: MasterControl): MasterControl => (state.window.open ? { ...state, spentWindow: state.window.occurrence } : state);

/** ◆ A hand-back that failed in this window is not tried again in it. */
const failHandback = (state: MasterControl, link: MasterLink): MasterControl => (link.handback === null ? state : spendWindow(state));

const holdDownTimer = (holdDown: HoldDown): Action<MasterTimer> => ({ type: 'set-timer', timer: 'hold-down', atMs: holdDown.untilMs });

const also = (outcome: Outcome, run: Action<MasterTimer>[]): Outcome => ({ ...outcome, run: [...run, ...(outcome.run ?? [])] });

// ── What the edge says ──────────────────────────────────────────────────────

/** What the edge said, and when it arrived. */
type Said<T extends FromEdge['t']> = Extract<FromEdge, { t: T }> & { nowMs: number };

function onMessage(state: MasterControl, event: { nowMs: number; link: number; message: FromEdge }, timings: ControlTimings): Outcome {
  const { message, nowMs } = event;
  if (message.t === 'hello') return onHello(state, { nowMs, link: event.link, hello: message }, timings);
  const link = state.link;
  if (link?.number !== event.link) return ignored(state, 'stale-link');
  if (message.negotiation !== link.negotiation) return ignored(state, 'stale-negotiation');
  switch (message.t) {
    case 'control.claimed':
      return onClaimed(state, link, { ...message, nowMs }, timings);
    case 'control.released':
      return onReleased(state, link, { ...message, nowMs }, timings);
    case 'control.accepted':
      return onAccepted(state, link);
    case 'control.renew':
      return onRenew(state, link, { ...message, nowMs }, timings);
  }
}

function onHello(
  state: MasterControl,
  event: { nowMs: number; link: number; hello: Extract<FromEdge, { t: 'hello' }> },
  timings: ControlTimings,
): Outcome {
  const { hello, nowMs } = event;
  // What an older connection still had to say came too late.
  if (state.link !== null && event.link < state.link.number) return ignored(state, 'stale-link');
  const handback = state.link?.number === event.link && state.link.phase === 'rehello' ? state.link.handback : null;
  const said = { number: event.link, negotiation: hello.negotiation, edgeState: hello.state };
  const link: MasterLink = { ...said, phase: 'deferred', handback, orderedFor: '', verdict: null, terms: state.wanted };
  const heard: MasterControl = { ...stale(state, event.link), durable: meet(hear(state.durable, hello.epoch)), link };
  // An order overrides the table: it is given again in the negotiation that crossed it.
  if (state.link?.number === event.link && state.link.phase === 'ordered') return orderRelease(heard, link, state.link.orderedFor, nowMs, timings);
  // While letting go it neither holds nor can it grant: the hello is decided when everything has stopped.
  if (state.state === 'releasing' && state.link?.phase !== 'granted') return { state: { ...heard, grantTo: null }, reason: 'hello-deferred' };
  if (state.state === 'releasing') return answerHello({ ...heard, state: 'suspect', dueMs: nowMs + state.wanted.timeoutMs }, link, nowMs, timings);
  return answerHello(heard, link, nowMs, timings);
}

/** A new connection means that the old one is lost, whether that was noticed or not: a hand-back on it has failed. */
const stale = (state: MasterControl, link: number): MasterControl =>
  state.link !== null && state.link.number !== link && state.state === 'releasing' ? failHandback(state, state.link) : state;

function answerHello(state: MasterControl, hello: MasterLink, nowMs: number, timings: ControlTimings): Outcome {
  const verdict = decide({
    edgeState: hello.edgeState,
    // Without failover control belongs to the edge: switching it off while the master holds is an order to hand back.
    handbackOrdered: hello.handback === 'operator' || (drives(state) && !state.wanted.failover),
    windowUsable: windowUsable(state, nowMs),
    masterLoading: state.state === 'loading',
    masterHolds: drives(state),
  });
  const link: MasterLink = { ...hello, terms: state.wanted, verdict: verdict.reason };
  if (verdict.winner === 'master') return keepControl(state, link, verdict);
  const negotiate = announce(state, link, verdict);
  if (drives(state)) return letGo(state, link, verdict, negotiate, timings);
  const granted = grant(state, link, null, nowMs, timings);
  return { ...granted, reason: verdict.reason, send: [negotiate, ...(granted.send ?? [])] };
}

const announce = (state: MasterControl, link: MasterLink, verdict: Verdict): FromMaster => ({
  t: 'negotiate',
  negotiation: link.negotiation,
  ...verdict,
  epoch: state.durable.floor,
  terms: link.terms,
});

function keepControl(state: MasterControl, link: MasterLink, verdict: Verdict): Outcome {
  const { durable } = state;
  // The edge claimed meanwhile: the same holder goes on under a higher epoch, or the edge would refuse what it sends.
  const outdated = isOlder(durable.epoch, durable.floor);
  const epoch = outdated ? nextEpoch('master', durable.floor) : durable.epoch;
  const kept: MasterControl = {
    ...state,
    durable: outdated ? take(durable, epoch, 'master', verdict.reason) : durable,
    link: { ...link, phase: 'waits', handback: null },
  };
  return {
    state: kept,
    reason: verdict.reason,
    send: [announce(kept, link, verdict)],
    run: [{ type: 'clear-timer', timer: 'dialogue' }, ...(outdated ? [{ type: 'restamp' as const, epoch }] : [])],
  };
}

/** ◆ Verdict for the edge while the master holds: it stops first, and the grant follows only then. */
function letGo(state: MasterControl, link: MasterLink, verdict: Verdict, negotiate: FromMaster, timings: ControlTimings): Outcome {
  const handback = link.handback ?? (verdict.reason === 'window-open' ? 'window' : null);
  const releasing = enterReleasing({ ...state, link: { ...link, handback } }, verdict.reason, link.negotiation, timings);
  // Both drive the devices after a partition: that ends whatever the journal does.
  if (verdict.reason === 'edge-kept-devices') return { ...releasing, send: [negotiate] };
  // A planned move can wait: not stored, not begun.
  const { atOnce: _, loses: __, ...planned } = releasing;
  return { ...planned, send: [negotiate] };
}

function grant(state: MasterControl, link: MasterLink, snapshot: ControlSnapshot | null, nowMs: number, timings: ControlTimings): Outcome {
  // An edge that says that it holds has control: the timeout runs anew. One that only claims must not put it off.
  const counts = state.state !== 'standby' && state.dueMs !== null && link.edgeState !== 'holding';
  const leased = isExclusive(link.terms);
  const granted: MasterControl = {
    ...state,
    state: state.state === 'standby' ? 'suspect' : state.state,
    link: { ...link, phase: 'granted' },
    dueMs: counts ? state.dueMs : nowMs + state.wanted.timeoutMs,
    leaseOverMs: leased ? leaseSurelyOverMs(nowMs, timings) : state.leaseOverMs,
  };
  return {
    state: granted,
    reason: 'granted',
    send: [
      {
        t: 'control.granted',
        negotiation: link.negotiation,
        epoch: state.durable.floor,
        leaseMs: leased ? timings.leaseMs : null,
        snapshot,
      },
    ],
    run: [state.state === 'loading' ? { type: 'clear-timer', timer: 'dialogue' } : dueTimer(granted)],
  };
}

function onClaimed(state: MasterControl, link: MasterLink, message: Said<'control.claimed'>, timings: ControlTimings): Outcome {
  if (link.phase === 'ordered') return { state: { ...state, durable: hear(state.durable, message.epoch) }, reason: 'claim-crossed-order' };
  // ◆ A claim that no running negotiation asked for: this link and we do not agree any more.
  if (link.phase !== 'granted' || isOlder(message.epoch, state.durable.floor)) {
    return { state: { ...state, durable: hear(state.durable, message.epoch) }, reason: 'late-claim', run: [closeLink(link, 'late-claim')] };
  }
  const why = link.verdict ?? state.durable.reason;
  // What the edge kept it has for the reason for which it had it: nothing new to store.
  const reason = state.durable.holder === 'edge' && why === 'edge-kept-devices' ? state.durable.reason : why;
  const durable = { ...hear(state.durable, message.epoch), holder: 'edge' as const, reason, terms: link.terms };
  const claimed: Outcome = {
    state: {
      ...state,
      state: state.state === 'loading' ? 'loading' : 'standby',
      durable,
      link: { ...link, phase: 'confirmed', handback: null },
      dueMs: null,
      grantTo: null,
      takeoverOrdered: false,
    },
    reason: why,
    run: [{ type: 'clear-timer', timer: 'due' }, { type: 'clear-timer', timer: 'dialogue' }],
  };
  return tellNewTerms(claimed, message.nowMs, timings);
}

/** The terms changed while the dialogue ran: what the edge has acknowledged is what it was told, and now it is told again. */
function tellNewTerms(outcome: Outcome, nowMs: number, timings: ControlTimings): Outcome {
  const { link, wanted } = outcome.state;
  if (link === null || sameTerms(link.terms, wanted)) return outcome;
  const again = renegotiate(outcome.state, link, { reason: 'terms-changed', handback: null }, nowMs, timings);
  return { ...outcome, state: again.state, send: [...(outcome.send ?? []), ...(again.send ?? [])], run: [...(outcome.run ?? []), ...(again.run ?? [])] };
}

function onReleased(state: MasterControl, link: MasterLink, message: Said<'control.released'>, timings: ControlTimings): Outcome {
  const heard: MasterControl = { ...state, durable: hear(state.durable, message.epoch) };
  // Failover may have been switched off meanwhile: then the edge negotiates anew.
  if (link.phase === 'ordered' && state.state === 'suspect' && state.wanted.failover) {
    // `released` voids the lease.
    const freed: MasterControl = { ...heard, leaseOverMs: message.nowMs, link: { ...link, phase: 'waits' } };
    return tellNewTerms(enterTakingOver(freed, link.orderedFor, message.snapshot), message.nowMs, timings);
  }
  // A claiming edge that lost the verdict has stopped: it waits now, or says hello again if it was asked to meanwhile.
  if (drives(state)) return link.phase === 'waits' ? onAccepted(heard, link) : { state: heard, reason: 'edge-waits' };
  const suspect = enterSuspect(heard, message.nowMs, 'edge-let-go', message.nowMs);
  return also(suspect, [{ type: 'clear-timer', timer: 'dialogue' }, closeLink(link, 'edge-let-go')]);
}

/** The edge has stored the verdict and its terms: they are in force, under a new epoch if they change who may claim alone. */
function onAccepted(state: MasterControl, link: MasterLink): Outcome {
  if (link.phase !== 'waits' || !drives(state)) return ignored(state, 'late-acceptance');
  const { durable } = state;
  const { terms } = link;
  if (isExclusive(durable.terms) === isExclusive(terms)) {
    return { state: { ...state, durable: { ...durable, terms } }, reason: 'edge-waits' };
  }
  const epoch = nextEpoch('master', durable.floor);
  return {
    state: { ...state, durable: { ...take(durable, epoch, 'master', 'policy-changed'), terms } },
    reason: 'policy-changed',
    run: [{ type: 'restamp', epoch }],
  };
}

function onRenew(state: MasterControl, link: MasterLink, message: Said<'control.renew'>, timings: ControlTimings): Outcome {
  if (link.phase !== 'granted' && link.phase !== 'confirmed') return ignored(state, 'renewal-refused');
  // A claiming edge has an epoch of which its `claimed` has not told yet: under an older one our answer would be refused.
  const durable = hear(state.durable, message.epoch);
  return {
    state: { ...state, durable, leaseOverMs: leaseSurelyOverMs(message.nowMs, timings) },
    reason: 'lease-renewed',
    send: [{ t: 'control.renewed', negotiation: link.negotiation, epoch: durable.floor, renewal: message.renewal }],
  };
}

// ── Entering states ─────────────────────────────────────────────────────────

/** `suspect` counts from the moment at which control was last confirmed. */
function enterSuspect(state: MasterControl, confirmedMs: number, reason: string, nowMs: number): Outcome {
  const suspect: MasterControl = { ...state, state: 'suspect', dueMs: confirmedMs + state.wanted.timeoutMs, grantTo: null };
  return { state: suspect, reason, run: [dueTimer({ ...suspect, dueMs: Math.max(suspect.dueMs ?? nowMs, nowMs) })] };
}

function considerTakeover(state: MasterControl, nowMs: number, waitReason: string, timings: ControlTimings): Outcome {
  const atMs = takeoverAtMs(state);
  if (state.state !== 'suspect' || atMs === null || !mayTakeOver(state)) return ignored(state, waitReason);
  if (nowMs < atMs) return { state, reason: waitReason, run: [dueTimer(state)] };
  if (state.link === null) return enterTakingOver(state, state.takeoverOrdered ? 'operator-takeover' : 'edge-lost', null);
  // ◆ It never starts beside a connected edge: release is ordered first.
  return state.link.phase === 'ordered' ? ignored(state, 'release-ordered') : orderRelease(state, state.link, 'timeout', nowMs, timings);
}

function orderRelease(state: MasterControl, link: MasterLink, reason: string, nowMs: number, timings: ControlTimings): Outcome {
  const ordered: MasterLink = { ...link, phase: 'ordered', handback: null, orderedFor: reason };
  return {
    // An edge that had to be stopped does not get control back by itself in the same window.
    state: { ...spendWindow(state), state: 'suspect', dueMs: nowMs + state.wanted.timeoutMs, link: ordered },
    reason,
    send: [{ t: 'control.release', negotiation: link.negotiation, epoch: state.durable.floor, reason }],
    run: [{ type: 'clear-timer', timer: 'due' }, { type: 'set-timer', timer: 'dialogue', atMs: nowMs + timings.releaseWaitMs }],
  };
}

function enterTakingOver(state: MasterControl, reason: string, snapshot: ControlSnapshot | null): Outcome {
  const epoch = nextEpoch('master', state.durable.floor);
  return {
    state: { ...state, state: 'taking-over', durable: take(state.durable, epoch, 'master', reason), dueMs: null, run: state.run + 1, takeoverOrdered: false },
    reason,
    run: [
      { type: 'clear-timer', timer: 'due' },
      { type: 'clear-timer', timer: 'dialogue' },
      { type: 'start-modules', run: state.run + 1, epoch, snapshot },
    ],
  };
}

function onStarted(state: MasterControl, event: { nowMs: number; run: number }, timings: ControlTimings): Outcome {
  if (event.run !== state.run || state.state !== 'taking-over') return ignored(state, 'stale-run');
  const holding: MasterControl = { ...state, state: 'holding' };
  const handback = considerHandback(holding, event.nowMs, timings);
  return handback.state === holding ? { state: holding, reason: state.durable.reason } : handback;
}

/** Break before make: the gate closes, everything stops, and only then the edge gets its grant. */
function enterReleasing(state: MasterControl, reason: string, grantTo: number | null, timings: ControlTimings): Outcome {
  const run: Action<MasterTimer>[] = [{ type: 'clear-timer', timer: 'dialogue' }];
  // ◆ Leaving control without a hand-back closes the link, so that the edge negotiates anew.
  if (grantTo === null && state.link !== null) run.push(closeLink(state.link, reason));
  return {
    state: {
      ...state,
      state: 'releasing',
      durable: { ...state.durable, holder: 'none', reason },
      run: state.run + 1,
      grantTo,
      dueMs: null,
    },
    reason,
    atOnce: [{ type: 'close-gate' }],
    run: [...run, { type: 'stop-modules', run: state.run + 1, deadlineMs: timings.stopMs }],
    loses: true,
  };
}

function onStopped(state: MasterControl, event: { nowMs: number; snapshot: ControlSnapshot | null }, timings: ControlTimings): Outcome {
  const { link } = state;
  const dueMs = event.nowMs + state.wanted.timeoutMs;
  if (link !== null && link.phase === 'deferred' && state.grantTo !== link.negotiation) {
    return answerHello({ ...state, state: 'suspect', dueMs, grantTo: null }, link, event.nowMs, timings);
  }
  if (link === null || state.grantTo === null) return enterSuspect(state, event.nowMs, state.durable.reason, event.nowMs);
  const granted = grant({ ...state, dueMs }, link, event.snapshot, event.nowMs, timings);
  // A claim that does not come within the timeout ends the hand-over.
  return { ...granted, run: [{ type: 'set-timer', timer: 'dialogue', atMs: dueMs }] };
}

// ── Windows, timers, orders, documents, failures ────────────────────────────

/** Holding, the edge waits, and control may return by itself: ask for the fresh hello that a hand-back starts with. */
function considerHandback(state: MasterControl, nowMs: number, timings: ControlTimings): Outcome {
  const { link } = state;
  if (state.state !== 'holding' || link?.phase !== 'waits' || !windowUsable(state, nowMs)) return ignored(state, 'window');
  return renegotiate(state, link, { reason: 'window-open', handback: 'window' }, nowMs, timings);
}

function renegotiate(
  state: MasterControl,
  link: MasterLink,
  why: { reason: string; handback: 'operator' | 'window' | null },
  nowMs: number,
  timings: ControlTimings,
): Outcome {
  return {
    state: { ...state, link: { ...link, phase: 'rehello', handback: why.handback } },
    reason: why.reason,
    send: [{ t: 'control.renegotiate', negotiation: link.negotiation, epoch: state.durable.floor, reason: why.reason }],
    run: [{ type: 'set-timer', timer: 'dialogue', atMs: nowMs + timings.helloWaitMs }],
  };
}

function onTimer(state: MasterControl, event: { nowMs: number; timer: MasterTimer }, timings: ControlTimings): Outcome {
  switch (event.timer) {
    case 'due':
      return considerTakeover(state, event.nowMs, 'edge-awaited', timings);
    case 'hold-down':
      return considerHandback(state, event.nowMs, timings);
    case 'dialogue': {
      const { link } = state;
      const waiting = link !== null && (link.phase === 'rehello' || link.phase === 'ordered' || (link.phase === 'granted' && state.state === 'releasing'));
      // ◆ A stall ends the hand-over like a cut: the link goes, and with it every right to be answered.
      return waiting ? { state, reason: 'edge-stalled', run: [closeLink(link, 'edge-stalled')] } : ignored(state, 'stale-timer');
    }
  }
}

function onTerms(state: MasterControl, event: Extract<MasterEvent, { type: 'terms' }>, timings: ControlTimings): Outcome {
  const wanted = { ...event.terms, paused: state.wanted.paused };
  if (sameTerms(wanted, state.wanted)) return ignored(state, 'terms-unchanged');
  // No edge was ever heard of: nobody acts on the old terms.
  const fresh = state.durable.reason === NEVER_HELD;
  const dueMs = state.dueMs === null ? null : state.dueMs + wanted.timeoutMs - state.wanted.timeoutMs;
  return proclaim({ ...state, wanted, dueMs, durable: fresh ? { ...state.durable, terms: wanted } : state.durable }, 'terms-changed', event.nowMs, timings);
}

/** New terms reach the edge by a negotiation: now if one can begin, else with the next. */
function proclaim(state: MasterControl, reason: string, nowMs: number, timings: ControlTimings): Outcome {
  const { link } = state;
  const free = link !== null && (link.phase === 'confirmed' || link.phase === 'waits') && state.state !== 'releasing';
  if (free) return renegotiate(state, link, { reason, handback: null }, nowMs, timings);
  return considerTakeover(state, nowMs, reason, timings);
}

function onOrder(state: MasterControl, event: { nowMs: number; order: MasterOrder }, timings: ControlTimings): Outcome {
  const refusal = refuseOrder(state, event.order);
  if (refusal !== null) return ignored(state, 'order-refused');
  const { link } = state;
  const { nowMs } = event;
  switch (event.order) {
    case 'takeover': {
      // Control that an operator took does not go back by itself in the window that is open now.
      const spent = spendWindow(state);
      if (link !== null) return orderRelease(spent, link, 'operator-takeover', nowMs, timings);
      if (leaseMayLive(state, nowMs)) {
        const waiting: MasterControl = { ...spent, state: 'suspect', dueMs: nowMs, takeoverOrdered: true };
        return { state: waiting, reason: 'operator-takeover-after-lease', run: [dueTimer(waiting)] };
      }
      return enterTakingOver(spent, 'operator-takeover', null);
    }
    case 'handback':
      assert(link !== null, 'a hand-back needs a link');
      return renegotiate(state, link, { reason: 'operator-handback', handback: 'operator' }, nowMs, timings);
    case 'pause':
    case 'resume': {
      const paused = event.order === 'pause';
      const durable = { ...state.durable, terms: { ...state.durable.terms, paused } };
      return proclaim({ ...state, durable, wanted: { ...state.wanted, paused } }, paused ? 'operator-pause' : 'operator-resume', nowMs, timings);
    }
  }
}

const closeLink = (link: MasterLink, reason: string): Action<MasterTimer> => ({ type: 'close-link', link: link.number, reason });

/** What could not be stored did not happen; the link goes, so that both sides ask again. */
function onJournalFailed(state: MasterControl, event: { nowMs: number; link: number | null }, timings: ControlTimings): Outcome {
  const run: Action<MasterTimer>[] = event.link === null ? [] : [{ type: 'close-link', link: event.link, reason: 'journal-failed' }];
  if (state.state === 'suspect') run.push({ type: 'set-timer', timer: 'due', atMs: event.nowMs + timings.retryMs });
  return { state, reason: 'journal-failed', run };
}
