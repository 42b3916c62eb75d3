import { gateError, WriteGate } from '../../control/write-gate.ts';
import type { CancelSignal } from '../../foundation/cancel.ts';
import type { Json } from '../../foundation/json.ts';
import type { Epoch } from '../../model/control.ts';
import { fromWire, HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type {
  DeviceLink,
  DeviceWrite,
  ExecCall,
  ModuleFunction,
  ModuleLogLine,
  ModuleSnapshot,
  ModulesOrder,
  ModuleSpec,
  ModulesProgress,
  ReloadedModule,
  ReloadOrder,
  StartOrder,
  StartReport,
  StatusValue,
  SystemAccess,
} from '../../ports/device-link.ts';
import type { HostProcesses } from '../../ports/host-process.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Random } from '../../ports/random.ts';
import type { HostEnd, HostPeer } from './host-peer.ts';
import { HostPool, type Slot } from './host-pool.ts';
import { EditedModules } from './edited.ts';
import { reloadedLine, reloadModules } from './reload.ts';
import { convergedFacts } from './converged.ts';
import { sortOpened } from './opened.ts';
import { faultsOf } from './faults.ts';
import { Secrets } from './secrets.ts';
import { Launcher, LOST } from './launcher.ts';
import { HeldModules } from './held.ts';
import { keyOf } from './pending-call.ts';
import { Progress } from './progress.ts';
import type { StatusMessage, ToHost } from './messages.ts';
import type { SystemCaller, SystemOfCaller } from './system-requests.ts';
import type { Launch, Location, Placed } from './running-location.ts';
import { batchesOf, countModules, failedModules, keysAt, presentEpoch } from './running-location.ts';
import { sameButSettings, sameSpec, untilAborted, wantedModules, whyNotRunning } from './running-location.ts';

export interface DriverHostsOptions {
  clock: Clock;
  log: Log;
  metrics: Metrics;
  random: Random;
  hostProcesses: HostProcesses;
  /** How many processes; at least one. */
  hosts: number;
  nodeId: string;
  /** Every device write is also appended to this file, as evidence that outlives all processes. */
  writeLog?: string;
}

/**
 * The hands of a node: a pool of processes that run drivers and own the device sockets. They start with `prepare`, at the latest with the first module.
 */
export function createDriverHosts(options: DriverHostsOptions): DeviceLink {
  return new DriverHosts(options);
}

class DriverHosts implements DeviceLink {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #pool: HostPool;
  readonly #launcher: Launcher;
  readonly #held: HeldModules;
  readonly #progress: Progress;
  readonly #gate = new WriteGate();
  readonly #locations = new Map<string, Location>();
  readonly #secrets = new Secrets(this.#locations);
  readonly #edited = new EditedModules();
  readonly #statusListeners = new Set<(value: StatusValue) => void>();
  readonly #logListeners = new Set<(line: ModuleLogLine) => void>();
  #systems: SystemAccess | null = null;
  #lastRun = 0;
  #closing: Promise<void> | null = null;

  constructor(options: DriverHostsOptions) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#pool = new HostPool(
      { ...options, writeLog: options.writeLog ?? null },
      {
        status: (message) => this.#onStatus(message),
        log: ({ location, module, level, message }) => this.#onLog({ location, module, level, message }),
        hide: (text) => this.#secrets.hide(text, null),
        refused: (count) => this.#metrics.add('holdfast_fencing_refusals_total', { fence: 'device' }, count),
        systemOf: (caller) => this.#systemOf(caller),
        ended: (slot, end) => this.#onHostEnded(slot, end),
        started: (slot, peer) => this.#onHostStarted(slot, peer),
      },
    );
    this.#progress = new Progress(options.clock, options.log);
    this.#launcher = new Launcher({
      clock: options.clock,
      pool: this.#pool,
      progress: this.#progress,
      hide: (text, of) => this.#secrets.hide(text, of),
      held: (location, modules, reason) => this.#held.hold(location, modules, reason),
      down: (location, placed) => this.#down(location, placed.spec, placed.problem),
    });
    this.#held = new HeldModules({
      log: options.log,
      pool: this.#pool,
      launcher: this.#launcher,
      progress: this.#progress,
      place: (location, spec) => this.#place(location, spec),
      launch: (location, modules) => this.#launch(location, modules, { handover: {}, signal: location.abort.signal }),
      down: (location, spec, reason) => this.#down(location, spec, reason),
      forget: (location, module) => this.#publish(location.id, module, 'problem', null),
    });
  }

  prepare(): void {
    this.#pool.open();
  }

  async start(order: StartOrder, signal: AbortSignal): Promise<StartReport> {
    await this.#locations.get(order.location)?.stopping;
    signal.throwIfAborted();
    if (this.#closing !== null) throw new HoldfastError('SHUTTING_DOWN', {});
    const location = this.#locations.get(order.location) ?? this.#open(order);
    await this.#inTurn(location, signal, (both) => this.#converge(location, order, both));
    const failed = failedModules(location);
    return { started: wantedModules(location) - failed.length, failed };
  }

  /** Starts and changes of a location come one after the other. */
  #inTurn<T>(location: Location, signal: AbortSignal, change: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const both = AbortSignal.any([signal, location.abort.signal]);
    const done = location.tail.then(() => change(both));
    location.tail = done.catch(() => undefined).then(() => this.#edited.look(location));
    return untilAborted(done, both);
  }

  closeGate(location: string): void {
    this.#gate.close(location);
    this.#tellGate(location);
  }

  restamp(location: string, epoch: Epoch): void {
    this.#gate.restamp(location, epoch);
    this.#tellGate(location);
  }

  setLease(location: string, untilMs: number | null): void {
    this.#gate.setLease(location, untilMs);
    this.#tellGate(location);
  }

  stop(location: string, deadlineMs: number): Promise<ModuleSnapshot> {
    this.closeGate(location);
    const known = this.#locations.get(location);
    if (known === undefined) return Promise.resolve({ handover: {} });
    known.stopping ??= this.#stopLocation(known, deadlineMs);
    return known.stopping;
  }

  async exec(call: ExecCall, signal: CancelSignal): Promise<Json> {
    const { location, module, epoch, deadlineMs } = call;
    const nowMs = this.#clock.monotonicMs();
    const refusal = this.#gate.check(location, epoch, nowMs);
    const floor = this.#gate.state(location).epoch;
    if (refusal !== null) throw gateError(refusal, { location, module, epoch, floor });
    const peer = this.#peerOf(location, module);
    if (signal.aborted) throw new HoldfastError('CANCELLED', { fate: 'not-sent' });
    if (nowMs >= deadlineMs) throw new HoldfastError('DEADLINE', { fate: 'not-sent' });
    const done = peer.exec(call, signal);
    return this.#secrets.of(location, module).length === 0 ? done : done.catch((error: unknown) => this.#secrets.throwHidden(error, call));
  }

  async reload(order: ReloadOrder, signal: CancelSignal): Promise<ReloadedModule[]> {
    const location = this.#locations.get(order.location);
    if (location === undefined) return [];
    const { signal: stopped } = location.abort;
    const reloading = this.#inTurn(location, stopped, async () => {
      if (signal.aborted) throw new HoldfastError('CANCELLED', { fate: 'not-sent' });
      const restart = (modules: Placed[], edited: string | null): Promise<void> => this.#restart(location, { modules, edited }, stopped);
      const trial: HostPool['askTrial'] = (question) => this.#pool.askTrial(question);
      const how = { clock: this.#clock, signal: stopped, restart, trial };
      return await this.#held.placing(location, order.module, () => reloadModules(location, order, how));
    });
    const outcomes = await untilAborted(reloading, signal).catch((error: unknown) => this.#secrets.throwHidden(error, null));
    const hidden = (module: string, problem: string | null) => problem && this.#secrets.hide(problem, { location: location.id, module });
    const reloaded = outcomes.map((outcome) => ({ ...outcome, problem: hidden(outcome.module, outcome.problem) }));
    const failed = reloaded.filter(({ problem }) => problem !== null).length;
    if (order.changedOnly === true && reloaded.length === 0) return [];
    this.#log.info(...reloadedLine(order, reloaded.length, failed));
    return reloaded;
  }

  async manage({ location: id, action, modules, by }: ModulesOrder, signal: CancelSignal): Promise<string[]> {
    const location = this.#locations.get(id);
    if (location === undefined) return [];
    if (action === 'cancel') return this.#held.halt(location, by);
    const { signal: stopped } = location.abort;
    const act = (): Promise<string[]> => (action === 'unload' ? this.#held.unload(location, modules, by) : this.#held.release(location, modules));
    return await untilAborted(this.#inTurn(location, stopped, act), signal);
  }

  onProgress(listener: (location: string, progress: ModulesProgress | null) => void): () => void {
    return this.#progress.on(listener);
  }

  onEdited(listener: (location: string, edited: Readonly<Record<string, string>>) => void): () => void {
    return this.#edited.on(listener);
  }

  async functions(location: string, module: string): Promise<Record<string, ModuleFunction>> {
    const answer = await this.#peerOf(location, module).ask({ t: 'functions', location, module });
    if (answer?.t === 'functions') return answer.functions;
    throw answer?.t === 'error' ? fromWire(answer.error) : new HoldfastError('MODULE_NOT_RUNNING', { module, reason: LOST });
  }

  serveSystems(access: SystemAccess): void {
    this.#systems = access;
  }

  onStatus(listener: (value: StatusValue) => void): () => void {
    this.#statusListeners.add(listener);
    return () => this.#statusListeners.delete(listener);
  }

  onLog(listener: (line: ModuleLogLine) => void): () => void {
    this.#logListeners.add(listener);
    return () => this.#logListeners.delete(listener);
  }

  async writes(location: string): Promise<DeviceWrite[]> {
    const answers = await Promise.all([...this.#pool.peers()].map((peer) => peer.ask({ t: 'writes', location })));
    const writes = answers.flatMap((answer) => (answer?.t === 'writes' ? answer.writes : []));
    return writes.sort((a, b) => a.monotonicMs - b.monotonicMs);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#locations.keys()].map((location) => this.stop(location, limits.moduleStopMs)));
    await this.#pool.close();
  }

  /** The host of a module that runs. Throws MODULE_NOT_RUNNING. */
  #peerOf(location: string, module: string): HostPeer {
    const found = this.#locations.get(location);
    const placed = found?.modules.get(module);
    const peer = placed?.slot.peer ?? null;
    if (placed?.problem === null && peer !== null) return peer;
    throw new HoldfastError('MODULE_NOT_RUNNING', { module, reason: whyNotRunning(found, module) ?? LOST });
  }

  /** What acts on its system needs the same authority as what writes to a device. */
  #systemOf({ location, module, epoch, acts }: SystemCaller): SystemOfCaller {
    const refusal = acts ? this.#gate.check(location, epoch, this.#clock.monotonicMs()) : null;
    const floor = this.#gate.state(location).epoch;
    if (refusal !== null) throw gateError(refusal, { location, module, epoch, floor });
    const [system] = this.#locations.get(location)?.modules.get(module)?.spec.systems ?? [];
    if (system === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'system', id: `of ${module}: none lists it as its logic` });
    if (this.#systems === null) throw new HoldfastError('NOT_READY', { waitingFor: 'its systems', retryAfterMs: 1_000 });
    return { access: this.#systems, system };
  }

  // ── Starting ──────────────────────────────────────────────────────────────

  #open(order: StartOrder): Location {
    this.#lastRun += 1;
    const location: Location = {
      id: order.location,
      run: this.#lastRun,
      epoch: order.epoch,
      modules: new Map(),
      unopened: new Map(),
      begun: false,
      held: new Map(),
      halt: new AbortController(),
      abort: new AbortController(),
      tail: Promise.resolve(),
      stopping: null,
    };
    this.#locations.set(location.id, location);
    // Modules that stop or have stopped do not write again: only a start opens the gate.
    this.#gate.open(location.id, order.epoch);
    this.#tellGate(location.id);
    return location;
  }

  /** What is gone or changed stops, what is new or changed starts; the rest is not touched. */
  async #converge(location: Location, order: StartOrder, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const halt = location.halt.signal;
    const wanted = new Map(this.#wantedModules(location, order).map((spec) => [spec.id, spec]));
    const updated = await this.#updateModules(location, wanted);
    const outdated = [...location.modules.values()].filter(({ spec }) => !sameSpec(spec, wanted.get(spec.id)));
    const { handover } = await this.#launcher.stop(location, outdated, { deadlineMs: limits.moduleStopMs, halt });
    signal.throwIfAborted();
    const fresh = [...wanted.values()].filter(({ id }) => !location.modules.has(id)).map((spec) => this.#place(location, spec));
    await this.#launch(location, fresh, { handover: { ...order.handover, ...handover }, signal, halt });
    const gone = outdated.filter((placed) => location.modules.get(placed.spec.id) !== placed);
    // Nobody else would say so: the module is not there any more.
    for (const { spec, connected } of gone) if (connected && !wanted.has(spec.id)) this.#publish(location.id, spec.id, 'connected', false);
    const news = location.begun && convergedFacts(location, { updated, stopped: gone.map(({ spec }) => spec), started: fresh.map(({ spec }) => spec) });
    if (news) this.#log.info('modules-converged', news);
    location.begun = true;
  }

  /** Without those that an operator holds back. */
  #wantedModules(location: Location, order: StartOrder): ModuleSpec[] {
    this.#held.forget(location, order.modules);
    return this.#held.others(location, this.#openedModules(location, order));
  }

  #place(location: Location, spec: ModuleSpec, at?: Slot): Placed {
    const slot = at === undefined ? this.#pool.place(spec.driver) : this.#pool.placeAt(at, spec.driver);
    const placed: Placed = { spec, slot, connected: false, leaving: false, edited: null, problem: null, fault: null };
    location.modules.set(spec.id, placed);
    return placed;
  }

  /** Stops modules and starts them with what they handed over. */
  async #restart(location: Location, { modules, edited }: { modules: Placed[]; edited: string | null }, signal: AbortSignal): Promise<void> {
    const halt = location.halt.signal;
    const { handover } = await this.#launcher.stop(location, modules, { deadlineMs: limits.moduleStopMs, halt });
    signal.throwIfAborted();
    const gone = modules.filter(({ spec }) => !location.modules.has(spec.id));
    // Only the hosts that they were at have the code that is tried.
    const fresh = gone.map(({ spec, slot }) => Object.assign(this.#place(location, spec, edited === null ? undefined : slot), { edited }));
    await this.#launch(location, fresh, { handover, signal, halt });
  }

  /** Those that can be started, or run. The others are told why not. */
  #openedModules(location: Location, order: StartOrder): ModuleSpec[] {
    const { opened, shut, openedAgain } = sortOpened(location, order.modules);
    for (const { spec, problem } of shut) {
      this.#log.warn('module-problem', { location: location.id, module: spec.id, problem });
      if (location.modules.has(spec.id)) this.#publish(location.id, spec.id, 'problem', problem);
      else this.#down(location, spec, problem);
    }
    for (const id of openedAgain) this.#publish(location.id, id, 'problem', null);
    return opened;
  }

  /** What takes its changed settings is up to date then; the rest is left as it was. Ids of the former. */
  async #updateModules(location: Location, wanted: ReadonlyMap<string, ModuleSpec>): Promise<string[]> {
    const updated: string[] = [];
    const changed = [...location.modules.values()].filter(
      ({ spec, problem }) => problem === null && sameButSettings(spec, wanted.get(spec.id)),
    );
    await Promise.all(
      batchesOf(changed).map(async (batch) => {
        const modules = batch.map(({ spec }) => wanted.get(spec.id) ?? spec);
        const answer = await batch[0]?.slot.peer?.ask({ t: 'update', location: location.id, modules });
        const restart = new Set(answer?.t === 'updated' ? answer.restart : modules.map(({ id }) => id));
        for (const placed of batch) {
          if (restart.has(placed.spec.id)) continue;
          placed.spec = wanted.get(placed.spec.id) ?? placed.spec;
          updated.push(placed.spec.id);
        }
      }),
    );
    return updated;
  }

  /** Resolves when each module was tried once. */
  async #launch(location: Location, modules: Placed[], how: Omit<Launch, 'halt'> & Partial<Launch>): Promise<void> {
    await this.#launcher.launch(location, modules, { halt: location.halt.signal, ...how });
    this.#count();
  }

  // ── Stopping ──────────────────────────────────────────────────────────────

  async #stopLocation(location: Location, deadlineMs: number): Promise<ModuleSnapshot> {
    location.abort.abort(new HoldfastError('CANCELLED', { fate: 'under way' }));
    const snapshot = await this.#launcher.stop(location, [...location.modules.values()], { deadlineMs, halt: null });
    this.#locations.delete(location.id);
    this.#edited.look(location);
    this.#count();
    return snapshot;
  }

  // ── Hosts ─────────────────────────────────────────────────────────────────

  #onHostStarted(slot: Slot, peer: HostPeer): void {
    for (const location of this.#locations.values()) {
      peer.post(this.#gateMessage(location));
      this.#relaunch(location, slot, location.modules.values());
    }
  }

  #onHostEnded(slot: Slot, end: HostEnd): void {
    this.#metrics.add('holdfast_driver_host_restarts_total', {});
    const [culpritLocation = '', culpritModule = ''] = end.words?.culprit?.split('/') ?? [];
    const culprit = this.#locations.get(culpritLocation)?.modules.get(culpritModule)?.spec.driver ?? null;
    const faults = faultsOf(end, keysAt(this.#locations.values(), slot));
    const own = culprit === null ? null : this.#pool.blame(culprit);
    // Unless it is known whose fault it was: the culprit would take the next host with it.
    const refuge = culprit === null ? null : this.#pool.refuge(slot);
    for (const location of this.#locations.values()) {
      const lost = [...location.modules.values()].filter((placed) => placed.slot === slot);
      for (const placed of lost) {
        placed.fault = faults.get(keyOf({ location: location.id, module: placed.spec.id })) ?? null;
        placed.problem = placed.fault ?? LOST;
        placed.edited = null;
        // The host cannot say it any more.
        this.#down(location, placed.spec, placed.problem);
        const target = placed.spec.driver === culprit ? own : refuge;
        if (target !== null) this.#pool.move(placed, target);
      }
      this.#edited.look(location);
      for (const target of [own, refuge]) {
        if (target !== null && target !== slot && target.peer !== null) this.#relaunch(location, target, lost);
      }
    }
    this.#count();
  }

  /** Starts again what was lost with a host, as far as it belongs to this one now. */
  #relaunch(location: Location, slot: Slot, candidates: Iterable<Placed>): void {
    if (location.stopping !== null) return;
    const modules = [...candidates].filter((placed) => placed.slot === slot);
    void this.#launch(location, modules, { handover: {}, signal: location.abort.signal }).catch((error: unknown) =>
      this.#log.debug('modules-not-restarted', { location: location.id, error }),
    );
  }

  #publish(location: string, module: string, key: string, value: Json): void {
    const { epoch } = this.#gate.state(location);
    this.#tell({ location, module, key, value, epoch });
  }

  /** Says in status that a module does not run. `problem` null: it has said why itself. */
  #down(location: Location, spec: ModuleSpec, problem: string | null): void {
    if (problem !== null) this.#publish(location.id, spec.id, 'problem', problem);
    const placed = location.modules.get(spec.id);
    // Else that of an earlier holder would stay. One without a connection never says that it has one again.
    if (spec.role !== 'logic' || placed?.connected === true) this.#publish(location.id, spec.id, 'connected', false);
    if (placed !== undefined) placed.connected = false;
  }

  #onStatus(message: StatusMessage): void {
    const { location, module, key, value } = message;
    const running = this.#locations.get(location);
    const placed = running?.modules.get(module);
    if (running === undefined || placed === undefined) return;
    const epoch = presentEpoch(running, message.epoch, this.#gate.state(location).epoch);
    if (key === 'connected') placed.connected = value === true;
    if (key !== 'problem' || typeof value !== 'string') return this.#tell({ location, module, key, value, epoch });
    const problem = this.#secrets.hide(value, message);
    this.#log.warn('module-problem', { location, module, problem });
    this.#tell({ location, module, key, value: problem, epoch });
  }

  #tell(value: StatusValue): void {
    for (const listener of this.#statusListeners) listener(value);
  }

  #onLog(line: ModuleLogLine): void {
    const message = this.#secrets.hide(line.message, line.module === '' ? null : line);
    if (line.module === '') this.#log[line.level]('driver-host', { message });
    else for (const listener of this.#logListeners) listener({ ...line, message });
  }

  #gateMessage(location: Location): Extract<ToHost, { t: 'gate' }> {
    return { t: 'gate', location: location.id, run: location.run, gate: this.#gate.state(location.id) };
  }

  /** Leaves at once: it may be the end of authority. */
  #tellGate(id: string): void {
    const location = this.#locations.get(id);
    if (location === undefined) return;
    const message = this.#gateMessage(location);
    for (const peer of this.#pool.peers()) peer.postNow(message);
  }

  #count(): void {
    const { running, failed } = countModules(this.#locations.values());
    this.#metrics.set('holdfast_modules', { state: 'running' }, running);
    this.#metrics.set('holdfast_modules', { state: 'failed' }, failed);
  }
}
