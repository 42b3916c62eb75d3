import { Call } from '../driver-sdk/call.ts';
import type { Driver } from '../driver-sdk/index.ts';
import { Module, type ModuleHost } from '../driver-sdk/module.ts';
import { gateError } from '../shared/control/write-gate.ts';
import type { Json } from '../shared/foundation/json.ts';
import { HoldfastError, toHoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock, Timer } from '../shared/ports/clock.ts';
import type { ModuleSpec } from '../shared/ports/device-link.ts';
import type { Random } from '../shared/ports/random.ts';
import type { ToHost } from '../shared/runtime/driver-hosts/messages.ts';
import { type HostPipe, Reporter } from './reporter.ts';
import { SystemClient } from './system-client.ts';
import { TcpTransport } from './tcp-transport.ts';
import { DeviceFence, type Tenure } from './tenure.ts';
import type { WriteJournal } from './write-journal.ts';

export interface DriverSource {
  /** Calls `entering` right before code of the driver runs. Throws DRIVER_INVALID. */
  get(name: string, entering: () => void): Driver | undefined | Promise<Driver | undefined>;
}

export interface DriverHostOptions {
  clock: Clock;
  random: Pick<Random, 'next'>;
  drivers: DriverSource;
  journal: WriteJournal;
  pipe: HostPipe;
  /** Code of this module (`location/module`) is about to run. */
  entered(key: string): void;
  memoryBytes(): number;
}

interface Hosted {
  module: Module;
  tenure: Tenure;
  transport: TcpTransport | null;
}

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
  readonly #modules = new Map<string, Hosted>();
  /** Modules whose driver is being loaded: a stop in between must be seen. */
  readonly #loading = new Map<string, Promise<unknown>>();
  readonly #tenures = new Map<string, Tenure>();
  readonly #leaseTimers = new Map<string, Timer>();
  readonly #calls = new Map<number, { call: Call; module: Module }>();

  constructor(options: DriverHostOptions) {
    this.#options = options;
    this.#fence = new DeviceFence(options.clock, options.journal);
    this.#reporter = new Reporter(options.pipe);
    this.#systems = new SystemClient((message) => options.pipe.send(message));
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
      case 'ping': {
        const memoryBytes = this.#options.memoryBytes();
        pipe.send({ t: 'pong', id: message.id, memoryBytes, refused: this.#fence.takeRefused() });
        break;
      }
    }
  }

  drained(): void {
    this.#reporter.drained();
  }

  /** Whose code may be running: `location/module` of a module. */
  keyOf(module: Module): string | null {
    for (const [key, hosted] of this.#modules) if (hosted.module === module) return key;
    return null;
  }

  /** The orphan rule: without a node no device connection lives on. Synchronous: the process exits right after. */
  abandon(): void {
    for (const { transport } of this.#modules.values()) void transport?.close();
  }

  #setGate({ location, run, gate }: Of<'gate'>): void {
    const { clock } = this.#options;
    this.#fence.gate.set(location, gate);
    const tenure = this.#tenures.get(location);
    if (tenure?.run === run) tenure.epoch = gate.epoch;
    this.#leaseTimers.get(location)?.cancel();
    this.#leaseTimers.delete(location);
    if (!gate.open) this.#dropSockets(location, (transport) => transport.dropUnsent());
    if (gate.leaseUntilMs === null) return;
    // Also behind a closed gate, and whether or not the node is still able to say so:
    // at the end of the lease no device connection is left.
    const end = (): void => this.#dropSockets(location, (transport) => transport.reset());
    this.#leaseTimers.set(location, clock.after(gate.leaseUntilMs - clock.monotonicMs(), end));
  }

  #dropSockets(location: string, drop: (transport: TcpTransport) => void): void {
    for (const { tenure, transport } of this.#modules.values()) {
      if (tenure.location === location && transport !== null) drop(transport);
    }
  }

  async #start({ id, location, run, modules }: Of<'start'>): Promise<void> {
    const tenure = this.#tenureOf(location, run);
    const failed: { module: string; problem: string }[] = [];
    await Promise.all(
      modules.map(async ({ spec, handover }) => {
        try {
          await this.#startModule(tenure, spec, handover);
        } catch (error) {
          failed.push({ module: spec.id, problem: toHoldfastError(error, spec.id).message });
        }
      }),
    );
    this.#options.pipe.send({ t: 'started', id, failed });
  }

  #tenureOf(location: string, run: number): Tenure {
    const known = this.#tenures.get(location);
    if (known?.run === run) return known;
    const tenure = { location, run, epoch: this.#fence.gate.state(location).epoch };
    this.#tenures.set(location, tenure);
    return tenure;
  }

  async #startModule(tenure: Tenure, spec: ModuleSpec, handover: Json): Promise<void> {
    const { location } = tenure;
    const key = keyOf(location, spec.id);
    const found = this.#options.drivers.get(spec.driver, () => this.#options.entered(key));
    const driver = found instanceof Promise ? await this.#loaded(key, spec.id, found) : found;
    if (driver === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'driver', id: spec.driver });
    if (spec.systems.length > 1) {
      const problem = `${spec.systems.join(' and ')} list it; a logic module belongs to one system`;
      throw new HoldfastError('INPUT_INVALID', { field: 'system', problem });
    }
    const transport = this.#transportFor(driver, spec, tenure);
    const host: ModuleHost = {
      clock: this.#options.clock,
      transport,
      system: this.#systems.portOf(tenure, spec.id),
      publish: (name, value) => {
        this.#reporter.status({ location, module: spec.id, epoch: tenure.epoch }, name, value);
      },
      log: (level, message) => this.#reporter.log({ location, module: spec.id, level, message }),
      entered: () => this.#options.entered(key),
    };
    const older = this.#modules.get(key);
    const hosted = { module: new Module(driver, spec, host, handover), tenure, transport };
    this.#modules.set(key, hosted);
    // Started twice (the node lost count while another host died): the older one must let go of the device first.
    await older?.module.stop(0);
    try {
      await hosted.module.start();
    } catch (error) {
      if (this.#modules.get(key) === hosted) this.#modules.delete(key);
      await hosted.module.stop(0);
      throw error;
    }
  }

  async #loaded(key: string, module: string, loading: Promise<Driver | undefined>): Promise<Driver | undefined> {
    const { clock } = this.#options;
    this.#loading.set(key, loading);
    let timer: Timer | null = null;
    const late = new Promise<never>((_, reject) => {
      const problem = 'loading it took too long';
      timer = clock.after(limits.driverLoadMs, () => reject(new HoldfastError('DRIVER_FAILED', { module, problem })));
    });
    try {
      const driver = await Promise.race([loading, late]);
      if (this.#loading.get(key) === loading) return driver;
      throw new HoldfastError('MODULE_NOT_RUNNING', { module, reason: 'it was stopped' });
    } finally {
      (timer as Timer | null)?.cancel();
      if (this.#loading.get(key) === loading) this.#loading.delete(key);
    }
  }

  #transportFor(driver: Driver, spec: ModuleSpec, tenure: Tenure): TcpTransport | null {
    if (driver.transport === 'none') return null;
    const refuse = (field: string, problem: string): HoldfastError =>
      new HoldfastError('INPUT_INVALID', { field, problem });
    for (const kind of ['tls', 'udp', 'makebreak'] as const) {
      if (spec[kind]) throw refuse(kind, 'driver hosts speak plain TCP only');
    }
    if (spec.ip === '') throw refuse('ip', 'must name the device');
    if (spec.port === 0) throw refuse('port', 'must be the port of the device');
    const { clock, random } = this.#options;
    return new TcpTransport({
      module: spec.id,
      host: spec.ip,
      port: spec.port,
      clock,
      random,
      mayConnect: () => this.#fence.allows(tenure),
      beforeWrite: (bytes) => this.#fence.stamp(tenure, spec.id, bytes),
    });
  }

  async #stop({ id, location, modules, hookMs }: Of<'stop'>): Promise<void> {
    const handover: Record<string, Json> = {};
    await Promise.all(
      modules.map(async (module) => {
        const key = keyOf(location, module);
        this.#loading.delete(key);
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
    const hosted = this.#modules.get(keyOf(location, module));
    if (hosted !== undefined) pipe.send({ t: 'functions', id, functions: hosted.module.functions() });
    else pipe.send({ t: 'error', id, error: new HoldfastError('MODULE_NOT_RUNNING', { module, reason: 'it did not start' }).toJSON() });
  }

  async #exec({ id, location, module, method, args, epoch, deadlineMs, user }: Of<'exec'>): Promise<void> {
    const { clock, pipe } = this.#options;
    try {
      const floor = this.#fence.gate.state(location).epoch;
      const refusal = this.#fence.gate.check(location, epoch, clock.monotonicMs());
      if (refusal !== null) throw gateError(refusal, { location, module, epoch, floor });
      const hosted = this.#modules.get(keyOf(location, module));
      if (hosted === undefined) throw new HoldfastError('MODULE_NOT_RUNNING', { module, reason: 'it did not start' });
      const call = new Call({ user, deadlineMs });
      this.#calls.set(id, { call, module: hosted.module });
      const value = await hosted.module.exec(method, args, call);
      pipe.send({ t: 'answer', id, value });
    } catch (error) {
      pipe.send({ t: 'error', id, error: toHoldfastError(error, module).toJSON() });
    } finally {
      this.#calls.delete(id);
    }
  }
}
