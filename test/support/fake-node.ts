import { createMemoryStore } from '../../src/shared/adapters/store-memory/memory-store.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import type { Revision } from '../../src/shared/model/control.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import type { HistoryEntry } from '../../src/shared/ports/control-journal.ts';
import type { DeviceWrite, ModuleFunction } from '../../src/shared/ports/device-link.ts';
import { Directory } from '../../src/shared/runtime/documents/directory.ts';
import { setWanted, wantedIds } from '../../src/shared/runtime/documents/wanted-state.ts';
import type {
  AskedBy,
  ControlEvent,
  Debugging,
  DebugLine,
  DriverReloading,
  EdgeEnrolment,
  ExecAnswer,
  ExecRequest,
  Desk,
  HoldfastNode,
  LinkView,
  LoadRequest,
  LocationView,
  ModuleCommand,
  ModuleController,
  Member,
  ModuleName,
  ModuleStatus,
  OrderRequest,
  OrderResult,
  PlaceListener,
  Readiness,
  RepositoryAccess,
  RepositoryRequest,
  ReloadAnswer,
  ReloadRequest,
  RequestView,
  Rollout,
  RolloutAccess,
  RolloutRequest,
  StatusChange,
  TriggerView,
  ValueListener,
  WindowRequest,
} from '../../src/shared/runtime/node.ts';

export const SINCE_MS = Date.UTC(2025, 0, 1, 12, 0, 0, 250);

export const locationView = (id: string, fields: Partial<LocationView> = {}): LocationView => ({
  id,
  name: `Name of ${id}`,
  holder: 'edge',
  epoch: { generation: 0, number: 4 },
  reason: 'edge-kept-devices',
  sinceMs: SINCE_MS,
  state: 'standby',
  policy: 'available',
  failover: true,
  timeoutSeconds: 20,
  paused: false,
  link: 'up',
  window: {
    open: false,
    closesMs: null,
    nextMs: SINCE_MS + 3_600_000,
    schedule: { start: '0 13 * * *', lengthSeconds: 3_600, timezone: 'UTC' },
  },
  dueInMs: null,
  holdDownMs: 0,
  dualControlSeconds: 0,
  modules: { total: 3, running: 2, failing: 1 },
  progress: null,
  edited: 0,
  commit: { wanted: null, actual: null, busy: false, problem: null },
  ...fields,
});

export const requestView = (id: string, fields: Partial<RequestView> = {}): RequestView => ({
  id,
  user: 'anna',
  location: 'edge-1',
  module: 'mod-1',
  method: 'power',
  entry: 'master-under-test',
  via: null,
  at: 'edge-1',
  sinceMs: SINCE_MS,
  ageMs: 2_500,
  leftMs: 7_500,
  ...fields,
});

type Method = (request: ExecRequest, signal: AbortSignal) => Promise<Json>;
type Variable = Omit<StatusChange, 'value'>;

const slot = ({ system, module, index }: Omit<Variable, 'key'>): string => `${system}/${module}_${index}`;

/** A node in memory: orders change its views at once, methods are functions of the test. */
export class FakeNode implements HoldfastNode, Desk {
  readonly role: 'edge' | 'master';
  readonly id: string;
  readonly store = createMemoryStore();
  /** One object is both. */
  readonly desk = this;
  /** Of every value. */
  readonly revision: Revision = [0, 2, 1];
  ready: Readiness = { started: true, ready: true, waitingFor: [] };
  readonly views = new Map<string, LocationView>();
  readonly orders: OrderRequest[] = [];
  readonly enrolments: string[] = [];
  readonly execs: ExecRequest[] = [];
  readonly systems = new Set(['sys-1']);
  /** Ids by `system/Name_1`. */
  readonly named = new Map([['sys-1/Display_1', 'mod-1']]);
  readonly #debuggers = new Set<{ id: string; listener: (line: DebugLine) => void }>();
  readonly origins: Member[] = [];
  readonly announced: string[] = [];
  readonly inFlight: RequestView[] = [];
  /** Locations of starts and stops, by the id of the request. */
  readonly underWay = new Map<string, string>();
  readonly cancelledBy: AskedBy[] = [];
  /** By module. */
  readonly edited = new Map<string, string>();
  readonly unloaded: [module: string, user: string][] = [];
  readonly triggerViews: TriggerView[] = [];
  /** Webhooks that were called: instance and call. */
  readonly called: string[] = [];
  readonly methods = new Map<string, Method>();
  readonly functionsOfModules = new Map<string, ModuleFunction>([['power', { arity: 1, params: { state: { type: 'boolean' } }, order: ['state'] }]]);
  /** Locations of modules and systems, by id. */
  readonly located = new Map<string, string>();
  /** Locations of systems whose modules are of others, by id. */
  readonly spread = new Map<string, string[]>();
  /** How old the values of a location are; without an entry they are fresh. */
  readonly ages = new Map<string, number>();
  /** How old status is that was asked of another node; null: none was asked. */
  askedAgeMs: number | null = null;
  readonly #freshnessListeners = new Set<(location: string) => void>();
  readonly #places = new Set<() => void>();
  readonly freshness: HoldfastNode['freshness'] = {
    ageMs: (location) => this.ages.get(location) ?? null,
    onChange: (listener) => {
      this.#freshnessListeners.add(listener);
      return () => void this.#freshnessListeners.delete(listener);
    },
  };
  readonly #values = new Map<string, Map<string, Json>>();
  readonly #watchers = new Set<{ target: Variable; listener: (change: StatusChange) => void }>();
  readonly #controlListeners = new Set<(event: ControlEvent) => void>();

  constructor(role: 'edge' | 'master' = 'master') {
    this.role = role;
    this.id = `${role}-under-test`;
  }

  /** Until then nobody who drives has heard that somebody listens. */
  debugPlaced: Promise<void> = Promise.resolve();

  get debuggers(): number {
    return this.#debuggers.size;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  get controlListeners(): number {
    return this.#controlListeners.size;
  }

  /** null: fresh. */
  setAge(location: string, ageMs: number | null): void {
    if (ageMs === null) this.ages.delete(location);
    else this.ages.set(location, ageMs);
    for (const listener of this.#freshnessListeners) listener(location);
  }

  readiness(): Readiness {
    return this.ready;
  }

  locations(): LocationView[] {
    return [...this.views.values()];
  }

  location(id: string): LocationView | null {
    return this.views.get(id) ?? null;
  }

  async history(location: string, limit: number): Promise<HistoryEntry[]> {
    const entry = { location, wallMs: SINCE_MS, holder: 'edge' as const, state: 'standby', epoch: { generation: 0, number: 4 } };
    return [
      { ...entry, sequence: 1, reason: 'no-takeover-happened' },
      { ...entry, sequence: 2, reason: 'edge-kept-devices' },
    ].slice(0, limit);
  }

  async order(request: OrderRequest, _signal: AbortSignal): Promise<OrderResult> {
    this.orders.push(request);
    const before = this.location(request.location);
    if (before === null) throw new HoldfastError('NOT_FOUND', { kind: 'location', id: request.location });
    if (request.kind === 'takeover' && !before.failover) {
      throw new HoldfastError('ORDER_REFUSED', { location: request.location, reason: 'failover is off' });
    }
    const after = ordered(before, request);
    if (!request.dryRun) this.views.set(request.location, after);
    return { before, after, summary: `${request.kind} of ${request.location}` };
  }

  setWindow({ location, openMs, dryRun }: WindowRequest): OrderResult {
    const before = this.location(location);
    if (before === null) throw new HoldfastError('NOT_FOUND', { kind: 'location', id: location });
    const closesMs = openMs === null ? null : SINCE_MS + openMs;
    const after = { ...before, window: { ...before.window, open: openMs !== null, closesMs } };
    if (!dryRun) this.views.set(location, after);
    return { before, after, summary: `window of ${location}` };
  }

  async exec(request: ExecRequest, signal: AbortSignal): Promise<ExecAnswer> {
    this.execs.push(request);
    const method = this.methods.get(request.method);
    if (method === undefined) throw new HoldfastError('METHOD_NOT_FOUND', { module: request.module, method: request.method });
    // A node lets nobody wait who gave up.
    const givenUp = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(new HoldfastError('CANCELLED', { fate: 'unknown' })), { once: true });
    });
    return { value: await Promise.race([method(request, signal), givenUp]), servedBy: this.id };
  }

  async execModule({ id, ...command }: ModuleCommand, signal: AbortSignal): Promise<ExecAnswer> {
    return await this.exec({ ...command, system: '', module: this.#known(id), index: 0 }, signal);
  }

  locationOf(module: string): string {
    return this.located.get(this.#known(module)) ?? '';
  }

  locationOfNamed(name: ModuleName): string | null {
    return this.located.get(this.named.get(slot(name)) ?? '') ?? this.locationOfSystem(name.system);
  }

  async moduleStatus(module: string): Promise<ModuleStatus> {
    return { ...this.knownStatus(module), ...this.#asked() };
  }

  triggers(): TriggerView[] {
    return this.triggerViews;
  }

  async callTrigger(instance: string, call: string): Promise<string> {
    this.called.push(`${instance} ${call}`);
    return 'fires';
  }

  requests(): RequestView[] {
    return this.inFlight;
  }

  async cancelRequest(id: string, by: AskedBy): Promise<RequestView> {
    this.cancelledBy.push(by);
    const request = this.inFlight.find((known) => known.id === id);
    if (request === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'request', id });
    return request;
  }

  editedOf(module: string): string | null {
    return this.edited.get(module) ?? null;
  }

  locationOfRequest(id: string): string | null {
    return this.underWay.get(id) ?? null;
  }

  knownStatus(module: string): ModuleStatus {
    return { module: this.#known(module), values: Object.fromEntries(this.#valuesOf({ system: '', module, index: 0 })), epoch: null };
  }

  async statusOf({ system, module, index }: ModuleName): Promise<ModuleStatus> {
    return { module: 'mod-1', values: Object.fromEntries(this.#valuesOf({ system, module, index })), epoch: null, ...this.#asked() };
  }

  watch(target: ModuleName & { key: string | null }, listener: (change: StatusChange) => void): () => void {
    const key = target.key ?? '';
    const watcher = { target: { ...target, key }, listener };
    const value = this.#valuesOf(target).get(key);
    this.#watchers.add(watcher);
    if (value !== undefined) listener({ ...target, key, value });
    return () => this.#watchers.delete(watcher);
  }

  /** What reloads are answered with; loads with the first module of it. */
  reloads: ReloadAnswer = { modules: [{ module: 'mod-1', location: 'edge-1', problem: null, pausedMs: 4, servedBy: 'edge-1' }], failures: [] };
  driverLocations = ['edge-1'];
  readonly reloaded: (ReloadRequest | LoadRequest)[] = [];
  readonly modules: ModuleController = {
    want: async ({ running, dryRun, ...wanted }) => {
      const directory = new Directory(this.store);
      (await directory.open())();
      const ids = wantedIds(directory, { running, ...wanted });
      return { changed: await setWanted(this.store, ids, running, dryRun), modules: ids.length };
    },
    unload: async ({ module, user }) => {
      this.unloaded.push([module, user]);
      return { module, location: 'edge-1', servedBy: 'edge-1' };
    },
    expire: async ({ system }) => ({
      system,
      modules: [{ name: 'Display', index: 1, id: 'mod-1' }],
      nodes: [this.id],
      failures: [{ location: 'edge-1', error: new HoldfastError('LINK_DOWN', { peer: 'edge-1' }) }],
    }),
  };

  readonly drivers: DriverReloading = {
    locationsOf: () => this.driverLocations,
    reload: async (request) => {
      this.reloaded.push(request);
      return this.reloads;
    },
    load: async (request) => {
      this.reloaded.push(request);
      const [loaded] = this.reloads.modules;
      if (loaded === undefined) throw new HoldfastError('MODULE_NOT_RUNNING', { module: request.module, reason: 'it is stopped' });
      return loaded;
    },
  };

  async functions(): Promise<Record<string, ModuleFunction>> {
    return Object.fromEntries(this.functionsOfModules);
  }

  bind(variable: Variable, listener: ValueListener, located: PlaceListener): () => void {
    if (!this.systems.has(variable.system)) throw new HoldfastError('NOT_FOUND', { kind: 'system', id: variable.system });
    const place = (): void => located(this.locationOfNamed(variable));
    this.#places.add(place);
    place();
    const watcher = { target: variable, listener: ({ value }: StatusChange) => listener(value, this.revision) };
    this.#watchers.add(watcher);
    if (this.named.has(slot(variable)) || this.#values.has(slot(variable))) {
      const value = this.#valuesOf(variable).get(variable.key);
      listener(value ?? null, value === undefined ? null : this.revision);
    }
    return () => {
      this.#watchers.delete(watcher);
      this.#places.delete(place);
    };
  }

  async debug(name: ModuleName, listener: (line: DebugLine) => void): Promise<Debugging> {
    const id = this.named.get(slot(name)) ?? [...this.named.values()].find((module) => module === name.module);
    if (id === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'module', id: name.module });
    const listening = { id, listener };
    this.#debuggers.add(listening);
    await this.debugPlaced;
    return { module: id, driver: 'Mock display', stop: () => void this.#debuggers.delete(listening) };
  }

  onControl(listener: (event: ControlEvent) => void): () => void {
    this.#controlListeners.add(listener);
    return () => this.#controlListeners.delete(listener);
  }

  members(): Member[] {
    return this.origins;
  }

  announceOrigin(origin: string): void {
    this.announced.push(origin);
  }

  locationOfSystem(system: string): string | null {
    return this.located.get(system) ?? null;
  }

  locationsOfSystem(system: string): string[] {
    const location = this.locationOfSystem(system);
    return this.spread.get(system) ?? (location === null ? [] : [location]);
  }

  links(): LinkView[] {
    return [];
  }

  async deviceWrites(): Promise<DeviceWrite[]> {
    return [];
  }

  readonly repositoryRequests: RepositoryRequest[] = [];
  readonly repository: RepositoryAccess = {
    request: async (request) => {
      this.repositoryRequests.push(request);
      const commit = request.commit ?? 'c'.repeat(40);
      const status = { remote: 'https://git.example.org/drivers.git', branch: null, commit, dirty: ['lamp.ts'], dirtyCount: 1, fetchedMs: SINCE_MS };
      const modules = request.reload ? [{ module: 'mod-1', problem: null, pausedMs: 12 }] : [];
      return { status: { ...status, wanted: null, problem: null }, from: 'a'.repeat(40), modules };
    },
  };

  readonly started: RolloutRequest[] = [];
  readonly kept: Rollout[] = [];
  readonly rollouts: RolloutAccess = {
    list: () => this.kept,
    start: async (request) => {
      this.started.push(request);
      const steps = request.locations.map((location) => ({ location, canary: false, state: 'waiting' as const, before: null, problem: null }));
      const state = request.dryRun ? ('planned' as const) : ('running' as const);
      const rollout = { id: 'rollout-1', commit: 'c'.repeat(40), by: request.by, state, startedMs: SINCE_MS, endedMs: null, problem: null, steps };
      if (!request.dryRun) this.kept.unshift(rollout);
      return rollout;
    },
    cancel: async (id) => {
      const known = this.kept.find((rollout) => rollout.id === id);
      if (known === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'roll-out', id });
      return known;
    },
  };

  readonly enrolment: EdgeEnrolment = {
    add: async (edge, secret) => {
      this.enrolments.push(`add ${edge}${secret === null ? '' : ` ${secret}`}`);
      return { enrolment: `enrolment-of-${edge}` };
    },
    rotate: async (edge, secret) => {
      this.enrolments.push(`rotate ${edge}${secret === null ? '' : ` ${secret}`}`);
      return { enrolment: `new-enrolment-of-${edge}` };
    },
    revoke: async (edge) => {
      this.enrolments.push(`revoke ${edge}`);
      const view = this.views.get(edge);
      if (view !== undefined) this.views.set(edge, { ...view, link: 'down' });
    },
  };

  // What tests do to it

  setStatus(change: StatusChange): void {
    this.#valuesOf(change).set(change.key, change.value);
    for (const { target, listener } of this.#watchers) {
      if (slot(target) === slot(change) && target.key === change.key) listener(change);
    }
  }

  log(module: string, line: Omit<DebugLine, 'node'>): void {
    for (const { id, listener } of this.#debuggers) if (id === module) listener({ ...line, node: this.id });
  }

  /** A module or system belongs to another location now. */
  relocate(id: string, location: string): void {
    this.located.set(id, location);
    for (const place of this.#places) place();
  }

  /** The location moves, and everybody is told. */
  move(id: string, fields: Partial<LocationView>): void {
    const view = locationView(id, { ...this.views.get(id), ...fields });
    this.views.set(id, view);
    const { holder, state, reason, epoch, sinceMs } = view;
    for (const listener of this.#controlListeners) listener({ location: id, holder, state, reason, epoch, atMs: sinceMs });
  }

  #asked(): { ageMs?: number } {
    return this.askedAgeMs === null ? {} : { ageMs: this.askedAgeMs };
  }

  #known(module: string): string {
    if (!this.located.has(module)) throw new HoldfastError('NOT_FOUND', { kind: 'module', id: module });
    return module;
  }

  #valuesOf(target: Omit<Variable, 'key'>): Map<string, Json> {
    const found = this.#values.get(slot(target)) ?? new Map<string, Json>();
    this.#values.set(slot(target), found);
    return found;
  }
}

function ordered(before: LocationView, { kind }: OrderRequest): LocationView {
  if (kind === 'pause' || kind === 'resume') return { ...before, paused: kind === 'pause' };
  const holder = kind === 'takeover' ? 'master' : 'edge';
  return { ...before, holder, reason: `operator-${kind}`, epoch: { generation: 0, number: before.epoch.number + 1 } };
}
