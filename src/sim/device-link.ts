import { gateError, type GateState, WriteGate } from '../shared/control/write-gate.ts';
import type { Json } from '../shared/foundation/json.ts';
import type { Epoch } from '../shared/model/control.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Timer } from '../shared/ports/clock.ts';
import type { DeviceLink, ExecCall, ModuleSnapshot, ModuleSpec, StartOrder, StartReport, StatusValue } from '../shared/ports/device-link.ts';
import type { DeviceSocket, DeviceWorld } from './devices.ts';
import type { Incarnation, Machine } from './machine.ts';

/** What the judge wants to know of the hands of a node. */
export interface DeviceLinkTap {
  started(location: string, epoch: Epoch, socketsOpen: boolean): void;
  stopping(location: string): void;
  /** The method of a command begins to run. */
  invoked(method: string, args: Json[]): void;
}

interface Running {
  spec: ModuleSpec;
  text: string;
  epoch: Epoch;
  socket: DeviceSocket | null;
  /** Socket that is being connected counts as open: bytes may leave any moment. */
  timers: Set<Timer>;
  value: Json;
  polls: number;
  ended: boolean;
}

interface Site {
  running: Map<string, Running>;
  leaseTimer: Timer | null;
  /** Raised by each stop: what was begun before has no say after. */
  run: number;
}

const POLL_MS = 5_000;
const PIPE_MS = 1;

/** The hands of one process: its driver hosts with simulated devices. They die with it, but go on while it is paused. */
export class SimDeviceLink implements DeviceLink {
  readonly gate = new WriteGate();
  readonly #machine: Machine;
  readonly #process: Incarnation;
  readonly #world: DeviceWorld;
  readonly #tap: DeviceLinkTap;
  readonly #sites = new Map<string, Site>();
  readonly #status = new Set<(value: StatusValue) => void>();
  /** The next start fails as a whole: no driver host comes up. */
  broken = false;
  /** How long stopping takes. */
  stopMs = 20;

  constructor(machine: Machine, process: Incarnation, world: DeviceWorld, tap: DeviceLinkTap) {
    this.#machine = machine;
    this.#process = process;
    this.#world = world;
    this.#tap = tap;
  }

  /** Device connections are open, or being opened. */
  socketsOpen(location: string): boolean {
    const { running } = this.#site(location);
    for (const { socket } of running.values()) if (socket?.open) return true;
    return running.size > 0 && this.writesUnder(location) !== null;
  }

  /** Epoch under which writes can leave now; null: none can. */
  writesUnder(location: string): Epoch | null {
    const { epoch, open, leaseUntilMs } = this.gate.state(location);
    const leased = leaseUntilMs === null || this.#machine.monotonicMs() < leaseUntilMs;
    return open && leased && this.#process.alive ? epoch : null;
  }

  /** The process is gone: the orphan rule closes every device connection. */
  die(silently: boolean): void {
    if (silently) this.#world.vanished(this.#machine);
    for (const location of this.#sites.keys()) this.#end(location);
  }

  prepare(): void {
    // Simulated hosts take no time to start before their first module.
  }

  start(order: StartOrder, signal: AbortSignal): Promise<StartReport> {
    const { location, epoch } = order;
    if (!this.#process.alive) return new Promise(() => undefined);
    this.#tap.started(location, epoch, this.socketsOpen(location));
    this.gate.open(location, epoch);
    if (this.broken) {
      this.broken = false;
      return this.#later(PIPE_MS, () => Promise.reject(new HoldfastError('DRIVER_FAILED', { module: location, problem: 'no driver host comes up' })));
    }
    const site = this.#site(location);
    const wanted = new Map(order.modules.map((spec) => [spec.id, spec]));
    for (const [id, running] of site.running) {
      const spec = wanted.get(id);
      if (spec === undefined || JSON.stringify(spec) !== running.text) this.#endModule(site, id);
      else running.epoch = epoch;
    }
    const fresh = order.modules.filter(({ id }) => !site.running.has(id));
    return this.#connectAll(location, site, fresh, { epoch, handover: order.handover, signal });
  }

  /** Nobody asks for it here. */
  manage(): Promise<string[]> {
    return Promise.resolve([]);
  }

  onEdited(): () => void {
    return () => undefined;
  }

  onProgress(): () => void {
    return () => undefined;
  }

  closeGate(location: string): void {
    if (this.#process.alive) this.gate.close(location);
  }

  restamp(location: string, epoch: Epoch): void {
    if (!this.#process.alive) return;
    this.gate.restamp(location, epoch);
    for (const running of this.#site(location).running.values()) running.epoch = epoch;
  }

  setLease(location: string, untilMs: number | null): void {
    if (!this.#process.alive) return;
    const site = this.#site(location);
    this.gate.setLease(location, untilMs);
    site.leaseTimer?.cancel();
    site.leaseTimer = null;
    if (untilMs === null) return;
    // Whatever the node does: at the end of the lease the host lets go, within the time that it has for that.
    const closeMs = this.#world.random.between(0, limits.moduleStopMs);
    site.leaseTimer = this.#machine.after(untilMs + closeMs - this.#machine.monotonicMs(), () => {
      for (const running of site.running.values()) this.#drop(running);
    });
  }

  stop(location: string, deadlineMs: number): Promise<ModuleSnapshot> {
    if (!this.#process.alive) return new Promise(() => undefined);
    this.#tap.stopping(location);
    const site = this.#site(location);
    const { run } = site;
    return this.#later(Math.min(deadlineMs, this.stopMs * this.#world.random.between(0.5, 2)), async () => {
      const handover: Record<string, Json> = {};
      for (const [id, { value, polls }] of site.running) handover[id] = { value, polls };
      if (site.run === run) this.#end(location);
      return { handover };
    });
  }

  exec(call: ExecCall, signal: AbortSignal): Promise<Json> {
    return new Promise<Json>((resolve, reject) => {
      let settled = false;
      const settle = (act: () => void): void => {
        if (settled) return;
        settled = true;
        signal.removeEventListener('abort', aborted);
        this.#machine.deliver(this.#process, act);
      };
      const fail = (error: HoldfastError): void => settle(() => reject(error));
      const aborted = (): void => settle(() => reject(signal.reason as Error));
      signal.addEventListener('abort', aborted);
      const pipeMs = PIPE_MS * this.#world.random.between(0.2, 3);
      this.#machine.after(pipeMs, () => {
        if (!this.#process.alive || settled) return;
        this.#perform(call, (value) => settle(() => resolve(value)), fail);
      });
      this.#machine.after(call.deadlineMs - this.#machine.monotonicMs(), () => fail(new HoldfastError('DEADLINE', { fate: 'unknown' })));
    });
  }

  onStatus(listener: (value: StatusValue) => void): () => void {
    this.#status.add(listener);
    return () => {
      this.#status.delete(listener);
    };
  }

  /** A driver reports this, for a reason of its own. */
  say(value: StatusValue): void {
    for (const listener of this.#status) listener(value);
  }

  onLog(): () => void {
    return () => undefined;
  }

  async functions(): Promise<Record<string, never>> {
    return {};
  }

  /** Drivers of simulated modules do not change. */
  async reload(): Promise<[]> {
    return [];
  }

  /** Simulated modules are devices, which ask nothing. */
  serveSystems(): void {}

  async writes(): Promise<[]> {
    return [];
  }

  async close(): Promise<void> {
    for (const location of this.#sites.keys()) this.#end(location);
  }

  // ── The hosts ─────────────────────────────────────────────────────────────

  #perform(call: ExecCall, resolve: (value: Json) => void, fail: (error: HoldfastError) => void): void {
    const { location, module, epoch } = call;
    const floor = this.gate.state(location).epoch;
    const refusal = this.gate.check(location, epoch, this.#machine.monotonicMs());
    if (refusal !== null) return fail(gateError(refusal, { location, module, epoch, floor }));
    const running = this.#site(location).running.get(module);
    if (running === undefined) return fail(new HoldfastError('MODULE_NOT_RUNNING', { module, reason: 'it was not started' }));
    const { socket } = running;
    if (!socket?.open) return fail(new HoldfastError('DEVICE_OFFLINE', { module }));
    this.#tap.invoked(call.method, call.args);
    const problem = this.#write(location, running, epoch);
    if (problem !== null) return fail(problem);
    const answerMs = this.#world.get(module)?.answerMs ?? 0;
    this.#machine.after(answerMs, () => {
      if (!socket.open || running.ended) return fail(new HoldfastError('DEVICE_LOST', { module, fate: 'unknown' }));
      running.value = call.args[0] ?? null;
      this.#publish(location, running, 'value', running.value);
      resolve(running.value);
    });
  }

  /** Right before bytes leave. */
  #write(location: string, running: Running, epoch: Epoch): HoldfastError | null {
    const { spec } = running;
    const gate: GateState = this.gate.state(location);
    const refusal = this.gate.check(location, epoch, this.#machine.monotonicMs());
    if (refusal !== null) return gateError(refusal, { location, module: spec.id, epoch, floor: gate.epoch });
    this.#world.onWrite({ location, module: spec.id, machine: this.#machine, epoch, gate });
    return null;
  }

  #connectAll(
    location: string,
    site: Site,
    specs: ModuleSpec[],
    options: { epoch: Epoch; handover: Record<string, Json>; signal: AbortSignal },
  ): Promise<StartReport> {
    const { epoch, handover, signal } = options;
    const { run } = site;
    return new Promise<StartReport>((resolve, reject) => {
      const aborted = (): void => reject(signal.reason as Error);
      if (signal.aborted) return aborted();
      signal.addEventListener('abort', aborted, { once: true });
      let waiting = specs.length;
      const tried = (): void => {
        waiting -= 1;
        if (waiting > 0) return;
        this.#machine.deliver(this.#process, () => {
          signal.removeEventListener('abort', aborted);
          resolve({ started: site.running.size, failed: [] });
        });
      };
      for (const spec of specs) {
        const state = handover[spec.id];
        const known = typeof state === 'object' && state !== null && !Array.isArray(state) ? state : {};
        const running: Running = {
          spec,
          text: JSON.stringify(spec),
          epoch,
          socket: null,
          timers: new Set(),
          value: known['value'] ?? null,
          polls: typeof known['polls'] === 'number' ? known['polls'] : 0,
          ended: false,
        };
        site.running.set(spec.id, running);
        const device = this.#world.get(spec.id);
        const connectMs = device === null || device.dead ? limits.deviceConnectMs : device.answerMs * 2;
        this.#in(running, connectMs, () => {
          if (!signal.aborted && site.run === run) this.#connect(location, running);
          tried();
        });
      }
      if (specs.length === 0) {
        waiting = 1;
        this.#machine.after(PIPE_MS, tried);
      }
    });
  }

  #connect(location: string, running: Running): void {
    const device = this.#world.get(running.spec.id);
    if (device === null || running.ended) return;
    // A host whose gate is shut contacts no device.
    const allowed = this.gate.check(location, running.epoch, this.#machine.monotonicMs()) === null;
    const socket: DeviceSocket = {
      open: true,
      machine: this.#machine,
      lost: () => {
        running.socket = null;
        this.#reconnect(location, running);
      },
    };
    if (!allowed || !this.#world.connect(device, socket)) return this.#reconnect(location, running);
    running.socket = socket;
    this.#publish(location, running, 'connected', true);
    this.#poll(location, running);
  }

  #reconnect(location: string, running: Running): void {
    this.#publish(location, running, 'connected', false);
    this.#in(running, this.#world.random.between(limits.deviceReconnectMinMs, limits.deviceReconnectMaxMs), () => this.#connect(location, running));
  }

  #poll(location: string, running: Running): void {
    if (!running.socket?.open) return;
    running.polls += 1;
    if (this.#write(location, running, running.epoch) === null && running.polls % 4 === 0) this.#publish(location, running, 'polls', running.polls);
    this.#in(running, POLL_MS * this.#world.random.between(0.8, 1.2), () => this.#poll(location, running));
  }

  #publish(location: string, { spec, epoch }: Running, key: string, value: Json): void {
    this.#machine.deliver(this.#process, () => {
      for (const listener of this.#status) listener({ location, module: spec.id, key, value, epoch });
    });
  }

  /** A timer of one module; it ends with it. */
  #in(running: Running, delayMs: number, act: () => void): void {
    if (running.ended) return;
    const timer = this.#machine.after(delayMs, () => {
      running.timers.delete(timer);
      if (!running.ended && this.#process.alive) act();
    });
    running.timers.add(timer);
  }

  #drop(running: Running): void {
    const device = this.#world.get(running.spec.id);
    if (running.socket !== null && device !== null && running.socket.open) this.#world.disconnect(device, running.socket);
    running.socket = null;
  }

  #endModule(site: Site, id: string): void {
    const running = site.running.get(id);
    if (running === undefined) return;
    running.ended = true;
    for (const timer of running.timers) timer.cancel();
    this.#drop(running);
    site.running.delete(id);
  }

  #end(location: string): void {
    const site = this.#site(location);
    site.run += 1;
    this.gate.close(location);
    site.leaseTimer?.cancel();
    site.leaseTimer = null;
    for (const id of Array.from(site.running.keys())) this.#endModule(site, id);
  }

  #site(location: string): Site {
    let site = this.#sites.get(location);
    if (site === undefined) this.#sites.set(location, (site = { running: new Map(), leaseTimer: null, run: 0 }));
    return site;
  }

  #later<T>(delayMs: number, act: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#machine.after(delayMs, () => {
        if (!this.#process.alive) return;
        const result = act();
        this.#machine.deliver(this.#process, () => void result.then(resolve, reject));
        // Held by a pause: the rejection is looked at later.
        result.catch(() => undefined);
      });
    });
  }
}
