import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { FaultKind } from '../../src/sim/model/world.ts';
import { modelWith, type PlantedFault, storiesWith } from '../support/planted-fault.ts';

/** Where a fault shows: the smallest search that reaches it. Without `kinds` a search plays faults of every kind, at many times the price. */
interface Planted extends PlantedFault {
  policy: 'available' | 'exclusive' | 'no-failover';
  faults?: number;
  kinds?: readonly FaultKind[];
  orders?: number;
  windows?: number;
  terms?: number;
  delay?: number;
  holdDown?: true;
}

const edge = 'shared/control/edge-step.ts';
const edgeBoot = 'shared/control/edge-control.ts';
const master = 'shared/control/master-step.ts';
const masterRules = 'shared/control/master-control.ts';
const table = 'shared/control/decide.ts';
const runner = 'shared/runtime/location/step-runner.ts';

const planted: Planted[] = [
  // ── The runner: stored before sent, sent before run ──
  { name: 'messages leave before the record is stored', file: runner, from: 'this.#store(effects.persist, proceed,', to: 'for (const { link, message } of effects.thenSend) this.#options.shell.send(link, message);\n    this.#store(effects.persist, proceed,', policy: 'available' },
  { name: 'modules start before the record is stored', file: runner, from: 'this.#store(effects.persist, proceed,', to: 'for (const action of effects.thenRun) this.#options.shell.run(action);\n    this.#store(effects.persist, proceed,', policy: 'available' },
  { name: 'a record that was not stored counts as stored', file: runner, from: "() => settle(persist.onFailure === 'go-on' ? proceed : refuse)", to: '() => settle(proceed)', policy: 'available', faults: 1, kinds: ['disk'] },
  { name: 'giving control up waits for the disk', file: runner, from: "() => settle(persist.onFailure === 'go-on' ? proceed : refuse)", to: '() => settle(refuse)', policy: 'available', faults: 1, kinds: ['disk'] },
  { name: 'what is to be done at once waits for the disk', file: runner, from: 'for (const effect of effects.atOnce) this.#options.shell.atOnce(effect);', to: '', policy: 'available', orders: 1 },

  // ── The edge ──
  { name: 'the edge does not store its epoch', file: edge, from: 'persist: changed ? {', to: 'persist: changed && next.durable.holder !== "edge" ? {', policy: 'available' },
  { name: 'the edge stores nothing', file: edge, from: 'persist: changed ? {', to: 'persist: changed && state.durable === null ? {', policy: 'available' },
  { name: 'the edge says released before it has stopped', file: edge, from: "atOnce: [{ type: 'close-gate' }],", to: "atOnce: [{ type: 'close-gate' }],\n    send: after === 'answer' ? [released(state, reason, null)] : [],", policy: 'available', orders: 1 },
  { name: 'the edge keeps its write gate open until it has stored that it lets go', file: edge, from: "atOnce: [{ type: 'close-gate' }],", to: 'atOnce: [],', policy: 'available', orders: 1 },
  { name: 'a releasing edge answers a repeated order at once', file: edge, from: "if (state.state === 'releasing') return { state: { ...heard,", to: "if (state.state === 'booting') return { state: { ...heard,", policy: 'exclusive', faults: 1, kinds: ['modules'], orders: 1 },
  { name: 'the edge claims alone under exclusive', file: edge, from: "if (isExclusive(state.durable.terms)) return ignored(state, 'no-claim-without-lease');", to: '', policy: 'exclusive' },
  { name: 'the edge claims the instant a dial fails', file: edge, from: 'nowMs - state.noLinkSinceMs >= timings.disconnectMs', to: 'nowMs >= state.noLinkSinceMs', policy: 'available' },
  { name: 'the edge counts its first lease from the grant', file: edge, from: 'writesEndMs(link.helloSentMs, timings)', to: 'writesEndMs(grant.nowMs, timings)', policy: 'exclusive', faults: 1, kinds: ['disk'], delay: 1 },
  { name: 'the edge counts a renewal from later than it was sent', file: edge, from: 'writesEndMs(sent.atMs, timings)', to: 'writesEndMs(sent.atMs + 1, timings)', policy: 'exclusive', faults: 1, kinds: ['cut'] },
  { name: 'an ended lease has no effect', file: edge, from: 'if (!driving || state.lease === null || event.nowMs < state.lease.untilMs) return', to: 'if (state.run >= 0) return', policy: 'exclusive', faults: 1, kinds: ['cut'] },
  { name: 'an ended lease is noticed by its timer only', file: edge, from: 'if (!driving || state.lease === null || event.nowMs < state.lease.untilMs) return', to: "if (!driving || state.lease === null || event.nowMs < state.lease.untilMs || event.type !== 'timer') return", policy: 'exclusive', faults: 1, kinds: ['pause'] },
  { name: 'the edge says hello while it lets go', file: edge, from: "if (state.state === 'releasing') return { state: { ...linked,", to: "if (state.state === 'booting') return { state: { ...linked,", policy: 'exclusive', faults: 1, kinds: ['crash'] },
  { name: 'the edge claims before its modules have started', file: edge, from: "return {\n    state: { ...state, state: 'claiming',", to: "return {\n    send: state.link?.granted ? [{ t: 'control.claimed', negotiation: state.link.negotiation, epoch }] : [],\n    state: { ...state, state: 'claiming',", policy: 'available' },
  { name: 'a verdict does not raise the floor of the edge', file: edge, from: 'const durable = hear(state.durable, message.epoch);\n  const heard', to: 'const durable = state.durable;\n  const heard', policy: 'available', orders: 1 },
  { name: 'the edge keeps an epoch below its floor', file: edge, from: 'const outdated = isOlder(granted.durable.epoch, granted.durable.floor) || exclusiveChanged;', to: 'const outdated = false;', policy: 'available', faults: 1, kinds: ['disk'] },
  { name: 'the edge stops its modules when the link drops', file: edge, from: "if (noLinkSinceMs === null || link.upMs - noLinkSinceMs < timings.disconnectMs) return { state: cut, reason: 'link-down', run };", to: "if (cut.state === 'holding') return enterReleasing(cut, 'link-down', 'redial', timings);\n  if (noLinkSinceMs === null || link.upMs - noLinkSinceMs < timings.disconnectMs) return { state: cut, reason: 'link-down', run };", policy: 'available', faults: 1, kinds: ['cut'] },
  { name: 'a booting edge believes that it holds', file: edgeBoot, from: "durable: durable.holder === 'edge' ? { ...durable, holder: 'none', reason: 'edge-restarted' } : durable,", to: 'durable,', policy: 'available', faults: 1, kinds: ['crash'] },

  // ── Epochs ──
  { name: 'both sides take numbers of the same parity', file: 'shared/control/epoch.ts', from: "party === 'edge' ? 0 : 1;\n  const step", to: "party === 'edge' ? 0 : 0;\n  const step", policy: 'available' },

  // ── The master ──
  { name: 'the master does not store its epoch', file: master, from: 'persist: sameDurable(state.durable, next.durable) ?', to: "persist: next.durable.holder === 'master' || sameDurable(state.durable, next.durable) ?", policy: 'available' },
  { name: 'the grant leaves before the master has stopped', file: master, from: 'return { ...planned, send: [negotiate] };', to: 'return { ...planned, send: [negotiate, ...(grant(planned.state, link, null, 0, timings).send ?? [])] };', policy: 'available', orders: 2 },
  { name: 'a hello is granted while the master is still stopping', file: master, from: "if (state.state === 'releasing' && state.link?.phase !== 'granted') return", to: "if (state.state === 'loading' && state.link?.phase === 'ordered') return", policy: 'available', faults: 1, kinds: ['modules'] },
  { name: 'a hello of an older connection counts', file: master, from: "if (state.link !== null && event.link < state.link.number) return ignored(state, 'stale-link');", to: '', policy: 'available', faults: 1, kinds: ['modules'] },
  { name: 'a connection ends the suspicion', file: master, from: "const counts = state.state !== 'standby' && state.dueMs !== null && link.edgeState !== 'holding';", to: 'const counts = false;', policy: 'available' },
  { name: 'an edge that kept its devices is stopped by an old timeout', file: master, from: " && link.edgeState !== 'holding';", to: ';', policy: 'available', faults: 1, kinds: ['disk'] },
  { name: 'the master starts beside a connected edge', file: master, from: "if (state.link === null) return enterTakingOver(state, state.takeoverOrdered", to: "if (state.link?.phase !== 'ordered') return enterTakingOver(state, state.takeoverOrdered", policy: 'available' },
  { name: 'the master takes over before the timeout', file: master, from: 'if (nowMs < atMs) return { state, reason: waitReason, run: [dueTimer(state)] };', to: '', policy: 'available', orders: 2 },
  { name: 'a released that nobody ordered is a takeover', file: master, from: "if (link.phase === 'ordered' && state.state === 'suspect' && state.wanted.failover) {", to: "if (state.state === 'suspect' || drives(state)) {", policy: 'available', faults: 1, kinds: ['disk'] },
  { name: 'a released that comes while the master holds makes it suspect', file: master, from: "if (drives(state)) return link.phase === 'waits' ? onAccepted(heard, link) : { state: heard, reason: 'edge-waits' };", to: '', policy: 'available', orders: 1 },
  { name: 'a hello does not raise the floor of the master', file: master, from: 'durable: meet(hear(state.durable, hello.epoch))', to: 'durable: meet(state.durable)', policy: 'available', faults: 1, kinds: ['cut'] },
  { name: 'the master keeps an epoch below its floor', file: master, from: 'const outdated = isOlder(durable.epoch, durable.floor);', to: 'const outdated = false;', policy: 'available', faults: 1, kinds: ['disk'] },
  { name: 'a failed hand-back is tried again in its window', file: master, from: '(link.handback === null ? state : spendWindow(state));', to: 'state;', policy: 'available', faults: 1, kinds: ['modules'], windows: 1 },
  { name: 'a hand-back on a replaced connection has not failed', file: master, from: "state.link !== null && state.link.number !== link && state.state === 'releasing' ? failHandback(state, state.link) : state;", to: 'state;', policy: 'available', faults: 1, kinds: ['modules'], windows: 1 },
  { name: 'a restarted master believes that it holds', file: masterRules, from: "durable: held ? { ...durable, holder: 'none', reason: 'master-restarted' } : durable,", to: 'durable,', policy: 'available', faults: 1, kinds: ['crash'] },
  { name: 'a restarted master does not wait for a lease', file: masterRules, from: 'leaseOverMs: isExclusive(durable.terms) || isExclusive(wanted) ? leaseSurelyOverMs(nowMs, timings) : nowMs,', to: 'leaseOverMs: nowMs,', policy: 'exclusive', faults: 2, kinds: ['cut', 'crash'] },
  { name: 'a takeover does not wait for the lease', file: masterRules, from: 'Math.max(state.dueMs, state.leaseOverMs);', to: 'state.dueMs;', policy: 'exclusive', faults: 1, kinds: ['cut'] },
  { name: 'an ordered takeover does not wait for the lease', file: master, from: 'if (leaseMayLive(state, nowMs)) {', to: 'if (leaseMayLive(state, nowMs) && state.run < 0) {', policy: 'exclusive', faults: 1, kinds: ['cut'], orders: 1 },
  { name: 'a renewal does not prolong what the master waits for', file: master, from: 'state: { ...state, durable, leaseOverMs: leaseSurelyOverMs(message.nowMs, timings) },', to: 'state: { ...state, durable },', policy: 'exclusive', faults: 1, kinds: ['disk'] },
  { name: 'the master takes over without failover', file: masterRules, from: 'state.wanted.failover && state.durable.terms.failover && (state.takeoverOrdered || !state.wanted.paused);', to: 'state.takeoverOrdered || !state.wanted.paused;', policy: 'no-failover' },
  { name: 'an operator may take over without failover', file: masterRules, from: "if (!state.wanted.failover || !state.durable.terms.failover) return 'failover is off", to: "if (state.run < 0) return 'failover is off", policy: 'no-failover', orders: 1 },
  { name: 'a pause does not hold off a takeover', file: masterRules, from: '(state.takeoverOrdered || !state.wanted.paused);', to: 'state.run >= 0;', policy: 'available', orders: 1 },
  { name: 'a pause does not hold off the window', file: masterRules, from: ' && !isHeldDown(holdDown, nowMs) && !wanted.paused;', to: ' && !isHeldDown(holdDown, nowMs);', policy: 'available', orders: 1, windows: 1 },
  { name: 'a claim puts terms in force that the edge was not told', file: master, from: "holder: 'edge' as const, reason, terms: link.terms };", to: "holder: 'edge' as const, reason, terms: state.wanted };", policy: 'no-failover', faults: 1, kinds: ['cut'], terms: 1 },
  { name: 'a grant follows the document instead of the verdict', file: master, from: 'const leased = isExclusive(link.terms);', to: 'const leased = isExclusive(state.wanted);', policy: 'exclusive', windows: 1, terms: 1 },
  { name: 'released is a takeover though failover was switched off meanwhile', file: master, from: "if (link.phase === 'ordered' && state.state === 'suspect' && state.wanted.failover) {", to: "if (link.phase === 'ordered' && state.state === 'suspect') {", policy: 'available', terms: 1 },
  { name: 'a claim that was confirmed while loading is forgotten', file: master, from: 'dueMs: cut.dueMs ?? event.lastHeardMs + cut.wanted.timeoutMs }', to: 'dueMs: cut.dueMs }', policy: 'available', faults: 1, kinds: ['cut'] },

  { name: 'a claim does not raise the floor of the master', file: master, from: "const durable = { ...hear(state.durable, message.epoch), holder: 'edge' as const", to: "const durable = { ...state.durable, holder: 'edge' as const", policy: 'available' },

  // ── The table ──
  { name: 'row 1 is left out', file: table, from: "if (situation.edgeState === 'holding') return { winner: 'edge', reason: 'edge-kept-devices' };", to: '', policy: 'available', faults: 1, kinds: ['disk'] },
  { name: 'row 2 is left out', file: table, from: "if (situation.windowUsable) return { winner: 'edge', reason: 'window-open' };", to: '', policy: 'available', windows: 1 },
  { name: 'row 4 is left out', file: table, from: "if (situation.masterHolds) return { winner: 'master', reason: 'master-holds' };", to: '', policy: 'available' },
  { name: 'row 5 is for the master', file: table, from: "return { winner: 'edge', reason: 'no-takeover-happened' };", to: "return { winner: 'master', reason: 'no-takeover-happened' };", policy: 'available' },
  { name: 'an order to hand back has no row', file: table, from: "if (situation.handbackOrdered) return { winner: 'edge', reason: 'operator-handback' };", to: '', policy: 'available', orders: 2 },
];

interface PlantedInStories extends PlantedFault {
  /** The story of this rule. If it does not tell any more, the others are played. */
  tryFirst?: string;
}

/** What takes more at once than a search can afford: a story tells it, and tells another one when the rule is left out. */
const plantedInStories: PlantedInStories[] = [
  { name: 'an edge that never had a link is not disconnected', file: edge, from: "state: 'connecting', noLinkSinceMs: event.nowMs }", to: "state: 'connecting', noLinkSinceMs: null }", tryFirst: 'never-linked-since-boot' },
  { name: 'a lost link is not redialled at once', file: 'edge/dial-loop.ts', from: 'if (negotiated && clock.monotonicMs() - fromMs >= STEADY_MS) continue;', to: '', tryFirst: 'exclusive-redials-at-once' },
  { name: 'an order that was cut ends the release', file: edge, from: "release: state.release === null ? null : { ...state.release, after: 'redial' },", to: 'release: null,', tryFirst: 'order-cut-while-still-stopping' },
  { name: 'a late claim leaves the link open', file: master, from: ", run: [closeLink(link, 'late-claim')] };", to: ' };', tryFirst: 'late-claimed' },
  { name: 'the policy changes without a new epoch of the master', file: master, from: 'if (isExclusive(durable.terms) === isExclusive(terms)) {', to: 'if (state.run >= 0) {', tryFirst: 'policy-change-while-the-master-holds' },
  { name: 'the policy changes without a new epoch of the edge', file: edge, from: 'granted.durable.floor) || exclusiveChanged;', to: 'granted.durable.floor);', tryFirst: 'policy-change-to-exclusive' },
  { name: 'what a master held when it went down is not due at once', file: masterRules, from: 'dueMs: held ? nowMs : nowMs + wanted.timeoutMs,', to: 'dueMs: nowMs + wanted.timeoutMs,', tryFirst: 'master-restart-makes-holder-nobody' },
  { name: 'a restarted master counts no timeout from boot', file: masterRules, from: 'dueMs: held ? nowMs : nowMs + wanted.timeoutMs,', to: 'dueMs: nowMs,', tryFirst: 'master-restart-other-timeouts-count-from-boot' },
  { name: 'a verdict does not cancel a start', file: master, from: 'if (drives(state)) return letGo(', to: "if (state.state === 'holding') return letGo(", tryFirst: 'verdict-cancels-a-start' },
  { name: 'the master takes messages of another negotiation', tryFirst: 'message-of-another-negotiation', file: master, from: "if (message.negotiation !== link.negotiation) return ignored(state, 'stale-negotiation');", to: '' },
  { name: 'a stalled hand-over is waited for', tryFirst: 'hand-over-stalled', file: master, from: "return waiting ? { state, reason: 'edge-stalled', run: [closeLink(link, 'edge-stalled')] } :", to: "return waiting ? ignored(state, 'edge-stalled') :" },
  { name: 'a claim counts that no negotiation asked for', tryFirst: 'late-claimed', file: master, from: "if (link.phase !== 'granted' || isOlder(message.epoch, state.durable.floor)) {", to: 'if (state.run < 0) {' },
  { name: 'a renewal is granted to an edge that was told to release', tryFirst: 'renewal-after-an-order', file: master, from: "if (link.phase !== 'granted' && link.phase !== 'confirmed') return ignored(state, 'renewal-refused');", to: "" },
  { name: 'an order that crossed a hello is forgotten', tryFirst: 'order-crosses-a-hello', file: master, from: "if (state.link?.number === event.link && state.link.phase === 'ordered') return orderRelease(", to: "if (state.run < 0 && state.link) return orderRelease(" },
  { name: 'flapping does not hold off the window', tryFirst: 'flap-protection', file: masterRules, from: ' && !isHeldDown(holdDown, nowMs) && !wanted.paused;', to: ' && !wanted.paused;' },
  { name: 'the edge takes messages of another negotiation', tryFirst: 'message-of-another-negotiation', file: edge, from: "if (message.negotiation !== link.negotiation) return ignored(state, 'stale-negotiation');", to: '' },
  { name: 'leaving control without a hand-back leaves the link open', tryFirst: 'failed-takeover-closes-the-link', file: master, from: 'if (grantTo === null && state.link !== null) run.push(closeLink(state.link, reason));', to: '' },
  { name: 'an order that was cut is not void', tryFirst: 'order-cut-before-released', file: master, from: "if (link.phase === 'ordered') return also(enterSuspect(cut, event.nowMs, 'order-cut', event.nowMs), withHoldDown);", to: '' },
  { name: 'released does not void the lease', tryFirst: 'released-voids-the-lease', file: master, from: "if (link.phase === 'ordered' && state.state === 'suspect' && state.wanted.failover) {", to: "if (link.phase === 'ordered' && state.state === 'suspect' && message.nowMs >= state.leaseOverMs) {" },
];

describe('the model finds each rule that is left out', () => {
  it.each(planted)('$name', async (fault) => {
    const { configOf, search } = await modelWith(fault);
    const { policy, faults = 0, kinds, orders, windows, terms, delay, holdDown } = fault;
    const shape = { orders: orders ?? 0, windows: windows ?? 0, terms: terms ?? 0, delay: delay ?? 0 };
    const report = search(configOf(policy, { name: fault.name, faults, ...shape, ...(kinds ? { kinds } : {}), ...(holdDown ? { holdDown } : {}) }), { maxStates: 400_000 });
    expect(report.problem).not.toBeNull();
    expect(report.trace.length).toBeGreaterThan(0);
  });
});

describe('the stories tell each rule that is left out', () => {
  const folder = join(import.meta.dirname, '../scenarios');

  it.each(plantedInStories)('$name', async (fault) => {
    const { runStory } = await storiesWith(fault);
    const files = (await readdir(folder)).filter((file) => file.endsWith('.txt') && file !== `${fault.tryFirst}.txt`);
    if (fault.tryFirst !== undefined) files.unshift(`${fault.tryFirst}.txt`);
    let told: string | null = null;
    while (told === null && files.length > 0) {
      const name = files.shift() ?? '';
      const golden = await readFile(join(folder, name), 'utf8');
      // A story that cannot even be played to its end differs as well.
      const played = await runStory(golden, name).catch((error: unknown) => ({ text: String(error), violations: [] }));
      if (played.text !== golden || played.violations.length > 0) told = name;
    }
    expect(told, 'no story tells it').not.toBeNull();
  });
});

describe('what is never reached is noticed', () => {
  it('row 3, which decides as row 5 would, but says why', async () => {
    const rule = "if (situation.masterLoading) return { winner: 'edge', reason: 'master-loading' };";
    const { runModel } = await modelWith({ name: 'row 3 is left out', file: table, from: rule, to: '' });
    const report = runModel({ policy: 'no-failover', size: 'small' });
    expect(report.missing).toEqual(['verdict master-loading']);
    expect(report.ok).toBe(false);
  });
});
