import { compareEpochs, isOlder, partyOf, sameEpoch } from '../shared/control/epoch.ts';
import type { EdgeControl, EdgeEvent } from '../shared/control/edge-control.ts';
import type { MasterControl, MasterEvent } from '../shared/control/master-control.ts';
import type { ControlMessage } from '../shared/control/messages.ts';
import { type Durable, isExclusive } from '../shared/control/step.ts';
import type { Epoch, Party, Terms } from '../shared/model/control.ts';

/**
 * The invariants of docs/control.md, section 7, as checkers over facts. A fact carries all that its judgement needs,
 * so that a checker has no memory: the model, the simulator and a chaos run can all feed them.
 */
export interface Checker {
  readonly name: string;
  /** What is wrong, in words; null when nothing is. */
  observe(fact: Fact): string | null;
}

/** What of a node counts while it is being judged. */
export interface NodeFacts {
  /** What a crash would leave. */
  journal: Durable | null;
  /** A record could not be written while control was given up: the journal is behind. */
  behind: boolean;
  socketsOpen: boolean;
  /** Epoch under which writes can leave now; null: none can. */
  gate: Epoch | null;
}

export type Fact =
  | { type: 'journal-written'; party: Party; before: Durable | null; record: Durable }
  | { type: 'booted'; party: Party; stored: Durable | null; durable: Durable }
  | { type: 'sent'; party: Party; message: ControlMessage; node: NodeFacts; state: string }
  /** `dual`: beside those of the other side, though the terms of the edge rule that out and nobody on site overrode them. */
  | { type: 'started-modules'; party: Party; epoch: Epoch; node: NodeFacts; dual: boolean }
  | { type: 'stopped-modules'; party: Party; from: string; to: string }
  | { type: 'edge-moved'; from: EdgeControl; to: EdgeControl; event: EdgeEvent; saidHolding: boolean; disconnectMs: number }
  | { type: 'master-moved'; from: MasterControl; to: MasterControl; event: MasterEvent; evidence: MasterEvidence }
  | { type: 'instant'; instant: Instant };

/** What the master's moves are judged by, measured outside of it. */
export interface MasterEvidence {
  /** Milliseconds since the master last had a sign that the edge has control; it may know better after a restart. */
  quietMs: number;
  /** A hand-back failed in the window that is open now. */
  failedHandback: boolean;
  heldDown: boolean;
}

/** Both nodes at one instant. */
export interface Instant {
  edge: NodeFacts & { machine: EdgeControl | null; idle: boolean; lettingGo: boolean; leased: boolean; override: boolean };
  /** `lettingGo`: the disk is being told, whatever it answers. */
  master: NodeFacts & { machine: MasterControl | null; idle: boolean; lettingGo: boolean };
  /** Both ends of a link are up, nothing is under way on it, and nothing waits to be handled. */
  quiet: boolean;
}

export const edgeDrives = (state: string): boolean => state === 'claiming' || state === 'holding';
export const masterDrives = (state: string): boolean => state === 'taking-over' || state === 'holding';

/** May two processes never drive the devices under these terms? */
export const forbidsDualControl = (terms: Terms): boolean => !terms.failover || isExclusive(terms);

const epochsNeverFall: Checker = {
  name: '1 epochs never fall',
  observe(fact) {
    if (fact.type === 'journal-written') {
      const { before, record } = fact;
      if (isOlder(record.floor, record.epoch)) return 'a floor below the epoch was stored';
      if (before !== null && isOlder(record.epoch, before.epoch)) return 'the stored epoch fell';
      if (before !== null && isOlder(record.floor, before.floor)) return 'the stored floor fell';
    }
    if (fact.type === 'booted' && fact.stored !== null && !sameEpoch(fact.stored.floor, fact.durable.floor)) return 'a boot changed the floor';
    if (fact.type === 'booted' && fact.stored !== null && !sameEpoch(fact.stored.epoch, fact.durable.epoch)) return 'a boot changed the epoch';
    if (fact.type === 'booted' && fact.durable.holder === fact.party) return 'a booting node believes that it holds control';
    return null;
  },
};

const oneHolderPerEpoch: Checker = {
  name: '2 one epoch, one holder',
  observe(fact) {
    if (fact.type !== 'edge-moved' && fact.type !== 'master-moved') return null;
    const party = fact.type === 'edge-moved' ? 'edge' : 'master';
    const [before, after] = [fact.from.durable, fact.to.durable];
    const heard = fact.event.type === 'message' ? fact.event.message.epoch : null;
    if (!fact.to.state.startsWith('relea') && after.holder === party && before.holder !== party && sameEpoch(before.epoch, after.epoch)) {
      return 'the holder changed without a new epoch';
    }
    if (heard !== null && isKnownDialogue(fact) && isOlder(after.floor, heard)) return 'an epoch was heard and the floor did not rise';
    if (sameEpoch(before.epoch, after.epoch)) return null;
    if (compareEpochs(after.epoch, before.floor) <= 0) return 'an epoch was taken that is not above the highest heard of';
    return partyOf(after.epoch) === party ? null : `the ${party} took an epoch of the other side`;
  },
};

/** Messages of other negotiations are dropped; the others teach. */
function isKnownDialogue(fact: Extract<Fact, { type: 'edge-moved' | 'master-moved' }>): boolean {
  if (fact.event.type !== 'message') return false;
  const { t, negotiation } = fact.event.message;
  if (t === 'hello') return fact.to.link?.number === fact.event.link;
  const claims: readonly string[] = ['negotiate', 'control.release', 'control.released', 'control.claimed'];
  const current = fact.from.link?.number === fact.event.link && fact.from.link.negotiation === negotiation;
  // A verdict that comes again or too late is no verdict.
  const late = t === 'negotiate' && fact.to.link === fact.from.link;
  return current && claims.includes(t) && !late;
}

const noStaleWriter: Checker = {
  name: '3 no write under an older epoch, none after released',
  observe(fact) {
    if (fact.type !== 'instant') return null;
    const { edge, master } = fact.instant;
    if (edge.lettingGo && edge.gate !== null) return 'the edge writes while it stores that it lets go';
    if (master.lettingGo && master.gate !== null && edge.gate !== null) return 'the master writes while it stores that it lets go';
    if (edge.idle && edge.machine !== null) {
      const { state, durable } = edge.machine;
      if (edge.gate !== null && !sameEpoch(edge.gate, durable.epoch)) return 'the edge writes under another epoch than its own';
      if (edge.gate !== null && !edgeDrives(state)) return `the edge writes while ${state}`;
      if (edge.socketsOpen && !edgeDrives(state) && state !== 'releasing') return `the edge has device sockets while ${state}`;
      if ((durable.holder === 'edge') !== edgeDrives(state)) return `holder is ${durable.holder} while the edge is ${state}`;
    }
    if (master.idle && master.machine !== null) {
      const { state, durable } = master.machine;
      if (master.gate !== null && !sameEpoch(master.gate, durable.epoch)) return 'the master writes under another epoch than its own';
      if (master.gate !== null && !masterDrives(state)) return `the master writes while ${state}`;
      if (master.socketsOpen && !masterDrives(state) && state !== 'releasing') return `the master has device sockets while ${state}`;
      if (state === 'standby' && master.machine.link === null) return 'the master takes the word of an edge that is gone';
      if (state === 'suspect' && master.machine.dueMs === null) return 'the master suspects and will never take over';
      if ((durable.holder === 'master') !== masterDrives(state)) return `holder is ${durable.holder} while the master is ${state}`;
    }
    return null;
  },
};

const storedBeforePromised: Checker = {
  name: '4 stored before promised',
  observe(fact) {
    if (fact.type === 'started-modules') {
      const { journal } = fact.node;
      if (journal === null || !sameEpoch(journal.epoch, fact.epoch) || journal.holder !== fact.party) return 'modules start under an epoch that is not stored';
      return null;
    }
    if (fact.type !== 'sent') return null;
    const { message, node, state } = fact;
    const stored = node.journal;
    const untold = message.epoch.number > 0 && (stored === null || isOlder(stored.floor, message.epoch));
    if (!node.behind && untold) return `${message.t} tells an epoch that is not stored`;
    switch (message.t) {
      case 'hello':
        if (edgeDrives(state)) return node.socketsOpen || node.gate !== null ? null : `says that it is ${state} though its sockets are closed`;
        return node.socketsOpen ? 'hello before everything stopped' : null;
      case 'negotiate':
        return message.winner === 'master' && !masterDrives(state) ? 'the master keeps control that it does not have' : null;
      case 'control.claimed':
        if (stored === null || stored.holder !== 'edge' || !sameEpoch(stored.epoch, message.epoch)) return 'claimed without having stored it';
        return state === 'holding' ? null : 'claimed without holding';
      case 'control.released':
        if (node.socketsOpen || node.gate !== null) return 'released before everything stopped';
        return !node.behind && stored?.holder === 'edge' ? 'released while the journal says that the edge holds' : null;
      case 'control.granted':
        if (node.socketsOpen || node.gate !== null) return 'granted before everything stopped';
        return !node.behind && stored?.holder === 'master' ? 'granted while the journal says that the master holds' : null;
      case 'control.release':
      case 'control.renewed':
        return masterDrives(state) ? `${message.t} from a master that drives` : null;
      default:
        return null;
    }
  },
};

const movesByTheRules: Checker = {
  name: '5 control moves only by the rules',
  observe(fact) {
    if (fact.type === 'edge-moved') return edgeMoveProblem(fact);
    return fact.type === 'master-moved' ? masterMoveProblem(fact) : null;
  },
};

function edgeMoveProblem({ from, to, event, saidHolding, disconnectMs }: Extract<Fact, { type: 'edge-moved' }>): string | null {
  const gains = !edgeDrives(from.state) && edgeDrives(to.state);
  const loses = edgeDrives(from.state) && !edgeDrives(to.state);
  if (gains) {
    if (from.state === 'releasing') return 'claimed before the release was over';
    if (event.type === 'override') return null;
    if (event.type === 'message' && event.message.t === 'control.granted') return null;
    // A link that ends without a verdict was a failed attempt too.
    const failed = event.type === 'dial-failed' ? from.link === null : event.type === 'link-down' && from.link?.verdict === null;
    if (!failed) return `claimed on ${event.type}`;
    if (isExclusive(from.durable.terms)) return 'claimed alone under exclusive';
    if (from.noLinkSinceMs === null || event.nowMs - from.noLinkSinceMs < disconnectMs) return 'claimed without being disconnected';
    return null;
  }
  if (!loses) return from.state === 'releasing' && to.state === 'standby' && event.type !== 'modules-stopped' ? 'releasing ended without a stop' : null;
  if (to.state !== 'releasing') return `went from ${from.state} to ${to.state} without releasing`;
  if (from.lease !== null && event.nowMs >= from.lease.untilMs) return null;
  if (event.type === 'modules-failed') return from.state === 'claiming' ? null : 'let go without reason';
  if (event.type !== 'message') return `let go on ${event.type}`;
  // Invariant 8: who said that it holds its devices keeps them, unless somebody orders otherwise.
  const ordered = event.message.t === 'control.release' && event.message.reason !== 'timeout';
  return ordered || !saidHolding ? null : 'an edge that kept its devices was made to let go';
}

function masterMoveProblem({ from, to, event, evidence }: Extract<Fact, { type: 'master-moved' }>): string | null {
  const hello = event.type === 'message' && event.message.t === 'hello' ? event.message : null;
  if (!masterDrives(from.state) && masterDrives(to.state)) {
    if (!to.wanted.failover || !to.durable.terms.failover) return 'took over though failover is off';
    if (event.type === 'message' && event.message.t === 'control.released') {
      return from.link?.phase === 'ordered' ? null : 'took over on a release that was not ordered';
    }
    if (from.link !== null) return 'took over beside a connected edge';
    if (event.nowMs < from.leaseOverMs) return 'took over while a lease may live';
    if (event.type === 'order' && event.order === 'takeover') return null;
    // An order that had to wait for the end of a lease is carried out, whatever was ordered since.
    if (from.takeoverOrdered) return null;
    if (to.wanted.paused) return 'took over a paused location';
    return evidence.quietMs >= to.wanted.timeoutMs ? null : 'took over before the timeout';
  }
  if (masterDrives(from.state) && !masterDrives(to.state)) {
    if (to.state !== 'releasing') return `went from ${from.state} to ${to.state} without stopping`;
    if (event.type === 'modules-failed') return from.state === 'taking-over' ? null : 'let go without reason';
    if (hello === null) return `let go on ${event.type}`;
    const ordered = from.link?.phase === 'rehello' && from.link.handback === 'operator';
    const usable = from.window.open && !evidence.failedHandback && !evidence.heldDown && !from.wanted.paused;
    return hello.state === 'holding' || ordered || usable || !from.wanted.failover ? null : 'handed back outside the window, without an order';
  }
  const asked = event.type === 'message' && from.link?.number === event.link && from.link.phase === 'rehello' ? from.link.handback : null;
  if (hello !== null && asked === 'operator' && masterDrives(to.state)) return 'an order to hand back was not carried out';
  if (hello !== null && hello.state !== 'holding' && from.state === 'suspect' && to.state === 'suspect') {
    // An order that it crossed is given again.
    const later = from.dueMs !== null && (to.dueMs === null || to.dueMs > from.dueMs);
    if (later && to.link?.phase !== 'ordered') return 'a connection put the takeover off';
  }
  if (from.state === 'suspect' && to.state === 'standby' && !(event.type === 'message' && event.message.t === 'control.claimed')) {
    return 'suspicion ended without claimed';
  }
  return null;
}

const noDualControl: Checker = {
  name: '7 dual control',
  observe(fact) {
    if (fact.type === 'started-modules') return fact.dual ? `the ${fact.party} starts beside the other side` : null;
    if (fact.type !== 'instant') return null;
    const { edge, master, quiet } = fact.instant;
    return edge.gate !== null && master.gate !== null && quiet ? 'both write and nothing is under way that ends it' : null;
  },
};

const leaseHeld: Checker = {
  name: '7 no control without a lease',
  observe(fact) {
    if (fact.type !== 'instant') return null;
    const { machine, idle, gate, leased, override } = fact.instant.edge;
    if (machine === null || !idle || gate === null || override || !isExclusive(machine.durable.terms)) return null;
    return leased && machine.lease !== null ? null : 'the edge writes under exclusive without a lease';
  },
};

const modulesKept: Checker = {
  name: '8 what was kept is not restarted',
  observe(fact) {
    if (fact.type === 'started-modules') return fact.node.socketsOpen ? 'modules were started twice' : null;
    if (fact.type !== 'stopped-modules') return null;
    const drove = fact.party === 'edge' ? edgeDrives(fact.from) : masterDrives(fact.from);
    return drove && fact.to === 'releasing' ? null : `modules were stopped going from ${fact.from} to ${fact.to}`;
  },
};

/** Invariants 1 to 5, 7 and 8 as far as one instant or one step shows them; 6 and 9 need a history or a future. */
const checkers: readonly Checker[] = [
  epochsNeverFall,
  oneHolderPerEpoch,
  noStaleWriter,
  storedBeforePromised,
  movesByTheRules,
  noDualControl,
  leaseHeld,
  modulesKept,
];

/** The first thing that is wrong about a fact, with the invariant that it breaks. */
export function findProblem(fact: Fact): string | null {
  for (const checker of checkers) {
    const problem = checker.observe(fact);
    if (problem !== null) return `invariant ${checker.name}: ${problem}`;
  }
  return null;
}

/** Invariant 9: exactly one holder, both views agree, and nothing is under way. */
export function isSettled(instant: Instant): boolean {
  const { edge, master, quiet } = instant;
  if (!quiet || edge.machine === null || master.machine === null) return false;
  const [e, m] = [edge.machine, master.machine];
  if (e.state === 'holding') {
    const agreed = m.state === 'standby' && m.link?.phase === 'confirmed' && m.durable.holder === 'edge' && sameEpoch(m.durable.floor, e.durable.epoch);
    return agreed && edge.gate !== null && !master.socketsOpen;
  }
  if (e.state !== 'standby' || m.state !== 'holding') return false;
  const agreed = m.link?.phase === 'waits' && e.durable.holder !== 'edge' && !isOlder(m.durable.epoch, e.durable.floor);
  return agreed && master.gate !== null && !edge.socketsOpen;
}
