import { AsyncLocalStorage } from 'node:async_hooks';
import { setMaxListeners } from 'node:events';
import type { Json, JsonObject } from '../shared/foundation/json.ts';
import { NumberedTable } from '../shared/foundation/numbered-table.ts';
import { HoldfastError, toHoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock, Timer } from '../shared/ports/clock.ts';
import type { ModuleFunction, ModuleLogLine, ModuleSpec } from '../shared/ports/device-link.ts';
import type { Call } from './call.ts';
import { CommandQueue, type Greeting } from './command-queue.ts';
import type { Driver, Method, SendData } from './driver.ts';
import { type AnySend, DriverRun } from './driver-run.ts';
import type { HttpRequest, HttpResponse, HttpService } from './http.ts';
import { describeMethods } from './functions.ts';
import { toJson } from './json.ts';
import { StatusMemory } from './status.ts';
import type { SystemPort } from './system.ts';
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
const running = new AsyncLocalStorage<Running>();

interface Running {
  module: Module;
  call: Call | null;
  /** The beginning of the connection that it belongs to. */
  greeting: Greeting | null;
}

/** The module whose code runs now, or whose callback just threw. */
export const runningModule = (): Module | null => running.getStore()?.module ?? null;

const NEVER_GREETED =
  `other commands go on: its handlers have not ended after ${limits.greetingMs / 1_000} s; ` +
  'they may wait for what they send and what the device says, and for no command that was sent elsewhere';

const callInProgress = (): Call | null => running.getStore()?.call ?? null;

/** A configured instance of a driver, from start to stop. It knows nothing of sockets, pipes or epochs. */
export class Module {
  readonly #host: ModuleHost;
  readonly #stopping = new AbortController();
  readonly #status: StatusMemory;
  readonly #queue: CommandQueue | null;
  readonly #calls = new NumberedTable<Call>();
  /** What its driver does by itself: one for all of it. */
  readonly #own: Running = { module: this, call: null, greeting: null };
  #spec: ModuleSpec;
  /** Connection, queue, status and calls belong to the module, and outlive it. */
  #run: DriverRun;
  #connected = false;
  /** Raised when the device comes and when it goes: services have no queue that knows. */
  #changes = 0;
  /** While what the driver did wrong is shown. */
  #fault: { problem: string; timer: Timer } | null = null;
  /** Resolves when other code has been set up, or was refused. */
  #reloading: Promise<void> | null = null;

  constructor(driver: Driver, spec: ModuleSpec, host: ModuleHost, handover: Json | null) {
    // Each request of a call to the system listens.
    setMaxListeners(0, this.#stopping.signal);
    this.#spec = spec;
    this.#host = host;
    this.#status = new StatusMemory((key, value) => host.publish(key, value));
    const { clock, transport } = host;
    const { delayMs, afterTimeout } = driver;
    this.#queue = transport === null ? null : new CommandQueue({ module: spec.id, clock, transport, delayMs, afterTimeout });
    this.#run = this.#runOf(driver, spec, handover);
  }

  get spec(): ModuleSpec {
    return this.#spec;
  }

  get driver(): Driver {
    return this.#run.driver;
  }

  /**
   * What the driver does wrong shows in status for a while. The first of it: what goes wrong all the time must not change
   * status all the time.
   */
  fault(problem: string): void {
    if (this.#fault !== null || this.#stopping.signal.aborted || typeof this.#status.get('problem') === 'string') return;
    const timer = this.#host.clock.after(limits.moduleFaultMs, () => this.#forgetFault());
    this.#fault = { problem, timer };
    this.#status.keep('problem', problem);
  }

  #forgetFault(): void {
    const fault = this.#fault;
    this.#fault = null;
    fault?.timer.cancel();
    if (fault !== null && this.#status.get('problem') === fault.problem) this.#status.keep('problem', null);
  }

  /** Its code is about to run in a way that the module does not see. */
  entered(): void {
    this.#host.entered();
  }

  /** The public methods; none until its setup has ended. */
  functions(): Record<string, ModuleFunction> {
    return describeMethods(Object.fromEntries(this.#run.methods ?? []));
  }

  /**
   * Sets the driver up and tries to connect once. Throws when the driver fails; a dead device is no failure. `fault`: what it
   * did wrong when it ran before.
   */
  async start(fault: string | null = null): Promise<void> {
    // The value of an earlier holder must not stay.
    if (fault === null) this.#status.keep('problem', null);
    else this.fault(fault);
    try {
      await this.#run.setUp();
    } catch (error) {
      this.#tried();
      this.#status.keep('problem', toHoldfastError(error, this.#spec.id).message);
      throw error;
    }
    const { transport, http } = this.#host;
    if (transport === null && http === null) return;
    await new Promise<void>((resolve) => {
      this.#stopping.signal.addEventListener('abort', () => resolve(), { once: true });
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
      const queue = this.#queue;
      transport?.open({
        ...handler,
        interrupted: () => {
          this.#run.forgetRest();
          this.#queue?.interrupted();
        },
        reopened: () => this.#begin('opened'),
        get opening() {
          return queue?.opening === true;
        },
        received: (chunk) => this.#onReceived(chunk),
        drained: () => this.#queue?.drained(),
      });
    });
  }

  /** Gives changed settings to a driver that takes them. false: the module has to start anew. */
  update(settings: JsonObject): Promise<boolean> {
    return this.#run.update(settings);
  }

  /**
   * Puts other code in the place of what runs. Queue, status and hand-over state go on, calls that run end in the code
   * that began them, and those that come meanwhile wait for the new code. Throws what is wrong with the new code; then
   * nothing has changed.
   */
  reload(driver: Driver, spec: ModuleSpec): Promise<void> {
    const replaced = this.#replace(driver, spec);
    const over = replaced.then(
      () => undefined,
      () => undefined,
    );
    this.#reloading = over;
    void over.then(() => {
      if (this.#reloading === over) this.#reloading = null;
    });
    return replaced;
  }

  async #replace(driver: Driver, spec: ModuleSpec): Promise<void> {
    const before = this.#run;
    if (before.methods === null) throw this.#notRunning('it is starting');
    // Most calls end at once, and then the state that is handed over is whole.
    const ended = Promise.all(this.#calls.values().map(({ finished }) => finished));
    await before.within(limits.moduleDrainMs, ended, '').catch(() => undefined);
    const next = this.#runOf(driver, spec, before.takeState());
    try {
      await next.setUp();
      // What it has set up stands: now the old code may let go.
      await before.leave(limits.moduleDrainMs, true);
      if (this.#stopping.signal.aborted) throw this.#stopped();
    } catch (error) {
      next.end();
      throw error;
    }
    before.end();
    this.#forgetFault();
    this.#run = next;
    this.#spec = spec;
    this.#queue?.follow(driver);
    this.#passConnection(before, next);
  }

  /**
   * It is kept, unless that matters to one of both: a conversation that the old code began may mean nothing to the new. What the
   * new code says of itself counts most.
   */
  #passConnection(before: DriverRun, next: DriverRun): void {
    const anew = next.driver.reconnectOnReload ?? (before.mindsConnection || next.mindsConnection);
    if (!this.#connected || anew) {
      this.#connection?.renew();
      return;
    }
    const begun = before.takeRest();
    if (begun !== null && begun.length > 0) this.#onReceived(begun);
  }

  /** Runs a public method. Settles by the deadline of the call, whatever the driver does. */
  async exec(name: string, args: Json[], call: Call): Promise<Json> {
    const { clock } = this.#host;
    if (this.#reloading !== null) {
      await this.#reloading;
      if (clock.monotonicMs() >= call.deadlineMs) throw new HoldfastError('DEADLINE', { fate: 'not-sent' });
    }
    const method = this.#methodOf(name, call);
    const expire = (): void => {
      call.abandon((fate) => new HoldfastError('DEADLINE', { fate }));
      this.#queue?.dropAbandoned();
      // Of a device that is not there this is known.
      if (this.#connection === null || this.#connected) this.fault(`${name} had not ended at its deadline`);
    };
    const number = this.#calls.add(call);
    const timer = clock.after(call.deadlineMs - clock.monotonicMs(), expire);
    try {
      const result = await call.resultOf(this.#enter(call, async () => method(...args)));
      return this.#sendable(name, result);
    } catch (error) {
      throw toHoldfastError(error, this.#spec.id);
    } finally {
      timer.cancel();
      call.end();
      this.#calls.take(number);
    }
  }

  #sendable(name: string, result: unknown): Json {
    try {
      return toJson(result);
    } catch (error) {
      return this.#run.unsendable(name, error);
    }
  }

  #methodOf(name: string, call: Call): Method {
    if (this.#stopping.signal.aborted) throw this.#stopped();
    // It may have been given up while it waited for other code.
    if (call.error !== null) throw call.error;
    const { methods } = this.#run;
    if (methods === null) throw this.#notRunning('it is starting');
    const method = methods.get(name);
    if (method === undefined) throw new HoldfastError('METHOD_NOT_FOUND', { module: this.#spec.id, method: name });
    return method;
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
    const run = this.#run;
    await run.leave(hookMs);
    // Killed modules wait for nobody.
    const drainMs = Math.min(hookMs, limits.moduleDrainMs);
    if (hookMs > 0) await run.within(drainMs, this.#answers(), '').catch(() => undefined);
    const state = run.takeState();
    const notSent = new HoldfastError('GATE_CLOSED', { module: this.#spec.id, reason: 'the module stops' });
    for (const call of this.#calls.values()) {
      call.abandon((fate) => (fate === 'unknown' ? new HoldfastError('CANCELLED', { fate }) : notSent));
    }
    this.#stopping.abort(this.#stopped());
    this.#fault?.timer.cancel();
    this.#queue?.close('the module stops');
    await this.#connection?.close();
    return state;
  }

  get #connection(): Connection | null {
    return this.#host.transport ?? this.#host.http;
  }

  /** Commands that have left already: the gate is closed behind them, and devices usually answer at once. */
  #answers(): Promise<unknown> {
    return Promise.all(this.#calls.values().filter(({ sent }) => sent).map(({ finished }) => finished));
  }

  #runOf(driver: Driver, spec: ModuleSpec, handover: Json | null): DriverRun {
    const { clock, system, log } = this.#host;
    return new DriverRun({
      driver,
      spec,
      clock,
      system,
      status: this.#status,
      handover,
      stopping: this.#stopping.signal,
      log,
      fault: (problem) => this.fault(problem),
      enter: (call, code) => this.#enter(call, code),
      greet: (code) => this.#greet(code),
      call: callInProgress,
      send: (data, options) => this.#send(data, options),
      request: (request) => this.#request(request),
      openBreaker: (problem) => this.#connection?.openBreaker(problem),
      reconnect: (reason) => this.#host.transport?.reset(reason),
    });
  }

  #send(data: SendData, options: AnySend): Promise<unknown> {
    if (this.#queue === null) return Promise.reject(new HoldfastError('DEVICE_OFFLINE', { module: this.#spec.id }));
    const call = callInProgress();
    const reply = options.reply ?? ((message: Buffer) => ({ value: message }));
    // It is asked when the command leaves, whoever caused that.
    const bytes = typeof data === 'function' ? () => this.#enter(call, () => Buffer.from(data())) : Buffer.from(data);
    const sent = this.#queue.send<unknown>(bytes, options, reply, call?.over ? null : call, running.getStore()?.greeting);
    // A driver may send without waiting: a failure is no reason for an unhandled rejection.
    sent.catch(() => undefined);
    return sent;
  }

  #request(request: HttpRequest): Promise<HttpResponse> {
    const { http } = this.#host;
    if (http === null) {
      return Promise.reject(new HoldfastError('INPUT_INVALID', { field: 'uri', problem: 'this module asks no service' }));
    }
    const call = callInProgress();
    return http.request(request, call?.over === false ? { signal: call.signal, left: () => call.markSent() } : null);
  }

  /** The first attempt is over. Also a dead device has its value: that of an earlier holder must not stay. */
  #tried(): void {
    if (this.#connection === null || this.#connected || this.#stopping.signal.aborted) return;
    this.#status.keep('connected', false);
  }

  #onBroken(problem: string | null): void {
    this.#status.keep('problem', problem);
    if (problem !== null) this.#host.log('error', `not tried again soon: ${problem}`);
  }

  #onConnected(): void {
    this.#connected = true;
    this.#changes += 1;
    this.#run.forgetRest();
    this.#status.keep('connected', true);
    this.#begin('opened', () => this.#begin('connected'));
  }

  /** Runs the handlers of an event; what they send has the device to itself until they have ended. */
  #begin(event: 'opened' | 'connected', then: () => void = () => undefined): void {
    const queue = this.#queue;
    const run = this.#run;
    const changes = this.#changes;
    const greeting = queue?.greet(event === 'opened', () => {
      this.#host.log('warn', `${event}: ${NEVER_GREETED}`);
      over();
    });
    const over = (): void => {
      // Of a connection that has ended, or has had time enough.
      const isOver = greeting === undefined ? changes !== this.#changes : queue?.isGreeting(greeting) !== true;
      if (isOver) return;
      // Of one that these very handlers have ended; it is told of in a moment.
      if (event === 'opened' && this.#host.transport?.up === false) return;
      // Other code begins with `opened`, or not at all.
      if (run === this.#run) then();
      if (greeting !== undefined) queue?.greeted(greeting);
    };
    queue?.connected();
    const handlers = run.begin(event);
    if (handlers === null) over();
    else void handlers.then(over);
  }

  /** What came while the connection begins belongs to that, too. */
  #greet<T>(code: () => T): T {
    const greeting = this.#queue?.greeting ?? null;
    return greeting === null ? code() : running.run({ module: this, call: null, greeting }, code);
  }

  #onDisconnected(reason: string): void {
    this.#connected = false;
    this.#changes += 1;
    this.#status.keep('connected', false);
    this.#queue?.disconnected();
    this.#run.disconnected(reason);
  }

  #onReceived(chunk: Uint8Array): void {
    this.#enter(null, () => {
      const messages = this.#run.cut(chunk);
      if (messages === null) return this.#host.transport?.reset('framing');
      for (const message of messages) {
        if (this.#stopping.signal.aborted) return;
        if (!this.#queue?.offer(message)) this.#run.received(message);
      }
    });
  }

  #enter<T>(call: Call | null, code: () => T): T {
    this.entered();
    return running.run(call === null ? this.#own : { module: this, call, greeting: null }, code);
  }

  #stopped(): HoldfastError {
    return this.#notRunning('it was stopped');
  }

  #notRunning(reason: string): HoldfastError {
    return new HoldfastError('MODULE_NOT_RUNNING', { module: this.#spec.id, reason });
  }
}
