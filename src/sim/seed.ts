import { SimCoverage } from './coverage.ts';
import { isExclusive } from '../shared/control/step.ts';
import { Clients } from './clients.ts';
import { faultKinds, repair, strike } from './faults.ts';
import { Violation } from './judge.ts';
import { SimRandom } from './random.ts';
import { type SiteOptions, World } from './world.ts';

/** What one seed found. */
export interface SeedReport {
  seed: string;
  /** Of all that happened, and when: the same seed gives the same one. */
  hash: string;
  simulatedMs: number;
  events: number;
  faults: number;
  commands: number;
  answered: number;
  dualControlMs: number;
  /** How long it took after the last fault until each location had one holder and all views agreed. */
  settledMs: number;
  hits: Record<string, number>;
  violation: { problem: string; atMs: number; trace: string[] } | null;
}

export interface SeedOptions {
  /** Gets the way to report what a node threw where nobody waits: who runs the process sees that. */
  onCrash?(crashed: (error: unknown) => void): void;
}

const SAFETY_MS = 480_000;
/** Invariant 9: within this time after the last fault everything has settled. */
export const SETTLE_MS = 100_000;
/** Disconnected for 3 s, then an attempt that fails: two attempts and two pauses between them at most. */
const ALONE_MS = 15_000;
const END_MS = 600_000;
const TRACE_LINES = 40;
const names = ['a', 'b', 'c'];

/** Ten simulated minutes of one master and its edges: first faults at random, then none. */
export async function runSeed(seed: string, options: SeedOptions = {}): Promise<SeedReport> {
  const run = await SeedRun.create(seed);
  options.onCrash?.((error) => run.crashed(error));
  return run.play();
}

class SeedRun {
  readonly #seed: string;
  readonly #world: World;
  readonly #clients: Clients;
  readonly #coverage: SimCoverage;
  readonly #random: SimRandom;
  readonly #aloneSinceMs = new Map<string, number>();
  #faults = 0;
  #settledMs = 0;
  /** Faults strike and clients call until then. */
  #calm = false;

  private constructor(seed: string, world: World, clients: Clients, coverage: SimCoverage) {
    this.#seed = seed;
    this.#world = world;
    this.#clients = clients;
    this.#coverage = coverage;
    this.#random = new SimRandom(`${seed}/faults`);
  }

  static async create(seed: string): Promise<SeedRun> {
    const random = new SimRandom(`${seed}/sites`);
    const coverage = new SimCoverage();
    const sites: Record<string, SiteOptions> = {};
    for (const name of names.slice(0, random.chance(0.3) ? 3 : 2)) sites[name] = siteOptions(random);
    let clients: Clients | null = null;
    const world = await World.create({ seed, sites, coverage, invoked: (args) => clients?.invoked(args) });
    clients = new Clients(world, new SimRandom(`${seed}/clients`));
    return new SeedRun(seed, world, clients, coverage);
  }

  /** A bug in a node: in a real one it ends the process. */
  crashed(error: unknown): void {
    this.#world.judge.fail(`a node crashed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }

  async play(): Promise<SeedReport> {
    let violation: SeedReport['violation'] = null;
    try {
      this.#boot();
      this.#planFaults();
      this.#planCommands();
      this.#watchAlone();
      await this.#world.run(SAFETY_MS);
      await this.#settle();
    } catch (error) {
      const problem = error instanceof Violation ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error);
      violation = { problem, atMs: this.#world.timeline.nowMs, trace: this.#world.trace.last(TRACE_LINES) };
    }
    const { timeline, judge, sites } = this.#world;
    let dualControlMs = 0;
    for (const id of sites.keys()) dualControlMs += judge.dualControlMs(id);
    return {
      seed: this.#seed,
      hash: timeline.hash,
      simulatedMs: timeline.nowMs,
      events: timeline.events,
      faults: this.#faults,
      commands: this.#clients.sent,
      answered: this.#clients.answered,
      dualControlMs,
      settledMs: this.#settledMs,
      hits: this.#coverage.hits,
      violation,
    };
  }

  #boot(): void {
    const { timeline, seats } = this.#world;
    for (const seat of seats) timeline.at(this.#random.between(0, 4_000), () => this.#world.boot(seat));
  }

  /** At least twenty, each at a time and place of its own; several may overlap. */
  #planFaults(): void {
    const count = 22 + Math.floor(this.#random.next() * 10);
    for (let i = 0; i < count; i += 1) this.#world.timeline.at(this.#random.between(8_000, SAFETY_MS - 5_000), () => this.#strike());
  }

  #strike(): void {
    const { timeline, sites } = this.#world;
    const kind = this.#random.pick(faultKinds);
    const site = this.#random.pick([...sites.values()]);
    this.#faults += 1;
    this.#coverage.fault(kind);
    const undo = strike(kind, this.#world, site, this.#random);
    if (undo === null) return;
    const lastsMs = this.#random.chance(0.3) ? this.#random.between(100, 3_000) : this.#random.between(3_000, 45_000);
    timeline.after(lastsMs, () => {
      if (!this.#calm) undo();
    });
  }

  #planCommands(): void {
    const { timeline, sites, master } = this.#world;
    const all = [...sites.values()];
    const next = (): void => {
      if (this.#calm) return;
      const site = this.#random.pick(all);
      this.#clients.send(site, this.#random.chance(0.5) ? master : site.seat);
      timeline.after(this.#random.between(200, 4_000), next);
    };
    timeline.at(6_000, next);
  }

  /** An edge that is cut off from its master, and may claim alone, does so. */
  #watchAlone(): void {
    const { timeline, sites, judge } = this.#world;
    for (const [id, { seat }] of sites) {
      const machine = judge.machines(id).edge;
      const idle = machine !== null && machine.link === null && (machine.state === 'standby' || machine.state === 'connecting');
      const hindered = seat.machine.paused || seat.disk.full || seat.disk.slowMs > 0;
      const bound = machine !== null && (isExclusive(machine.durable.terms) || machine.durable.terms.paused);
      if (!idle || hindered || bound) this.#aloneSinceMs.delete(id);
      else if (!this.#aloneSinceMs.has(id)) this.#aloneSinceMs.set(id, timeline.nowMs);
      else if (timeline.nowMs - (this.#aloneSinceMs.get(id) ?? 0) > ALONE_MS) judge.fail(`invariant 9: the edge of ${id} is cut off and claims nothing`);
    }
    if (!this.#calm) timeline.after(1_000, () => this.#watchAlone());
  }

  /** No more faults: within a bound each location has one holder, all views agree, and nothing is open. */
  async #settle(): Promise<void> {
    const { judge, sites, timeline } = this.#world;
    this.#calm = true;
    repair(this.#world);
    const fromMs = timeline.nowMs;
    let unsettledMs = fromMs;
    while (timeline.nowMs < END_MS) {
      await this.#world.run(1_000);
      this.#resumePaused();
      if (!this.#isSettled()) unsettledMs = timeline.nowMs;
    }
    this.#settledMs = unsettledMs - fromMs;
    if (this.#settledMs > SETTLE_MS) {
      const open = [...sites.keys()].filter((id) => !judge.settled(id));
      judge.fail(`invariant 9: ${open.length === 0 ? 'a location' : open.join(', ')} had not settled ${SETTLE_MS / 1_000} s after the last fault`);
    }
    this.#clients.checkClosed();
    await this.#checkViews();
    judge.afterEvent();
  }

  /** A pause is durable; the operator ends it. */
  #resumePaused(): void {
    const node = this.#world.masterNode();
    if (node?.readiness().ready !== true) return;
    for (const { id, paused } of node.locations()) if (paused) this.#world.order(id, 'resume');
  }

  #isSettled(): boolean {
    const { judge, sites } = this.#world;
    for (const id of sites.keys()) if (!judge.settled(id)) return false;
    return true;
  }

  async #checkViews(): Promise<void> {
    const { judge, sites } = this.#world;
    const master = this.#world.masterNode();
    for (const [id, { modules }] of sites) {
      const edge = this.#world.edgeNode(id);
      if (master === null || edge === null) return judge.fail(`invariant 9: a node of ${id} does not run`);
      const [here, there] = [master.location(id), edge.location(id)];
      for (const fact of ['holder', 'policy', 'failover', 'timeoutSeconds', 'paused'] as const) {
        if (here?.[fact] !== there?.[fact]) judge.fail(`invariant 9: ${fact} of ${id} is ${here?.[fact]} for the master, ${there?.[fact]} for the edge`);
      }
      judge.checkReported(id, (here?.dualControlSeconds ?? 0) * 1_000);
      for (const link of [...edge.links(), ...master.links()]) if (link.inFlight > 0) judge.fail(`invariant 9: a request to ${link.peer} is still open`);
      for (let index = 1; index <= modules.length; index += 1) {
        const [mine, theirs] = await Promise.all([master, edge].map((node) => node.desk.statusOf({ system: `sys-${id}`, module: 'Display', index })));
        const holder = here?.holder === 'edge' ? theirs : mine;
        // What only the one knows who does not hold stays until the holder says otherwise.
        for (const key of ['value', 'connected'].filter((name) => holder?.values[name] !== undefined)) {
          const [ours, others] = [mine, theirs].map((status) => JSON.stringify(status?.values[key]));
          if (ours !== others) judge.fail(`invariant 9: ${key} of ${modules[index - 1]} is ${ours} at the master, ${others} at the edge`);
        }
      }
    }
  }
}

function siteOptions(random: SimRandom): SiteOptions {
  return {
    modules: random.chance(0.3) ? 3 : 2,
    single: random.chance(0.3),
    policy: random.chance(0.5) ? 'available' : 'exclusive',
    failover: random.chance(0.9),
    timeout: random.pick([6, 10, 20]),
  };
}
