import { assert } from '../../shared/foundation/assert.ts';
import type { EdgeControl, EdgeEvent, EdgeTimer } from '../../shared/control/edge-control.ts';
import { stepEdge } from '../../shared/control/edge-step.ts';
import type { VerdictReason } from '../../shared/control/decide.ts';
import { isHeldDown } from '../../shared/control/hold-down.ts';
import { drives, type MasterControl, type MasterEvent, type MasterTimer } from '../../shared/control/master-control.ts';
import { stepMaster } from '../../shared/control/master-step.ts';
import type { ControlMessage, FromEdge, FromMaster } from '../../shared/control/messages.ts';
import type { Action, Durable, Step } from '../../shared/control/step.ts';
import { StepRunner } from '../../shared/runtime/location/step-runner.ts';
import type { Party } from '../../shared/model/control.ts';
import type { Coverage } from './coverage.ts';
import { type Fact, findProblem, forbidsDualControl, type NodeFacts } from '../invariants.ts';
import { masterLater, edgeLater } from './canonical.ts';
import { linkOf, type ModelConfig, type Modules, type Process, QUEUE_LIMIT, socketsOpen, tidyLinks, type World, writes } from './world.ts';

/** What a move found out besides its world. */
export class Findings {
  problem: string | null = null;
  /** A message did not fit: the move is not possible yet. */
  overflow = false;
  readonly coverage: Coverage;
  readonly reasons: string[] = [];

  constructor(coverage: Coverage) {
    this.coverage = coverage;
  }

  note(fact: Fact): void {
    this.problem ??= findProblem(fact);
  }

  crashed(error: unknown): void {
    this.problem ??= error instanceof Error ? `a step threw: ${error.message}` : 'a step threw';
  }
}

/** A write that ends when the search says so. */
class HeldWrite extends Promise<void> {
  readonly ends: { stored: () => void; failed: () => void }[];

  constructor(executor: (resolve: () => void, reject: (reason: unknown) => void) => void, ends: { stored: () => void; failed: () => void }[] = []) {
    super(executor);
    this.ends = ends;
  }

  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  // oxlint-disable-next-line unicorn/no-thenable -- it stands in for a promise, and is never awaited
  override then<A = void, B = never>(
    onStored?: ((value: void) => A | PromiseLike<A>) | null,
    onFailed?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.ends.push({ stored: () => void onStored?.(), failed: () => void onFailed?.(new Error('the disk failed')) });
    return new Promise<A | B>(() => undefined);
  }
}

export type Ending = 'begins' | 'stored' | 'failed';

type Control = EdgeControl | MasterControl;

interface Machine<State extends Control, Event> {
  party: Party;
  step(state: State, event: Event): Step<State, FromEdge | FromMaster, string>;
  journalFailed(cause: Event): Event;
  /** The machine after `units` have passed. */
  later(state: State, units: number): State;
  /** The machine, and what it says, without the words that this run does not tell apart. */
  plain(state: State): State;
  said<Message extends FromEdge | FromMaster>(message: Message): Message;
  moved(world: World, from: State, to: State, event: Event): Fact;
  done(world: World, from: State, to: State, ago: number): void;
}

/**
 * Hands an event to the machine of a process, through the runner of production. A step that must be stored first
 * waits in `writing` until the search ends the write: the runner then does the same step again and goes on.
 */
export function post(world: World, config: ModelConfig, findings: Findings, party: Party, event: EdgeEvent | MasterEvent): void {
  if (party === 'edge' && isEdgeEvent(event)) run(world, world.edge, edgeMachine(config), { event, ending: 'begins' }, findings);
  else if (isMasterEvent(event)) run(world, world.master, masterMachine(config), { event, ending: 'begins' }, findings);
}

/** From when the master may count: the edge has confirmed its control, or the master's own ended. */
function noteConfirmation(world: World, from: MasterControl, to: MasterControl, ago: number): void {
  const confirmed = to.durable.holder === 'edge' && to.dueMs === null && from.dueMs !== null && !drives(to);
  const ended = from.state === 'releasing' && to.state !== 'releasing';
  if (confirmed || ended) world.memory.quiet = ago;
}

/** The write that a process waits for ends. */
export function endWrite(world: World, config: ModelConfig, findings: Findings, party: Party, ending: 'stored' | 'failed'): void {
  if (party === 'edge') finish(world, world.edge, edgeMachine(config), ending, findings);
  else finish(world, world.master, masterMachine(config), ending, findings);
}

/** A crash while a write was under way: the disk may have it or not. */
export function storeOnly(world: World, findings: Findings, party: Party): void {
  const process = world[party];
  assert(process.writing !== null, 'nothing is being written');
  findings.note({ type: 'journal-written', party, before: process.journal, record: process.writing.record });
  process.journal = process.writing.record;
}

/** Stands for every verdict, where reasons are not told apart; only that the edge kept its devices decides anything. */
const ANY_VERDICT: VerdictReason = 'no-takeover-happened';

const isEdgeEvent = (event: EdgeEvent | MasterEvent): event is EdgeEvent => event.type !== 'booted';
const isMasterEvent = (event: EdgeEvent | MasterEvent): event is MasterEvent => event.type !== 'loaded';

const edgeMachine = (config: ModelConfig): Machine<EdgeControl, EdgeEvent> => ({
  party: 'edge',
  step: (state, event) => stepEdge(state, event, config.timings),
  journalFailed: (cause) => ({ type: 'journal-failed', nowMs: 0, link: 'link' in cause ? cause.link : null }),
  later: (state, units) => edgeLater(state, units, config),
  // What it knows of reasons it was told.
  plain: (state) => state,
  said: (message) => message,
  moved: (world, from, to, event) => ({
    type: 'edge-moved',
    from,
    to,
    event,
    // For as long as its timeout.
    saidHolding: world.memory.saidHolding !== null && world.memory.saidHolding < from.durable.terms.timeoutMs,
    disconnectMs: config.timings.disconnectMs,
  }),
  done: () => undefined,
});

const masterMachine = (config: ModelConfig): Machine<MasterControl, MasterEvent> => ({
  party: 'master',
  step: (state, event) => stepMaster(state, event, config.timings),
  journalFailed: (cause) => ({ type: 'journal-failed', nowMs: 0, link: 'link' in cause ? cause.link : null }),
  later: (state, units) => masterLater(state, units, config),
  plain: (state) => {
    const { link } = state;
    const verdict = link?.verdict ?? null;
    return config.reasons || link === null || verdict === null || verdict === ANY_VERDICT || verdict === 'edge-kept-devices'
      ? state
      : { ...state, link: { ...link, verdict: ANY_VERDICT } };
  },
  said: (message) => (config.reasons || message.t !== 'negotiate' ? message : { ...message, reason: ANY_VERDICT }),
  moved: (world, from, to, event) => ({
    type: 'master-moved',
    from,
    to,
    event,
    evidence: {
      quietMs: world.memory.quiet,
      failedHandback: world.memory.failedHandback,
      heldDown: isHeldDown(from.holdDown, event.nowMs),
    },
  }),
  done: noteConfirmation,
});

function finish<State extends Control, Event extends { type: string; nowMs: number }, Timer extends string>(
  world: World,
  process: Process<State, Event, Timer>,
  machine: Machine<State, Event>,
  ending: 'stored' | 'failed',
  findings: Findings,
): void {
  const { writing } = process;
  assert(writing !== null, 'nothing is being written');
  if (ending === 'stored') {
    findings.note({ type: 'journal-written', party: machine.party, before: process.journal, record: writing.record });
    process.journal = writing.record;
    process.behind = false;
  }
  if (writing.event !== 'boot') {
    run(world, process, machine, { event: writing.event, ending }, findings);
    return;
  }
  process.writing = null;
  process.behind ||= ending === 'failed';
}

function run<State extends Control, Event extends { type: string; nowMs: number }, Timer extends string>(
  world: World,
  process: Process<State, Event, Timer>,
  machine: Machine<State, Event>,
  what: { event: Event; ending: Ending },
  findings: Findings,
): void {
  assert(process.machine !== null, 'a process that is down takes no events');
  const { event, ending } = what;
  const ago = process.writing?.ago ?? 0;
  const from = process.machine;
  const held: { record: Durable; write: HeldWrite }[] = [];
  let goesOn = false;
  let went: State | null = null;
  const runner = new StepRunner<State, Event, FromEdge | FromMaster, string>({
    initial: from,
    initialRecord: null,
    step: (state, cause) => {
      const step = machine.step(state, cause);
      goesOn = step.effects.persist?.onFailure === 'go-on';
      went = step.state;
      if (ending === 'begins') findings.note(machine.moved(world, state, step.state, cause));
      if (cause !== event || ending === 'begins') findings.coverage.step(machine.party, state, step.state, step.reason);
      if (cause !== event || ending !== 'begins' || step.effects.persist === null) findings.reasons.push(`${machine.party}: ${step.reason}`);
      return step;
    },
    journalFailed: machine.journalFailed,
    shell: {
      atOnce: () => {
        process.modules.gate = null;
      },
      persist: (record) => {
        const write = new HeldWrite(() => undefined);
        held.push({ record, write });
        return write;
      },
      send: (link, message) => {
        findings.coverage.message(message);
        send(world, machine.party, { link, message: machine.said(message), state: (went ?? from).state }, findings);
      },
      run: (action) => act(world, machine.party, { action, ago, from, to: went ?? from }, findings),
    },
    onStep: () => undefined,
  });
  process.writing = null;
  runner.post(event);
  const [first] = held;
  if (first === undefined || ending === 'begins') {
    if (first !== undefined) process.writing = { event, record: first.record, letsGo: goesOn, ago: 0 };
    process.machine = machine.plain(runner.state);
    machine.done(world, from, runner.state, 0);
    return;
  }
  if (ending === 'failed' && goesOn) process.behind = true;
  const [end] = first.write.ends;
  assert(end !== undefined, 'the runner did not wait for its write');
  if (ending === 'stored') end.stored();
  else end.failed();
  assert(held.length === 1, 'a failed write asked for another one');
  machine.done(world, from, runner.state, ago);
  const plain = machine.plain(runner.state);
  process.machine = ago === 0 ? plain : machine.later(plain, ago);
}

/** Do these modules start beside those of the other side, where the edge's terms rule that out? */
function startsDualControl(world: World, party: Party, starting: Control): boolean {
  const other = world[party === 'edge' ? 'master' : 'edge'];
  const { lease } = world[party].modules;
  // A host opens no socket once the lease is over.
  if (lease !== null && lease <= 0) return false;
  const terms = (party === 'edge' ? starting : world.edge.machine)?.durable.terms;
  const override = world.edge.modules.override || ('override' in starting && starting.override);
  return socketsOpen(other.modules) && !override && terms !== undefined && forbidsDualControl(terms);
}

const nodeFacts = (world: World, party: Party): NodeFacts => {
  const { journal, behind, modules } = world[party];
  return { journal, behind, socketsOpen: socketsOpen(modules), gate: writes(modules) ? modules.gate : null };
};

function send(world: World, party: Party, what: { link: number; message: ControlMessage; state: string }, findings: Findings): void {
  const { message } = what;
  findings.note({ type: 'sent', party, message, node: nodeFacts(world, party), state: what.state });
  const link = linkOf(world, what.link);
  if (link === undefined) return;
  if (isFromEdge(message)) {
    if (message.t === 'hello') world.memory.saidHolding = message.state === 'holding' ? 0 : null;
    if (link.edgeEnd !== 'up') return;
    // Nobody reads any more.
    if (link.masterEnd !== 'up') return;
    findings.overflow ||= link.toMaster.messages.length >= QUEUE_LIMIT;
    link.toMaster.messages.push(message);
  } else {
    if (link.masterEnd !== 'up' || link.edgeEnd !== 'up') return;
    findings.overflow ||= link.toEdge.messages.length >= QUEUE_LIMIT;
    link.toEdge.messages.push(message);
  }
}

const fromEdge: readonly string[] = ['hello', 'control.claimed', 'control.released', 'control.accepted', 'control.renew'];
const isFromEdge = (message: ControlMessage): message is FromEdge => fromEdge.includes(message.t);

const isEdgeTimer = (timer: string): timer is EdgeTimer => timer === 'grant' || timer === 'renew' || timer === 'lease';
const isMasterTimer = (timer: string): timer is MasterTimer => timer === 'due' || timer === 'dialogue' || timer === 'hold-down';

function setTimer(world: World, party: Party, timer: string, inUnits: number | null): void {
  const units = inUnits === null ? null : Math.max(0, inUnits);
  if (party === 'edge' && isEdgeTimer(timer)) {
    world.edge.timers[timer] = units;
  }
  if (party === 'master' && isMasterTimer(timer)) {
    world.master.timers[timer] = units;
  }
}

function act(
  world: World,
  party: Party,
  what: { action: Action<string>; ago: number; from: Control; to: Control },
  findings: Findings,
): void {
  const { action, ago } = what;
  const process = world[party];
  const { modules } = process;
  switch (action.type) {
    case 'set-timer':
      return setTimer(world, party, action.timer, action.atMs - ago);
    case 'clear-timer':
      return setTimer(world, party, action.timer, null);
    case 'start-modules':
      findings.note({ type: 'started-modules', party, epoch: action.epoch, node: nodeFacts(world, party), dual: startsDualControl(world, party, what.to) });
      process.modules = {
        ...modules,
        phase: 'starting',
        run: action.run,
        gate: action.epoch,
        stopIn: 0,
        lateStart: false,
        override: 'override' in what.to && what.to.override,
      };
      if (modules.lease !== null && modules.lease <= 0) closeByHost(process.modules);
      return;
    case 'stop-modules':
      findings.note({ type: 'stopped-modules', party, from: what.from.state, to: what.to.state });
      process.modules = {
        ...modules,
        phase: modules.phase === 'none' || modules.phase === 'closed' ? 'closed' : 'stopping',
        run: action.run,
        gate: null,
        stopIn: Math.max(0, action.deadlineMs - ago),
        lateStart: modules.phase === 'starting',
      };
      return;
    case 'restamp':
      if (modules.gate !== null) modules.gate = action.epoch;
      return;
    case 'set-lease':
      modules.lease = action.untilMs === null ? null : Math.max(-1, action.untilMs - ago);
      if (action.untilMs !== null) modules.override = false;
      if (modules.lease !== null && modules.lease < 0 && socketsOpen(modules) && modules.phase !== 'stopping') closeByHost(modules);
      // What a host closed at the end of a lease connects again under a new one.
      if (isClosedByHost(modules) && modules.gate !== null && (modules.lease === null || modules.lease > 0)) {
        findings.note({ type: 'started-modules', party, epoch: modules.gate, node: nodeFacts(world, party), dual: startsDualControl(world, party, what.to) });
        modules.phase = what.to.state === 'holding' ? 'running' : 'starting';
        modules.stopIn = 0;
      }
      return;
    case 'close-link': {
      const link = linkOf(world, action.link);
      if (link === undefined) return;
      if (party === 'edge' && link.edgeEnd === 'up') link.edgeEnd = 'closed';
      if (party === 'master' && link.masterEnd === 'up') link.masterEnd = 'closed';
      tidyLinks(world);
    }
  }
}

/** The sockets are closed and the node has not asked for it: it will, when its own timer says so. */
export function closeByHost(modules: Modules): void {
  modules.phase = 'closed';
  modules.stopIn = -1;
}

const isClosedByHost = ({ phase, stopIn }: Modules): boolean => phase === 'closed' && stopIn < 0;
