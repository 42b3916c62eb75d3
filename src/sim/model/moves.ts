import { bootEdge, type EdgeControl, type EdgeEvent, refuseOverride } from '../../shared/control/edge-control.ts';
import { bootMaster, drives, type MasterControl, type MasterEvent, type MasterOrder, refuseOrder } from '../../shared/control/master-control.ts';
import { isOlder } from '../../shared/control/epoch.ts';
import { type Durable, isExclusive, sameDurable } from '../../shared/control/step.ts';
import type { Party } from '../../shared/model/control.ts';
import { edgeDrives } from '../invariants.ts';
import { endWrite, type Findings, post, storeOnly } from './shell.ts';
import { tick } from './time.ts';
import {
  edgeLink,
  type FaultKind,
  isConfirmed,
  isFree,
  isStuck,
  type Link,
  linkOf,
  type ModelConfig,
  noModules,
  noTimers,
  QUEUE_LIMIT,
  sameDocument,
  takeFirst,
  tidyLinks,
  type World,
  type Writing,
} from './world.ts';

/** One thing that can happen. `urgency`: what a fair world without faults does first; null: it never does it by itself. */
export interface Move {
  label: string;
  urgency: number | null;
  apply(world: World, findings: Findings): void;
}

const parties: readonly Party[] = ['edge', 'master'];

/** Everything that can happen next. */
export function movesOf(world: World, config: ModelConfig): Move[] {
  const moves: Move[] = [];
  const first = parties.find((party) => goesFirst(world, config, party));
  if (first !== undefined) {
    processMoves(moves, world, config, first);
    return moves;
  }
  for (const party of parties) {
    processMoves(moves, world, config, party);
    moduleMoves(moves, world, config, party);
  }
  edgeMoves(moves, world, config);
  masterMoves(moves, world, config);
  for (const link of world.links) linkMoves(moves, world, config, link);
  if (isFree(world.master)) orderMoves(moves, world, config);
  surroundings(moves, world, config);
  if (mayTick(world, config)) moves.push({ label: 'time passes', urgency: 90, apply: (next) => tick(next, config) });
  return moves;
}

/**
 * May what this process does next come before everything else, and nothing be missed by that? It waits for its disk, so that it
 * takes no event and time stands still. What else can happen meanwhile leads to the same world before and after it: it
 * reads only what the process has said already, writes only what it will read later, and spends faults of the same budget.
 * Not so where a queue is full, where ages of messages count, and where a master that crashes turns an edge away.
 */
function goesFirst(world: World, config: ModelConfig, party: Party): boolean {
  const { machine, paused, writing } = world[party];
  if (machine === null || paused || writing === null || config.delay > 0) return false;
  if (party === 'edge') return world.links.every(({ toMaster }) => toMaster.messages.length < QUEUE_LIMIT);
  const { faults, windows } = world.budget;
  return faults === 0 && windows === 0 && world.links.every(({ toEdge }) => toEdge.messages.length === 0);
}

// ── Processes ───────────────────────────────────────────────────────────────

function processMoves(moves: Move[], world: World, config: ModelConfig, party: Party): void {
  const process = world[party];
  if (process.machine === null) {
    moves.push({ label: `${party} starts`, urgency: 10, apply: (next, findings) => boot(next, config, findings, party) });
    return;
  }
  if (process.paused) moves.push({ label: `${party} goes on`, urgency: 10, apply: (next) => setPaused(next, party, false) });
  else if (mayFail(world, config, 'pause')) {
    moves.push({ label: `${party} is paused`, urgency: null, apply: (next) => setPaused(spendFault(next), party, true) });
  }
  const crashes = mayFail(world, config, 'crash');
  if (crashes) moves.push({ label: `${party} crashes`, urgency: null, apply: (next) => crash(spendFault(next), party) });
  if (process.writing === null || process.paused) return;
  moves.push({ label: `${party} has stored`, urgency: 20, apply: (next, findings) => endWrite(next, config, findings, party, 'stored') });
  if (crashes) {
    moves.push({
      label: `${party} crashes after storing`,
      urgency: null,
      apply: (next, findings) => {
        storeOnly(next, findings, party);
        crash(spendFault(next), party);
      },
    });
  }
  if (!mayFail(world, config, 'disk')) return;
  moves.push({
    label: `the disk of the ${party} fails`,
    urgency: null,
    apply: (next, findings) => endWrite(spendFault(next), config, findings, party, 'failed'),
  });
}

const mayFail = (world: World, config: ModelConfig, kind: FaultKind): boolean => world.budget.faults > 0 && config.kinds.includes(kind);

function spendFault(world: World): World {
  world.budget.faults -= 1;
  return world;
}

function setPaused(world: World, party: Party, paused: boolean): void {
  world[party].paused = paused;
}

function crash(world: World, party: Party): void {
  const process = world[party];
  if (party === 'edge') world.edge.timers = { ...noTimers.edge };
  else world.master.timers = { ...noTimers.master };
  process.machine = null;
  process.paused = false;
  process.behind = false;
  process.writing = null;
  // The driver hosts end with their node.
  process.modules = noModules;
  process.loadingFor = 0;
  for (const link of world.links) {
    if (party === 'edge') link.edgeEnd = 'gone';
    else link.masterEnd = 'gone';
  }
  if (party === 'master') world.memory.failedHandback = false;
  tidyLinks(world);
}

function boot(world: World, config: ModelConfig, findings: Findings, party: Party): void {
  const terms = config.terms[world.terms] ?? config.terms[0];
  if (terms === undefined) return;
  if (party === 'edge') {
    // What the documents say an edge learns from a master: where they change, it must have met one first.
    const known = config.terms.length > 1 ? config.terms.find(isExclusive) : terms;
    const machine = bootEdge(world.edge.journal, known ?? terms);
    findings.note({ type: 'booted', party, stored: world.edge.journal, durable: machine.durable });
    world.edge.machine = machine;
    world.edge.writing = firstWrite(world.edge.journal, machine.durable);
    world.memory.saidHolding = null;
  } else {
    const machine = bootMaster(world.master.journal, terms, 0, config.timings);
    const held = machine.durable.reason === 'master-restarted';
    findings.note({ type: 'booted', party, stored: world.master.journal, durable: machine.durable });
    world.master.machine = machine;
    world.master.writing = firstWrite(world.master.journal, machine.durable);
    world.master.loadingFor = config.loading;
    // What it held itself nobody else can have confirmed.
    world.memory.quiet = held ? terms.timeoutMs : 0;
  }
}

const firstWrite = (journal: Durable | null, durable: Durable): Writing<never> | null =>
  journal !== null && sameDurable(journal, durable) ? null : { event: 'boot', record: durable, letsGo: false, ago: 0 };

function moduleMoves(moves: Move[], world: World, config: ModelConfig, party: Party): void {
  const { modules } = world[party];
  if (!isFree(world[party])) return;
  const report = (type: 'modules-started' | 'modules-failed', run: number) => (next: World, findings: Findings) => {
    post(next, config, findings, party, { type, nowMs: 0, run });
  };
  if (modules.phase === 'starting') {
    moves.push({
      label: `modules of the ${party} have started`,
      urgency: 40,
      apply: (next, findings) => {
        next[party].modules.phase = 'running';
        report('modules-started', modules.run)(next, findings);
      },
    });
    if (mayFail(world, config, 'modules')) {
      moves.push({
        label: `modules of the ${party} do not start`,
        urgency: null,
        apply: (next, findings) => report('modules-failed', modules.run)(spendFault(next), findings),
      });
    }
  }
  if (modules.phase !== 'stopping' && modules.phase !== 'closed') return;
  if (modules.lateStart) {
    moves.push({
      label: `a cancelled start of the ${party} reports late`,
      urgency: null,
      apply: (next, findings) => {
        next[party].modules.lateStart = false;
        report('modules-started', modules.run - 1)(next, findings);
      },
    });
  }
  // Closed by the host at the end of a lease: the node has not asked for a stop yet.
  if (modules.stopIn < 0) return;
  moves.push({
    label: `modules of the ${party} have stopped`,
    urgency: 40,
    apply: (next, findings) => {
      next[party].modules = { ...noModules, lease: next[party].modules.lease };
      post(next, config, findings, party, { type: 'modules-stopped', nowMs: 0, run: modules.run, snapshot: null });
    },
  });
}

function edgeMoves(moves: Move[], world: World, config: ModelConfig): void {
  const { edge } = world;
  const machine = edge.machine;
  if (machine === null || !isFree(edge)) return;
  const event = (label: string, urgency: number | null, what: EdgeEvent): void => {
    moves.push({ label, urgency, apply: (next, findings) => post(next, config, findings, 'edge', what) });
  };
  if (machine.state === 'booting') {
    event('the edge has loaded', 15, { type: 'loaded', nowMs: 0 });
    return;
  }
  for (const timer of ['grant', 'renew', 'lease'] as const) {
    if (edge.timers[timer] !== 0) continue;
    moves.push({
      label: `timer ${timer} of the edge`,
      urgency: 50,
      apply: (next, findings) => {
        next.edge.timers[timer] = null;
        post(next, config, findings, 'edge', { type: 'timer', nowMs: 0, timer });
      },
    });
  }
  if (machine.link === null && edgeLink(world) === undefined) {
    if (mayDial(world)) moves.push({ label: 'the edge connects', urgency: 60, apply: (next, findings) => connect(next, config, findings) });
    event('dialling fails', null, { type: 'dial-failed', nowMs: 0 });
  }
  if (world.budget.orders > 0 && refuseOverride(machine) === null) {
    moves.push({
      label: 'the person on site takes control',
      urgency: null,
      apply: (next, findings) => {
        next.budget.orders -= 1;
        post(next, config, findings, 'edge', { type: 'override', nowMs: 0 });
      },
    });
  }
}

/** A third link waits until the master has noticed the loss of the first: two at a time are enough to mix up. */
const mayDial = (world: World): boolean => world.networkUp && world.master.machine !== null && !world.master.paused && world.links.length < 2;

function connect(world: World, config: ModelConfig, findings: Findings): void {
  const known = [...world.links.map((link) => link.number), world.master.machine?.link?.number ?? 0, world.edge.machine?.link?.number ?? 0];
  const number = Math.max(0, ...known) + 1;
  world.links.push({
    number,
    edgeEnd: 'up',
    masterEnd: 'up',
    broken: false,
    silentFor: 0,
    toMaster: { messages: [], age: 0 },
    toEdge: { messages: [], age: 0 },
  });
  post(world, config, findings, 'edge', { type: 'link-up', nowMs: 0, link: number });
}

function masterMoves(moves: Move[], world: World, config: ModelConfig): void {
  const { master } = world;
  const machine = master.machine;
  if (machine === null || !isFree(master)) return;
  const event = (label: string, urgency: number | null, what: MasterEvent): void => {
    moves.push({ label, urgency, apply: (next, findings) => post(next, config, findings, 'master', what) });
  };
  for (const timer of ['due', 'dialogue', 'hold-down'] as const) {
    if (master.timers[timer] !== 0) continue;
    moves.push({
      label: `timer ${timer} of the master`,
      urgency: 50,
      apply: (next, findings) => {
        next.master.timers[timer] = null;
        post(next, config, findings, 'master', { type: 'timer', nowMs: 0, timer });
      },
    });
  }
  if (machine.state === 'loading' && (master.loadingFor === 0 || machine.link?.phase === 'confirmed')) {
    event('the master has booted', 45, { type: 'booted', nowMs: 0 });
  }
  if (machine.window.open !== world.windowOpen) {
    const occurrence = machine.window.occurrence + (world.windowOpen ? 1 : 0);
    event('the master sees the window', 30, { type: 'window', nowMs: 0, open: world.windowOpen, occurrence });
  }
  const terms = config.terms[world.terms];
  if (terms !== undefined && !sameDocument(machine.wanted, terms)) {
    event('the master reads the new document', 30, { type: 'terms', nowMs: 0, terms });
  }
}

function orderMoves(moves: Move[], world: World, config: ModelConfig): void {
  const machine = world.master.machine;
  if (machine === null) return;
  for (const order of ['takeover', 'handback', 'pause', 'resume'] satisfies MasterOrder[]) {
    if (world.budget.orders <= 0 || refuseOrder(machine, order) !== null) continue;
    moves.push({
      label: `an operator orders: ${order}`,
      urgency: null,
      apply: (next, findings) => {
        next.budget.orders -= 1;
        // Whoever takes control by order need not wait for the timeout, only for a lease.
        if (order === 'takeover') next.memory.quiet = machine.wanted.timeoutMs;
        post(next, config, findings, 'master', { type: 'order', nowMs: 0, order });
      },
    });
  }
}

// ── Links ───────────────────────────────────────────────────────────────────

function linkMoves(moves: Move[], world: World, config: ModelConfig, link: Link): void {
  const { number } = link;
  if (isFree(world.master) && link.masterEnd === 'up') {
    const [message] = link.toMaster.messages;
    if (message !== undefined) {
      moves.push({
        label: `${message.t} arrives at the master (link ${number})`,
        urgency: 55,
        apply: (next, findings) => {
          takeFirst(linkOf(next, number)?.toMaster);
          if (message.t === 'hello') noteReplaced(next, number);
          post(next, config, findings, 'master', { type: 'message', nowMs: 0, link: number, message });
        },
      });
    }
  }
  if (isFree(world.edge) && link.edgeEnd === 'up') {
    const [message] = link.toEdge.messages;
    if (message !== undefined) {
      moves.push({
        label: `${message.t} arrives at the edge (link ${number})`,
        urgency: 54,
        apply: (next, findings) => {
          takeFirst(linkOf(next, number)?.toEdge);
          post(next, config, findings, 'edge', { type: 'message', nowMs: 0, link: number, message });
        },
      });
    }
  }
  reportMoves(moves, world, config, link);
  if (isFree(world.edge) && mayNotice(world, config, link, 'edge')) {
    moves.push({
      label: `the edge notices the end of link ${number}`,
      urgency: 30,
      apply: (next, findings) => {
        const lost = linkOf(next, number);
        if (lost !== undefined) lost.edgeEnd = 'gone';
        tidyLinks(next);
        post(next, config, findings, 'edge', { type: 'link-down', nowMs: 0, link: number });
      },
    });
  }
  if (isFree(world.master) && mayNotice(world, config, link, 'master')) {
    moves.push({
      label: `the master notices the end of link ${number}`,
      urgency: 31,
      apply: (next, findings) => {
        const lost = linkOf(next, number);
        // Closed here: heard until now. Lost: heard until it fell silent, or until the claim if that came later.
        const lastHeardMs = link.masterEnd === 'up' && isConfirmed(world, link) ? -world.memory.quiet : 0;
        noteFailedHandback(next, number);
        if (lost !== undefined) lost.masterEnd = 'gone';
        tidyLinks(next);
        post(next, config, findings, 'master', { type: 'link-down', nowMs: 0, link: number, lastHeardMs });
      },
    });
  }
}

/** Who drives reports under its epoch over a link that is negotiated, also when no control message has told of that epoch. */
function reportMoves(moves: Move[], world: World, config: ModelConfig, { number, edgeEnd, masterEnd }: Link): void {
  const [edge, master] = [world.edge.machine, world.master.machine];
  if (edgeEnd !== 'up' || masterEnd !== 'up' || edge?.link?.number !== number || master?.link?.number !== number) return;
  if (edge.link.verdict === null || master.link.phase === 'deferred') return;
  const hears = (party: Party, { durable: own }: EdgeControl | MasterControl, { durable: other }: EdgeControl | MasterControl): void => {
    if (!isFree(world[party]) || !isOlder(own.floor, other.epoch)) return;
    const event = { type: 'epoch-heard', nowMs: 0, link: number, epoch: other.epoch } as const;
    const label = `a report arrives at the ${party} (link ${number})`;
    moves.push({ label, urgency: 56, apply: (next, findings) => post(next, config, findings, party, event) });
  };
  if (drives(master)) hears('edge', edge, master);
  if (edgeDrives(edge.state)) hears('master', master, edge);
}

/** A hello over this link ends the older one that the master has. A late hello over an older one ends nothing. */
function noteReplaced(world: World, link: number): void {
  const current = world.master.machine?.link?.number ?? link;
  if (link > current) noteFailedHandback(world, current);
}

/** A hand-back that was under way over this link has failed: it is not tried again in this window. */
function noteFailedHandback(world: World, link: number): void {
  const machine = world.master.machine;
  if (machine === null || machine.link?.number !== link || machine.link.handback === null) return;
  // A window that has closed since does not count, whether the master knows that already or not.
  if (machine.state === 'releasing' && machine.window.open && world.windowOpen) world.memory.failedHandback = true;
}

/** Its own end closed, the other end gone, or silent for too long. */
function mayNotice(world: World, config: ModelConfig, link: Link, party: Party): boolean {
  const [own, other] = party === 'edge' ? [link.edgeEnd, link.masterEnd] : [link.masterEnd, link.edgeEnd];
  if (own === 'gone') return false;
  return own === 'closed' || other !== 'up' || link.broken || link.silentFor >= config.linkDead || isStuck(world, link);
}

// ── Surroundings ───────────────────────────────────────────────────

function surroundings(moves: Move[], world: World, config: ModelConfig): void {
  if (!world.networkUp) moves.push({ label: 'the network heals', urgency: 10, apply: (next) => void (next.networkUp = true) });
  else if (mayFail(world, config, 'cut')) moves.push({ label: 'the network is cut', urgency: null, apply: cut });
  if (world.windowOpen) {
    moves.push({
      label: 'the window closes',
      urgency: null,
      apply: (next) => {
        next.windowOpen = false;
        next.memory.failedHandback = false;
      },
    });
  } else if (world.budget.windows > 0 && !world.master.machine?.window.open) {
    moves.push({
      label: 'the window opens',
      urgency: null,
      apply: (next) => {
        next.windowOpen = true;
        next.budget.windows -= 1;
      },
    });
  }
  if (world.budget.terms <= 0) return;
  for (const [index, terms] of config.terms.entries()) {
    if (index === world.terms) continue;
    const name = terms.failover ? terms.policy : 'no failover';
    moves.push({
      label: `the document asks for ${name}`,
      urgency: null,
      apply: (next) => {
        next.terms = index;
        next.budget.terms -= 1;
      },
    });
  }
}

function cut(world: World): void {
  spendFault(world);
  world.networkUp = false;
  for (const link of world.links) link.broken = true;
  tidyLinks(world);
}

/** Time passes once everything has happened that would not wait. */
function mayTick(world: World, config: ModelConfig): boolean {
  for (const party of parties) {
    const process = world[party];
    if (process.machine === null || process.paused) continue;
    if (process.writing !== null || process.machine.state === 'booting') return false;
    if (Object.values(process.timers).includes(0)) return false;
    const { phase, stopIn } = process.modules;
    if ((phase === 'stopping' || phase === 'closed') && stopIn === 0) return false;
  }
  // Where a master can be reached, dialling takes no time: what takes time is a network that is down.
  if (isFree(world.edge) && edgeLink(world) === undefined && mayDial(world)) return false;
  const { machine, loadingFor } = world.master;
  if (isFree(world.master) && machine !== null) {
    if (machine.state === 'loading' && loadingFor === 0) return false;
    const terms = config.terms[world.terms];
    if (machine.window.open !== world.windowOpen || (terms !== undefined && !sameDocument(machine.wanted, terms))) return false;
  }
  return world.links.every((link) => mayWait(world, config, link));
}

function mayWait(world: World, config: ModelConfig, link: Link): boolean {
  for (const party of parties) {
    if (!isFree(world[party])) continue;
    const own = party === 'edge' ? link.edgeEnd : link.masterEnd;
    if (own === 'closed') return false;
    if (own === 'up' && link.silentFor >= config.linkDead) return false;
    const queue = party === 'edge' ? link.toEdge : link.toMaster;
    if (own === 'up' && queue.messages.length > 0 && queue.age >= config.delay) return false;
  }
  return true;
}
