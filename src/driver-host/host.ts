import { Call } from '../driver-sdk/call.ts';
import type { Driver } from '../driver-sdk/index.ts';
import { Module, type ModuleHost } from '../driver-sdk/module.ts';
import { compareEpochs } from '../shared/control/epoch.ts';
import { gateError } from '../shared/control/write-gate.ts';
import { type Json, jsonEqual } from '../shared/foundation/json.ts';
import { KeyedTable } from '../shared/foundation/keyed-table.ts';
import { HoldfastError, toHoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock, Timer } from '../shared/ports/clock.ts';
import type { ModuleLogLine, ModuleSpec } from '../shared/ports/device-link.ts';
import type { Random } from '../shared/ports/random.ts';
import type { ToHost } from '../shared/runtime/driver-hosts/messages.ts';
import { type ConnectionSettings, splitSettings } from './connection-settings.ts';
import { type Connections, connectionsOf } from './connections.ts';
import type { DriverSource } from './driver-source.ts';
import { ModuleClock } from './module-clock.ts';
import { inTime, Reloader } from './reloader.ts';
import { type HostPipe, Reporter } from './reporter.ts';
import { SystemClient } from './system-client.ts';
import { DeviceFence, type Tenure } from './tenure.ts';
import type { WriteJournal } from './write-journal.ts';

export interface DriverHostOptions {
  clock: Clock;
  random: Pick<Random, 'next'>;
  drivers: DriverSource;
  journal: WriteJournal;
  pipe: HostPipe;
  /** Code of this module (`location/module`) is about to run. */
  entered(key: string): void;
}

interface Hosted {
  module: Module;
  tenure: Tenure;
  settings: ConnectionSettings;
  /** null: the driver has no connection of its own. */
  connection: Connection | null;
}

type Connection = NonNullable<Connections[keyof Connections]>;

type Of<T extends ToHost['t']> = Extract<ToHost, { t: T }>;

const keyOf = (location: string, module: string): string => `${location}/${module}`;

/**
 * What a driver host process does with the messages of its node: modules, their devices, and the fence before these.
 */
export class DriverHost {
  readonly #options: DriverHostOptions;
  readonly #fence: DeviceFence;
  readonly #reporter: Reporter;
  readonly #systems: SystemClient;
  readonly #reloader: Reloader;
  readonly #modules = new Map<string, Hosted>();
  /** Also of those that were stopped: what they leave behind may still throw. */
  readonly #keys = new WeakMap<Module, string>();
  /** Modules that wait for their turn or for their driver, and the order to start them: a stop in between must be seen. */
  readonly #due = new Map<string, Of<'start'>>();
  #lastTurn: Promise<void> = Promise.resolve();
  readonly #tenures = new Map<string, Tenure>();
  readonly #leaseTimers = new Map<string, Timer>();
  readonly #calls = new KeyedTable<number, { call: Call; module: Module }>();

  constructor(options: DriverHostOptions) {
    this.#options = options;
    this.#fence = new DeviceFence(options.clock, options.journal);
    this.#reporter = new Reporter(options.pipe, options.clock, (location, module) =>
      this.#modules.get(keyOf(location, module))?.module.fault(`it reports more than ${limits.moduleReportsPerSecond} values and lines a second`),
    );
    this.#systems = new SystemClient((message) => options.pipe.send(message));
    this.#reloader = new Reloader({
      ...options,
      send: (message) => options.pipe.send(message),
      entered: (location, module) => options.entered(keyOf(location, module)),
      find: (location, module) => this.#modules.get(keyOf(location, module))?.module,
    });
  }

  receive(message: ToHost): void {
    const { pipe, journal } = this.#options;
    switch (message.t) {
      case 'gate':
        this.#setGate(message);
        break;
      case 'start':
        void this.#start(message);
        break;
      case 'stop':
        void this.#stop(message);
        break;
      case 'update':
        void this.#update(message);
        break;
      case 'compile':
        void this.#reloader.compile(message);
        break;
      case 'prepare':
        void this.#reloader.prepare(message);
        break;
      case 'check':
        void this.#reloader.check(message);
        break;
      case 'reload':
        void this.#ownTurn().then(() => this.#reloader.reload(message));
        break;
      case 'exec':
        void this.#exec(message);
        break;
      case 'cancel': {
        const running = this.#calls.get(message.id);
        running?.module.cancel(running.call);
        break;
      }
      case 'functions':
        this.#functions(message);
        break;
      case 'system.answer':
      case 'system.error':
      case 'system.change':
        this.#systems.receive(message);
        break;
      case 'writes':
        pipe.send({ t: 'writes', id: message.id, writes: journal.newest(message.location) });
        break;
      case 'ping':
        pipe.send({ t: 'pong', id: message.id, refused: this.#fence.takeRefused() });
        break;
    }
  }

  /** What no module says by itself: what its driver prints, or lets fail without waiting for it. Counts as its lines do. */
  log({ message, ...line }: ModuleLogLine): void {
    this.#reporter.log({ ...line, message: message.slice(0, limits.logLineBytes) });
  }

  drained(): void {
    this.#reporter.drained();
  }

  /** Whose code may be running: `location/module` of a module. */
  keyOf(module: Module): string | null {
    return this.#keys.get(module) ?? null;
  }

  /** The orphan rule: without a node no device connection lives on. Synchronous: the process exits right after. */
  abandon(): void {
    for (const { connection } of this.#modules.values()) void connection?.close();
  }

  #setGate({ location, run, gate }: Of<'gate'>): void {
    const { clock } = this.#options;
    this.#fence.gate.set(location, gate);
    const tenure = this.#tenures.get(location);
    const raised = tenure?.run === run && compareEpochs(tenure.epoch, gate.epoch) < 0;
    if (tenure?.run === run) tenure.epoch = gate.epoch;
    this.#leaseTimers.get(location)?.cancel();
    this.#leaseTimers.delete(location);
    if (!gate.open) this.#eachConnection(location, (connection) => connection.dropUnsent());
    // The other side has let go: devices that take one connection only are free now.
    else if (raised) this.#eachConnection(location, (connection) => connection.retryNow());
    if (gate.leaseUntilMs === null) return;
    // Also behind a closed gate, and whether or not the node is still able to say so:
    // at the end of the lease no device connection is left.
    const end = (): void => this.#eachConnection(location, (connection) => connection.reset('the lease has ended'));
    this.#leaseTimers.set(location, clock.after(gate.leaseUntilMs - clock.monotonicMs(), end));
  }

  #eachConnection(location: string, act: (connection: Connection) => void): void {
    for (const { tenure, connection } of this.#modules.values()) {
      if (tenure.location === location && connection !== null) act(connection);
    }
  }

  async #start(order: Of<'start'>): Promise<void> {
    const { id, location, run, modules } = order;
    const tenure = this.#tenureOf(location, run);
    const failed: { module: string; problem: string }[] = [];
    for (const { spec } of modules) this.#due.set(keyOf(location, spec.id), order);
    await this.#ownTurn();
    await Promise.all(
      modules.map(async ({ spec, handover, edited, fault }) => {
        try {
          const driver = await this.#driverFor(order, spec, edited);
          await this.#startModule(driver, tenure, { spec, handover, fault });
        } catch (error) {
          const problem = toHoldfastError(error, spec.id).message;
          failed.push({ module: spec.id, problem });
          this.#reporter.status({ location, module: spec.id, epoch: tenure.epoch }, 'problem', problem);
        }
      }),
    );
    this.#options.pipe.send({ t: 'started', id, failed });
  }

  /** Thousands of modules in one turn would look like a driver that never comes back: each order has a turn of its own. */
  #ownTurn(): Promise<void> {
    const turn = this.#lastTurn;
    this.#lastTurn = turn.then(() => new Promise((resolve) => this.#options.clock.after(0, resolve)));
    return turn;
  }

  #tenureOf(location: string, run: number): Tenure {
    const known = this.#tenures.get(location);
    if (known?.run === run) return known;
    const tenure = { location, run, epoch: this.#fence.gate.state(location).epoch };
    this.#tenures.set(location, tenure);
    return tenure;
  }

  async #startModule(driver: Driver, tenure: Tenure, { spec, handover, fault }: Omit<Of<'start'>['modules'][number], 'edited'>): Promise<void> {
    const { location } = tenure;
    const key = keyOf(location, spec.id);
    if (spec.systems.length > 1) {
      const problem = `${spec.systems.join(' and ')} list it; a logic module belongs to one system`;
      throw new HoldfastError('INPUT_INVALID', { field: 'system', problem });
    }
    const { random } = this.#options;
    const entered = (): void => this.#options.entered(key);
    const clock = new ModuleClock(this.#options.clock, entered);
    const { connection: settings, own } = splitSettings(spec.settings);
    const connections = connectionsOf(driver.transports, spec, settings, {
      clock,
      random,
      mayConnect: () => this.#fence.allows(tenure),
      beforeWrite: (bytes) => this.#fence.stamp(tenure, spec.id, bytes),
    });
    const host: ModuleHost = {
      clock,
      ...connections,
      system: this.#systems.portOf(tenure, spec.id),
      publish: (name, value) => {
        this.#reporter.status({ location, module: spec.id, epoch: tenure.epoch }, name, value);
      },
      log: (level, message) => this.#reporter.log({ location, module: spec.id, level, message }),
      entered,
    };
    const older = this.#modules.get(key);
    const module = new Module(driver, { ...spec, settings: own }, host, handover);
    const hosted: Hosted = { module, tenure, settings, connection: connections.transport ?? connections.http };
    this.#modules.set(key, hosted);
    this.#keys.set(module, key);
    // Started twice (the node lost count while another host died): the older one must let go of the device first.
    await older?.module.stop(0);
    try {
      await hosted.module.start(fault);
    } catch (error) {
      if (this.#modules.get(key) === hosted) this.#modules.delete(key);
      await hosted.module.stop(0);
      throw error;
    }
  }

  async #update({ id, location, modules }: Of<'update'>): Promise<void> {
    const restart: string[] = [];
    await Promise.all(
      modules.map(async (spec) => {
        const hosted = this.#modules.get(keyOf(location, spec.id));
        if (hosted === undefined || !(await updated(hosted, spec))) restart.push(spec.id);
        // What the device refused may be right now.
        else hosted.connection?.retryNow();
      }),
    );
    this.#options.pipe.send({ t: 'updated', id, restart });
  }

  /** Throws NOT_FOUND, DRIVER_FAILED, what is wrong with its code, and MODULE_NOT_RUNNING when the module was stopped meanwhile. */
  async #driverFor(order: Of<'start'>, { id, driver: name }: ModuleSpec, edited: boolean): Promise<Driver> {
    const { drivers, entered } = this.#options;
    const key = keyOf(order.location, id);
    const isDue = (): boolean => this.#due.get(key) === order;
    try {
      const trial = edited ? this.#reloader.edited(name) : undefined;
      const found = isDue() ? (trial ?? drivers.get(name, () => entered(key))) : undefined;
      const driver = found instanceof Promise ? await inTime(this.#options.clock, id, found) : found;
      if (!isDue()) throw new HoldfastError('MODULE_NOT_RUNNING', { module: id, reason: 'it was stopped' });
      if (driver === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'driver', id: name });
      return driver;
    } finally {
      if (isDue()) this.#due.delete(key);
    }
  }

  async #stop({ id, location, modules, hookMs }: Of<'stop'>): Promise<void> {
    const handover: Record<string, Json> = {};
    await Promise.all(
      modules.map(async (module) => {
        const key = keyOf(location, module);
        this.#due.delete(key);
        const hosted = this.#modules.get(key);
        if (hosted === undefined) return;
        const state = await hosted.module.stop(hookMs);
        if (this.#modules.get(key) === hosted) this.#modules.delete(key);
        if (state !== null) handover[module] = state;
      }),
    );
    this.#options.pipe.send({ t: 'stopped', id, handover });
  }

  #functions({ id, location, module }: Of<'functions'>): void {
    const { pipe } = this.#options;
    try {
      // Its schemas may throw when they are described.
      pipe.send({ t: 'functions', id, functions: this.#hosted(location, module).functions() });
    } catch (error) {
      pipe.send({ t: 'error', id, error: toHoldfastError(error, module).toJSON() });
    }
  }

  /** Throws MODULE_NOT_RUNNING. */
  #hosted(location: string, module: string): Module {
    const hosted = this.#modules.get(keyOf(location, module));
    if (hosted === undefined) throw new HoldfastError('MODULE_NOT_RUNNING', { module, reason: 'it did not start' });
    return hosted.module;
  }

  async #exec({ id, location, module, method, args, epoch, deadlineMs, user }: Of<'exec'>): Promise<void> {
    const { clock, pipe } = this.#options;
    try {
      const floor = this.#fence.gate.state(location).epoch;
      const refusal = this.#fence.gate.check(location, epoch, clock.monotonicMs());
      if (refusal !== null) throw gateError(refusal, { location, module, epoch, floor });
      const hosted = this.#hosted(location, module);
      const call = new Call({ user, deadlineMs });
      this.#calls.set(id, { call, module: hosted });
      const value = await hosted.exec(method, args, call);
      pipe.send({ t: 'answer', id, value });
    } catch (error) {
      pipe.send({ t: 'error', id, error: toHoldfastError(error, module).toJSON() });
    } finally {
      this.#calls.take(id);
    }
  }
}

/** A connection cannot change under way; the rest is up to the driver. */
async function updated({ module, settings }: Hosted, spec: ModuleSpec): Promise<boolean> {
  try {
    const { connection, own } = splitSettings(spec.settings);
    return jsonEqual(connection, settings) && (await module.update(own));
  } catch {
    // Settings that do not fit: the new start says so.
    return false;
  }
}
