import type { EdgeNode } from '../edge/edge-node.ts';
import type { MasterNode } from '../master/master-node.ts';
import { createMemoryStore } from '../shared/adapters/store-memory/memory-store.ts';
import { type AnyDocument, driverSchema, type EdgeDocument, edgeSchema, moduleSchema, systemSchema } from '../shared/model/documents.ts';
import type { DocumentStore } from '../shared/ports/document-store.ts';
import type { OrderKind } from '../shared/runtime/node.ts';
import type { Json } from '../shared/foundation/json.ts';
import { SimCoverage } from './coverage.ts';
import { DeviceWorld } from './devices.ts';
import { Judge } from './judge.ts';
import { Machine } from './machine.ts';
import { createDialler, createListener, Line } from './network.ts';
import { SimRandom } from './random.ts';
import { Seat } from './seat.ts';
import { Timeline } from './timeline.ts';
import { Trace } from './trace.ts';

export interface SiteOptions extends Partial<Omit<EdgeDocument, 'id' | 'type'>> {
  modules?: number;
  /** Devices that take one connection only. */
  single?: boolean;
}

export interface WorldOptions {
  seed: string;
  sites: Record<string, SiteOptions>;
  /** Largest drift of a monotonic clock, as a share. */
  drift?: number;
  wallMs?: number;
  coverage?: SimCoverage;
  /** The method of a command begins to run at a driver. */
  invoked?(args: Json[]): void;
}

export interface Site {
  id: string;
  seat: Seat;
  line: Line;
  modules: string[];
}

const MASTER = 'master-1';
const RESTART_MS = 2_000;

/** One master, its edges, their lines, disks, clocks and devices, in simulated time. */
export class World {
  readonly random: SimRandom;
  readonly timeline: Timeline;
  readonly trace: Trace;
  readonly devices: DeviceWorld;
  readonly judge: Judge;
  readonly master: Seat;
  readonly sites = new Map<string, Site>();
  readonly #store: DocumentStore;

  private constructor(options: WorldOptions) {
    const { seed, drift = 0.02, wallMs = Date.UTC(2025, 2, 3) } = options;
    this.random = new SimRandom(seed);
    this.timeline = new Timeline(() => this.judge.afterEvent());
    this.trace = new Trace(this.timeline);
    this.devices = new DeviceWorld(this.timeline, new SimRandom(`${seed}/devices`), (write) => this.judge.wrote(write));
    const machine = (name: string): Machine => {
      const aside = this.random.between(-1, 1) * drift;
      return new Machine(name, this.timeline, { drift: aside, wallMs: wallMs + this.random.between(-5_000, 5_000) });
    };
    this.judge = new Judge({
      timeline: this.timeline,
      trace: this.trace,
      coverage: options.coverage ?? new SimCoverage(),
      seats: (location) => this.#seatsOf(location),
      invoked: (args) => options.invoked?.(args),
    });
    const masterMachine = machine(MASTER);
    this.#store = createMemoryStore({ generation: `sim-${seed}` });
    this.master = new Seat({
      party: 'master',
      machine: masterMachine,
      id: MASTER,
      seed,
      store: this.#store,
      devices: this.devices,
      tap: this.judge.tapOf('master', MASTER),
      startFailed: (seat) => this.#supervise(seat),
      listener: (process) => createListener(() => Array.from(this.sites.values(), ({ line }) => line), process),
    });
    for (const [id, site] of Object.entries(options.sites)) this.#addSite(id, site, machine(id), seed);
  }

  /** A world before anybody has booted, with the documents at the master. */
  static async create(options: WorldOptions): Promise<World> {
    const world = new World(options);
    const documents: AnyDocument[] = [driver];
    for (const [id, site] of Object.entries(options.sites)) documents.push(...siteDocuments(id, site));
    await world.#store.apply(documents.map((document) => ({ op: 'put', document, expect: null })));
    return world;
  }

  site(id: string): Site {
    const site = this.sites.get(id);
    if (site === undefined) throw new RangeError(`there is no site ${id}`);
    return site;
  }

  get seats(): Seat[] {
    return [this.master, ...Array.from(this.sites.values(), ({ seat }) => seat)];
  }

  masterNode(): MasterNode | null {
    const { node } = this.master;
    return node?.role === 'master' ? node : null;
  }

  edgeNode(id: string): EdgeNode | null {
    const { node } = this.site(id).seat;
    return node?.role === 'edge' ? node : null;
  }

  boot(seat: Seat): void {
    this.trace.add(seat.id, 'boot', {});
    seat.boot();
  }

  /** `power`: unsynced writes are lost and nobody is told; otherwise the kernel of the machine closes what was open. */
  kill(seat: Seat, power: boolean): void {
    if (!seat.running) return;
    this.trace.add(seat.id, power ? 'power-cut' : 'crash', {});
    seat.kill(power);
    for (const { line } of this.sites.values()) line.processEnded(seat.machine, power);
    this.judge.ended(seat);
  }

  /** A supervisor starts again what could not start. */
  #supervise(seat: Seat): void {
    this.kill(seat, false);
    this.timeline.after(RESTART_MS, () => this.boot(seat));
  }

  /** Stops in order; what is left after `limitMs` is killed. */
  shutDown(seat: Seat): void {
    const { process } = seat.machine;
    if (process === null) return;
    this.trace.add(seat.id, 'shut-down', {});
    this.judge.stopping(seat);
    const ended = (): void => {
      if (process.alive) this.kill(seat, false);
    };
    // What a node waits for while it stops ends by itself; a supervisor would not wait longer.
    this.timeline.after(20_000, ended);
    void seat.node?.stop().then(ended);
  }

  /** Changes the location document at the master, as an operator would. */
  edit(id: string, change: Partial<EdgeDocument>): void {
    this.#wish(async () => {
      const stored = await this.#store.get(id);
      if (stored?.document.type !== 'edge') return;
      const document = edgeSchema.parse({ ...stored.document, ...change });
      this.trace.add('operator', 'edit', { location: id, ...change });
      await this.#store.apply([{ op: 'put', document, expect: stored.version }]);
    });
  }

  /** Gives an order at the master; a refusal is an answer too. */
  order(id: string, kind: OrderKind, at: Seat = this.master): void {
    const { node } = at;
    if (node === null) return;
    this.trace.add('operator', kind, { location: id, at: at.id });
    this.#wish(async () => {
      await node.order({ location: id, kind, by: 'operator', requestId: 'sim', dryRun: false }, new AbortController().signal);
    });
  }

  async run(ms: number, done?: () => boolean): Promise<void> {
    await this.timeline.runUntil(this.timeline.nowMs + ms, done);
  }

  #wish(work: () => Promise<unknown>): void {
    void work().catch((error: unknown) => this.trace.add('operator', 'refused', { error }));
  }

  #seatsOf(location: string): { edge: Seat; master: Seat; line: Line } {
    const { seat, line } = this.site(location);
    return { edge: seat, master: this.master, line };
  }

  #addSite(id: string, options: SiteOptions, machine: Machine, seed: string): void {
    const line = new Line({
      edge: machine,
      master: this.master.machine,
      timeline: this.timeline,
      random: new SimRandom(`${seed}/${id}/line`),
      taps: { sent: (from, text) => this.judge.frameSent(id, from, text), arrived: (at) => this.judge.frameArrived(id, at) },
    });
    const seat = new Seat({
      party: 'edge',
      machine,
      id,
      seed,
      store: createMemoryStore({ generation: `replica-${id}` }),
      devices: this.devices,
      tap: this.judge.tapOf('edge', id),
      startFailed: (failed) => this.#supervise(failed),
      dialler: (process) => createDialler(line, process),
    });
    const modules = Array.from({ length: options.modules ?? 2 }, (_, i) => moduleId(id, i + 1));
    for (const module of modules) this.devices.add(id, module, options.single ?? false);
    this.sites.set(id, { id, seat, line, modules });
  }
}

const moduleId = (site: string, number: number): string => `mod-${site}-${number}`;

const driver = driverSchema.parse({ id: 'driver-display', type: 'driver', name: 'Display', builtin: 'mock' });

function siteDocuments(id: string, { modules: count = 2, single: _, ...edge }: SiteOptions): AnyDocument[] {
  const modules = Array.from({ length: count }, (_none, i) =>
    moduleSchema.parse({ id: moduleId(id, i + 1), type: 'mod', driver_id: driver.id, name: 'Display', edge_control_id: id, ip: 'device', port: 1 }),
  );
  const system = systemSchema.parse({ id: `sys-${id}`, type: 'sys', name: id, edge_control_id: id, modules: modules.map((module) => module.id) });
  return [edgeSchema.parse({ ...edge, id, type: 'edge', name: id }), system, ...modules];
}
