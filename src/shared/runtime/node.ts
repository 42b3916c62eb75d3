import type { CancelSignal } from '../foundation/cancel.ts';
import type { Json } from '../foundation/json.ts';
import type { RestoreWindow } from '../control/restore-window.ts';
import type { Epoch, Holder, Policy, Revision } from '../model/control.ts';
import type { HoldfastError } from '../model/errors.ts';
import type { DocumentStore } from '../ports/document-store.ts';
import type { HistoryEntry } from '../ports/control-journal.ts';
import type { DeviceWrite, LiveEdit, ModuleFunction, ModuleLogLine, ReloadedModule } from '../ports/device-link.ts';
import type { SystemDocument } from '../model/documents.ts';
import type { CommitReport, RepositoryAnswer, RepositoryOrder } from './driver-code/driver-repository.ts';
import type { TriggerDocument } from '../model/trigger.ts';
import type { TriggerMemory } from '../triggers/memory.ts';
import type { SystemModule } from './documents/directory.ts';
import type { Freshness } from './status/freshness.ts';
import type { Wanted } from './documents/wanted-state.ts';

/** `revision` null: it was never set. */
export type ValueListener = (value: Json, revision: Revision | null) => void;

/** To where the module that a name means belongs; null: nobody knows. */
export type PlaceListener = (location: string | null) => void;

/** What clients may ask of modules, wherever these are controlled: the same on both roles. */
export interface Desk {
  /** Runs a method of a module wherever it is controlled. Settles at its deadline or a moment later, and at once when `signal` aborts. */
  exec(request: ExecRequest, signal: CancelSignal): Promise<ExecAnswer>;
  /** The same for a module that is named by its id. */
  execModule(command: ModuleCommand, signal: CancelSignal): Promise<ExecAnswer>;
  /** What of the code of a module was edited and not committed; null: nothing, as far as this node has heard. */
  editedOf(module: string): string | null;
  /** Location of a module by its id. Throws NOT_FOUND. */
  locationOf(module: string): string;
  /** The same of a module that is named as in a system, or of the system when it has no such module; null: nobody knows. */
  locationOfNamed(name: ModuleName): string | null;
  /** Status of a module by its id, wherever it is controlled. Throws NOT_FOUND, and what the link throws. */
  moduleStatus(module: string): Promise<ModuleStatus>;
  /** The same as far as this node has been told. Throws NOT_FOUND. */
  knownStatus(module: string): ModuleStatus;
  /** Status of a module of a system, wherever it is controlled. */
  statusOf(name: ModuleName): Promise<ModuleStatus>;
  /** Calls back now and on each change, for one variable or (key null) all of the module. Returns the way to stop. */
  watch(name: ModuleName & { key: string | null }, listener: (change: StatusChange) => void): () => void;
  /** The public methods of a module, wherever it is controlled. Throws NOT_FOUND, MODULE_NOT_RUNNING. */
  functions(name: ModuleName): Promise<Record<string, ModuleFunction>>;
  /**
   * Calls back with the value of one variable at once and on each change. A module that is not
   * there yet is waited for. `located` is told its location at once and when it may be another one, before its values are.
   * Throws NOT_FOUND when the system does not exist. Returns the way to stop.
   */
  bind(variable: ModuleName & { key: string }, listener: ValueListener, located: PlaceListener): () => void;
  /** Log lines of a module, wherever it is controlled; `module` may also be its id. Throws NOT_FOUND. */
  debug(name: ModuleName, listener: (line: DebugLine) => void): Promise<Debugging>;
  /**
   * Somebody called the webhook of a trigger (`call` names the call) and knew its secret. Resolves with what came of it as soon
   * as whoever drives has taken it, before anything is done. Throws NOT_FOUND, NO_HOLDER, CONTROL_CHANGING.
   */
  callTrigger(instance: string, call: string, signal: AbortSignal): Promise<string>;
  /** Commands that this node runs, has passed on or holds back, oldest first, and starts and stops of modules under way. */
  requests(): RequestView[];
  /** Cancels one of them: what it was. Throws NOT_FOUND, ORDER_REFUSED. */
  cancelRequest(id: string, by: AskedBy): Promise<RequestView>;
  /** Location of a start or stop of modules that has this id among the requests; null: it is a command, or nothing. */
  locationOfRequest(id: string): string | null;

  /** Changed drivers. */
  readonly drivers: DriverReloading;
  /** What administrators of locations ask of modules. */
  readonly modules: ModuleController;
}

/** What the API and the CLI may ask of a node, the same on both roles. */
export interface HoldfastNode {
  readonly role: 'edge' | 'master';
  readonly id: string;
  readonly store: DocumentStore;
  readonly desk: Desk;

  readiness(): Readiness;
  /** Every location that this node knows; an edge knows its own. */
  locations(): LocationView[];
  location(id: string): LocationView | null;
  history(location: string, limit: number): Promise<HistoryEntry[]>;
  /** An operator's order. Resolves when carried out; throws ORDER_REFUSED, DEADLINE, NOT_FOUND. `dryRun` says only what would happen. */
  order(request: OrderRequest, signal: CancelSignal): Promise<OrderResult>;
  /** Master only, which alone asks whether the window is open; throws ORDER_REFUSED, NOT_FOUND. Forgotten when the master restarts. */
  setWindow(request: WindowRequest): OrderResult;

  /** Triggers in the systems of every location that this node knows, with what it remembers of them. */
  triggers(): TriggerView[];
  /** Which values stand still because nobody who drives their devices is heard here. */
  freshness: Pick<Freshness, 'ageMs' | 'onChange'>;
  /** Moves of control, as they happen. */
  onControl(listener: (event: ControlEvent) => void): () => void;

  /** Where clients of each location can be served, as far as this node has heard. */
  members(): Member[];
  /** Where clients reach this node; the other members are told. */
  announceOrigin(origin: string): void;
  /** Location of a system; null: there is no such system, or it belongs to no location. */
  locationOfSystem(system: string): string | null;
  /** Its own and those of its modules; when there are none it is the master's. Empty: there is no such system. */
  locationsOfSystem(system: string): string[];

  links(): LinkView[];
  deviceWrites(location: string): Promise<DeviceWrite[]>;

  repository: RepositoryAccess;
  /** Master only; an edge throws MASTER_ONLY. */
  rollouts: RolloutAccess;
  /** Master only; an edge throws ORDER_REFUSED. */
  enrolment: EdgeEnrolment;
}

export interface Readiness {
  started: boolean;
  ready: boolean;
  /** What is still missing, in words; empty when ready. */
  waitingFor: string[];
}

export interface LocationView {
  id: string;
  name: string;
  holder: Holder;
  epoch: Epoch;
  reason: string;
  /** Unix milliseconds of the last change of holder. */
  sinceMs: number;
  /** State of this node's control machine, or `waiting-window`. */
  state: string;
  policy: Policy;
  failover: boolean;
  timeoutSeconds: number;
  paused: boolean;
  link: 'up' | 'down';
  /** At an edge without a link: why a master refused it, or it a master; null or absent: nobody did, or nobody answered. */
  refused?: string | null;
  /** Restore window: is it open now, when does it close and when does it open next (unix ms), and its rule (null: only an operator hands back). */
  window: { open: boolean; closesMs: number | null; nextMs: number | null; schedule: RestoreWindow | null };
  /** Milliseconds until an automatic move is due (takeover while suspect), null when none is. */
  dueInMs: number | null;
  holdDownMs: number;
  dualControlSeconds: number;
  modules: { total: number; running: number; failing: number };
  /** How far a start or stop of its modules has come; null: none is under way. */
  progress: { action: 'start' | 'stop'; done: number; total: number; failing: number } | null;
  /** Modules that run code which was edited and not committed. */
  edited: number;
  /** Of its drivers, as its edge said last; `wanted` is what the document says now. */
  commit: CommitReport;
}

export const orderKinds = ['takeover', 'handback', 'pause', 'resume'] as const;
export type OrderKind = (typeof orderKinds)[number];

export interface OrderRequest {
  location: string;
  kind: OrderKind;
  /** The user who asked, for history and audit. */
  by: string;
  /** Id of the user's credential, for the audits of other nodes. */
  who?: string | undefined;
  requestId: string;
  dryRun: boolean;
}

/** Opens the restore window now, or ends the one that is open. */
export interface WindowRequest {
  location: string;
  /** How long it stays open; null: close it. */
  openMs: number | null;
  dryRun: boolean;
}

export interface OrderResult {
  before: LocationView;
  after: LocationView;
  /** What was done, or would be. */
  summary: string;
}

export interface ExecRequest {
  system: string;
  module: string;
  index: number;
  method: string;
  args: Json[];
  user: string;
  /** Id of the user's credential, for the audits of other nodes. */
  who?: string | undefined;
  /** Names it in logs of every node; without one the node makes its own. */
  requestId?: string;
  /** Told the id under which it runs instead, because another command of that id is under way. */
  renamed?: ((requestId: string) => void) | undefined;
  timeoutMs: number;
}

export interface ModuleCommand extends Omit<ExecRequest, 'system' | 'module' | 'index'> {
  /** Of the module. */
  id: string;
}

export interface ExecAnswer {
  value: Json;
  /** Id of the node whose driver ran it. */
  servedBy: string;
}

/** A module as a system calls it. */
export interface ModuleName {
  system: string;
  module: string;
  index: number;
}

/** A trigger in one system. */
export interface TriggerView {
  id: string;
  trigger: TriggerDocument;
  system: SystemDocument;
  location: string;
  /** null: it never ran, as far as this node has been told. */
  memory: TriggerMemory | null;
  /** Unix milliseconds of the next time that is due; null: none, or somebody else drives. */
  nextMs: number | null;
}

export interface DebugLine extends Pick<ModuleLogLine, 'level' | 'message'> {
  /** Id of the node whose driver said it. */
  node: string;
}

/** A command in flight, or a start or stop of the modules of a location: those have nobody's name and no deadline. */
export interface RequestView {
  id: string;
  user: string;
  location: string;
  module: string;
  method: string;
  /** Id of the node that let the user in. */
  entry: string;
  /** The node that passed it on to this one; null: a client of this node asked. */
  via: string | null;
  /** Where it is now: this node, the one it was passed on to, or `waits` while control changes hands. */
  at: string;
  /** Unix milliseconds. */
  sinceMs: number;
  ageMs: number;
  /** Until its deadline; null: it has none. */
  leftMs: number | null;
}

export interface Debugging {
  /** Its id. */
  module: string;
  /** Name of its driver. */
  driver: string;
  stop(): void;
}

export interface ModuleStatus {
  module: string;
  values: Record<string, Json>;
  epoch: Epoch | null;
  /** Of what another node was asked for: since how many milliseconds it stands still there; null: it does not. */
  ageMs?: number | null;
}

export interface StatusChange {
  system: string;
  module: string;
  index: number;
  key: string;
  value: Json;
}

export interface ControlEvent {
  location: string;
  holder: Holder;
  state: string;
  reason: string;
  epoch: Epoch;
  atMs: number;
}

/** Origins of the client APIs that serve a location, such as `https://edge.example.org:8443`; null: not known. */
export interface Member {
  location: string;
  edge: string | null;
  master: string | null;
}

export interface LinkView {
  peer: string;
  state: 'up' | 'down' | 'negotiating';
  remote: string;
  /** Unix milliseconds. */
  sinceMs: number;
  roundTripMs: number | null;
  inFlight: number;
  /** Why it is down, empty while up. */
  reason: string;
}

export interface DriverReloading {
  /** Locations with modules of the code that this driver names. Throws NOT_FOUND. */
  locationsOf(driver: string): string[];
  /**
   * Puts the newest code of a driver in the place of what its modules run, wherever they are controlled. Throws
   * NOT_FOUND, and what went wrong when it went wrong everywhere, such as DRIVER_INVALID: then nothing has changed.
   */
  reload(request: ReloadRequest, signal: CancelSignal): Promise<ReloadAnswer>;
  /** Starts one module anew, with the newest code of its driver. Throws NOT_FOUND, DRIVER_INVALID, DRIVER_FAILED, MODULE_NOT_RUNNING. */
  load(request: LoadRequest, signal: CancelSignal): Promise<ReloadedAt>;
}

/** Working copies of driver code, each of one node: that of the edge of a location, or that of the master. */
export interface RepositoryAccess {
  /** Throws NOT_FOUND, REPOSITORY_UNSET, what the working copy throws, and what the link throws. */
  request(request: RepositoryRequest, signal: CancelSignal): Promise<RepositoryAnswer>;
}

export interface RepositoryRequest extends RepositoryOrder {
  /** Whose edge; MASTER_LOCATION: the master. */
  location: string;
}

/** A commit on its way to locations, one after the other. */
export interface Rollout {
  id: string;
  /** Its hash. */
  commit: string;
  by: string;
  /** `failed` and `cancelled`: brought back everywhere. `interrupted`: the master stopped in the middle. `planned`: only looked at. */
  state: 'planned' | 'running' | 'done' | 'failed' | 'cancelled' | 'interrupted';
  /** Unix milliseconds. */
  startedMs: number;
  endedMs: number | null;
  problem: string | null;
  /** In their order. */
  steps: RolloutStep[];
}

export interface RolloutStep {
  location: string;
  canary: boolean;
  /** `away`: its edge finds the commit in its documents when it comes back. */
  state: 'waiting' | 'rolling' | 'done' | 'away' | 'failed' | 'rolled-back';
  /** What it goes back to; null: nothing was wanted, and nothing is known to have run. */
  before: string | null;
  problem: string | null;
}

export interface RolloutRequest {
  /** A commit, branch or tag. */
  commit: string;
  /** None: all of them, and the master. */
  locations: readonly string[];
  /** How many of those that are connected come first. */
  canaries: number;
  dryRun: boolean;
  by: string;
}

export interface RolloutAccess {
  /** Newest first. */
  list(): Rollout[];
  /** Begins it. Throws ROLLOUT_REFUSED while another one is under way, NOT_FOUND, COMMIT_UNKNOWN, and what the working copy of the master throws. */
  start(request: RolloutRequest, signal: CancelSignal): Promise<Rollout>;
  /** Ends it, and brings back what it has done. Throws NOT_FOUND, ROLLOUT_REFUSED. */
  cancel(id: string): Promise<Rollout>;
}

export interface ReloadRequest {
  /** Id of its document. */
  driver: string;
  /** There only; null: wherever it has modules. */
  location: string | null;
  /** What is tried live, or the end of that; absent: what the files say. */
  live?: Omit<LiveEdit, 'by'>;
  user: string;
  /** Id of the user's credential, for the audits of other nodes. */
  who?: string | undefined;
  requestId?: string;
}

export interface LoadRequest extends Omit<ReloadRequest, 'driver' | 'location' | 'live'> {
  module: string;
}

export interface ReloadedAt extends ReloadedModule {
  location: string;
  /** Id of the node that drives it. */
  servedBy: string;
}

export interface ReloadAnswer {
  modules: ReloadedAt[];
  /** Locations where nothing has changed, and why. */
  failures: { location: string; error: HoldfastError }[];
}

export interface ModuleController {
  /**
   * Sets the wanted state of a module, or of those of a system or location without `ignore_startstop`. Throws NOT_FOUND,
   * VERSION_CONFLICT, and at an edge LINK_DOWN and MASTER_ONLY.
   */
  want(request: WantRequest, signal: CancelSignal): Promise<WantAnswer>;
  /** Stops a module where it is controlled, until it is loaded or started. Throws NOT_FOUND, MODULE_NOT_RUNNING. */
  unload(request: UnloadRequest, signal: CancelSignal): Promise<Unloaded>;
  /** Reads anew what this node and whoever controls a system have worked out from its documents. Throws NOT_FOUND. */
  expire(request: ExpireRequest, signal: CancelSignal): Promise<Expired>;
}

export interface AskedBy {
  user: string;
  /** Id of the user's credential, for the audits of other nodes. */
  who?: string | undefined;
  requestId?: string;
}

export interface WantRequest extends Wanted, AskedBy {
  dryRun: boolean;
}

export interface WantAnswer {
  /** How many got another wanted state, or would. */
  changed: number;
  /** Of so many. */
  modules: number;
}

export interface UnloadRequest extends AskedBy {
  module: string;
}

export interface Unloaded {
  module: string;
  location: string;
  /** Id of the node that drove it. */
  servedBy: string;
}

export interface ExpireRequest extends AskedBy {
  system: string;
}

export interface Expired {
  system: string;
  /** What the system calls its modules, and their ids. */
  modules: SystemModule[];
  /** Ids of the nodes that read it anew. */
  nodes: string[];
  /** Where the other one could not be reached, and why. */
  failures: { location: string; error: HoldfastError }[];
}

export interface EdgeEnrolment {
  /** A new edge: its enrolment string, shown once. `secret`: set by hand on both sides, instead of a one-time token. */
  add(edge: string, secret: string | null): Promise<{ enrolment: string }>;
  /** A new secret; the old one stays valid until the edge has used the new one. */
  rotate(edge: string, secret: string | null): Promise<{ enrolment: string }>;
  /** Ends the edge's right to connect and closes its live link. */
  revoke(edge: string): Promise<void>;
}
