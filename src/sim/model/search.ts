import { findProblem, isSettled, type Instant } from '../invariants.ts';
import { fingerprintOf, keyOf } from './canonical.ts';
import { Coverage } from './coverage.ts';
import { movesOf } from './moves.ts';
import { Findings } from './shell.ts';
import { type Fingerprint, NO_STATE, States } from './states.ts';
import { copyWorld, initialWorld, isFree, type ModelConfig, type Process, socketsOpen, type World, writes } from './world.ts';

export interface SearchReport {
  config: string;
  states: number;
  /** How many of them take no fault, one fault, and so on. */
  layers: number[];
  transitions: number;
  /** Longest way on which a state was found. */
  depth: number;
  /** Every state that can be reached was looked at. */
  closed: boolean;
  /** Steps after which a world without further faults has settled, at most. */
  settlesWithin: number;
  problem: string | null;
  /** The shortest way to the problem, one line a step. */
  trace: string[];
  coverage: Coverage;
}

export interface SearchOptions {
  maxStates?: number;
  /** Also checks that worlds taken for the same go on alike: every so many of them, for it costs a second expansion. */
  verifyKeys?: boolean;
  signal?: AbortSignal;
  onProgress?(states: number, depth: number): void;
}

const VERIFY_EVERY = 7;

/** Worlds that wait take memory, a kilobyte each: beyond so many, those are looked at first from which the least follows. */
const MOST_WAITING = 1_000_000;

interface Reached {
  id: number;
  depth: number;
  world: World;
}

/**
 * Over every world that can be reached, with the fewest faults first and breadth first among those: a problem is
 * found by a way with as few faults as possible, and by one of the shortest of these.
 */
export function search(config: ModelConfig, options: SearchOptions = {}): SearchReport {
  return new Search(config, options).run();
}

class Search {
  readonly #config: ModelConfig;
  readonly #options: SearchOptions;
  readonly #states = new States();
  /**
   * What was reached and not looked at yet, by how many faults may still happen. From a world with more of them left
   * everything follows that follows from the same world with fewer: it is looked at again when it is reached with more.
   * The fullest comes first, so that this is rare, until too much waits.
   */
  readonly #waiting: Reached[][];
  readonly #labelIds = new Map<string, number>();
  readonly #coverage = new Coverage();
  readonly #samples = new Map<number, World>();
  #depth = 0;
  #transitions = 0;
  #problem: { text: string; at: number; label: string | null } | null = null;

  constructor(config: ModelConfig, options: SearchOptions) {
    this.#config = config;
    this.#options = options;
    this.#waiting = Array.from({ length: config.budget.faults + 1 }, () => []);
  }

  run(): SearchReport {
    const first = initialWorld(this.#config);
    this.#add(fingerprintOf(first, this.#config), { parent: NO_STATE, label: '', depth: 0 }, first);
    const closed = this.#explore();
    const settlesWithin = this.#problem === null && closed ? this.#liveness() : 0;
    const problem = this.#problem;
    return {
      config: this.#config.name,
      states: this.#states.count,
      layers: this.#layers(),
      transitions: this.#transitions,
      depth: this.#depth,
      closed: closed && problem === null,
      settlesWithin,
      problem: problem?.text ?? null,
      trace: problem === null ? [] : this.#trace(problem.at, problem.label),
      coverage: this.#coverage,
    };
  }

  /** Looks at everything; false when it was stopped before the end. */
  #explore(): boolean {
    for (let level = this.#nextLevel(); level !== null; level = this.#nextLevel()) {
      for (const reached of level) {
        if (this.#states.left(reached.id) !== reached.world.budget.faults) continue;
        this.#expand(reached);
        if (this.#problem !== null) return true;
      }
      this.#options.onProgress?.(this.#states.count, this.#depth);
      if (this.#states.count > (this.#options.maxStates ?? Infinity) || this.#options.signal?.aborted) return false;
    }
    return true;
  }

  #nextLevel(): Reached[] | null {
    const waits = this.#waiting.reduce((sum, { length }) => sum + length, 0);
    const isNext = ({ length }: Reached[]): boolean => length > 0;
    const left = waits > MOST_WAITING ? this.#waiting.findIndex(isNext) : this.#waiting.findLastIndex(isNext);
    const level = this.#waiting[left];
    if (level === undefined) return null;
    this.#waiting[left] = [];
    return level;
  }

  #expand({ id, depth, world }: Reached): void {
    let best = Infinity;
    for (const move of movesOf(world, this.#config)) {
      const findings = new Findings(this.#coverage);
      const next = copyWorld(world);
      try {
        move.apply(next, findings);
      } catch (error) {
        findings.crashed(error);
      }
      if (findings.overflow && findings.problem === null) continue;
      this.#transitions += 1;
      const fingerprint = fingerprintOf(next, this.#config);
      let target = this.#states.find(fingerprint);
      if (target === NO_STATE) {
        target = this.#states.count;
        findings.problem ??= this.#add(fingerprint, { parent: id, label: move.label, depth: depth + 1 }, next);
      } else {
        if (this.#samples.has(target)) findings.problem ??= this.#compare(target, next);
        const left = next.budget.faults;
        if (left > this.#states.left(target)) {
          this.#states.improve(target, { parent: id, label: this.#labelId(move.label), left });
          this.#waiting[left]?.push({ id: target, depth: depth + 1, world: next });
        }
      }
      if (findings.problem !== null) {
        this.#problem = { text: findings.problem, at: id, label: move.label };
        return;
      }
      if (move.urgency !== null && move.urgency < best && target !== id) {
        best = move.urgency;
        this.#states.setNext(id, target);
      }
    }
  }

  /** Two worlds that are taken for one must lead to the same worlds. */
  #compare(id: number, other: World): string | null {
    const known = this.#samples.get(id);
    this.#samples.delete(id);
    if (known === undefined) return null;
    const equal = successors(known, this.#config) === successors({ ...other, budget: known.budget }, this.#config);
    return equal ? null : 'the model takes worlds for the same that go on differently';
  }

  /** Takes a new world in; says what is wrong with it. */
  #add(fingerprint: Fingerprint, way: { parent: number; label: string; depth: number }, world: World): string | null {
    const instant = instantOf(world);
    const { faults } = world.budget;
    const settled = isSettled(instant) && !isAboutToMove(world);
    const id = this.#states.add(fingerprint, { parent: way.parent, label: this.#labelId(way.label), settled, left: faults });
    this.#waiting[faults]?.push({ id, depth: way.depth, world });
    this.#depth = Math.max(this.#depth, way.depth);
    if (this.#options.verifyKeys && id % VERIFY_EVERY === 0) this.#samples.set(id, world);
    return findProblem({ type: 'instant', instant });
  }

  #labelId(label: string): number {
    let id = this.#labelIds.get(label);
    if (id === undefined) this.#labelIds.set(label, (id = this.#labelIds.size));
    return id;
  }

  /** States by how many faults it takes to reach them. */
  #layers(): number[] {
    const { faults } = this.#config.budget;
    const layers = Array.from({ length: faults + 1 }, () => 0);
    for (let id = 0; id < this.#states.count; id += 1) {
      const spent = faults - this.#states.left(id);
      layers[spent] = (layers[spent] ?? 0) + 1;
    }
    return layers;
  }

  /** Invariant 9: from every state, a fair world without further faults settles. Returns the longest way. */
  #liveness(): number {
    const states = this.#states;
    const distance = new Int32Array(states.count).fill(-1);
    let longest = 0;
    for (let start = 0; start < distance.length; start += 1) {
      const path: number[] = [];
      let at = start;
      while (distance[at] === -1 && !states.isSettled(at)) {
        distance[at] = -2;
        path.push(at);
        const next = states.next(at);
        if (next === NO_STATE || distance[next] === -2) {
          const what = next === NO_STATE ? 'nothing can happen any more' : 'a world without faults never settles';
          this.#problem = { text: `invariant 9: ${what}`, at: start, label: null };
          return 0;
        }
        at = next;
      }
      let steps = states.isSettled(at) ? 0 : (distance[at] ?? 0);
      distance[at] = steps;
      while (path.length > 0) {
        steps += 1;
        distance[path.pop() ?? 0] = steps;
      }
      longest = Math.max(longest, steps);
    }
    return longest;
  }

  /** Goes the way again, to say what each step did. */
  #trace(at: number, last: string | null): string[] {
    const names = [...this.#labelIds.keys()];
    const labels: string[] = last === null ? [] : [last];
    for (let id = at; id > 0; id = this.#states.parent(id)) labels.unshift(names[this.#states.label(id)] ?? '');
    if (last === null) labels.push(...this.#fairWay(at));
    return replay(this.#config, labels);
  }

  #fairWay(at: number): string[] {
    const labels: string[] = [];
    const seen = new Set<number>();
    for (let id = at; id !== NO_STATE && !seen.has(id); id = this.#states.next(id)) {
      seen.add(id);
      labels.push('…');
    }
    return labels;
  }
}

function successors(world: World, config: ModelConfig): string {
  const keys: string[] = [];
  for (const move of movesOf(world, config)) {
    const findings = new Findings(new Coverage());
    const next = copyWorld(world);
    move.apply(next, findings);
    if (!findings.overflow) keys.push(`${keyOf(next, config)} ${findings.problem ?? ''}`);
  }
  return keys.sort().join('\n');
}

/** One line a step: what happened, and what both machines are then. `…` is whatever a fair world does next. */
function replay(config: ModelConfig, labels: readonly string[]): string[] {
  const lines: string[] = [];
  let world = initialWorld(config);
  for (const label of labels) {
    const moves = movesOf(world, config);
    let chosen: { label: string; world: World; reasons: string[] } | null = null;
    let best = Infinity;
    for (const move of moves) {
      if (label !== '…' && move.label !== label) continue;
      const findings = new Findings(new Coverage());
      const next = copyWorld(world);
      try {
        move.apply(next, findings);
      } catch (error) {
        findings.crashed(error);
      }
      if (findings.overflow) continue;
      const urgency = label === '…' ? (move.urgency ?? Infinity) : 0;
      if (urgency >= best || (label === '…' && keyOf(next, config) === keyOf(world, config))) continue;
      best = urgency;
      chosen = { label: move.label, world: next, reasons: findings.reasons };
    }
    if (chosen === null) break;
    world = chosen.world;
    lines.push(`${lines.length + 1}. ${chosen.label}${chosen.reasons.map((reason) => ` [${reason}]`).join('')} ${describe(world)}`);
  }
  return lines;
}

function describe(world: World): string {
  const { edge, master } = world;
  const link = edge.machine?.link;
  const e = edge.machine === null ? 'down' : `${edge.machine.state} ${edge.machine.durable.epoch.number}/${edge.machine.durable.floor.number}`;
  const m = master.machine === null ? 'down' : `${master.machine.state} ${master.machine.durable.epoch.number}/${master.machine.durable.floor.number}`;
  const phase = master.machine?.link ? ` ${master.machine.link.phase}` : '';
  return `→ edge ${e}${link ? ` n${link.negotiation}` : ''} ${edge.modules.phase}; master ${m}${phase} ${master.modules.phase}`;
}

function facts<State, Event, Timer extends string>(process: Process<State, Event, Timer>) {
  const { journal, behind, modules, machine, writing } = process;
  return {
    journal,
    behind,
    socketsOpen: socketsOpen(modules),
    gate: writes(modules) ? modules.gate : null,
    machine,
    idle: isFree(process),
    lettingGo: writing?.letsGo ?? false,
  };
}

function instantOf(world: World): Instant {
  const { edge, master, links } = world;
  const [link] = links;
  const free = isFree(edge) && isFree(master);
  const restful = (phase: string): boolean => phase === 'none' || phase === 'running';
  const quiet =
    free &&
    links.length === 1 &&
    link !== undefined &&
    link.edgeEnd === 'up' &&
    link.masterEnd === 'up' &&
    !link.broken &&
    link.toEdge.messages.every(({ t }) => t === 'control.renewed') &&
    link.toMaster.messages.every(({ t }) => t === 'control.renew') &&
    restful(edge.modules.phase) &&
    restful(master.modules.phase);
  return { edge: { ...facts(edge), leased: edge.modules.lease !== null, override: edge.modules.override }, master: facts(master), quiet };
}

/** Settled for now, but a hand-back or a change of terms is due. */
function isAboutToMove(world: World): boolean {
  const machine = world.master.machine;
  if (machine === null || machine.window.open !== world.windowOpen) return true;
  const { window, spentWindow, wanted, state } = machine;
  const usable = window.open && spentWindow !== window.occurrence && !wanted.paused && machine.holdDown.untilMs <= 0;
  return state === 'holding' && usable;
}
