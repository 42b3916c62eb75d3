import { EPOCH_ZERO, nextEpoch } from '../shared/control/epoch.ts';
import { type ControlTimings, defaultTimings } from '../shared/control/lease.ts';
import type { CancelSignal } from '../shared/foundation/cancel.ts';
import { Scope } from '../shared/foundation/scope.ts';
import type { EdgeDocument } from '../shared/model/documents.ts';
import type { Epoch } from '../shared/model/control.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import { MASTER_LOCATION } from '../shared/model/ids.ts';
import { limits } from '../shared/model/limits.ts';
import type { Timer } from '../shared/ports/clock.ts';
import type { HistoryEntry, JournalEntry } from '../shared/ports/control-journal.ts';
import type { DeviceWrite, StatusValue } from '../shared/ports/device-link.ts';
import type { DocumentStore, FeedHead } from '../shared/ports/document-store.ts';
import type { Connection } from '../shared/ports/transport.ts';
import { CommandDesk } from '../shared/runtime/commands/command-desk.ts';
import { Directory } from '../shared/runtime/documents/directory.ts';
import { DriverRepository, type RepositoryAnswer } from '../shared/runtime/driver-code/driver-repository.ts';
import { ModuleLines } from '../shared/runtime/commands/module-lines.ts';
import { Freshness, type Source } from '../shared/runtime/status/freshness.ts';
import type {
  ControlEvent, EdgeEnrolment, HoldfastNode, LinkView, LocationView, Member, OrderRequest, OrderResult, Readiness, RepositoryAccess,
  RepositoryRequest, RolloutAccess, TriggerView, WindowRequest,
} from '../shared/runtime/node.ts';
import { askRepository } from '../shared/runtime/driver-code/peer-repository.ts';
import type { PeerSubscriptions } from '../shared/runtime/peer/peer-subscriptions.ts';
import type { Route } from '../shared/runtime/commands/proxy.ts';
import { StatusBoard } from '../shared/runtime/status/status-board.ts';
import { sendStatus } from '../shared/runtime/status/status-feed.ts';
import { StatusRoom } from '../shared/runtime/status/status-room.ts';
import { TriggerDesk } from '../shared/runtime/triggers/trigger-desk.ts';
import { until } from '../shared/runtime/until.ts';
import { edgeHandlers } from './edge-service.ts';
import { NotMade } from './not-made.ts';
import { healthOf } from './rollout-health.ts';
import { Rollouts } from './rollouts.ts';
import type { MasterOptions, MasterPorts } from './master-ports.ts';
import { describeOrder, followOrder, foresee, whyVoid } from './order-text.ts';
import { FederatedLocation, type FederatedLocationOptions } from './federated-location.ts';

const PULSE_MS = 1_000;

/** The central server: one control machine per location, and the modules that belong to no location. */
export class MasterNode implements HoldfastNode {
  readonly role = 'master';
  readonly id: string;
  readonly store: DocumentStore;
  readonly enrolment: EdgeEnrolment;
  readonly repository: RepositoryAccess = { request: (request, signal) => this.#askRepository(request, signal) };
  readonly rollouts: RolloutAccess;
  readonly freshness: Freshness;
  readonly #ports: MasterPorts;
  readonly #timings: ControlTimings;
  readonly #onStep: FederatedLocationOptions['onStep'];
  readonly #bootId: string;
  readonly #scope = new Scope();
  readonly #directory: Directory;
  readonly #room: StatusRoom;
  readonly #board: StatusBoard;
  readonly desk: CommandDesk;
  readonly #lines: ModuleLines;
  /** Its own working copy: what it drives, in whatever location, runs this code. */
  readonly #repository: DriverRepository;
  readonly #rollouts: Rollouts;
  /** Of the systems that belong to no location. */
  readonly #ownTriggers: TriggerDesk;
  readonly #locations = new Map<string, FederatedLocation>();
  readonly #notMade: NotMade;
  /** One after the other: a document that changes while its location is made must not make a second one. */
  #federating: Promise<void> = Promise.resolve();
  readonly #controlListeners = new Set<(event: ControlEvent) => void>();
  #origin: string | null = null;
  #ownEpoch: Epoch = EPOCH_ZERO;
  /** Of its own modules in the journal; null: not made yet. */
  #ownEntry: JournalEntry | null = null;
  #ownModules = '[]';
  #pulse: Timer | null = null;
  #booted = false;
  #waitingFor: string[] = ['its own store'];

  constructor(ports: MasterPorts, options: MasterOptions) {
    this.#ports = ports;
    this.#timings = options.timings ?? defaultTimings;
    this.#onStep = options.onStep;
    this.#bootId = ports.random.hex(8);
    this.id = options.id;
    this.store = ports.store;
    this.enrolment = ports.enrolment;
    this.#directory = new Directory(ports.store, ports.settingsKeys);
    this.#notMade = new NotMade({ ...ports, directory: this.#directory });
    this.#room = new StatusRoom({ ...ports, isNamed: (location, module) => this.#directory.isAt(module, location) });
    this.#board = new StatusBoard(ports.metrics, this.#room);
    const peerOf = (location: string): PeerSubscriptions | null => this.#locations.get(location)?.subscriptions ?? null;
    const isElsewhere = (location: string): boolean => this.#route(location).via === 'peer';
    this.#lines = new ModuleLines({ ...ports, nodeId: this.id, peerOf, isElsewhere });
    this.desk = new CommandDesk({
      nodeId: this.id,
      clock: ports.clock,
      random: ports.random,
      metrics: ports.metrics,
      deviceLink: ports.deviceLink,
      directory: this.#directory,
      board: this.#board,
      lines: this.#lines,
      callTrigger: ({ location, instance, call }) => this.#triggersOf(location).call(instance, call),
      route: (location) => this.#route(location),
      onControlChange: (location, listener) =>
        this.onControl((event) => {
          if (event.location === location) listener();
        }),
    });
    const isOwn = (location: string): boolean => this.#route(location).via === 'here';
    const sourceOf = (location: string): Source => (isOwn(location) ? { via: 'here' } : { via: 'nobody', sinceMs: null });
    this.freshness = new Freshness({ ...ports, source: (location) => this.#locations.get(location)?.source() ?? sourceOf(location) });
    this.#ownTriggers = new TriggerDesk({
      ...ports,
      location: MASTER_LOCATION,
      directory: this.#directory,
      desk: this.desk,
      tell: () => undefined,
      reportsDoubles: false,
      mayAct: () => true,
    });
    this.#repository = new DriverRepository({
      ...ports,
      nodeId: this.id,
      location: null,
      copy: ports.workingCopy ?? null,
      // No document names a commit for the master.
      wanted: () => null,
      codes: () => [MASTER_LOCATION, ...this.#locations.keys()].flatMap((location) =>
        this.#directory.codesAt(location).map((driver) => ({ location, driver }))),
      reload: (order, signal) => ports.deviceLink.reload(order, signal),
      tell: () => undefined,
    });
    this.#rollouts = new Rollouts({
      ...ports,
      repository: this.#repository,
      locations: () => [...this.#locations.keys()],
      edge: (location) => this.#locations.get(location)?.edgeCommit() ?? { linked: false, commit: null },
      health: (location) => healthOf(this.#directory.moduleIdsAt(location), (module) => this.#board.module(location, module).values),
    });
    this.rollouts = this.#rollouts;
    ports.deviceLink.serveSystems(this.desk);
  }

  /** Section 3, "Master boot": documents, own modules, wait for edges, takeovers that are due, and only then ready. */
  async start(): Promise<void> {
    const { journal, log, deviceLink, listener } = this.#ports;
    this.#scope.defer('devices', () => deviceLink.close());
    this.#scope.defer('directory', await this.#directory.open());
    const stored = new Map((await journal.load()).map((entry) => [entry.location, entry]));
    for (const document of this.#directory.edges()) await this.#federate(document, stored.get(document.id) ?? null);
    this.#scope.defer('status', deviceLink.onStatus((value) => this.#onStatus(value)));
    this.#scope.defer('feed', this.store.onChange((head) => this.#announce(head)));
    this.#scope.defer('documents', this.#directory.onChange((changed) => this.#onDocuments(changed)));
    this.#scope.defer('repository', () => this.#repository.close());
    this.#repository.converge();
    await this.#rollouts.open();
    this.#scope.defer('rollouts', () => this.#rollouts.close());
    await this.#startOwnModules(stored.get(MASTER_LOCATION) ?? null);

    const { address } = await listener.start((connection) => this.#onConnection(connection));
    this.#scope.defer('listener', () => listener.close());
    log.info('master-loaded', { locations: this.#locations.size, link: address });
    // Not before: the documents need the processor more, and nobody is taken over before the wait for edges is over.
    deviceLink.prepare();
    this.#beat(this.#ports.clock.monotonicMs());
    this.#scope.defer('pulse', () => this.#pulse?.cancel());
    await this.#waitForEdges();
    for (const location of this.#locations.values()) location.booted();
    this.#booted = true;
    this.#waitingFor = [];
    for (const location of this.#locations.values()) location.peer.post('ready', {});
    this.#checkWindows();
    this.#scope.defer('locations', async () => {
      await Promise.all([...this.#locations.values()].map((location) => location.close()));
    });
    log.info('master-ready', { locations: this.#locations.size });
  }

  async stop(): Promise<void> {
    for (const { name, error } of await this.#scope.close('shutting down')) this.#ports.log.error('shutdown-step-failed', { step: name, error });
  }

  readiness(): Readiness {
    return { started: this.#booted, ready: this.#booted, waitingFor: this.#waitingFor };
  }

  /** Resolves when commands find what is in the store now, and its locations are there. */
  async caughtUp(): Promise<void> {
    await this.#directory.caughtUp();
    await this.#federating;
  }

  locations(): LocationView[] {
    return [...[...this.#locations.values()].map((location) => location.view()), ...this.#notMade.views()];
  }

  location(id: string): LocationView | null {
    return this.#locations.get(id)?.view() ?? this.#notMade.view(id);
  }

  history(location: string, limit: number): Promise<HistoryEntry[]> {
    return this.#ports.journal.history(location, limit);
  }

  async order(request: OrderRequest, signal: CancelSignal): Promise<OrderResult> {
    const location = this.#locations.get(request.location);
    if (location === undefined) throw this.#notMade.refusal(request.location);
    location.requireOrder(request.kind);
    if (!request.dryRun && this.#ownEntry !== null) {
      // Each has to be stored. An edge that lets go for a master whose disk is full leaves its devices to nobody.
      await this.#ports.journal.write(this.#ownEntry);
      location.requireOrder(request.kind);
    }
    const before = location.view();
    const summary = describeOrder(request.kind, before);
    if (request.dryRun) return { before, after: foresee(request.kind, before), summary };
    this.#ports.log.info('order', { location: location.id, order: request.kind, by: request.by });
    const follow = followOrder(request.kind);
    let cut: string | null = null;
    location.order(request.kind);
    const isOver = (): boolean => {
      const outcome = follow(location.state);
      if (outcome === 'void') cut = whyVoid(location.state);
      return outcome !== 'open';
    };
    const { clock } = this.#ports;
    await until(isOver, (listener) => location.onAnyStep(listener), { clock, timeoutMs: limits.orderMs, signal });
    if (cut !== null) throw new HoldfastError('ORDER_VOID', { location: location.id, reason: cut });
    return { before, after: location.view(), summary };
  }

  setWindow({ location: id, openMs, dryRun }: WindowRequest): OrderResult {
    const location = this.#locations.get(id);
    if (location === undefined) throw this.#notMade.refusal(id);
    return location.setWindow(openMs, dryRun);
  }

  triggers(): TriggerView[] {
    return [...this.#ownTriggers.views(), ...[...this.#locations.values()].flatMap(({ triggers }) => triggers.views())];
  }

  #triggersOf(location: string): TriggerDesk {
    const triggers = location === MASTER_LOCATION ? this.#ownTriggers : this.#locations.get(location)?.triggers;
    if (triggers === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'location', id: location });
    return triggers;
  }

  readonly locationOfSystem = (id: string): string | null => this.#directory.locationOfSystem(id);
  readonly locationsOfSystem = (id: string): string[] => this.#directory.locationsOfSystem(id);

  onControl(listener: (event: ControlEvent) => void): () => void {
    this.#controlListeners.add(listener);
    return () => {
      this.#controlListeners.delete(listener);
    };
  }

  members(): Member[] {
    return [...this.#locations.values()].map(({ id, origins }) => ({ location: id, edge: origins.other, master: origins.own }));
  }

  announceOrigin(origin: string): void {
    this.#origin = origin;
    for (const { origins } of this.#locations.values()) origins.set(origin);
  }

  links(): LinkView[] {
    return [...this.#locations.values()].map((location) => location.linkView());
  }

  deviceWrites(location: string): Promise<DeviceWrite[]> {
    return this.#ports.deviceLink.writes(location);
  }

  #askRepository({ location: id, ...order }: RepositoryRequest, signal: CancelSignal): Promise<RepositoryAnswer> {
    if (id === MASTER_LOCATION) return this.#repository.request(order, signal);
    const location = this.#locations.get(id);
    if (location === undefined) return Promise.reject(new HoldfastError('NOT_FOUND', { kind: 'location', id }));
    return askRepository(location.peer, order, signal);
  }

  // ── Locations ─────────────────────────────────────────────────────────────

  async #federate(document: EdgeDocument, stored: JournalEntry | null): Promise<FederatedLocation> {
    const { journal } = this.#ports;
    const [history, aliveMs] = await Promise.all([journal.history(document.id, limits.historyEntries), journal.lastAlive(document.id)]);
    const handlers = edgeHandlers(
      {
        ...this.#ports,
        location: document.id,
        directory: this.#directory,
        desk: this.desk,
        board: this.#board,
        lines: this.#lines,
        freshness: this.freshness,
        subscriptions: () => location.subscriptions,
        order: (request, signal) => this.order(request, signal),
        onOrigin: (body) => location.origins.heard(body),
        onTrigger: (body) => location.triggers.hear(body),
        onCommit: (body) => location.hearCommit(body),
      },
      () => location.peer,
    );
    const location: FederatedLocation = new FederatedLocation(
      { ...this.#ports, directory: this.#directory, board: this.#board, desk: this.desk },
      { document, bootId: this.#bootId, timings: this.#timings, stored, history, aliveMs, handlers, onStep: this.#onStep },
    );
    await location.triggers.open();
    location.origins.set(this.#origin);
    location.onControl((event) => {
      for (const listener of this.#controlListeners) listener(event);
    });
    this.#locations.set(document.id, location);
    location.onReach(() => this.freshness.look(document.id));
    this.#notMade.made(document.id);
    return location;
  }

  /** Edges pull: they only need to know that there is something new. */
  #announce({ generation, sequence }: FeedHead): void {
    const position = { generation, sequence };
    this.#ports.metrics.set('holdfast_replication_sequence', {}, sequence);
    for (const { peer } of this.#locations.values()) peer.post('replicate.head', { ...position }, { conflateKey: 'replicate.head' });
  }

  #onConnection(connection: Connection): void {
    const location = this.#locations.get(connection.peerId);
    if (location === undefined) {
      this.#ports.metrics.add('holdfast_link_refused_total', { reason: 'unknown-location' });
      connection.close('unknown-location');
      return;
    }
    location.attach(connection);
  }

  #onDocuments(changed: readonly { type: string; id: string }[]): void {
    for (const { type, id } of changed) {
      const document = type === 'edge' ? this.#directory.edge(id) : null;
      if (document === null) continue;
      const known = this.#locations.get(id);
      if (known === undefined) this.#federating = this.#federating.then(() => this.#federateLate(id)).catch((error: unknown) => this.#notMade.note(id, error));
      else known.documentChanged(document);
    }
    this.#room.documentsChanged();
    for (const location of this.#locations.values()) location.converge();
    void this.#convergeOwnModules();
  }

  /** A location that was applied while the master runs has no past to wait for. */
  async #federateLate(id: string): Promise<void> {
    const document = this.#directory.edge(id);
    if (document === null || this.#locations.has(id)) return;
    const location = await this.#federate(document, null);
    const now = this.#directory.edge(id);
    if (now !== null && now !== document) location.documentChanged(now);
    if (this.#booted) location.booted();
  }

  async #waitForEdges(): Promise<void> {
    const { clock } = this.#ports;
    const deadlineMs = clock.monotonicMs() + limits.masterWaitForEdgesMs;
    const missing = (): string[] =>
      [...this.#locations.values()].filter(({ state }) => state.link?.phase !== 'confirmed').map(({ id }) => `edge ${id}`);
    this.#waitingFor = missing();
    await until(
      () => {
        this.#waitingFor = missing();
        return this.#waitingFor.length === 0;
      },
      (listener) => this.#onAnyStep(listener),
      { clock, timeoutMs: deadlineMs - clock.monotonicMs(), signal: this.#scope.signal, orGoOn: true },
    );
  }

  #onAnyStep(listener: () => void): () => void {
    const stops = [...this.#locations.values()].map((location) => location.onAnyStep(listener));
    return () => {
      for (const stop of stops) stop();
    };
  }

  /** Each second. That it comes late is how a process learns that it was frozen: nobody can be heard by one that does not run. */
  #beat(expectedMs: number): void {
    if (this.#scope.closed) return;
    const { clock, log } = this.#ports;
    const lateMs = clock.monotonicMs() - expectedMs;
    if (lateMs >= limits.standstillMs) {
      log.warn('stood-still', { ms: Math.round(lateMs) });
      for (const location of this.#locations.values()) location.stoodStill(lateMs);
    }
    if (this.#booted) this.#checkWindows();
    const nextMs = clock.monotonicMs() + PULSE_MS;
    this.#pulse = clock.after(PULSE_MS, () => this.#beat(nextMs));
  }

  #checkWindows(): void {
    for (const location of this.#locations.values()) location.checkWindow();
  }

  // ── Own modules ───────────────────────────────────────────────────────────

  /** Modules without a location belong to the master: their epoch rises at each boot, like any holder's. */
  async #startOwnModules(stored: JournalEntry | null): Promise<void> {
    const { clock, deviceLink, journal, log } = this.#ports;
    const epoch = nextEpoch('master', stored?.floor ?? EPOCH_ZERO);
    const terms = { failover: true, policy: 'available' as const, timeoutMs: 20_000, paused: false };
    const entry = { location: MASTER_LOCATION, epoch, floor: epoch, holder: 'master' as const, reason: 'own-modules', sinceMs: clock.wallMs(), terms };
    this.#ownEntry = entry;
    try {
      await journal.write(entry);
    } catch (error) {
      // A full disk keeps us from gaining control, here as everywhere. It must not keep the sites from their master.
      log.error('own-modules-not-started', { error });
      return;
    }
    this.#ownEpoch = epoch;
    await this.#ownTriggers.open();
    this.#scope.defer('own-modules', async () => {
      await this.#ownTriggers.close();
      await deviceLink.stop(MASTER_LOCATION, limits.moduleStopMs);
    });
    await this.#convergeOwnModules();
    this.#ownTriggers.drive(epoch);
  }

  async #convergeOwnModules(): Promise<void> {
    const { deviceLink, log } = this.#ports;
    const modules = this.#directory.modulesOf(MASTER_LOCATION);
    const wanted = JSON.stringify(modules);
    if (wanted === this.#ownModules || this.#scope.closed || this.#ownEpoch === EPOCH_ZERO) return;
    this.#ownModules = wanted;
    try {
      const report = await deviceLink.start({ location: MASTER_LOCATION, epoch: this.#ownEpoch, modules, handover: {} }, this.#scope.signal);
      for (const failure of report.failed) log.warn('module-failed', { location: MASTER_LOCATION, ...failure });
    } catch (error) {
      if (!this.#scope.closed) log.error('modules-not-started', { location: MASTER_LOCATION, error });
    }
  }

  #route(location: string): Route {
    if (location === MASTER_LOCATION) {
      return this.#ownEpoch === EPOCH_ZERO ? { via: 'nobody', reason: 'own-modules-not-started' } : { via: 'here', epoch: this.#ownEpoch };
    }
    return this.#locations.get(location)?.route() ?? { via: 'nobody', reason: 'unknown-location' };
  }

  #onStatus(value: StatusValue): void {
    const peer = this.#locations.get(value.location)?.peer;
    const report = this.#board.set(value);
    if (report !== null && peer !== undefined) sendStatus(peer, report);
  }
}
