import { formatEpoch, isOlder, sameEpoch } from '../shared/control/epoch.ts';
import type { EdgeControl, EdgeEvent } from '../shared/control/edge-control.ts';
import { defaultTimings } from '../shared/control/lease.ts';
import type { MasterControl, MasterEvent } from '../shared/control/master-control.ts';
import type { ControlMessage } from '../shared/control/messages.ts';
import type { Durable } from '../shared/control/step.ts';
import type { Json } from '../shared/foundation/json.ts';
import type { Epoch, Party } from '../shared/model/control.ts';
import { MASTER_LOCATION } from '../shared/model/ids.ts';
import type { JournalEntry } from '../shared/ports/control-journal.ts';
import type { SimCoverage } from './coverage.ts';
import type { SeenWrite } from './devices.ts';
import { edgeDrives, type Fact, findProblem, forbidsDualControl, type Instant, isSettled, masterDrives, type NodeFacts } from './invariants.ts';
import type { Machine } from './machine.ts';
import { MasterPast } from './master-past.ts';
import type { Line } from './network.ts';
import type { Seat, SeatTap } from './seat.ts';
import type { Timeline } from './timeline.ts';
import type { Trace } from './trace.ts';

/** An invariant is broken: the run ends here. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

export interface JudgeOptions {
  timeline: Timeline;
  trace: Trace;
  coverage: SimCoverage;
  seats(location: string): { edge: Seat; master: Seat; line: Line };
  /** The method of a command begins to run at a driver. */
  invoked(args: Json[]): void;
}

interface Side<Machine> {
  machine: Machine | null;
  journal: Durable | null;
  /** As found at boot, until the first step. */
  booted: { stored: Durable | null } | null;
  behind: boolean;
  writing: number;
  /** The record under way gives control up. */
  lettingGo: boolean;
  stopping: boolean;
}

interface Case {
  edge: Side<EdgeControl>;
  master: Side<MasterControl>;
  /** Facts that wait for the state that the step ends in. */
  pending: { party: Party; complete: (from: string, to: string) => Fact }[];
  saidHolding: boolean;
  past: MasterPast;
  /** When a holder ended nobody wrote down, or a clock was set: how long both held is an estimate. */
  estimated: boolean;
  /** On the clock of the master: the last sign that the edge has control, or the end of its own. */
  confirmedMs: number;
  /** On the same clock: the last frame of the edge. */
  heardMs: number;
  bothSinceMs: number | null;
  bothMs: number;
  /** Since when both write although they are in touch. */
  inTouchSinceMs: number | null;
}

const newSide = <M>(): Side<M> => ({ machine: null, journal: null, booted: null, behind: false, writing: 0, lettingGo: false, stopping: false });

/** Between two nodes that are right, over connections that keep the order, no link ends for these reasons: nothing is left out or said twice. */
const impossible: ReadonlySet<unknown> = new Set(['sequence-gap', 'invalid-frame', 'wrong-side', 'version']);

/** Differences of two readings of a drifting clock are not exact. */
const ROUNDING_MS = 0.001;

/** Two clocks that drift by 2 % each, over the time that both held, and over the time until they met again: a fault lasts 45 s at most. */
const REPORT_SHARE = 0.04;
const REPORT_MS = 2_000;

/** After a partition the verdict ends dual control within this time. */
const HEAL_MS = 1_000;

/** Listens to everything that the nodes do and holds it against the invariants of docs/control.md, section 7. */
export class Judge {
  readonly #options: JudgeOptions;
  readonly #cases = new Map<string, Case>();
  readonly #touched = new Set<string>();
  #violation: Violation | null = null;

  constructor(options: JudgeOptions) {
    this.#options = options;
  }

  // ── What it hears ─────────────────────────────────────────────────────────

  tapOf(party: Party, id: string): SeatTap {
    const { trace } = this.#options;
    return {
      log: (level, event, facts: { reason?: unknown }) => {
        trace.add(id, event, facts);
        if (event === 'link-down' && impossible.has(facts.reason)) this.#fail(`${id} ends a link for ${String(facts.reason)}`);
        if (event === 'shutdown-step-failed') this.#fail(`${id} logs ${event} at ${level}: ${JSON.stringify(facts)}`);
      },
      booting: (entries) => this.#booting(party, id, entries),
      writing: (entry) =>
        this.#onEntry(party, entry, (side) => {
          side.writing += 1;
          // The master may also plan to let go: then its devices wait for the disk.
          side.lettingGo = party === 'edge' && entry.holder !== 'edge';
        }),
      written: (entry) => this.#onEntry(party, entry, (side) => this.#written(party, side, entry)),
      notWritten: (entry) =>
        this.#onEntry(party, entry, (side) => {
          side.writing -= 1;
          side.lettingGo = false;
          side.behind = true;
        }),
      edgeStepped: (previous, next, event) => this.#edgeStepped(id, { previous, next, event }),
      masterStepped: (location, previous, next, event) => this.#masterStepped(location, { previous, next, event }),
      started: (location, epoch, socketsOpen) => this.#started(party, location, { epoch, socketsOpen }),
      stopping: (location) => this.#stopping(party, location),
      invoked: (_, args) => this.#options.invoked(args),
    };
  }

  frameSent(location: string, from: Machine, text: string): void {
    if (!isControl(text)) return;
    const { edge, master } = this.#options.seats(location);
    const party = from === edge.machine ? 'edge' : 'master';
    // Our own nodes wrote it: a session part may be added, which nothing here reads.
    const message = JSON.parse(text) as ControlMessage;
    const kase = this.#case(location);
    if (message.t === 'hello') kase.saidHolding = message.state === 'holding';
    if (message.t === 'control.release') kase.past.ordersRelease(kase.master.machine);
    if (message.t === 'negotiate') this.#options.coverage.verdict(message.reason);
    const node = this.#facts(location, party === 'edge' ? edge : master);
    kase.pending.push({ party, complete: (_, to) => ({ type: 'sent', party, message, node, state: to }) });
  }

  frameArrived(location: string, at: Machine): void {
    const { master } = this.#options.seats(location);
    const kase = this.#case(location);
    if (at !== master.machine) return;
    kase.heardMs = at.monotonicMs();
    if (kase.master.machine?.link?.phase === 'confirmed') kase.confirmedMs = kase.heardMs;
  }

  wrote({ location, module, machine, epoch, gate }: SeenWrite): void {
    if (location === MASTER_LOCATION) return;
    const { edge } = this.#options.seats(location);
    const party = machine === edge.machine ? 'edge' : 'master';
    const stored = this.#case(location)[party].journal;
    const told = `invariant 3: the ${party} writes to ${module} under ${formatEpoch(epoch)}`;
    if (stored === null || isOlder(epoch, stored.epoch)) this.#fail(`${told}, but has stored ${stored === null ? 'nothing' : formatEpoch(stored.epoch)}`);
    if (!sameEpoch(epoch, gate.epoch)) this.#fail(`${told}, but its gate is open for ${formatEpoch(gate.epoch)}`);
    if (!gate.open) this.#fail(`${told} through a closed gate`);
    if (gate.leaseUntilMs !== null && machine.monotonicMs() >= gate.leaseUntilMs) this.#fail(`${told} after the end of its lease`);
  }

  /** A process is gone. */
  ended(seat: Seat): void {
    for (const [location, kase] of this.#cases) {
      if (seat.party === 'edge' && seat.id !== location) continue;
      const side = kase[seat.party];
      kase.estimated ||= side.journal?.holder === seat.party || (side.machine !== null && (edgeDrives(side.machine.state) || masterDrives(side.machine.state)));
      side.machine = null;
      side.booted = null;
      side.writing = 0;
      side.lettingGo = false;
      side.stopping = false;
      side.behind = false;
      kase.pending = kase.pending.filter(({ party }) => party !== seat.party);
      this.#touched.add(location);
    }
  }

  /** An orderly stop: modules stop without a step. */
  stopping(seat: Seat): void {
    for (const [location, kase] of this.#cases) if (seat.party === 'master' || seat.id === location) kase[seat.party].stopping = true;
  }

  // ── What it finds ─────────────────────────────────────────────────────────

  /** Everything that an event set off has settled. */
  afterEvent(): void {
    for (const location of this.#touched) {
      const kase = this.#case(location);
      const instant = this.#instant(location, kase);
      if (!kase.edge.stopping && !kase.master.stopping) this.#judge({ type: 'instant', instant });
      this.#measureBoth(kase, instant);
    }
    this.#touched.clear();
    for (const [location, kase] of this.#cases) if (kase.inTouchSinceMs !== null) this.#boundBoth(location, kase);
    if (this.#violation !== null) throw this.#violation;
  }

  /** Something outside of the nodes found a problem. */
  fail(problem: string): void {
    this.#fail(problem);
  }

  /** Invariant 9 for one location: exactly one holder, and both agree. */
  settled(location: string): boolean {
    return isSettled({ ...this.#instant(location, this.#case(location)), quiet: true });
  }

  /** For how long both could write, so far. */
  dualControlMs(location: string): number {
    const { bothMs, bothSinceMs } = this.#case(location);
    return bothMs + (bothSinceMs === null ? 0 : this.#options.timeline.nowMs - bothSinceMs);
  }

  /** Invariant 7: what the nodes say about how long both held, against what was seen here. */
  checkReported(location: string, reportedMs: number): void {
    if (this.#case(location).estimated) return;
    const seenMs = this.dualControlMs(location);
    if (Math.abs(seenMs - reportedMs) <= REPORT_SHARE * seenMs + REPORT_MS) return;
    this.#fail(`invariant 7: both sides of ${location} drove for ${Math.round(seenMs)} ms, the master reports ${Math.round(reportedMs)} ms`);
  }

  machines(location: string): { edge: EdgeControl | null; master: MasterControl | null } {
    const { edge, master } = this.#case(location);
    return { edge: edge.machine, master: master.machine };
  }

  // ── Steps ─────────────────────────────────────────────────────────────────

  #edgeStepped(location: string, { previous, next, event }: { previous: EdgeControl; next: EdgeControl; event: EdgeEvent }): void {
    const kase = this.#case(location);
    this.#firstStep(location, 'edge', previous.durable);
    kase.edge.machine = next;
    this.#options.coverage.step('edge', previous.state, next.state);
    this.#judge({ type: 'edge-moved', from: previous, to: next, event, saidHolding: kase.saidHolding, disconnectMs: defaultTimings.disconnectMs });
    this.#complete(kase, 'edge', previous.state, next.state);
    this.#touched.add(location);
  }

  #masterStepped(location: string, { previous, next, event }: { previous: MasterControl; next: MasterControl; event: MasterEvent }): void {
    const kase = this.#case(location);
    this.#firstStep(location, 'master', previous.durable);
    // When it was decided: the step itself may have waited for the disk since, and so may the one before.
    const { nowMs } = event;
    const evidence = {
      quietMs: nowMs - kase.confirmedMs + ROUNDING_MS,
      failedHandback: kase.past.failedHandback(previous),
      heldDown: kase.past.heldDown(nowMs),
    };
    kase.past.stepped(previous, next, event);
    kase.master.machine = next;
    this.#options.coverage.step('master', previous.state, next.state);
    this.#judge({ type: 'master-moved', from: previous, to: next, event, evidence });
    this.#complete(kase, 'master', previous.state, next.state);
    const confirmed = next.link?.phase === 'confirmed' && previous.link?.phase !== 'confirmed';
    const ended = previous.state === 'releasing' && next.state !== 'releasing';
    if (confirmed) kase.confirmedMs = kase.heardMs;
    if (ended) kase.confirmedMs = nowMs;
    this.#touched.add(location);
  }

  /** Before the first step of a process its state is what it booted with. */
  #firstStep(location: string, party: Party, durable: Durable): void {
    const side = this.#case(location)[party];
    const { booted } = side;
    if (booted === null) return;
    side.booted = null;
    this.#judge({ type: 'booted', party, stored: booted.stored, durable });
  }

  #complete(kase: Case, party: Party, from: string, to: string): void {
    const mine = kase.pending.filter((fact) => fact.party === party);
    kase.pending = kase.pending.filter((fact) => fact.party !== party);
    for (const { complete } of mine) this.#judge(complete(from, to));
  }

  // ── Journals and modules ──────────────────────────────────────────────────

  #booting(party: Party, id: string, entries: JournalEntry[]): void {
    const stored = new Map(entries.map((entry) => [entry.location, durableOf(entry)]));
    const locations = party === 'edge' ? [id] : this.#cases.keys();
    for (const location of locations) {
      const kase = this.#case(location);
      const record = stored.get(location) ?? null;
      const side = kase[party];
      if (side.journal !== null && record === null) this.#fail(`invariant 1: the journal of the ${party} has forgotten ${location}`);
      // A write that was under way when the power went may have reached the disk, but never an older one.
      if (record !== null) this.#judge({ type: 'journal-written', party, before: side.journal, record });
      side.journal = record;
      side.booted = { stored: record };
      kase.estimated ||= this.#options.seats(location)[party].machine.wallJumped;
      if (party === 'edge') continue;
      kase.past = new MasterPast();
      // What it held when it went down is due at once, also when it went down again before anybody held.
      const held = record?.holder === 'master' || record?.reason === 'master-restarted';
      kase.confirmedMs = held ? -Infinity : this.#options.seats(location).master.machine.monotonicMs();
    }
  }

  #onEntry(party: Party, entry: JournalEntry, act: (side: Side<unknown>) => void): void {
    if (entry.location === MASTER_LOCATION) return;
    act(this.#case(entry.location)[party]);
    this.#touched.add(entry.location);
  }

  #written(party: Party, side: Side<unknown>, entry: JournalEntry): void {
    const record = durableOf(entry);
    this.#judge({ type: 'journal-written', party, before: side.journal, record });
    side.writing -= 1;
    side.lettingGo = false;
    side.journal = record;
    side.behind = false;
  }

  #started(party: Party, location: string, { epoch, socketsOpen }: { epoch: Epoch; socketsOpen: boolean }): void {
    if (location === MASTER_LOCATION) return;
    const { edge, master } = this.#options.seats(location);
    const kase = this.#case(location);
    const before = kase[party].machine;
    this.#touched.add(location);
    // Documents changed while it holds: what runs is brought in line.
    if (before?.state === 'holding' && sameEpoch(before.durable.epoch, epoch)) return;
    const node = { ...this.#facts(location, party === 'edge' ? edge : master), socketsOpen };
    const beside = this.#facts(location, party === 'edge' ? master : edge).socketsOpen;
    kase.pending.push({ party, complete: () => ({ type: 'started-modules', party, epoch, node, dual: beside && this.#forbidsBoth(kase) }) });
  }

  #stopping(party: Party, location: string): void {
    if (location === MASTER_LOCATION) return;
    const kase = this.#case(location);
    if (!kase[party].stopping) kase.pending.push({ party, complete: (from, to) => ({ type: 'stopped-modules', party, from, to }) });
    this.#touched.add(location);
  }

  // ── Instants ──────────────────────────────────────────────────────────────

  #instant(location: string, kase: Case): Instant {
    const { edge, master } = this.#options.seats(location);
    const lease = edge.hands?.gate.state(location).leaseUntilMs ?? null;
    return {
      edge: {
        ...this.#facts(location, edge),
        machine: kase.edge.machine,
        idle: kase.edge.writing === 0,
        lettingGo: kase.edge.lettingGo,
        leased: lease !== null,
        override: kase.edge.machine?.override ?? false,
      },
      master: { ...this.#facts(location, master), machine: kase.master.machine, idle: kase.master.writing === 0, lettingGo: kase.master.lettingGo },
      quiet: false,
    };
  }

  #facts(location: string, seat: Seat): NodeFacts {
    const side = this.#case(location)[seat.party];
    return {
      journal: side.journal,
      behind: side.behind,
      socketsOpen: seat.hands?.socketsOpen(location) ?? false,
      gate: seat.hands?.writesUnder(location) ?? null,
    };
  }

  #measureBoth(kase: Case, { edge, master }: Instant): void {
    const { nowMs } = this.#options.timeline;
    const both = edge.gate !== null && master.gate !== null;
    if (both && kase.bothSinceMs === null && this.#forbidsBoth(kase)) this.#fail('invariant 7: both write, which the terms rule out');
    if (both) kase.bothSinceMs ??= nowMs;
    else if (kase.bothSinceMs !== null) {
      kase.bothMs += nowMs - kase.bothSinceMs;
      kase.bothSinceMs = null;
    }
    const inTouch = both && master.machine?.link !== null;
    kase.inTouchSinceMs = inTouch ? (kase.inTouchSinceMs ?? nowMs) : null;
  }

  /** By the terms that bind the edge, unless the person on site overrode them. */
  #forbidsBoth({ edge }: Case): boolean {
    const terms = edge.machine?.durable.terms ?? edge.journal?.terms;
    return terms !== undefined && forbidsDualControl(terms) && edge.machine?.override !== true;
  }

  /** Invariant 7: both drive, but they have met: it must end now. */
  #boundBoth(location: string, kase: Case): void {
    const { timeline, seats } = this.#options;
    const { edge, master, line } = seats(location);
    // A line or a process that does not work gives the loser no chance to hear of it.
    if (line.faulty || edge.machine.paused || master.machine.paused) kase.inTouchSinceMs = timeline.nowMs;
    else if (timeline.nowMs - (kase.inTouchSinceMs ?? timeline.nowMs) > HEAL_MS) this.#fail(`invariant 7: both sides of ${location} drive 1 s after heal`);
  }

  #case(location: string): Case {
    let kase = this.#cases.get(location);
    if (kase === undefined) {
      kase = {
        edge: newSide(),
        master: newSide(),
        pending: [],
        saidHolding: false,
        past: new MasterPast(),
        estimated: false,
        confirmedMs: -Infinity,
        heardMs: -Infinity,
        bothSinceMs: null,
        bothMs: 0,
        inTouchSinceMs: null,
      };
      this.#cases.set(location, kase);
    }
    return kase;
  }

  #judge(fact: Fact): void {
    const problem = findProblem(fact);
    if (problem !== null) this.#fail(problem);
  }

  /** Noted, not thrown: the caller is in the middle of a node, which would take it for its own failure. */
  #fail(problem: string): void {
    this.#options.trace.add('judge', problem, {});
    this.#violation ??= new Violation(problem);
  }
}

const isControl = (text: string): boolean => text.startsWith('{"t":"control.') || text.startsWith('{"t":"hello"') || text.startsWith('{"t":"negotiate"');

const durableOf = ({ epoch, floor, holder, reason, terms }: JournalEntry): Durable => ({ epoch, floor, holder, reason, terms });
