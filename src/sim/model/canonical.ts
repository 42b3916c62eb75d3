import type { EdgeControl, EdgeEvent } from '../../shared/control/edge-control.ts';
import { type HoldDown, noHoldDown } from '../../shared/control/hold-down.ts';
import { drives, NEVER_HELD, type MasterControl, type MasterEvent } from '../../shared/control/master-control.ts';
import { edgeStates, type FromEdge, type FromMaster, masterStates } from '../../shared/control/messages.ts';
import { type Durable, isExclusive } from '../../shared/control/step.ts';
import type { VerdictReason } from '../../shared/control/decide.ts';
import { sameEpoch } from '../../shared/control/epoch.ts';
import type { Epoch, Terms } from '../../shared/model/control.ts';
import type { Fingerprint } from './states.ts';
import type { Link, ModelConfig, Modules, Process, Queue, World } from './world.ts';

/**
 * When are two worlds the same? When they can only go on alike: times count from now and stop where they no longer
 * matter, numbers that are only compared with each other count from the bottom, and words that are only shown are left out.
 */

// ── Time ────────────────────────────────────────────────────────────────────

/** An edge's machine after `units`: what lies in the future comes closer, what lies in the past fades. */
export function edgeLater(state: EdgeControl, units: number, config: ModelConfig): EdgeControl {
  const { disconnectMs, leaseMs } = config.timings;
  const { link, lease, noLinkSinceMs } = state;
  const noLink = noLinkSinceMs === null ? null : Math.max(-disconnectMs, noLinkSinceMs - units);
  // Of when a link came up, only whether it was late matters.
  const late = link !== null && noLinkSinceMs !== null && link.upMs - noLinkSinceMs >= disconnectMs;
  const upMs = noLink === null ? 0 : noLink + (late ? disconnectMs : 0);
  const sent = (lease?.sent ?? []).map(({ renewal, atMs }) => ({ renewal, atMs: Math.max(-leaseMs, atMs - units) }));
  return {
    ...state,
    noLinkSinceMs: noLink,
    link: link === null ? null : { ...link, upMs, helloSentMs: Math.max(-leaseMs, link.helloSentMs - units) },
    lease: lease === null ? null : { ...lease, untilMs: Math.max(0, lease.untilMs - units), sent },
  };
}

export function masterLater(state: MasterControl, units: number, config: ModelConfig): MasterControl {
  return {
    ...state,
    dueMs: state.dueMs === null ? null : Math.max(0, state.dueMs - units),
    leaseOverMs: Math.max(0, state.leaseOverMs - units),
    holdDown: config.holdDown ? holdDownLater(state.holdDown, units, config) : noHoldDown,
  };
}

function holdDownLater(holdDown: HoldDown, units: number, config: ModelConfig): HoldDown {
  const { withinMs, capMs } = config.timings.flap;
  return {
    level: holdDown.level,
    breaks: holdDown.breaks.map((at) => at - units).filter((at) => at > -withinMs),
    untilMs: Math.max(-capMs - 1, holdDown.untilMs - units),
  };
}

// ── Identity ────────────────────────────────────────────────────────────────

/** Floors further apart than this are not told apart: one side alone cannot get that far. */
const epochGap = ({ faults, orders, windows, terms }: ModelConfig['budget']): number => 2 * (faults + orders + windows + terms + 2);

/** Equal for two worlds that are the same but for the faults that may still happen. Short: one character a fact. */
export function keyOf(world: World, config: ModelConfig): string {
  return String.fromCharCode(...new Key(world, config).codes());
}

/** The same in 64 bits: two chains over the facts that share no constant. */
export function fingerprintOf(world: World, config: ModelConfig): Fingerprint {
  let high = 0x2545f491;
  let low = 0x9e3779b9;
  for (const code of new Key(world, config).codes()) {
    high = Math.imul(high ^ code, 0x85ebca6b);
    high = (high << 13) | (high >>> 19);
    low = Math.imul(low + code, 0xcc9e2d51);
    low ^= low >>> 15;
  }
  return { high: mixed(high), low: mixed(low) };
}

/** Every bit of the input changes half of the output. */
function mixed(value: number): number {
  const once = Math.imul(value ^ (value >>> 16), 0x7feb352d);
  const twice = Math.imul(once ^ (once >>> 15), 0x846ca68b);
  return (twice ^ (twice >>> 16)) >>> 0;
}

const processPhases: readonly Modules['phase'][] = ['none', 'starting', 'running', 'stopping', 'closed'];
const ends: readonly Link['edgeEnd'][] = ['gone', 'up', 'closed'];
const holders: readonly Durable['holder'][] = ['none', 'edge', 'master'];
const linkPhases = ['deferred', 'granted', 'confirmed', 'waits', 'rehello', 'ordered'] as const;
const edgeEvents: readonly EdgeEvent['type'][] = [
  'loaded', 'link-up', 'link-down', 'dial-failed', 'message', 'timer', 'override', 'modules-started', 'modules-failed', 'modules-stopped', 'journal-failed',
  'epoch-heard',
];
const masterEvents: readonly MasterEvent['type'][] = [
  'booted', 'link-down', 'message', 'timer', 'window', 'terms', 'order', 'modules-started', 'modules-failed', 'modules-stopped', 'journal-failed',
  'epoch-heard',
];
const messages: readonly (FromEdge | FromMaster)['t'][] = [
  'hello', 'negotiate', 'control.granted', 'control.release', 'control.released', 'control.claimed', 'control.accepted',
  'control.renegotiate', 'control.renew', 'control.renewed',
];
const verdicts: readonly string[] = [
  'edge-kept-devices', 'operator-handback', 'window-open', 'master-loading', 'no-takeover-happened',
] satisfies VerdictReason[];
const orders = ['takeover', 'handback', 'pause', 'resume'] as const;
const timers = ['grant', 'renew', 'lease', 'due', 'dialogue', 'hold-down'] as const;

class Key {
  readonly #codes: number[] = [];
  readonly #world: World;
  readonly #config: ModelConfig;
  readonly #numbers: Numbers;

  constructor(world: World, config: ModelConfig) {
    this.#world = world;
    this.#config = config;
    this.#numbers = collect(world, epochGap(config.budget));
  }

  codes(): readonly number[] {
    const world = this.#world;
    const { budget, memory } = world;
    this.#n(budget.orders);
    this.#n(budget.windows);
    this.#n(budget.terms);
    this.#n(world.terms);
    const [edge, master] = [world.edge.machine, world.master.machine];
    // While it has a link, and no longer than its timeout.
    const said = edge !== null && edge.link !== null ? memory.saidHolding : null;
    this.#n(said ?? -1);
    this.#n(flags(world.networkUp, world.windowOpen, memory.failedHandback));
    this.#n(master === null || drives(master) || master.state === 'releasing' ? 0 : memory.quiet);
    this.#process(world.edge, (machine) => this.#edge(machine), (event) => this.#edgeEvent(event));
    this.#process(world.master, (machine) => this.#master(machine), (event) => this.#masterEvent(event));
    for (const link of world.links) this.#link(link);
    return this.#codes;
  }

  #n(value: number): void {
    this.#codes.push(value + 32);
  }

  #process<State, Event, Timer extends string>(process: Process<State, Event, Timer>, machine: (state: State) => void, event: (event: Event) => void): void {
    const { writing, modules } = process;
    this.#n(flags(process.machine !== null, process.paused, process.behind, writing !== null, process.journal !== null));
    this.#n(process.loadingFor);
    for (const at of Object.values<number | null>(process.timers)) this.#n(at ?? -1);
    this.#n(processPhases.indexOf(modules.phase));
    this.#n(modules.lease ?? -9);
    this.#n(modules.stopIn);
    this.#n(flags(modules.lateStart, modules.override, modules.gate !== null));
    if (process.journal !== null) this.#durable(process.journal);
    if (process.machine !== null) machine(process.machine);
    if (writing === null) return;
    this.#n(writing.ago);
    this.#durable(writing.record);
    if (writing.event === 'boot') this.#n(-1);
    else event(writing.event);
  }

  #epoch(epoch: Epoch): void {
    this.#n(this.#numbers.epochs.rankOf(epoch.number));
  }

  #durable(durable: Durable): void {
    this.#epoch(durable.floor);
    // How old an own epoch is that lies below the floor makes no difference.
    this.#n(sameEpoch(durable.epoch, durable.floor) ? 1 : 0);
    this.#n(holders.indexOf(durable.holder));
    // The only words that decide anything: those of a master that restarts or has met nobody, and the verdict, for
    // a claim that changes it must be stored.
    this.#n(durable.reason === 'master-restarted' ? 1 : durable.reason === NEVER_HELD ? 2 : 4 + verdicts.indexOf(durable.reason));
    this.#n(this.#terms(durable.terms));
  }

  #terms(terms: Terms): number {
    const { terms: known } = this.#config;
    const index = known.findIndex((entry) => entry.failover === terms.failover && entry.policy === terms.policy && entry.timeoutMs === terms.timeoutMs);
    return index * 2 + (terms.paused ? 1 : 0);
  }

  #edge(edge: EdgeControl): void {
    const { link, release, lease } = edge;
    this.#n(edgeStates.indexOf(edge.state));
    this.#n(edge.noLinkSinceMs ?? 9);
    this.#n(flags(edge.override, lease !== null));
    this.#durable(edge.durable);
    this.#n(release === null ? 0 : release.after === 'answer' ? 1 : release.after === 'hello' ? 2 : 3);
    this.#n(link === null ? 0 : this.#linkNumber(link.number));
    if (link !== null) {
      const { verdict } = link;
      this.#n(this.#negotiation(link.number, link.negotiation));
      // A lease counts from the hello until it is granted.
      this.#n(this.#leased() && !link.granted && verdict?.winner !== 'master' ? link.helloSentMs : 0);
      const late = edge.noLinkSinceMs !== null && link.upMs - edge.noLinkSinceMs >= this.#config.timings.disconnectMs;
      this.#n(flags(link.granted, late));
      this.#n(verdict === null ? 0 : verdict.winner === 'edge' ? 1 : 2);
      this.#n(verdict === null ? 0 : this.#terms(verdict.terms));
      // It is stored with the grant.
      this.#n(verdict === null || link.granted ? 0 : 2 + verdicts.indexOf(verdict.reason));
    }
    if (lease === null) return;
    this.#n(lease.untilMs);
    this.#n(this.#renewal(lease.renewal));
    // Without the link over which they were asked for, renewals are never answered.
    if (link?.granted) for (const { renewal, atMs } of lease.sent) this.#n(this.#renewal(renewal) * 16 - atMs);
    this.#n(-9);
  }

  #leased(): boolean {
    return this.#config.terms.some(isExclusive);
  }

  #master(master: MasterControl): void {
    const { link, window, holdDown } = master;
    this.#n(masterStates.indexOf(master.state));
    this.#n(this.#terms(master.wanted));
    this.#n(master.dueMs ?? -1);
    this.#n(master.leaseOverMs);
    this.#n(flags(window.open, window.open && master.spentWindow === window.occurrence, master.takeoverOrdered));
    this.#durable(master.durable);
    this.#n(master.grantTo === null ? 0 : master.grantTo === link?.negotiation ? 1 : 2);
    this.#n(link === null ? 0 : this.#linkNumber(link.number));
    if (link !== null) {
      this.#n(this.#negotiation(link.number, link.negotiation));
      // Its state matters until the hello is answered.
      this.#n(link.phase === 'deferred' ? edgeStates.indexOf(link.edgeState) : 0);
      this.#n(linkPhases.indexOf(link.phase) * 2 + (link.orderedFor === 'timeout' ? 1 : 0));
      // Of a verdict for the edge the claim will tell.
      this.#n(link.phase === 'granted' ? verdicts.indexOf(link.verdict ?? '') : 0);
      this.#n(link.handback === null ? 0 : link.handback === 'operator' ? 1 : 2);
      this.#n(this.#terms(link.terms));
    }
    if (!this.#config.holdDown) return;
    this.#n(holdDown.level);
    this.#n(holdDown.untilMs);
    for (const at of holdDown.breaks) this.#n(at);
    this.#n(9);
  }

  #link(link: Link): void {
    this.#n(this.#linkNumber(link.number));
    this.#n(ends.indexOf(link.edgeEnd));
    this.#n(ends.indexOf(link.masterEnd));
    this.#n(flags(link.broken));
    this.#n(link.silentFor);
    this.#queue(link.number, link.toMaster);
    this.#queue(link.number, link.toEdge);
  }

  #queue(link: number, queue: Queue<FromEdge | FromMaster>): void {
    this.#n(queue.messages.length);
    this.#n(queue.age);
    for (const message of queue.messages) this.#message(link, message);
  }

  #message(link: number, message: FromEdge | FromMaster): void {
    this.#n(messages.indexOf(message.t));
    this.#n(this.#negotiation(link, message.negotiation));
    this.#epoch(message.epoch);
    if (message.t === 'hello') this.#n(edgeStates.indexOf(message.state));
    if (message.t === 'negotiate') {
      this.#n(this.#terms(message.terms) * 2 + (message.winner === 'edge' ? 1 : 0));
      this.#n(verdicts.indexOf(message.reason));
    }
    if (message.t === 'control.granted') this.#n(message.leaseMs === null ? 0 : 1);
    if (message.t === 'control.renew' || message.t === 'control.renewed') this.#n(this.#asked(link, message) ? this.#renewal(message.renewal) : 0);
  }

  /** Is this one of the renewals that the edge still waits for? The answer to any other is dropped. */
  #asked(link: number, message: { negotiation: number; renewal: number }): boolean {
    const edge = this.#world.edge.machine;
    if (edge?.link?.number !== link || edge.link.negotiation !== message.negotiation || !edge.link.granted) return false;
    return edge.lease?.sent.some(({ renewal }) => renewal === message.renewal) ?? false;
  }

  #edgeEvent(event: EdgeEvent): void {
    this.#n(edgeEvents.indexOf(event.type));
    if ('link' in event) this.#n(event.link === null ? 0 : this.#linkNumber(event.link));
    if (event.type === 'message') this.#message(event.link, event.message);
    if (event.type === 'epoch-heard') this.#epoch(event.epoch);
    if (event.type === 'timer') this.#n(timers.indexOf(event.timer));
  }

  #masterEvent(event: MasterEvent): void {
    this.#n(masterEvents.indexOf(event.type));
    if ('link' in event) this.#n(event.link === null ? 0 : this.#linkNumber(event.link));
    if (event.type === 'message') this.#message(event.link, event.message);
    if (event.type === 'epoch-heard') this.#epoch(event.epoch);
    if (event.type === 'timer') this.#n(timers.indexOf(event.timer));
    if (event.type === 'order') this.#n(orders.indexOf(event.order));
    if (event.type === 'terms') this.#n(this.#terms(event.terms));
    if (event.type === 'window') this.#n(flags(event.open));
    if (event.type === 'link-down') this.#n(event.lastHeardMs);
  }

  #linkNumber(link: number): number {
    return this.#numbers.links.rankOf(link);
  }

  #negotiation(link: number, negotiation: number): number {
    return this.#numbers.negotiations.rankOf(dialogue(link, negotiation));
  }

  #renewal(renewal: number): number {
    return this.#numbers.renewals.rankOf(renewal);
  }
}

function flags(...values: boolean[]): number {
  let bits = 0;
  for (const value of values) bits = bits * 2 + (value ? 1 : 0);
  return bits;
}

/** Few numbers that are only compared with each other: order and parity count, and distances up to `most`. */
class Ranks {
  readonly #sorted: number[] = [];
  readonly #ranks: number[] = [];
  readonly #most: number;

  /** 0: only the order counts. */
  constructor(most: number) {
    this.#most = most;
  }

  add(number: number): void {
    if (number === 0 || this.#sorted.includes(number)) return;
    let at = this.#sorted.length;
    for (; at > 0 && (this.#sorted[at - 1] ?? 0) > number; at -= 1) this.#sorted[at] = this.#sorted[at - 1] ?? 0;
    this.#sorted[at] = number;
  }

  settle(): void {
    let [before, rank] = [0, 0];
    for (const number of this.#sorted) {
      const gap = number - before;
      rank += this.#most === 0 ? 1 : gap <= this.#most ? gap : this.#most + (gap % 2);
      before = number;
      this.#ranks.push(rank);
    }
  }

  /** 0 for none, and for one that nobody compares any more. */
  rankOf(number: number): number {
    return this.#ranks[this.#sorted.indexOf(number)] ?? 0;
  }
}

interface Numbers {
  epochs: Ranks;
  links: Ranks;
  negotiations: Ranks;
  renewals: Ranks;
}

/** Every number of the world that is compared with others of its kind. */
function collect(world: World, gap: number): Numbers {
  const numbers: Numbers = { epochs: new Ranks(gap), links: new Ranks(0), negotiations: new Ranks(0), renewals: new Ranks(0) };
  collectProcess(numbers, world.edge);
  collectProcess(numbers, world.master);
  for (const link of world.links) {
    numbers.links.add(link.number);
    for (const message of link.toMaster.messages) collectMessage(numbers, link.number, message);
    for (const message of link.toEdge.messages) collectMessage(numbers, link.number, message);
  }
  const { machine } = world.edge;
  if (machine !== null && machine.lease !== null) {
    numbers.renewals.add(machine.lease.renewal);
    if (machine.link?.granted) for (const { renewal } of machine.lease.sent) numbers.renewals.add(renewal);
  }
  numbers.epochs.settle();
  numbers.links.settle();
  numbers.negotiations.settle();
  numbers.renewals.settle();
  return numbers;
}

function collectProcess(numbers: Numbers, process: World['edge'] | World['master']): void {
  const { journal, writing, machine } = process;
  if (journal !== null) numbers.epochs.add(journal.floor.number);
  if (machine !== null) numbers.epochs.add(machine.durable.floor.number);
  if (writing !== null) {
    numbers.epochs.add(writing.record.floor.number);
    const { event } = writing;
    if (event !== 'boot') {
      if ('link' in event && event.link !== null) numbers.links.add(event.link);
      if (event.type === 'message') collectMessage(numbers, event.link, event.message);
      if (event.type === 'epoch-heard') numbers.epochs.add(event.epoch.number);
    }
  }
  const link = machine?.link ?? null;
  if (link === null) return;
  numbers.links.add(link.number);
  numbers.negotiations.add(dialogue(link.number, link.negotiation));
}

/** Negotiations are told apart within their link only; 0 is none. */
const dialogue = (link: number, negotiation: number): number => (negotiation === 0 ? 0 : link * 4_096 + negotiation);

function collectMessage(numbers: Numbers, link: number, message: FromEdge | FromMaster): void {
  numbers.epochs.add(message.epoch.number);
  numbers.negotiations.add(dialogue(link, message.negotiation));
}
