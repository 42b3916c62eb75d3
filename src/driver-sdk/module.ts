import { AsyncLocalStorage } from 'node:async_hooks';
import { setMaxListeners } from 'node:events';
import { z } from 'zod';
import type { Json, JsonObject } from '../shared/foundation/json.ts';
import { HoldfastError, toHoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { ModuleFunction, ModuleLogLine, ModuleSpec } from '../shared/ports/device-link.ts';
import type { Call } from './call.ts';
import { CommandQueue, type Reply, type SendOptions } from './command-queue.ts';
import type { Driver, EventHandlers, Method, ModuleContext, Update } from './driver.ts';
import type { HttpRequest, HttpResponse, HttpService } from './http.ts';
import { describeMethods } from './functions.ts';
import { createSchedule } from './schedule.ts';
import { StatusMemory } from './status.ts';
import { createSystem, type SystemPort } from './system.ts';
import type { Tokeniser } from './tokeniser.ts';
import type { Connection, Transport } from './transport.ts';

/** What a module needs from the process that runs it. */
export interface ModuleHost {
  clock: Clock;
  /** null: the module sends no bytes. */
  transport: Transport | null;
  /** null: it asks no service. */
  http: HttpService | null;
  system: SystemPort;
  publish(key: string, value: Json): void;
  log(level: ModuleLogLine['level'], message: string): void;
  /** Code of the driver is about to run: whom to blame should it never come back. */
  entered(): void;
}

/**
 * Which driver code is running, and for which call.
 * It follows promises and timers, also those that the driver starts by itself.
 */
const running = new AsyncLocalStorage<{ module: Module; call: Call | null }>();

/** The module whose code runs now, or whose callback just threw. */
export const runningModule = (): Module | null => running.getStore()?.module ?? null;

const savedSchema = z.object({ version: z.int(), state: z.json() });

/** A configured instance of a driver, from start to stop. It knows nothing of sockets, pipes or epochs. */
export class Module {
  readonly spec: ModuleSpec;
  readonly #driver: Driver;
  readonly #host: ModuleHost;
  readonly #handover: Json | null;
  readonly #abort = new AbortController();
  readonly #status: StatusMemory;
  readonly #queue: CommandQueue | null;
  readonly #tokeniser: Tokeniser | null;
  readonly #calls = new Set<Call>();
  readonly #handlers: { [E in keyof EventHandlers]: EventHandlers[E][] } = {
    connected: [],
    stop: [],
    disconnected: [],
    received: [],
  };
  #connected = false;
  /** null until its setup has ended. */
  #methods: ReadonlyMap<string, Method> | null = null;
  #save: (() => Json) | null = null;
  #update: Update | null = null;

  constructor(driver: Driver, spec: ModuleSpec, host: ModuleHost, handover: Json | null) {
    // A driver may have any number of schedules, and each listens.
    setMaxListeners(0, this.#abort.signal);
    this.spec = spec;
    this.#driver = driver;
    this.#host = host;
    this.#handover = handover;
    this.#status = new StatusMemory((key, value) => host.publish(key, value));
    this.#tokeniser = driver.tokeniser?.() ?? null;
    const { clock, transport } = host;
    const { delayMs } = driver;
    this.#queue = transport === null ? null : new CommandQueue({ module: spec.id, clock, transport, delayMs });
  }

  /** The public methods; none until its setup has ended. */
  functions(): Record<string, ModuleFunction> {
    return describeMethods(Object.fromEntries(this.#methods ?? []));
  }

  /** Sets the driver up and tries to connect once. Throws when the driver fails; a dead device is no failure. */
  async start(): Promise<void> {
    // The value of an earlier holder must not stay.
    this.#status.keep('problem', null);
    try {
      const onUpdate = (update: Update): void => void (this.#update = update);
      const load = async () => this.#driver.load(this.#context(), this.spec.settings, onUpdate);
      const methods = await this.#within(limits.driverSetupMs, this.#enter(null, load), 'its setup took too long');
      if (this.#abort.signal.aborted) throw this.#stopped();
      this.#methods = new Map(Object.entries(methods));
    } catch (error) {
      this.#tried();
      this.#status.keep('problem', toHoldfastError(error, this.spec.id).message);
      throw error;
    }
    const { transport, http } = this.#host;
    if (transport === null && http === null) return;
    await new Promise<void>((resolve) => {
      this.#abort.signal.addEventListener('abort', () => resolve(), { once: true });
      const handler = {
        attempted: () => {
          this.#tried();
          resolve();
        },
        connected: () => this.#onConnected(),
        disconnected: (reason: string) => this.#onDisconnected(reason),
        broken: (problem: string | null) => this.#onBroken(problem),
      };
      http?.open(handler);
      transport?.open({
        ...handler,
        interrupted: () => {
          this.#tokeniser?.reset();
          this.#queue?.interrupted();
        },
        received: (chunk) => this.#onReceived(chunk),
        drained: () => this.#queue?.drained(),
      });
    });
  }

  /** Gives changed settings to a driver that takes them. false: the module has to start anew. */
  async update(settings: JsonObject): Promise<boolean> {
    const update = this.#update;
    if (update === null || this.#methods === null || this.#abort.signal.aborted) return false;
    try {
      await this.#within(limits.driverSetupMs, this.#enter(null, async () => update(settings)), 'its update took too long');
      return true;
    } catch (error) {
      // Half of the new settings may be in force.
      this.#complain('update', error);
      return false;
    }
  }

  /** Runs a public method. Settles by the deadline of the call, whatever the driver does. */
  async exec(name: string, args: Json[], call: Call): Promise<Json> {
    if (this.#abort.signal.aborted) throw this.#stopped();
    if (this.#methods === null) {
      throw new HoldfastError('MODULE_NOT_RUNNING', { module: this.spec.id, reason: 'it is starting' });
    }
    const method = this.#methods.get(name);
    if (method === undefined) throw new HoldfastError('METHOD_NOT_FOUND', { module: this.spec.id, method: name });
    const { clock } = this.#host;
    const expire = (): void => {
      call.abandon((fate) => new HoldfastError('DEADLINE', { fate }));
      this.#queue?.dropAbandoned();
    };
    this.#calls.add(call);
    const timer = clock.after(call.deadlineMs - clock.monotonicMs(), expire);
    try {
      const result = await Promise.race([call.abandoned, this.#enter(call, async () => method(...args))]);
      return toJson(result);
    } catch (error) {
      throw toHoldfastError(error, this.spec.id);
    } finally {
      timer.cancel();
      call.end();
      this.#calls.delete(call);
    }
  }

  /** The caller gave up: commands that still wait do not leave. */
  cancel(call: Call): void {
    call.cancel();
    this.#queue?.dropAbandoned();
  }

  /**
   * Ends everything and returns the hand-over state. `stop` handlers get `hookMs`;
   * the connection is closed in any case.
   * Running calls end: the caller learns whether something of them has left.
   */
  async stop(hookMs: number): Promise<Json | null> {
    const hooks = this.#handlers.stop.map((handler) => this.#enter(null, async () => handler()));
    const hooked = this.#within(hookMs, Promise.all(hooks), 'its stop handler took too long');
    await hooked.catch((error: unknown) => this.#complain('stop', error));
    // Killed modules wait for nobody.
    const drainMs = Math.min(hookMs, limits.moduleDrainMs);
    if (hookMs > 0) await this.#within(drainMs, this.#answers(), '').catch(() => undefined);
    const state = this.#takeState();
    const notSent = new HoldfastError('GATE_CLOSED', { module: this.spec.id, reason: 'the module stops' });
    for (const call of this.#calls) {
      call.abandon((fate) => (fate === 'unknown' ? new HoldfastError('CANCELLED', { fate }) : notSent));
    }
    this.#abort.abort(this.#stopped());
    this.#queue?.close('the module stops');
    await this.#connection?.close();
    return state;
  }

  get #connection(): Connection | null {
    return this.#host.transport ?? this.#host.http;
  }

  /** Commands that have left already: the gate is closed behind them, and devices usually answer at once. */
  #answers(): Promise<unknown> {
    return Promise.all([...this.#calls].filter(({ sent }) => sent).map(({ finished }) => finished));
  }

  #context(): ModuleContext {
    const { id, name, systems } = this.spec;
    const status = this.#status;
    const enqueue = (data: string | Uint8Array, options: SendOptions & { reply?: Reply<unknown> }): Promise<unknown> =>
      this.#send(data, options);
    function send<T>(data: string | Uint8Array, options: SendOptions & { reply: Reply<T> }): Promise<T | null>;
    function send(data: string | Uint8Array, options?: SendOptions): Promise<Buffer | null>;
    function send(data: string | Uint8Array, options: SendOptions & { reply?: Reply<unknown> } = {}): Promise<unknown> {
      return enqueue(data, options);
    }
    const log = (level: ModuleLogLine['level']) => (message: string) =>
      this.#host.log(level, message.slice(0, limits.logLineBytes));
    const { signal } = this.#abort;
    const { clock, system } = this.#host;
    const run = (what: string) => (task: () => void | Promise<void>) => this.#run(what, task);
    const call = (): Call | null => running.getStore()?.call ?? null;
    return {
      id,
      name,
      status: {
        set: (key, value) => status.set(key, value),
        get: (key) => status.get(key),
        signal: (key) => status.signal(key),
      },
      send,
      http: { request: (request) => this.#request(request) },
      openBreaker: (problem) => this.#connection?.openBreaker(problem),
      on: (event, handler) => void this.#handlers[event].push(handler),
      schedule: createSchedule({ clock, signal, run: run('schedule') }),
      system: createSystem({ module: id, systems, port: system, clock, signal, call, run: run('subscription') }),
      handover: { restore: (schema) => this.#restore(schema), save: (take) => void (this.#save = take) },
      log: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
      signal,
      get user() {
        return running.getStore()?.call?.user ?? null;
      },
    };
  }

  #send(data: string | Uint8Array, options: SendOptions & { reply?: Reply<unknown> }): Promise<unknown> {
    if (this.#queue === null) return Promise.reject(new HoldfastError('DEVICE_OFFLINE', { module: this.spec.id }));
    const call = running.getStore()?.call ?? null;
    const reply = options.reply ?? ((message: Buffer) => ({ value: message }));
    const sent = this.#queue.send(Buffer.from(data), options, reply, call?.over ? null : call);
    // A driver may send without waiting: a failure is no reason for an unhandled rejection.
    sent.catch(() => undefined);
    return sent;
  }

  #request(request: HttpRequest): Promise<HttpResponse> {
    const { http } = this.#host;
    if (http === null) {
      return Promise.reject(new HoldfastError('INPUT_INVALID', { field: 'uri', problem: 'this module asks no service' }));
    }
    const call = running.getStore()?.call ?? null;
    return http.request(request, call?.over === false ? { signal: call.signal, left: () => call.markSent() } : null);
  }

  /** The first attempt is over. Also a dead device has its value: that of an earlier holder must not stay. */
  #tried(): void {
    if (this.#connection === null || this.#connected || this.#abort.signal.aborted) return;
    this.#status.keep('connected', false);
  }

  #onBroken(problem: string | null): void {
    this.#status.keep('problem', problem);
    if (problem !== null) this.#host.log('error', `not tried again soon: ${problem}`);
  }

  #onConnected(): void {
    this.#connected = true;
    this.#tokeniser?.reset();
    this.#status.keep('connected', true);
    this.#queue?.connected();
    for (const handler of this.#handlers.connected) void this.#run('connected', handler);
  }

  #onDisconnected(reason: string): void {
    this.#connected = false;
    this.#status.keep('connected', false);
    this.#queue?.disconnected();
    for (const handler of this.#handlers.disconnected) void this.#run('disconnected', () => handler(reason));
  }

  #onReceived(chunk: Uint8Array): void {
    this.#enter(null, () => {
      for (const message of this.#cut(chunk)) {
        if (this.#abort.signal.aborted) return;
        if (this.#queue?.offer(message)) continue;
        for (const handler of this.#handlers.received) void this.#run('received', () => handler(message));
      }
    });
  }

  #cut(chunk: Uint8Array): Buffer[] {
    if (this.#tokeniser === null) return [Buffer.from(chunk)];
    try {
      return this.#tokeniser.push(chunk);
    } catch (error) {
      this.#complain('tokeniser', error);
      this.#host.transport?.reset('framing');
      return [];
    }
  }

  /** Runs code of the driver; what it throws is logged, never passed on. Its deadline ends the waiting. */
  async #run(what: string, task: () => void | Promise<void>): Promise<void> {
    if (this.#abort.signal.aborted) return;
    try {
      const done = this.#enter(null, task);
      if (done instanceof Promise) await this.#within(limits.driverHandlerMs, done, `it took more than ${limits.driverHandlerMs} ms`);
    } catch (error) {
      this.#complain(what, error);
    }
  }

  #enter<T>(call: Call | null, code: () => T): T {
    this.#host.entered();
    return running.run({ module: this, call }, code);
  }

  #restore<T>(schema: z.ZodType<T>): T | null {
    const saved = savedSchema.safeParse(this.#handover);
    if (!saved.success || saved.data.version !== this.#driver.handoverVersion) return null;
    return schema.safeParse(saved.data.state).data ?? null;
  }

  #takeState(): Json | null {
    if (this.#save === null) return null;
    try {
      return { version: this.#driver.handoverVersion, state: toJson(this.#enter(null, this.#save)) };
    } catch (error) {
      this.#complain('handover', error);
      return null;
    }
  }

  #complain(what: string, error: unknown): void {
    // What a stopping module leaves behind is no news.
    if (this.#abort.signal.aborted) return;
    const { message } = toHoldfastError(error, this.spec.id);
    this.#host.log('error', `${what}: ${message}`.slice(0, limits.logLineBytes));
  }

  #stopped(): HoldfastError {
    return new HoldfastError('MODULE_NOT_RUNNING', { module: this.spec.id, reason: 'it was stopped' });
  }

  async #within<T>(deadlineMs: number, work: Promise<T>, problem: string): Promise<T> {
    const { signal } = this.#abort;
    let giveUp: () => void = () => undefined;
    const late = new Promise<never>((_, reject) => {
      const expire = (): void => reject(new HoldfastError('DRIVER_FAILED', { module: this.spec.id, problem }));
      const timer = this.#host.clock.after(deadlineMs, expire);
      const aborted = (): void => reject(this.#stopped());
      signal.addEventListener('abort', aborted, { once: true });
      giveUp = () => {
        timer.cancel();
        signal.removeEventListener('abort', aborted);
      };
    });
    try {
      return await Promise.race([late, work]);
    } finally {
      giveUp();
    }
  }
}

/** What a method returned, as it will cross the pipe. Throws on what JSON cannot say (a cycle, a BigInt). */
function toJson(value: unknown): Json {
  if (value === undefined || value === null) return null;
  if (typeof value === 'boolean') return value;
  const tooLarge = (text: string): boolean => text.length > limits.driverValueBytes;
  // A long text is refused before work is put into it.
  const text = typeof value === 'string' && tooLarge(value) ? value : JSON.stringify(value);
  if (text === undefined) return null;
  if (tooLarge(text)) throw new RangeError(`a value has more than ${limits.driverValueBytes} bytes`);
  return JSON.parse(text) as Json;
}
