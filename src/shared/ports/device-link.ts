import type { CancelSignal } from '../foundation/cancel.ts';
import type { Json, JsonObject } from '../foundation/json.ts';
import type { Epoch, Revision } from '../model/control.ts';

/** What is known of settings that are sealed at rest. */
export interface SealedSettings {
  /** Texts in them, the longest first: never logged or shown. */
  secrets: string[];
  /** Why they could not all be opened: the module does not start, or keeps those that it has. null: they were. */
  problem: string | null;
}

/** One module as a driver host needs it. */
export interface ModuleSpec {
  id: string;
  /** Name of the driver: a built-in one, or one of HOLDFAST_DRIVERS. */
  driver: string;
  role: 'device' | 'service' | 'logic' | 'trigger';
  name: string;
  ip: string;
  port: number;
  tls: boolean;
  udp: boolean;
  makebreak: boolean;
  uri: string;
  settings: JsonObject;
  /** Only if some of the settings are sealed at rest. */
  sealed?: SealedSettings;
  /** Ids of the systems that list it; of logic modules only, and one with several does not start. */
  systems: string[];
}

/** Hand-over state of drivers, by module id, and what they last reported. */
export interface ModuleSnapshot {
  handover: Record<string, Json>;
}

export interface StartOrder {
  location: string;
  epoch: Epoch;
  modules: ModuleSpec[];
  handover: Record<string, Json>;
}

export interface StartReport {
  started: number;
  /** Modules whose driver would not load or set up, with the reason. Dead devices are not failures. */
  failed: { module: string; problem: string }[];
}

export interface ReloadOrder {
  location: string;
  /** Name of its code. */
  driver: string;
  /** This one alone, and started anew; null: every module of the driver. */
  module: string | null;
  /** Not what the file says: code that came with the request, or the end of that. */
  live?: LiveEdit | null;
  /** What runs this very code already is left alone, and left out. */
  changedOnly?: boolean;
}

/** The content of one file of a driver, to be tried without changing the file. */
export interface DriverEdit {
  /** Below the folder of the driver; the name of its file when it has none. */
  file: string;
  content: string;
}

export interface LiveEdit {
  /** null: what was tried is taken back. */
  edit: DriverEdit | null;
  /** Ids; empty: all modules of the driver. */
  modules: readonly string[];
  by: string;
}

/** What became of a module when the code of its driver was loaded anew. */
export interface ReloadedModule {
  module: string;
  /** Why it does not run the new code; null: it does. */
  problem: string | null;
  /** So long its calls had to wait. */
  pausedMs: number;
  /** It did not run before either. */
  stood?: true;
}

/** What becomes of modules beside the documents, where they run, until control moves. */
export interface ModulesOrder {
  location: string;
  /**
   * `unload`: they stop, and stay so until they are loaded or released. `release`: those that are held back start.
   * `cancel`: a start or stop under way ends; what did not start yet is held back, what did not stop yet goes on.
   */
  action: 'unload' | 'release' | 'cancel';
  /** Ids; of `cancel` none. */
  modules: readonly string[];
  /** Who wants it: shown as the reason. */
  by: string;
}

/** How far a start or stop of modules has come. */
export interface ModulesProgress {
  location: string;
  action: 'start' | 'stop';
  done: number;
  total: number;
  /** Of those that are done. */
  failing: number;
  /** Monotonic. */
  sinceMs: number;
}

export interface ExecCall {
  location: string;
  module: string;
  method: string;
  args: Json[];
  /** The authority for the device writes of this call. */
  epoch: Epoch;
  /** Monotonic milliseconds. */
  deadlineMs: number;
  requestId: string;
  user: string;
}

export interface StatusValue {
  location: string;
  module: string;
  key: string;
  value: Json;
  epoch: Epoch;
}

/** A status value on its way between nodes and to clients. Its epoch is that of who tells it now. */
export interface StatusReport extends StatusValue {
  revision: Revision;
}

export interface ModuleLogLine {
  location: string;
  module: string;
  level: 'debug' | 'info' | 'warn' | 'error';
  message: string;
}

/** A device write as the process that owned the socket stamped it. What the invariant checkers read. */
export interface DeviceWrite {
  module: string;
  location: string;
  epoch: Epoch;
  wallMs: number;
  monotonicMs: number;
  bytes: number;
}

/** A public method of a module. */
export interface ModuleFunction {
  /** How many parameters it has. */
  arity: number;
  /** JSON schema of each parameter; empty when the driver does not say. */
  params: Record<string, JsonObject>;
  /** Names of the parameters, first one first. */
  order: string[];
}

/** Address of a module within its system: `Display_1`. */
export interface SystemTarget {
  name: string;
  index: number;
}

/** What a module asks of its system. */
export type SystemRequest =
  | (SystemTarget & { kind: 'exec'; method: string; args: Json[]; user: string; deadlineMs: number })
  | (SystemTarget & { kind: 'status'; key: string })
  | { kind: 'count'; name: string };

/** What a node answers to modules that ask of their system. */
export interface SystemAccess {
  exec(
    request: { system: string; module: string; index: number; method: string; args: Json[]; user: string; timeoutMs: number },
    signal: CancelSignal,
  ): Promise<{ value: Json }>;
  status(name: { system: string; module: string; index: number }): { values: Record<string, Json> };
  /** Calls back now and on each change. The module may be absent, and may be replaced. Returns the way to stop. */
  follow(
    name: { system: string; module: string; index: number; key: string | null },
    listener: (change: { value: Json }) => void,
  ): () => void;
  /** How many modules of that name the system lists. */
  count(system: string, name: string): number;
}

/** The hands of a node: driver hosts in production, simulated devices in the simulator. */
export interface DeviceLink {
  /** Makes ready what the first start would otherwise wait for. */
  prepare(): void;
  /**
   * Opens the write gate at the order's epoch, connects devices, starts modules: devices, services, logic, triggers.
   * Resolves when each device was tried once. Called again while the location runs it converges: starts what is new,
   * stops what is gone, restarts what changed. Aborting leaves everything stopped after `stop`.
   */
  start(order: StartOrder, signal: AbortSignal): Promise<StartReport>;
  /** At once: not a byte leaves for this location any more. */
  closeGate(location: string): void;
  /** The holder stays, its epoch rose: running commands go on under the new one. */
  restamp(location: string, epoch: Epoch): void;
  /** Writes end at this monotonic time; null: no lease. */
  setLease(location: string, untilMs: number | null): void;
  /** Triggers, logic, devices: stopped in this order, sockets closed with reset, writes in flight ended. What does not stop in time is killed. Never throws. */
  stop(location: string, deadlineMs: number): Promise<ModuleSnapshot>;
  exec(call: ExecCall, signal: CancelSignal): Promise<Json>;
  /**
   * Puts the newest code of a driver in the place of what its modules run; they keep connection, queue and status.
   * Code that is tried live lasts until they start anew for any reason.
   * Throws NOT_FOUND and DRIVER_INVALID, and then nothing has changed. What does not run here is left out. Aborting
   * ends the waiting only, once it has begun: a module must not be left between two kinds of code.
   */
  reload(order: ReloadOrder, signal: CancelSignal): Promise<ReloadedModule[]>;
  /** Ids of the modules that it concerned: none when the location does not run here. Aborting ends the waiting only. */
  manage(order: ModulesOrder, signal: CancelSignal): Promise<string[]>;
  /** Called with each start and stop of modules as it gets on, and at last with null. Returns the way to stop. */
  onProgress(listener: (location: string, progress: ModulesProgress | null) => void): () => void;
  /** Called with all modules of a location that run edited code, and what was edited, when that changes. Returns the way to stop. */
  onEdited(listener: (location: string, edited: Readonly<Record<string, string>>) => void): () => void;
  /** The public methods of a module that runs here. Throws MODULE_NOT_RUNNING. */
  functions(location: string, module: string): Promise<Record<string, ModuleFunction>>;
  /** Who answers what modules ask of their systems. Once, before the first start. */
  serveSystems(access: SystemAccess): void;
  onStatus(listener: (value: StatusValue) => void): () => void;
  onLog(listener: (line: ModuleLogLine) => void): () => void;
  /** The newest device writes of a location. */
  writes(location: string): Promise<DeviceWrite[]>;
  close(): Promise<void>;
}
