import type { EdgeControl, EdgeEvent, EdgeTimer } from '../../shared/control/edge-control.ts';
import type { ControlTimings } from '../../shared/control/lease.ts';
import type { MasterControl, MasterEvent, MasterTimer } from '../../shared/control/master-control.ts';
import type { FromEdge, FromMaster } from '../../shared/control/messages.ts';
import type { Durable } from '../../shared/control/step.ts';
import type { Epoch, Terms } from '../../shared/model/control.ts';

/**
 * One location with its master and its edge, at one instant. Every time in it is relative to now (now is 0), so
 * that two instants that can only go on alike are the same world.
 */
export interface World {
  edge: Process<EdgeControl, EdgeEvent, EdgeTimer>;
  master: Process<MasterControl, MasterEvent, MasterTimer>;
  /** Oldest first; at most two: the newest, and one whose loss the master has not noticed. */
  links: Link[];
  networkUp: boolean;
  windowOpen: boolean;
  /** Which of the configured terms the location document asks for. */
  terms: number;
  budget: Budget;
  memory: Memory;
}

/** What may still go wrong or be ordered in this run. */
export interface Budget {
  faults: number;
  orders: number;
  windows: number;
  terms: number;
}

/** What only the invariants need to know of the past. */
export interface Memory {
  /** Units since the edge's newest hello, if that said `holding`; not beyond the timeout. */
  saidHolding: number | null;
  /** A hand-back failed in the window that is open now. */
  failedHandback: boolean;
  /** Units since the master last had a sign that the edge has control; not beyond the timeout. */
  quiet: number;
}

export interface Process<State, Event, Timer extends string> {
  /** Null while the process is down. */
  machine: State | null;
  paused: boolean;
  journal: Durable | null;
  /** Gave control up though the disk failed: the journal is behind until the next write. */
  behind: boolean;
  /** The event whose record is being stored: nothing of it has happened yet, except what is done at once. */
  writing: Writing<Event> | null;
  /** Units until each goes off; null: not set. */
  timers: Record<Timer, number | null>;
  modules: Modules;
  /** While loading: units until the wait is over. */
  loadingFor: number;
}

export interface Writing<Event> {
  event: Event | 'boot';
  record: Durable;
  /** Control is given up, whether or not the write succeeds. */
  letsGo: boolean;
  /** Units since the write began; the machine's times stand still meanwhile. */
  ago: number;
}

/** The driver host of a process: it goes on while its node is paused and ends with it. */
export interface Modules {
  /** `closed`: the sockets are closed and the node does not know yet. */
  phase: 'none' | 'starting' | 'running' | 'stopping' | 'closed';
  run: number;
  /** Epoch under which writes leave; null: the gate is closed. */
  gate: Epoch | null;
  /** Units until writes end by themselves; null: no lease. */
  lease: number | null;
  /** While stopping: units until the host kills what still runs. */
  stopIn: number;
  /** A start that was cancelled too late: its report is still under way. */
  lateStart: boolean;
  /** Started by the person on site without a lease. */
  override: boolean;
}

export type End = 'up' | 'closed' | 'gone';

export interface Link {
  number: number;
  edgeEnd: End;
  masterEnd: End;
  broken: boolean;
  /** Units since both ends last heard each other. */
  silentFor: number;
  toMaster: Queue<FromEdge>;
  toEdge: Queue<FromMaster>;
}

export interface Queue<Message> {
  messages: Message[];
  /** Units for which the first message has been under way. */
  age: number;
}

/** What may go wrong once: each costs one fault of the budget. */
export const faultKinds = ['crash', 'pause', 'disk', 'modules', 'cut'] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface ModelConfig {
  name: string;
  terms: readonly Terms[];
  timings: ControlTimings;
  budget: Budget;
  /** The kinds of faults that this run knows. */
  kinds: readonly FaultKind[];
  /** A message is delivered within this many units, or the link breaks. */
  delay: number;
  /** A silent link is noticed after this many units. */
  linkDead: number;
  /** A starting master waits this long for edges. */
  loading: number;
  /** Are the reasons of verdicts told apart? Else one word stands for all, and nothing is written for the sake of another word alone. */
  reasons: boolean;
  /** Is flap protection part of this run? Else its memory is not part of the world. */
  holdDown: boolean;
}

export const QUEUE_LIMIT = 2;

export const noModules: Modules = Object.freeze({
  phase: 'none',
  run: 0,
  gate: null,
  lease: null,
  stopIn: 0,
  lateStart: false,
  override: false,
});

export const noTimers: { edge: World['edge']['timers']; master: World['master']['timers'] } = {
  edge: Object.freeze({ grant: null, renew: null, lease: null }),
  master: Object.freeze({ due: null, dialogue: null, 'hold-down': null }),
};

function down<State, Event, Timer extends string>(timers: Record<Timer, number | null>): Process<State, Event, Timer> {
  return { machine: null, paused: false, journal: null, behind: false, writing: null, timers, modules: noModules, loadingFor: 0 };
}

/** Nobody has started yet and nobody has stored anything. */
export const initialWorld = (config: ModelConfig): World => ({
  edge: down(noTimers.edge),
  master: down(noTimers.master),
  links: [],
  networkUp: true,
  windowOpen: false,
  terms: 0,
  budget: config.budget,
  memory: { saidHolding: null, failedHandback: false, quiet: 0 },
});

/** A world that may be changed without changing this one. Machines, records and messages are never changed in place. */
export const copyWorld = (world: World): World => ({
  ...world,
  edge: { ...world.edge, timers: { ...world.edge.timers }, modules: { ...world.edge.modules } },
  master: { ...world.master, timers: { ...world.master.timers }, modules: { ...world.master.modules } },
  links: world.links.map((link) => ({
    ...link,
    toMaster: { messages: [...link.toMaster.messages], age: link.toMaster.age },
    toEdge: { messages: [...link.toEdge.messages], age: link.toEdge.age },
  })),
  budget: { ...world.budget },
  memory: { ...world.memory },
});

/** May the process take an event now? */
export const isFree = (process: { machine: unknown; paused: boolean; writing: unknown }): boolean =>
  process.machine !== null && !process.paused && process.writing === null;

export const socketsOpen = ({ phase }: Modules): boolean => phase === 'starting' || phase === 'running' || phase === 'stopping';

/** Can a byte leave for a device? */
export const writes = (modules: Modules): boolean => modules.gate !== null && socketsOpen(modules) && (modules.lease === null || modules.lease > 0);

export const linkOf = (world: World, number: number): Link | undefined => world.links.find((link) => link.number === number);

/** The link that the edge's process has. */
export const edgeLink = (world: World): Link | undefined => world.links.find((link) => link.edgeEnd !== 'gone');

/** Has the master's machine the edge's word, over this link, that it has control? */
export function isConfirmed(world: World, link: Link): boolean {
  const machine = world.master.machine;
  return machine?.link?.number === link.number && (machine.state === 'standby' || (machine.state === 'loading' && machine.dueMs === null));
}

export const isHealthy = (world: World, link: Link): boolean =>
  !link.broken && link.edgeEnd === 'up' && link.masterEnd === 'up' && !world.edge.paused && !world.master.paused;

/** What nobody can read any more is gone. */
export function tidyLinks(world: World): void {
  for (const link of world.links) {
    if (link.edgeEnd !== 'up') link.toEdge = { messages: [], age: 0 };
    if (link.masterEnd !== 'up') link.toMaster = { messages: [], age: 0 };
    if (link.edgeEnd !== 'up' || link.masterEnd !== 'up') link.broken = false;
  }
  world.links = world.links.filter((link) => link.edgeEnd !== 'gone' || link.masterEnd !== 'gone');
}

/** More is to be sent than a peer takes that does not answer: the link is given up. */
export const isStuck = (world: World, link: Link): boolean =>
  (world.edge.paused && link.toEdge.messages.length > 0) || (world.master.paused && link.toMaster.messages.length > 0);

type Document = Omit<Terms, 'paused'>;

export const sameDocument = (a: Document, b: Document): boolean =>
  a.failover === b.failover && a.policy === b.policy && a.timeoutMs === b.timeoutMs;

/** The next message counts as being under way for as long as the first was: the bound is kept, for some more tightly. */
export function takeFirst(queue: Queue<unknown> | undefined): void {
  queue?.messages.shift();
  if (queue?.messages.length === 0) queue.age = 0;
}
