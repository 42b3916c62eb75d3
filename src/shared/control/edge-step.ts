import { assert } from '../foundation/assert.ts';
import { type EdgeControl, type EdgeEvent, type EdgeLink, type EdgeStep, type EdgeTimer, type Lease, refuseOverride } from './edge-control.ts';
import { isOlder, nextEpoch } from './epoch.ts';
import { type ControlTimings, writesEndMs } from './lease.ts';
import type { ControlSnapshot, FromEdge, FromMaster } from './messages.ts';
import type { Action, AtOnce } from './step.ts';
import { hear, isExclusive, sameDurable, take } from './step.ts';

/** The edge's half of control.md sections 2 to 5, for its one location. Pure: `stepEdge(state, event) → { state, effects, reason }`. */

/** What a handler returns; the durable part is compared and persisted by `stepEdge`. */
interface Outcome {
  state: EdgeControl;
  reason: string;
  atOnce?: AtOnce[];
  send?: FromEdge[];
  run?: Action<EdgeTimer>[];
  /** Giving control up: goes on without a journal. */
  loses?: true;
}

const UNANSWERED_RENEWALS = 8;

export function stepEdge(state: EdgeControl, event: EdgeEvent, timings: ControlTimings): EdgeStep {
  const outcome = handle(state, event, timings);
  const next = outcome.state;
  assert(!isOlder(next.durable.floor, state.durable.floor), 'the floor of an edge went down');
  const changed = !sameDurable(state.durable, next.durable);
  const link = next.link?.number ?? state.link?.number ?? 0;
  return {
    state: next,
    reason: outcome.reason,
    effects: {
      atOnce: outcome.atOnce ?? [],
      persist: changed ? { record: next.durable, onFailure: outcome.loses ? 'go-on' : 'refuse' } : null,
      thenSend: (outcome.send ?? []).map((message) => ({ link, message })),
      thenRun: outcome.run ?? [],
    },
  };
}

/** ◆ An ended lease comes before whatever else happened: its own timer may be late, and a host has closed the sockets by then. */
function handle(state: EdgeControl, event: EdgeEvent, timings: ControlTimings): Outcome {
  const driving = state.state === 'claiming' || state.state === 'holding';
  if (!driving || state.lease === null || event.nowMs < state.lease.untilMs) return react(state, event, timings);
  const ended = enterReleasing(state, 'lease-ended', state.link === null ? 'redial' : 'hello', timings);
  const then = react(ended.state, event, timings);
  return { ...then, reason: ended.reason, atOnce: ended.atOnce ?? [], run: [...(ended.run ?? []), ...(then.run ?? [])], loses: true };
}

function react(state: EdgeControl, event: EdgeEvent, timings: ControlTimings): Outcome {
  switch (event.type) {
    case 'loaded':
      return { state: { ...state, state: 'connecting', noLinkSinceMs: event.nowMs }, reason: 'booted' };
    case 'link-up':
      return onLinkUp(state, event, timings);
    case 'link-down':
      return onLinkDown(state, event, timings);
    case 'dial-failed':
      return onDialFailed(state, event.nowMs, timings);
    case 'message':
      return onMessage(state, event, timings);
    case 'modules-started':
      return onStarted(state, event.run);
    case 'modules-failed':
      return event.run === state.run && state.state === 'claiming'
        ? enterReleasing(state, 'modules-failed', 'redial', timings)
        : ignored(state, 'stale-run');
    case 'modules-stopped':
      return event.run === state.run && state.state === 'releasing'
        ? onStopped(state, event.nowMs, event.snapshot, timings)
        : ignored(state, 'stale-run');
    case 'timer':
      return onTimer(state, event, timings);
    case 'override':
      return onOverride(state);
    case 'epoch-heard':
      return { state: { ...state, durable: hear(state.durable, event.epoch) }, reason: 'epoch-heard' };
    case 'journal-failed':
      return onJournalFailed(state, event);
  }
}

const ignored = (state: EdgeControl, reason: string): Outcome => ({ state, reason });

// ── The link ────────────────────────────────────────────────────────────────

function onLinkUp(state: EdgeControl, event: { nowMs: number; link: number }, timings: ControlTimings): Outcome {
  const link: EdgeLink = { number: event.link, negotiation: 0, helloSentMs: 0, upMs: event.nowMs, verdict: null, granted: false };
  const linked = { ...state, link };
  const release = { reason: state.release?.reason ?? '', after: 'hello' as const };
  // ◆ An edge that is letting go closes its sockets before it says hello.
  if (state.state === 'releasing') return { state: { ...linked, release }, reason: 'hello-after-release' };
  return sayHello(linked, event.nowMs, timings);
}

function sayHello(state: EdgeControl, nowMs: number, timings: ControlTimings): Outcome {
  assert(state.link !== null, 'hello needs a link');
  const negotiation = state.negotiation + 1;
  const link: EdgeLink = { ...state.link, negotiation, helloSentMs: nowMs, verdict: null, granted: false };
  return {
    state: { ...state, negotiation, link },
    reason: 'hello',
    send: [{ t: 'hello', negotiation, epoch: state.durable.floor, state: state.state, held: [] }],
    run: [{ type: 'set-timer', timer: 'grant', atMs: nowMs + timings.grantWaitMs }],
  };
}

function onLinkDown(state: EdgeControl, event: { nowMs: number; link: number; hasTwin?: boolean }, timings: ControlTimings): Outcome {
  const { link, noLinkSinceMs } = state;
  if (link?.number !== event.link) return ignored(state, 'stale-link');
  const cut = cutOff(state, event.nowMs);
  const run: Action<EdgeTimer>[] = [{ type: 'clear-timer', timer: 'grant' }];
  // ◆ The master is there: a copy of a machine never drives beside the one that it was copied from.
  if (event.hasTwin === true) return { state: cut, reason: 'has-twin', run };
  // A master that lets us in and never negotiates is a failed attempt, if it was the one after the 3 s.
  if (noLinkSinceMs === null || link.upMs - noLinkSinceMs < timings.disconnectMs) return { state: cut, reason: 'link-down', run };
  const failed = onDialFailed(cut, event.nowMs, timings);
  return { ...failed, run: [...run, ...(failed.run ?? [])] };
}

/** Holding or claiming: nothing happens to the devices. */
const cutOff = (state: EdgeControl, nowMs: number): EdgeControl => ({
  ...state,
  link: null,
  noLinkSinceMs: state.noLinkSinceMs ?? nowMs,
  // An order cut before it was answered is void, but the release is finished.
  release: state.release === null ? null : { ...state.release, after: 'redial' },
});

function onDialFailed(state: EdgeControl, nowMs: number, timings: ControlTimings): Outcome {
  const disconnected = state.link === null && state.noLinkSinceMs !== null && nowMs - state.noLinkSinceMs >= timings.disconnectMs;
  const idle = state.state === 'connecting' || state.state === 'standby';
  if (!disconnected || !idle) return ignored(state, 'dial-failed');
  // ◆ Under `exclusive` a grant is the first lease: without one nobody claims, also after a reboot.
  if (isExclusive(state.durable.terms)) return ignored(state, 'no-claim-without-lease');
  if (state.durable.terms.paused && state.durable.holder === 'master') return ignored(state, 'paused');
  return enterClaiming(state, 'master-unreachable', null, null);
}

// ── What the master says ────────────────────────────────────────────────────

function onMessage(state: EdgeControl, event: { nowMs: number; link: number; message: FromMaster }, timings: ControlTimings): Outcome {
  const { message, nowMs } = event;
  const link = state.link;
  // ◆ A message of another link or another negotiation has no say.
  if (link?.number !== event.link) return ignored(state, 'stale-link');
  if (message.negotiation !== link.negotiation) return ignored(state, 'stale-negotiation');
  switch (message.t) {
    case 'negotiate':
      return onVerdict(state, link, message, timings);
    case 'control.granted':
      return onGranted(state, link, { ...message, nowMs }, timings);
    case 'control.release':
      return onReleaseOrder(state, message, timings);
    case 'control.renegotiate':
      return onRenegotiate(state, nowMs, timings);
    case 'control.renewed':
      return onRenewed(state, message.renewal, timings);
  }
}

function onVerdict(state: EdgeControl, link: EdgeLink, message: Extract<FromMaster, { t: 'negotiate' }>, timings: ControlTimings): Outcome {
  if (state.state === 'releasing' || link.verdict !== null) return ignored(state, 'late-verdict');
  const { winner, reason, terms } = message;
  const durable = hear(state.durable, message.epoch);
  const heard: EdgeControl = { ...state, durable, noLinkSinceMs: null, link: { ...link, verdict: { winner, reason, terms } } };
  // The terms are adopted with the grant: until then a cut leaves the old ones in force.
  if (winner === 'edge') return { state: heard, reason };

  const yielded = { ...heard, durable: { ...durable, holder: 'master' as const, reason, terms } };
  if (state.state === 'claiming' || state.state === 'holding') return enterReleasing(yielded, reason, 'answer', timings);
  return {
    state: { ...yielded, state: 'standby' },
    reason,
    send: [{ t: 'control.accepted', negotiation: message.negotiation, epoch: durable.floor }],
    run: [{ type: 'clear-timer', timer: 'grant' }],
  };
}

function onGranted(
  state: EdgeControl,
  link: EdgeLink,
  grant: Extract<FromMaster, { t: 'control.granted' }> & { nowMs: number },
  timings: ControlTimings,
): Outcome {
  if (state.state === 'releasing' || link.verdict?.winner !== 'edge' || link.granted) return ignored(state, 'late-grant');
  // The lease counts from the hello that was answered: over already means asking again, not claiming.
  const untilMs = grant.leaseMs === null ? null : writesEndMs(link.helloSentMs, timings);
  if (untilMs !== null && untilMs <= grant.nowMs) return sayHello(state, grant.nowMs, timings);

  const { terms, reason } = link.verdict;
  const exclusiveChanged = isExclusive(terms) !== isExclusive(state.durable.terms);
  const granted: EdgeControl = {
    ...state,
    durable: { ...hear(state.durable, grant.epoch), terms },
    link: { ...link, granted: true },
    lease: untilMs === null ? null : { untilMs, sent: [], renewal: state.lease?.renewal ?? 0 },
    override: false,
  };
  const clearGrant: Action<EdgeTimer> = { type: 'clear-timer', timer: 'grant' };
  const leaseRun = leaseActions(granted, grant.nowMs);
  if (state.state !== 'holding' && state.state !== 'claiming') {
    return enterClaiming(granted, reason, grant.snapshot, [clearGrant, ...leaseRun]);
  }
  // The same holder under a higher epoch: running commands are re-stamped, no device notices.
  const outdated = isOlder(granted.durable.epoch, granted.durable.floor) || exclusiveChanged;
  const epoch = outdated ? nextEpoch('edge', granted.durable.floor) : granted.durable.epoch;
  const kept = outdated ? { ...granted, durable: take(granted.durable, epoch, 'edge', reason) } : granted;
  const claimed: FromEdge[] =
    state.state === 'holding' ? [{ t: 'control.claimed', negotiation: grant.negotiation, epoch }] : [];
  return { state: kept, reason, send: claimed, run: [clearGrant, ...(outdated ? [{ type: 'restamp' as const, epoch }] : []), ...leaseRun] };
}

function onReleaseOrder(state: EdgeControl, message: Extract<FromMaster, { t: 'control.release' }>, timings: ControlTimings): Outcome {
  // Promised to the master, who alone takes it now: also a paused edge that is cut must not take it back.
  const durable = { ...hear(state.durable, message.epoch), holder: 'master' as const, reason: message.reason };
  const verdict = { winner: 'master' as const, reason: message.reason, terms: durable.terms };
  const link = state.link === null ? null : { ...state.link, verdict, granted: false };
  const heard: EdgeControl = { ...state, durable, link, noLinkSinceMs: null };
  if (state.state === 'claiming' || state.state === 'holding') return enterReleasing(heard, message.reason, 'answer', timings);
  // ◆ Already releasing: the answer comes only once everything has stopped.
  if (state.state === 'releasing') return { state: { ...heard, release: { reason: message.reason, after: 'answer' } }, reason: message.reason, loses: true };
  return {
    state: { ...heard, state: 'standby' },
    reason: message.reason,
    send: [released(heard, message.reason, null)],
    run: [{ type: 'clear-timer', timer: 'grant' }],
    loses: true,
  };
}

function onRenegotiate(state: EdgeControl, nowMs: number, timings: ControlTimings): Outcome {
  if (state.release === null) return sayHello(state, nowMs, timings);
  return { state: { ...state, release: { ...state.release, after: 'hello' } }, reason: 'hello-after-release' };
}

// ── Entering states ─────────────────────────────────────────────────────────

function enterClaiming(state: EdgeControl, reason: string, snapshot: ControlSnapshot | null, run: Action<EdgeTimer>[] | null): Outcome {
  const epoch = nextEpoch('edge', state.durable.floor);
  return {
    state: { ...state, state: 'claiming', durable: take(state.durable, epoch, 'edge', reason), run: state.run + 1 },
    reason,
    run: [...(run ?? [{ type: 'set-lease', untilMs: null }]), { type: 'start-modules', run: state.run + 1, epoch, snapshot }],
  };
}

function onStarted(state: EdgeControl, run: number): Outcome {
  if (run !== state.run || state.state !== 'claiming') return ignored(state, 'stale-run');
  const link = state.link;
  return {
    state: { ...state, state: 'holding' },
    reason: state.durable.reason,
    send: link?.granted ? [{ t: 'control.claimed', negotiation: link.negotiation, epoch: state.durable.epoch }] : [],
  };
}

/** Break before make: the write gate closes at once, then everything stops, and only then somebody is told. */
function enterReleasing(
  state: EdgeControl,
  reason: string,
  after: 'answer' | 'hello' | 'redial',
  timings: ControlTimings,
): Outcome {
  const { durable } = state;
  return {
    state: {
      ...state,
      state: 'releasing',
      durable: durable.holder === 'edge' ? { ...durable, holder: 'none', reason } : durable,
      run: state.run + 1,
      release: { reason, after },
      lease: null,
      override: false,
    },
    reason,
    atOnce: [{ type: 'close-gate' }],
    run: [
      { type: 'clear-timer', timer: 'grant' },
      { type: 'clear-timer', timer: 'renew' },
      { type: 'clear-timer', timer: 'lease' },
      { type: 'stop-modules', run: state.run + 1, deadlineMs: Math.min(timings.stopMs, timings.leaseCloseMs) },
    ],
    loses: true,
  };
}

function onStopped(state: EdgeControl, nowMs: number, snapshot: ControlSnapshot | null, timings: ControlTimings): Outcome {
  const release = state.release;
  assert(release !== null, 'releasing without a reason');
  const standby: EdgeControl = { ...state, state: 'standby', release: null };
  const noLease: Action<EdgeTimer> = { type: 'set-lease', untilMs: null };
  if (state.link === null) return { state: standby, reason: release.reason, run: [noLease] };
  if (release.after === 'answer') {
    return { state: standby, reason: release.reason, send: [released(standby, release.reason, snapshot)], run: [noLease] };
  }
  if (release.after === 'redial') {
    return { state: standby, reason: release.reason, run: [noLease, { type: 'close-link', link: state.link.number, reason: release.reason }] };
  }
  const hello = sayHello(standby, nowMs, timings);
  return { ...hello, run: [noLease, ...(hello.run ?? [])] };
}

const released = (state: EdgeControl, reason: string, snapshot: ControlSnapshot | null): FromEdge => ({
  t: 'control.released',
  negotiation: state.link?.negotiation ?? 0,
  epoch: state.durable.floor,
  reason,
  snapshot,
});

// ── Lease, timers, orders, failures ─────────────────────────────────────────

function leaseActions(state: EdgeControl, nowMs: number): Action<EdgeTimer>[] {
  if (state.lease === null) {
    return [{ type: 'set-lease', untilMs: null }, { type: 'clear-timer', timer: 'renew' }, { type: 'clear-timer', timer: 'lease' }];
  }
  const { untilMs } = state.lease;
  return [
    { type: 'set-lease', untilMs },
    { type: 'set-timer', timer: 'lease', atMs: untilMs },
    // The first renewal goes out with the grant: part of the lease was spent on waiting for it.
    { type: 'set-timer', timer: 'renew', atMs: nowMs },
  ];
}

function onRenewed(state: EdgeControl, renewal: number, timings: ControlTimings): Outcome {
  const sent = state.lease?.sent.find((entry) => entry.renewal === renewal);
  if (state.lease === null || sent === undefined) return ignored(state, 'stale-renewal');
  const untilMs = Math.max(state.lease.untilMs, writesEndMs(sent.atMs, timings));
  return {
    state: { ...state, lease: { ...state.lease, untilMs, sent: state.lease.sent.filter((entry) => entry.renewal > renewal) } },
    reason: 'lease-renewed',
    run: [{ type: 'set-lease', untilMs }, { type: 'set-timer', timer: 'lease', atMs: untilMs }],
  };
}

function onTimer(state: EdgeControl, event: { nowMs: number; timer: EdgeTimer }, timings: ControlTimings): Outcome {
  const { nowMs } = event;
  switch (event.timer) {
    case 'grant': {
      if (state.link === null || state.link.granted || state.link.verdict?.winner === 'master') return ignored(state, 'stale-timer');
      return { state, reason: 'no-grant', run: [{ type: 'close-link', link: state.link.number, reason: 'no-grant' }] };
    }
    case 'lease':
      // It only wakes the machine: that the lease is over shows in every event.
      return ignored(state, 'stale-timer');
    case 'renew': {
      if (state.lease === null) return ignored(state, 'stale-timer');
      return renew(state, state.lease, nowMs, timings);
    }
  }
}

function renew(state: EdgeControl, lease: Lease, nowMs: number, timings: ControlTimings): Outcome {
  const again: Action<EdgeTimer> = { type: 'set-timer', timer: 'renew', atMs: nowMs + timings.leaseMs / 4 };
  if (!state.link?.granted) return { state, reason: 'renewal-without-link', run: [again] };
  const renewal = lease.renewal + 1;
  const sent = [...lease.sent, { renewal, atMs: nowMs }].slice(-UNANSWERED_RENEWALS);
  return {
    state: { ...state, lease: { ...lease, renewal, sent } },
    reason: 'lease-renewal',
    send: [{ t: 'control.renew', negotiation: state.link.negotiation, epoch: state.durable.epoch, renewal }],
    run: [again],
  };
}

function onOverride(state: EdgeControl): Outcome {
  if (refuseOverride(state) !== null) return ignored(state, 'override-refused');
  const claiming = enterClaiming(state, 'operator-override', null, null);
  return { ...claiming, state: { ...claiming.state, override: true } };
}

function onJournalFailed(state: EdgeControl, { link, nowMs }: { link: number | null; nowMs: number }): Outcome {
  // Nothing was gained. Whoever waits for our answer learns it from the link; the next attempt follows the redial.
  if (link === null) return { state, reason: 'journal-failed' };
  const close: Action<EdgeTimer> = { type: 'close-link', link, reason: 'journal-failed' };
  if (state.link?.number !== link) return { state, reason: 'journal-failed', run: [close] };
  // Its end may be the very event that could not be stored, and comes no second time: an edge that took itself for connected
  // would never claim while it is cut off.
  return { state: cutOff(state, nowMs), reason: 'journal-failed', run: [{ type: 'clear-timer', timer: 'grant' }, close] };
}
