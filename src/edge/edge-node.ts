import type { EdgeControl, EdgeEvent, EdgeTimer } from '../shared/control/edge-control.ts';
import { bootEdge } from '../shared/control/edge-control.ts';
import { stepEdge } from '../shared/control/edge-step.ts';
import { type ControlTimings, defaultTimings } from '../shared/control/lease.ts';
import { type FromEdge, isFromEdge } from '../shared/control/messages.ts';
import { noWindowOrders, windowUnder } from '../shared/control/window-orders.ts';
import type { CancelSignal } from '../shared/foundation/cancel.ts';
import type { Json } from '../shared/foundation/json.ts';
import { Scope } from '../shared/foundation/scope.ts';
import type { Epoch } from '../shared/model/control.ts';
import type { PostType } from '../shared/link/frames.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { HistoryEntry } from '../shared/ports/control-journal.ts';
import type { DeviceWrite, StatusReport } from '../shared/ports/device-link.ts';
import type { DocumentStore } from '../shared/ports/document-store.ts';
import { CommandDesk } from '../shared/runtime/commands/command-desk.ts';
import { Directory, type Target } from '../shared/runtime/documents/directory.ts';
import { DriverRepository } from '../shared/runtime/driver-code/driver-repository.ts';
import { LocationControl } from '../shared/runtime/location/location-control.ts';
import { locationView, restoreWindowOf, termsOf, unknownTerms } from '../shared/runtime/location/location-view.ts';
import type {
  ControlEvent, HoldfastNode, LinkView, LocationView, Member, OrderRequest, OrderResult, Readiness, RepositoryAccess, TriggerView,
  WindowRequest,
} from '../shared/runtime/node.ts';
import { MemberOrigins } from '../shared/runtime/peer/member-origins.ts';
import { ModuleLines } from '../shared/runtime/commands/module-lines.ts';
import { DUPLICATE_IDENTITY, PeerLink } from '../shared/runtime/peer/peer-link.ts';
import { serveRepository, tellCommit } from '../shared/runtime/driver-code/peer-repository.ts';
import { hearLine, hearWatched, isModuleKind, PeerService } from '../shared/runtime/peer/peer-service.ts';
import { PeerSubscriptions } from '../shared/runtime/peer/peer-subscriptions.ts';
import type { Route } from '../shared/runtime/commands/proxy.ts';
import { ReplicaFeed } from '../shared/runtime/documents/replication.ts';
import { StatusBoard } from '../shared/runtime/status/status-board.ts';
import { readStatus, sendStatus } from '../shared/runtime/status/status-feed.ts';
import { TriggerDesk } from '../shared/runtime/triggers/trigger-desk.ts';
import { tellTrigger } from '../shared/runtime/triggers/trigger-notes.ts';
import { dialLoop } from './dial-loop.ts';
import { EdgeFreshness } from './edge-freshness.ts';
import { edgeRoute } from './edge-route.ts';
import { carryOutOrder } from './edge-orders.ts';
import type { EdgeOptions, EdgePorts } from './edge-ports.ts';
import { masterOnly, noEnrolment, noRollouts } from './master-only.ts';

type Control = LocationControl<EdgeControl, EdgeEvent, FromEdge, EdgeTimer>;

/** The box at a site: boots alone from its own store, drives its devices, and keeps one link to a master. */
export class EdgeNode implements HoldfastNode {
  readonly role = 'edge';
  readonly id: string;
  readonly store: DocumentStore;
  readonly freshness: HoldfastNode['freshness'];
  readonly enrolment = noEnrolment;
  readonly rollouts = noRollouts;
  readonly repository: RepositoryAccess = {
    request: ({ location, ...order }, signal) => {
      if (location !== this.id) return Promise.reject(masterOnly('the working copy of another location'));
      return this.#repository.request(order, signal);
    },
  };
  readonly #ports: EdgePorts;
  readonly #options: EdgeOptions;
  readonly #timings: ControlTimings;
  readonly #scope = new Scope();
  readonly #directory: Directory;
  readonly #board: StatusBoard;
  readonly #peer: PeerLink;
  readonly desk: CommandDesk;
  readonly #origins: MemberOrigins;
  /** null: the documents come another way. */
  readonly #feed: ReplicaFeed | null;
  /** What the master tells of modules of other locations, and of our own while it drives them. */
  readonly #subscriptions: PeerSubscriptions;
  readonly #lines: ModuleLines;
  readonly #service: PeerService;
  readonly #staleness: EdgeFreshness;
  readonly #triggers: TriggerDesk;
  readonly #repository: DriverRepository;
  #control: Control | null = null;
  #linkClosed: ((outcome: { negotiated: boolean }) => void) | null = null;
  #negotiated = false;

  constructor(ports: EdgePorts, options: EdgeOptions) {
    this.#ports = ports;
    this.#options = options;
    this.#timings = options.timings ?? defaultTimings;
    this.id = options.id;
    this.store = ports.store;
    this.#directory = new Directory(ports.store, ports.settingsKeys);
    this.#board = new StatusBoard(ports.metrics);
    this.#peer = this.#createPeer();
    this.#origins = new MemberOrigins({ ...ports, location: this.id, post: (body) => this.#peer.post('origin', body) });
    this.#feed = options.replicated === true ? null : new ReplicaFeed({
      ...ports,
      location: this.id,
      directory: this.#directory,
      request: (kind, body, options) => this.#peer.request(kind, body, options),
    });
    this.#subscriptions = new PeerSubscriptions({
      ...ports,
      isOpen: () => this.#peer.state === 'open',
      request: (kind, body, options) => this.#peer.request(kind, body, options),
      released: (topic, target) => topic === 'watch' && this.#unwatched(target),
    });
    const isElsewhere = (location: string): boolean => this.#peer.state === 'open' && this.#route(location).via === 'peer';
    this.#lines = new ModuleLines({ ...ports, nodeId: this.id, peerOf: () => this.#subscriptions, isElsewhere });
    this.desk = new CommandDesk({
      nodeId: this.id,
      clock: ports.clock,
      random: ports.random,
      metrics: ports.metrics,
      deviceLink: ports.deviceLink,
      directory: this.#directory,
      board: this.#board,
      lines: this.#lines,
      elsewhere: {
        has: (location) => location !== this.id,
        subscriptions: this.#subscriptions,
        request: (kind, body, options) => this.#peer.request(kind, body, options),
      },
      callTrigger: ({ instance, call }) => this.#triggers.call(instance, call),
      route: (location) => this.#route(location),
      onControlChange: (_, listener) => this.onControl(() => listener()),
    });
    const control = (): EdgeControl | null => this.#control?.state ?? null;
    this.#staleness = new EdgeFreshness({ ...ports, location: this.id, control, peer: this.#peer, subscriptions: this.#subscriptions });
    this.freshness = this.#staleness.freshness;
    this.#service = new PeerService({
      ...ports,
      location: this.id,
      peer: 'master',
      passesOn: false,
      desk: this.desk,
      board: this.#board,
      lines: this.#lines,
      post: (type, body, options) => this.#peer.post(type, body, options),
    });
    this.#triggers = new TriggerDesk({
      ...ports,
      location: this.id,
      directory: this.#directory,
      desk: this.desk,
      tell: (memory) => tellTrigger(this.#peer, memory),
      reportsDoubles: false,
      mayAct: () => this.#control?.held.mayAct === true,
    });
    this.#repository = this.#createRepository();
    ports.deviceLink.serveSystems(this.desk);
  }

  /** Boots from the local store alone and starts dialling. Ready as soon as it can answer; control follows its own rules. */
  async start(): Promise<void> {
    const { journal, log, clock, deviceLink } = this.#ports;
    this.#scope.defer('devices', () => deviceLink.close());
    deviceLink.prepare();
    this.#scope.defer('directory', await this.#directory.open());
    await this.#triggers.open();
    const stored = (await journal.load()).find((entry) => entry.location === this.id) ?? null;
    const history = await journal.history(this.id, limits.historyEntries);
    const document = this.#directory.edge(this.id);
    const initial = bootEdge(stored, document === null ? unknownTerms : termsOf(document, false));
    const control: Control = new LocationControl<EdgeControl, EdgeEvent, FromEdge, EdgeTimer>({
      ...this.#ports,
      location: this.id,
      board: this.#board,
      triggers: this.#triggers,
      modules: () => this.#directory.modulesOf(this.id),
      sendControl: (link, message) => this.#send(link, message),
      closeLink: (link, reason) => this.#peer.close(link, reason),
      tellStatus: (value) => sendStatus(this.#peer, value),
      initial,
      stored,
      history,
      aliveMs: await journal.lastAlive(this.id),
      linked: () => this.#peer.state === 'open',
      step: (state, event) => stepEdge(state, event, this.#timings),
      fromShell: (event) => event,
      ...(this.#options.onStep === undefined ? {} : { onStep: this.#options.onStep }),
    });
    this.#control = control;
    this.#scope.defer('freshness', control.onAnyStep(() => this.#staleness.freshness.look()));
    this.#scope.defer('status', deviceLink.onStatus((value) => this.#board.set(value)));
    this.#scope.defer('status-to-master', this.#board.onChange((value) => this.#toMaster(value)));
    this.#scope.defer('modules-told', this.desk.underWay.onChange((_, body) => this.#peer.post('modules', body, { conflateKey: 'modules' })));
    this.#scope.defer('documents', this.#directory.onChange(() => control.converge()));
    this.#scope.defer('link', () => this.#peer.shutdown());
    this.#scope.defer('modules', async () => {
      control.close();
      await this.#triggers.close();
      await deviceLink.stop(this.id, limits.moduleStopMs);
    });
    this.#followCommit();
    log.info('edge-booted', { location: this.id, modules: this.#directory.countModulesOf(this.id), known: document !== null });
    control.post({ type: 'loaded', nowMs: clock.monotonicMs() });
    this.#dial(control);
  }

  /** By its own working copy, with or without a master. */
  #followCommit(): void {
    const { id } = this;
    this.#scope.defer('repository', () => this.#repository.close());
    const changed = (documents: readonly { id: string }[]): void => {
      if (documents.some((document) => document.id === id)) this.#repository.converge();
    };
    this.#scope.defer('wanted-commit', this.#directory.onChange(changed));
    this.#repository.converge();
  }

  /** Stops taking commands, then modules, link, timers: in this order. */
  async stop(): Promise<void> {
    for (const { name, error } of await this.#scope.close('shutting down')) this.#ports.log.error('shutdown-step-failed', { step: name, error });
  }

  readiness(): Readiness {
    const started = this.#control !== null;
    const waitingFor = started ? [] : ['its own store'];
    if (this.#options.certificateMissing?.() === true) waitingFor.push('certificate');
    return { started, ready: waitingFor.length === 0, waitingFor };
  }

  /** Resolves when commands find what is in the store now. */
  caughtUp(): Promise<void> {
    return this.#directory.caughtUp();
  }

  locations(): LocationView[] {
    const view = this.location(this.id);
    return view === null ? [] : [view];
  }

  location(id: string): LocationView | null {
    const control = this.#control;
    const document = this.#directory.edge(this.id);
    if (id !== this.id || control === null || document === null) return null;
    const { state, durable } = control.state;
    const total = this.#directory.countModulesOf(this.id);
    const schedule = restoreWindowOf(document);
    const facts = {
      document,
      schedule,
      window: windowUnder(schedule, noWindowOrders, this.#ports.clock.wallMs()),
      durable,
      state,
      sinceMs: control.sinceMs,
      paused: durable.terms.paused,
      linked: this.#peer.state === 'open',
      refused: this.#peer.refused,
      dueInMs: null,
      holdDownMs: 0,
      dualControlSeconds: 0,
      modules: { total, ...control.modules },
      progress: this.desk.underWay.of(this.id),
      edited: this.desk.underWay.countEdited(this.id),
      commit: this.#repository.report,
    };
    return locationView(facts);
  }

  history(location: string, limit: number): Promise<HistoryEntry[]> {
    return this.#ports.journal.history(location, limit);
  }

  order(request: OrderRequest, signal: CancelSignal): Promise<OrderResult> {
    const options = { ...this.#ports, id: this.id, peer: this.#peer, control: this.#running(), view: (id: string) => this.location(id) };
    return carryOutOrder(options, request, signal);
  }

  setWindow({ location }: WindowRequest): never {
    throw new HoldfastError('ORDER_REFUSED', { location, reason: 'only the master knows the restore window; ask it' });
  }

  triggers(): TriggerView[] {
    return this.#triggers.views();
  }

  readonly locationOfSystem = (id: string): string | null => this.#directory.locationOfSystem(id);
  readonly locationsOfSystem = (id: string): string[] => this.#directory.locationsOfSystem(id);

  onControl(listener: (event: ControlEvent) => void): () => void {
    return this.#control?.onChange(listener) ?? ((): void => undefined);
  }

  members(): Member[] {
    return [{ location: this.id, edge: this.#origins.own, master: this.#origins.other }];
  }

  announceOrigin(origin: string): void {
    this.#origins.set(origin);
  }

  links(): LinkView[] {
    return [{ peer: 'master', ...this.#peer.view() }];
  }

  deviceWrites(location: string): Promise<DeviceWrite[]> {
    return this.#ports.deviceLink.writes(location);
  }

  /** Asks the master to certify the key of this edge's client API. Throws LINK_DOWN while there is no link. */
  requestCertificate(body: Json, signal: CancelSignal): Promise<Json> {
    return this.#peer.request('certificate', body, { signal, timeoutMs: limits.requestMs });
  }

  #unwatched({ location, module }: Target): void {
    this.#board.forget(location, module);
    this.#staleness.released(location);
  }

  #createRepository(): DriverRepository {
    const { deviceLink, workingCopy } = this.#ports;
    return new DriverRepository({
      ...this.#ports,
      nodeId: this.id,
      location: this.id,
      copy: workingCopy ?? null,
      wanted: () => this.#directory.edge(this.id)?.commit ?? null,
      codes: () => this.#directory.codesAt(this.id).map((driver) => ({ location: this.id, driver })),
      reload: (order, signal) => deviceLink.reload(order, signal),
      tell: (report) => tellCommit(this.#peer, report),
    });
  }

  // ── The link ──────────────────────────────────────────────────────────────

  #createPeer(): PeerLink {
    const { clock, random, log, metrics } = this.#ports;
    return new PeerLink({
      side: 'edge',
      clock,
      random,
      log: log.child({ location: this.id }),
      metrics,
      bootId: random.hex(8),
      floor: () => this.#running().state.durable.floor,
      resumeWindowMs: limits.resumeWindowMs,
      peer: 'master',
      handlers: {
        up: (link) => this.#control?.post({ type: 'link-up', nowMs: clock.monotonicMs(), link }),
        control: (message, link) => {
          if (isFromEdge(message)) return;
          if (message.t === 'negotiate') this.#negotiated = true;
          this.#control?.post({ type: 'message', nowMs: clock.monotonicMs(), link, message });
        },
        epochHeard: (epoch, link) => this.#control?.hear(epoch, link),
        open: () => this.#onOpen(),
        ended: () => {
          this.#service.ended();
          this.#subscriptions.ended();
        },
        down: (link, { reason }) => {
          this.#control?.post({ type: 'link-down', nowMs: clock.monotonicMs(), link, hasTwin: reason === DUPLICATE_IDENTITY });
          this.#staleness.linkDown();
          this.#linkClosed?.({ negotiated: this.#negotiated });
        },
        request: (kind, body, context) => {
          if (isModuleKind(kind)) return this.#service.request(kind, body, context);
          if (kind === 'repository') return serveRepository(this.#repository, body, context.signal);
          return Promise.reject(new HoldfastError('UNKNOWN_TYPE', { type: kind }));
        },
        post: (type, body, { epoch }) => this.#onPost(type, body, epoch),
      },
    });
  }

  #dial(control: Control): void {
    const { clock } = this.#ports;
    const running = dialLoop(
      {
        ...this.#ports,
        addresses: this.#options.addresses,
        use: (connection) => {
          this.#negotiated = false;
          const gone = new Promise<{ negotiated: boolean }>((resolve) => {
            this.#linkClosed = resolve;
          });
          this.#peer.attach(connection);
          return gone;
        },
        refused: (reason) => (this.#peer.refused = reason),
        failed: () => control.post({ type: 'dial-failed', nowMs: clock.monotonicMs() }),
      },
      this.#scope.signal,
    );
    this.#scope.defer('dialler', () => {
      this.#linkClosed?.({ negotiated: this.#negotiated });
      return running;
    });
  }

  #send(link: number, message: FromEdge): void {
    const held = message.t === 'hello' ? (this.#control?.held.intervals() ?? []) : [];
    this.#peer.sendControl(link, message.t === 'hello' ? { ...message, held } : message);
  }

  #onOpen(): void {
    this.#origins.announce();
    if (this.#drives()) for (const value of this.#board.values(this.id)) sendStatus(this.#peer, value);
    this.#triggers.tellAll();
    this.desk.underWay.tell(this.id);
    this.#feed?.wake(this.#scope.signal);
    this.#subscriptions.opened();
    this.#staleness.freshness.look();
    tellCommit(this.#peer, this.#repository.report);
    this.#repository.converge();
  }

  /** The other side shows what our devices report; while the master holds, its board already has the values. */
  #toMaster(value: StatusReport): void {
    if (value.location === this.id && this.#drives()) sendStatus(this.#peer, value);
  }

  #onPost(type: PostType, body: Json, epoch: Epoch | null): void {
    if (type === 'status' && epoch !== null && !this.#drives()) this.#board.hear(readStatus(this.id, body, epoch));
    if (type === 'watched') hearWatched(body, { board: this.#board, subscriptions: this.#subscriptions });
    if (type === 'staleness') this.#staleness.hear(body);
    if (type === 'log') hearLine(body, { lines: this.#lines, subscriptions: this.#subscriptions });
    if (type === 'trigger') this.#triggers.hear(body);
    if (type === 'replicate.head') this.#feed?.wake(this.#scope.signal);
    if (type === 'origin') this.#origins.heard(body);
    if (type === 'ready') this.#ports.log.info('master-ready', { location: this.id });
  }

  #drives(): boolean {
    const state = this.#control?.state.state;
    return state === 'holding' || state === 'claiming';
  }

  /** The master runs it under an epoch of its own, which who let go may not know, or passes it on. */
  get #viaMaster(): Route {
    return { via: 'peer', peer: 'master', request: (kind, body, options) => this.#peer.request(kind === 'exec' ? 'relay' : kind, body, options) };
  }

  #route(location: string): Route {
    if (location !== this.id) return this.#viaMaster;
    return edgeRoute(this.#running().state, this.#peer.state === 'open', this.#viaMaster);
  }

  #running(): Control {
    if (this.#control === null) throw new HoldfastError('NOT_READY', { waitingFor: 'its own store', retryAfterMs: 1_000 });
    return this.#control;
  }
}
