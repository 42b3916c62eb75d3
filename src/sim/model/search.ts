import { findProblem, isSettled, type Instant, type NodeFacts } from '../invariants.ts';
import { keyOf } from './canonical.ts';
import { Coverage } from './coverage.ts';
import { movesOf } from './moves.ts';
import { Findings } from './shell.ts';
import { copyWorld, initialWorld, isFree, type ModelConfig, type Process, socketsOpen, type World, writes } from './world.ts';

export interface SearchReport {
  config: string;
  states: number;
  transitions: number;
  /** Longest shortest way to a state. */
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

const NO_NEXT = -1;
const VERIFY_EVERY = 7;

/** Breadth first over every world that can be reached: a problem is found by one of its shortest ways. */
export function search(config: ModelConfig, options: SearchOptions = {}): SearchReport {
  return new Search(config, options).run();
}

class Search {
  readonly #config: ModelConfig;
  readonly #options: SearchOptions;
  readonly #ids = new Map<string, number>();
  readonly #parents: number[] = [];
  readonly #labels: number[] = [];
  /** Where the fair world without faults goes next. */
  readonly #next: number[] = [];
  readonly #settled: boolean[] = [];
  readonly #labelIds = new Map<string, number>();
  readonly #coverage = new Coverage();
  readonly #samples = new Map<number, World>();
  #transitions = 0;
  #problem: { text: string; at: number; label: string | null } | null = null;

  constructor(config: ModelConfig, options: SearchOptions) {
    this.#config = config;
    this.#options = options;
  }

  run(): SearchReport {
    const first = initialWorld(this.#config);
    this.#ids.set(keyOf(first, this.#config), 0);
    this.#add(NO_NEXT, '', first);
    let frontier: { id: number; world: World }[] = [{ id: 0, world: first }];
    let depth = 0;
    let closed = true;
    while (frontier.length > 0 && this.#problem === null) {
      const reached: { id: number; world: World }[] = [];
      for (const { id, world } of frontier) {
        this.#expand(id, world, reached);
        if (this.#problem !== null) break;
      }
      this.#options.onProgress?.(this.#parents.length, depth);
      if (this.#parents.length > (this.#options.maxStates ?? Infinity) || this.#options.signal?.aborted) {
        closed = false;
        break;
      }
      if (reached.length > 0) depth += 1;
      frontier = reached;
    }
    const settlesWithin = this.#problem === null && closed ? this.#liveness() : 0;
    const problem = this.#problem;
    return {
      config: this.#config.name,
      states: this.#parents.length,
      transitions: this.#transitions,
      depth,
      closed: closed && problem === null,
      settlesWithin,
      problem: problem?.text ?? null,
      trace: problem === null ? [] : this.#trace(problem.at, problem.label),
      coverage: this.#coverage,
    };
  }

  #expand(id: number, world: World, reached: { id: number; world: World }[]): void {
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
      const key = keyOf(next, this.#config);
      let target = this.#ids.get(key);
      if (target === undefined) {
        target = this.#parents.length;
        this.#ids.set(key, target);
        findings.problem ??= this.#add(id, move.label, next);
        reached.push({ id: target, world: next });
        if (this.#options.verifyKeys && target % VERIFY_EVERY === 0) this.#samples.set(target, next);
      } else if (this.#samples.has(target)) {
        findings.problem ??= this.#compare(target, next);
      }
      if (findings.problem !== null) {
        this.#problem = { text: findings.problem, at: id, label: move.label };
        return;
      }
      if (move.urgency !== null && move.urgency < best && target !== id) {
        best = move.urgency;
        this.#next[id] = target;
      }
    }
  }

  /** Two worlds with the same key must lead to the same worlds. */
  #compare(id: number, other: World): string | null {
    const known = this.#samples.get(id);
    this.#samples.delete(id);
    if (known === undefined) return null;
    return successors(known, this.#config) === successors(other, this.#config) ? null : 'the model takes worlds for the same that go on differently';
  }

  /** Takes a new world in; says what is wrong with it. */
  #add(parent: number, label: string, world: World): string | null {
    let labelId = this.#labelIds.get(label);
    if (labelId === undefined) {
      labelId = this.#labelIds.size;
      this.#labelIds.set(label, labelId);
    }
    this.#parents.push(parent);
    this.#labels.push(labelId);
    this.#next.push(NO_NEXT);
    const instant = instantOf(world);
    this.#settled.push(isSettled(instant) && !isAboutToMove(world));
    return findProblem({ type: 'instant', instant });
  }

  /** Invariant 9: from every state, a fair world without further faults settles. Returns the longest way. */
  #liveness(): number {
    const distance = new Int32Array(this.#parents.length).fill(-1);
    let longest = 0;
    for (let start = 0; start < distance.length; start += 1) {
      const path: number[] = [];
      let at = start;
      while (distance[at] === -1 && !this.#settled[at]) {
        distance[at] = -2;
        path.push(at);
        const next = this.#next[at] ?? NO_NEXT;
        if (next === NO_NEXT || distance[next] === -2) {
          const what = next === NO_NEXT ? 'nothing can happen any more' : 'a world without faults never settles';
          this.#problem = { text: `invariant 9: ${what}`, at: start, label: null };
          return 0;
        }
        at = next;
      }
      let steps = this.#settled[at] ? 0 : (distance[at] ?? 0);
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
    for (let id = at; id > 0; id = this.#parents[id] ?? 0) labels.unshift(names[this.#labels[id] ?? 0] ?? '');
    if (last === null) labels.push(...this.#fairWay(at));
    return replay(this.#config, labels);
  }

  #fairWay(at: number): string[] {
    const labels: string[] = [];
    const seen = new Set<number>();
    for (let id = at; id !== NO_NEXT && !seen.has(id); id = this.#next[id] ?? NO_NEXT) {
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
export function replay(config: ModelConfig, labels: readonly string[]): string[] {
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

const facts = <State, Event>({ journal, behind, modules }: Process<State, Event, string>): NodeFacts => ({
  journal,
  behind,
  socketsOpen: socketsOpen(modules),
  gate: writes(modules) ? modules.gate : null,
});

export function instantOf(world: World): Instant {
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
  return {
    edge: {
      ...facts(edge),
      machine: edge.machine,
      idle: isFree(edge),
      lettingGo: edge.writing?.letsGo ?? false,
      leased: edge.modules.lease !== null,
      override: edge.modules.override,
    },
    master: { ...facts(master), machine: master.machine, idle: isFree(master), lettingGo: master.writing?.letsGo ?? false },
    quiet,
  };
}

/** Settled for now, but a hand-back or a change of terms is due. */
function isAboutToMove(world: World): boolean {
  const machine = world.master.machine;
  if (machine === null || machine.window.open !== world.windowOpen) return true;
  const { window, spentWindow, wanted, state } = machine;
  const usable = window.open && spentWindow !== window.occurrence && !wanted.paused && machine.holdDown.untilMs <= 0;
  return state === 'holding' && usable;
}
