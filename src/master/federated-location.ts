import { formatEpoch } from '../shared/control/epoch.ts';
import { isHeldDown } from '../shared/control/hold-down.ts';
import type { ControlTimings } from '../shared/control/lease.ts';
import {
  bootMaster,
  edgeDrives,
  type MasterControl,
  type MasterEvent,
  type MasterOrder,
  type MasterTimer,
  mayTakeOver,
  refuseOrder,
  takeoverAtMs,
} from '../shared/control/master-control.ts';
import { stepMaster } from '../shared/control/master-step.ts';
import { isFromEdge } from '../shared/control/messages.ts';
import type { ControlMessage, FromMaster, HeldInterval } from '../shared/control/messages.ts';
import type { RestoreWindow, WindowView } from '../shared/control/restore-window.ts';
import { closeWindow, noWindowOrders, openWindow, type WindowOrders, windowUnder } from '../shared/control/window-orders.ts';
import type { EdgeDocument } from '../shared/model/documents.ts';
import type { Json } from '../shared/foundation/json.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { ControlJournal, HistoryEntry, JournalEntry } from '../shared/ports/control-journal.ts';
import type { CredentialStore } from '../shared/ports/credential-store.ts';
import type { DeviceLink } from '../shared/ports/device-link.ts';
import type { Log } from '../shared/ports/log.ts';
import type { Metrics } from '../shared/ports/metrics.ts';
import type { Random } from '../shared/ports/random.ts';
import type { Connection } from '../shared/ports/transport.ts';
import type { Webhooks } from '../shared/ports/webhooks.ts';
import type { CommandDesk } from '../shared/runtime/commands/command-desk.ts';
import type { Directory } from '../shared/runtime/documents/directory.ts';
import { DualControl } from '../shared/runtime/location/dual-control.ts';
import { LocationControl } from '../shared/runtime/location/location-control.ts';
import { locationView, restoreWindowOf, termsOf } from '../shared/runtime/location/location-view.ts';
import type { ControlEvent, LinkView, LocationView, OrderResult } from '../shared/runtime/node.ts';
import type { CommitReport } from '../shared/runtime/driver-code/driver-repository.ts';
import type { Source } from '../shared/runtime/status/freshness.ts';
import { MemberOrigins } from '../shared/runtime/peer/member-origins.ts';
import { PeerLink } from '../shared/runtime/peer/peer-link.ts';
import type { PeerLinkHandlers } from '../shared/runtime/peer/peer-link-options.ts';
import { PeerSubscriptions } from '../shared/runtime/peer/peer-subscriptions.ts';
import { readCommit } from '../shared/runtime/driver-code/peer-repository.ts';
import type { Route } from '../shared/runtime/commands/proxy.ts';
import { sendStatus } from '../shared/runtime/status/status-feed.ts';
import type { StatusBoard } from '../shared/runtime/status/status-board.ts';
import { TriggerDesk } from '../shared/runtime/triggers/trigger-desk.ts';
import { tellTrigger } from '../shared/runtime/triggers/trigger-notes.ts';
import { describeWindow } from './window-text.ts';

export interface FederatedLocationPorts {
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  journal: ControlJournal;
  deviceLink: DeviceLink;
  credentials: Pick<CredentialStore, 'get' | 'set'>;
  directory: Directory;
  board: StatusBoard;
  desk: CommandDesk;
  webhooks: Webhooks;
}

export interface FederatedLocationOptions {
  document: EdgeDocument;
  bootId: string;
  timings: ControlTimings;
  stored: JournalEntry | null;
  /** Newest first. */
  history: HistoryEntry[];
  aliveMs: number | null;
  /** Requests and messages of the edge that are not about control. */
  handlers: Pick<PeerLinkHandlers, 'request' | 'post' | 'open' | 'ended'>;
  /** Told of each step of the control machine: for a judge. */
  onStep?: ((location: string, previous: MasterControl, next: MasterControl, event: MasterEvent) => void) | undefined;
}

type Control = LocationControl<MasterControl, MasterEvent, FromMaster, MasterTimer>;

/** A location as the master keeps it: its control machine, the link to its edge, its restore window. */
export class FederatedLocation {
  readonly id: string;
  readonly #ports: FederatedLocationPorts;
  readonly #options: FederatedLocationOptions;
  readonly #control: Control;
  #reachMayHaveChanged: () => void = () => undefined;
  readonly #peer: PeerLink;
  readonly #dual: DualControl;
  readonly origins: MemberOrigins;
  /** What the edge tells because it was asked: log lines of its modules. */
  readonly subscriptions: PeerSubscriptions;
  readonly triggers: TriggerDesk;
  /** When this process last went on after it had stood still, and for how long. */
  #stoodStill = { untilMs: 0, ms: 0 };
  /** The earliest moment at which the hello that comes next can have been sent. */
  #helloAskedMs = 0;
  #document: EdgeDocument;
  #schedule: RestoreWindow | null;
  #windowOrders: WindowOrders = noWindowOrders;
  #commit: CommitReport | null = null;

  constructor(ports: FederatedLocationPorts, options: FederatedLocationOptions) {
    this.id = options.document.id;
    this.#ports = ports;
    this.#options = options;
    this.#document = options.document;
    this.#schedule = restoreWindowOf(options.document);
    this.#dual = new DualControl({ ...ports, location: this.id, history: options.history });
    this.#peer = this.#createPeer();
    this.subscriptions = new PeerSubscriptions({
      ...ports,
      isOpen: () => this.#peer.state === 'open',
      request: (kind, body, options) => this.#peer.request(kind, body, options),
    });
    this.origins = new MemberOrigins({ ...ports, location: this.id, post: (body) => this.#peer.post('origin', body) });
    this.triggers = new TriggerDesk({
      ...ports,
      location: this.id,
      tell: (memory) => tellTrigger(this.#peer, memory),
      reportsDoubles: true,
      mayAct: () => this.#control.held.mayAct,
    });
    this.#control = this.#createControl();
    this.checkWindow();
  }

  get state(): MasterControl {
    return this.#control.state;
  }

  get peer(): PeerLink {
    return this.#peer;
  }

  /** A proved connection of this location's edge; an older one is replaced. */
  attach(connection: Connection): void {
    this.#peer.attach(connection);
  }

  /** The wait for edges is over: takeovers that are due begin now. */
  booted(): void {
    this.#control.post({ type: 'booted', nowMs: this.#now() });
  }

  /** Called once a second and when the document changed: wall clocks jump, so that no timer is trusted with a window. */
  checkWindow(): void {
    const { open, occurrence: opening } = this.#windowNow(this.#windowOrders);
    const occurrence = opening ?? 0;
    const known = this.#control.state.window;
    if (open === known.open && occurrence === known.occurrence) return;
    this.#control.post({ type: 'window', nowMs: this.#now(), open, occurrence });
  }

  /** This process did not run for `ms` until now. */
  stoodStill(ms: number): void {
    this.#stoodStill = { untilMs: this.#now(), ms };
    this.#control.post({ type: 'stood-still', nowMs: this.#now(), ms });
  }

  documentChanged(document: EdgeDocument): void {
    this.#document = document;
    this.#schedule = restoreWindowOf(document);
    this.#control.post({ type: 'terms', nowMs: this.#now(), terms: termsOf(document, false) });
    this.checkWindow();
  }

  /** Its edge, for whoever brings a commit there. */
  edgeCommit(): { linked: boolean; commit: CommitReport | null } {
    return { linked: this.#peer.state === 'open', commit: this.#commit };
  }

  /** Throws INPUT_INVALID. */
  hearCommit(body: Json): void {
    this.#commit = readCommit(body);
  }

  /** Systems or modules changed: what runs here follows. */
  converge(): void {
    this.#control.converge();
  }

  /** Throws ORDER_REFUSED when it cannot be carried out now. */
  requireOrder(order: MasterOrder): void {
    const reason = refuseOrder(this.state, order);
    if (reason !== null) throw new HoldfastError('ORDER_REFUSED', { location: this.id, reason });
  }

  order(order: MasterOrder): void {
    this.#control.post({ type: 'order', nowMs: this.#now(), order });
  }

  /** Opens the restore window for that long, or closes it (null): as if its time had come, with every rule of row 2. Throws ORDER_REFUSED. */
  setWindow(openMs: number | null, dryRun: boolean): OrderResult {
    const before = this.view();
    if (openMs === null && !before.window.open) throw new HoldfastError('ORDER_REFUSED', { location: this.id, reason: 'the restore window is not open' });
    const nowMs = Math.floor(this.#ports.clock.wallMs());
    const orders = openMs === null ? closeWindow(this.#schedule, nowMs) : openWindow(this.#windowOrders, nowMs, openMs);
    const { open, closesMs, nextOpensMs } = this.#windowNow(orders);
    const after = { ...before, window: { ...before.window, open, closesMs, nextMs: nextOpensMs } };
    if (!dryRun) {
      this.#windowOrders = orders;
      this.checkWindow();
    }
    return { before, after, summary: describeWindow(before, after) };
  }

  /** Called after each step of its control machine, also one that moves nothing. */
  onAnyStep(listener: () => void): () => void {
    return this.#control.onAnyStep(listener);
  }

  /** Called when `route` may have become another. */
  onReach(listener: () => void): void {
    this.#reachMayHaveChanged = listener;
    this.#control.onAnyStep(listener);
  }

  onControl(listener: (event: ControlEvent) => void): () => void {
    return this.#control.onChange(listener);
  }

  route(): Route {
    const { state, durable, link } = this.state;
    if (state === 'holding') return { via: 'here', epoch: durable.epoch };
    if (link?.phase === 'confirmed' && this.#peer.state === 'open') {
      return { via: 'peer', peer: this.id, request: (kind, body, options) => this.#peer.request(kind, body, options) };
    }
    const moving = state === 'taking-over' || state === 'releasing' || link !== null;
    if (moving || durable.holder === 'edge') return { via: 'wait' };
    return { via: 'nobody', reason: durable.reason };
  }

  /** From where word of its devices comes. */
  source(): Source {
    if (this.state.state === 'holding') return { via: 'here' };
    return edgeDrives(this.state) && this.#peer.state === 'open' ? { via: 'peer' } : { via: 'nobody', sinceMs: this.#peer.silentSinceMs };
  }

  view(): LocationView {
    const { state, durable, wanted, link, holdDown } = this.state;
    const nowMs = this.#now();
    const dueAtMs = state === 'suspect' && mayTakeOver(this.state) ? takeoverAtMs(this.state) : null;
    // Holding with the edge at hand: what is missing is the window, or an operator.
    const waiting = state === 'holding' && link?.phase === 'waits';
    const facts = {
      document: this.#document,
      schedule: this.#schedule,
      window: this.#windowNow(this.#windowOrders),
      durable,
      state: waiting ? 'waiting-window' : state,
      sinceMs: this.#control.sinceMs,
      paused: wanted.paused,
      linked: this.#peer.state === 'open',
      dueInMs: dueAtMs === null ? null : Math.max(0, dueAtMs - nowMs),
      holdDownMs: isHeldDown(holdDown, nowMs) ? holdDown.untilMs - nowMs : 0,
      dualControlSeconds: this.#dual.totalMs / 1_000,
      modules: { total: this.#ports.directory.countModulesOf(this.id), ...this.#modules() },
      progress: this.#ports.desk.underWay.of(this.id),
      edited: this.#ports.desk.underWay.countEdited(this.id),
      commit: this.#commit,
    };
    return locationView(facts);
  }

  /** Ours while we drive; otherwise what the edge reports of its own. */
  #modules(): { running: number; failing: number } {
    if (this.state.state !== 'standby') return this.#control.modules;
    const { board, directory } = this.#ports;
    return { running: board.connected(this.id), failing: board.failing(this.id, (module) => directory.isWanted(module, this.id)) };
  }

  linkView(): LinkView {
    return { peer: this.id, ...this.#peer.view() };
  }

  /** Modules first, then the link: the edge must not claim beside us. */
  async close(): Promise<void> {
    this.#control.close();
    await this.triggers.close();
    if (this.state.state !== 'standby') await this.#ports.deviceLink.stop(this.id, limits.moduleStopMs);
    this.#peer.shutdown();
  }

  // ── Wiring ────────────────────────────────────────────────────────────────

  #createControl(): Control {
    const { document, stored, history, aliveMs, timings } = this.#options;
    return new LocationControl<MasterControl, MasterEvent, FromMaster, MasterTimer>({
      ...this.#ports,
      location: this.id,
      triggers: this.triggers,
      modules: () => this.#ports.directory.modulesOf(this.id),
      sendControl: (link, message) => this.#send(link, message),
      closeLink: (link, reason) => this.#peer.close(link, reason),
      tellStatus: (value) => sendStatus(this.#peer, value),
      initial: bootMaster(stored, termsOf(document, false), this.#now(), timings),
      stored,
      history,
      aliveMs,
      linked: () => this.#peer.state === 'open',
      step: (state, event) => stepMaster(state, event, timings),
      fromShell: (event) => event,
      onStep: (previous, next, event) => this.#afterStep(previous, next, event),
    });
  }

  #send(link: number, message: FromMaster): void {
    if (message.t === 'control.renegotiate') this.#helloAskedMs = this.#now();
    this.#peer.sendControl(link, message);
  }

  #createPeer(): PeerLink {
    const { clock, random, log, metrics } = this.#ports;
    const { handlers, bootId } = this.#options;
    return new PeerLink({
      side: 'master',
      clock,
      random,
      log: log.child({ location: this.id }),
      metrics,
      bootId,
      floor: () => this.state.durable.floor,
      resumeWindowMs: Math.min(limits.resumeWindowMs, this.#document.timeout * 1_000 - 1_000),
      peer: this.id,
      handlers: {
        ...handlers,
        up: () => {
          // The edge says hello after we have proved ourselves: not before now.
          this.#helloAskedMs = this.#now();
        },
        control: (message, link) => this.#onControl(message, link),
        epochHeard: (epoch, link) => this.#control.hear(epoch, link),
        open: (link, resumed) => {
          this.#onOpen();
          handlers.open(link, resumed);
        },
        down: (link, { lastHeardMs }) => {
          this.#control.post({ type: 'link-down', nowMs: this.#now(), link, lastHeardMs: this.#withoutStandstill(lastHeardMs) });
          this.#reachMayHaveChanged();
        },
      },
    });
  }

  /** An edge was heard then, and since then for so long nobody could be. */
  #withoutStandstill(lastHeardMs: number): number {
    const { untilMs, ms } = this.#stoodStill;
    return lastHeardMs < untilMs ? Math.min(lastHeardMs + ms, untilMs) : lastHeardMs;
  }

  /** The edge shows what our devices report while we hold. */
  #onOpen(): void {
    this.origins.announce();
    this.subscriptions.opened();
    this.triggers.tellAll();
    this.#reachMayHaveChanged();
    if (this.state.durable.holder !== 'master') return;
    for (const value of this.#ports.board.values(this.id)) sendStatus(this.#peer, value);
  }

  #onControl(message: ControlMessage, link: number): void {
    if (!isFromEdge(message)) return;
    // An edge that sends faster than the disk can store must not fill the memory of the master, or end it.
    if (this.#control.waiting >= limits.controlWaiting) return this.#peer.close(link, 'control-flood');
    if (message.t === 'hello') this.#compareHeldTimes(message.held);
    this.#control.post({ type: 'message', nowMs: this.#now(), link, message });
  }

  /** A partition may have ended: what both journals say of who held when. */
  #compareHeldTimes(held: HeldInterval[]): void {
    this.#dual.heard(held, this.#control.held, this.#now() - this.#helloAskedMs);
  }

  #afterStep(previous: MasterControl, next: MasterControl, event: MasterEvent): void {
    // Our gate is closed now: if both held until here, the overlap ends here.
    if (previous.state !== 'releasing' && next.state === 'releasing') this.#dual.settle(this.#control.held);
    if (formatEpoch(previous.durable.floor) !== formatEpoch(next.durable.floor)) this.#ports.board.raiseFloor(this.id, next.durable.floor);
    this.#options.onStep?.(this.id, previous, next, event);
  }

  #windowNow(orders: WindowOrders): WindowView {
    return windowUnder(this.#schedule, orders, this.#ports.clock.wallMs());
  }

  #now(): number {
    return this.#ports.clock.monotonicMs();
  }
}
