import { setMaxListeners } from 'node:events';
import { z } from 'zod';
import type { Json, JsonObject } from '../shared/foundation/json.ts';
import { HoldfastError, textOfThrown, toHoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import { jsonValueSchema } from '../shared/model/values.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { ModuleLogLine, ModuleSpec } from '../shared/ports/device-link.ts';
import type { Call } from './call.ts';
import type { Reply, SendOptions } from './command-queue.ts';
import { problemOfListener, problemOfMethods, problemOfRequest, problemOfSend, problemOfTokeniser } from './definition.ts';
import type { Driver, EventHandlers, Method, ModuleContext, SendData, Update } from './driver.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import { toJson } from './json.ts';
import { createSchedule } from './schedule.ts';
import type { StatusMemory } from './status.ts';
import { createSystem, type SystemPort } from './system.ts';
import type { Tokeniser } from './tokeniser.ts';

export type AnySend = SendOptions & { reply?: Reply<unknown> };

export interface DriverRunOptions {
  driver: Driver;
  spec: ModuleSpec;
  clock: Clock;
  system: SystemPort;
  status: StatusMemory;
  /** What the code before it handed over. */
  handover: Json | null;
  /** Aborts when the module stops. The run may end before: other code takes its place. */
  stopping: AbortSignal;
  log(level: ModuleLogLine['level'], message: string): void;
  /** The driver did something wrong. */
  fault(problem: string): void;
  /** Runs code of the driver, for a call or by itself. */
  enter<T>(call: Call | null, code: () => T): T;
  /** Runs a handler of the connection: what it sends while that begins goes first. */
  greet<T>(code: () => T): T;
  /** For whom the code that runs now was begun; null: by the driver itself. */
  call(): Call | null;
  send(data: SendData, options: AnySend): Promise<unknown>;
  request(request: HttpRequest): Promise<HttpResponse>;
  openBreaker(problem: string): void;
  reconnect(reason: string): void;
}

/** What types would have refused: drivers are compiled without. */
function refuse(problem: string | null): void {
  if (problem !== null) throw new TypeError(problem);
}

const savedSchema = z.object({ version: z.int(), state: jsonValueSchema });

const LATE_SETUP = `its setup did not return within ${limits.driverSetupMs / 1_000} s; what takes longer belongs into schedule.in(0, …)`;
const LATE_UPDATE = `its update did not return within ${limits.driverSetupMs / 1_000} s`;

/** The code of a driver at work in a module: from its setup until the module stops, or other code takes its place. */
export class DriverRun {
  readonly driver: Driver;
  readonly #tokeniser: Tokeniser | null;
  readonly #options: DriverRunOptions;
  readonly #abort = new AbortController();
  readonly #handlers: { [E in keyof EventHandlers]: EventHandlers[E][] } = {
    opened: [],
    connected: [],
    stop: [],
    disconnected: [],
    received: [],
  };
  /** null until its setup has ended. */
  #methods: ReadonlyMap<string, Method> | null = null;
  #save: (() => Json) | null = null;
  #update: Update | null = null;
  #left: Promise<void> | null = null;
  /** Other code is in its place: of what it still does only what calls have begun counts. */
  #replaced = false;
  readonly #onStop = (): void => this.end();

  constructor(options: DriverRunOptions) {
    // A driver may have any number of schedules, and each listens.
    setMaxListeners(0, this.#abort.signal);
    this.#options = options;
    this.driver = options.driver;
    this.#tokeniser = this.#makeTokeniser();
    options.stopping.addEventListener('abort', this.#onStop, { once: true });
  }

  get methods(): ReadonlyMap<string, Method> | null {
    return this.#methods;
  }

  get ended(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Throws INPUT_INVALID for settings that do not fit, and what the setup throws. */
  async setUp(): Promise<void> {
    const { driver, enter, spec } = this.#options;
    const onUpdate = (update: Update): void => void (this.#update = update);
    const load = async () => driver.load(this.#context(), spec.settings, onUpdate);
    const methods = await this.within(limits.driverSetupMs, enter(null, load), LATE_SETUP);
    if (this.ended) throw this.#stopped();
    this.#require(problemOfMethods(methods));
    this.#methods = new Map(Object.entries(methods));
  }

  #makeTokeniser(): Tokeniser | null {
    const { tokeniser: make } = this.driver;
    if (make === null) return null;
    const tokeniser = make();
    this.#require(problemOfTokeniser(tokeniser));
    return tokeniser;
  }

  /** Types are not checked when a driver is compiled. */
  #require(problem: string | null): void {
    if (problem !== null) throw new HoldfastError('DRIVER_FAILED', { module: this.#options.spec.id, problem });
  }

  /** Gives changed settings to a driver that takes them. false: the module has to start anew. */
  async update(settings: JsonObject): Promise<boolean> {
    const update = this.#update;
    if (update === null || this.#methods === null || this.ended) return false;
    try {
      await this.within(limits.driverSetupMs, this.#options.enter(null, async () => update(settings)), LATE_UPDATE);
      return true;
    } catch (error) {
      // Half of the new settings may be in force.
      this.#complain('update', error);
      return false;
    }
  }

  /**
   * The code holds a conversation with the device: it may have to see its beginning. Any handler may wait for that: the first
   * message can be a banner (`received`), and `disconnected` what undoes it.
   */
  get mindsConnection(): boolean {
    return this.driver.reconnectOnReload ?? Object.values(this.#handlers).some((handlers) => handlers.length > 0);
  }

  /** Resolves when its handlers have ended; null: they have. */
  begin(event: 'opened' | 'connected'): Promise<unknown> | null {
    const begun = this.#handlers[event].map((handler) => this.#run(event, () => this.#options.greet(handler)));
    const atWork = begun.filter((work) => work !== null);
    return atWork.length === 0 ? null : Promise.all(atWork);
  }

  disconnected(reason: string): void {
    for (const handler of this.#handlers.disconnected) void this.#run('disconnected', () => handler(reason));
  }

  received(message: Buffer): void {
    for (const handler of this.#handlers.received) void this.#run('received', () => this.#options.greet(() => handler(message)));
  }

  /** The messages that the chunk completes. null: the device broke the framing. */
  cut(chunk: Uint8Array): Buffer[] | null {
    return this.#tokeniser === null ? [Buffer.from(chunk)] : this.#tokenise((tokeniser) => tokeniser.push(chunk));
  }

  /** What a connection that has ended left unfinished is forgotten. */
  forgetRest(): void {
    this.#tokenise((tokeniser) => this.#options.enter(null, () => tokeniser.reset()));
  }

  /** Takes away the beginning of a message whose end has not come; null: there is none. */
  takeRest(): Buffer | null {
    return this.#tokenise((tokeniser) => this.#options.enter(null, () => tokeniser.takeRest?.())) ?? null;
  }

  #tokenise<T>(work: (tokeniser: Tokeniser) => T): T | null {
    try {
      return this.#tokeniser === null ? null : work(this.#tokeniser);
    } catch (error) {
      this.#complain('tokeniser', error);
      return null;
    }
  }

  /** Runs its `stop` handlers, once. `replaced`: the module does not stop, and what they report is no news. */
  leave(hookMs: number, replaced = false): Promise<void> {
    this.#replaced ||= replaced;
    this.#left ??= this.#leave(hookMs);
    return this.#left;
  }

  async #leave(hookMs: number): Promise<void> {
    const hooks = this.#handlers.stop.map((handler) => this.#options.enter(null, async () => handler()));
    const hooked = this.within(hookMs, Promise.all(hooks), 'its stop handler took too long');
    await hooked.catch((error: unknown) => this.#complain('stop', error));
  }

  /** What the code after it goes on from; null: nothing. */
  takeState(): Json | null {
    if (this.#save === null) return null;
    try {
      return toJson({ version: this.driver.handoverVersion, state: this.#options.enter(null, this.#save) ?? null });
    } catch (error) {
      this.#complain('handover', error);
      return null;
    }
  }

  /** Its schedules, subscriptions and handlers run no more. Calls go on as far as the module lets them. */
  end(): void {
    this.#options.stopping.removeEventListener('abort', this.#onStop);
    // The driver may listen.
    this.#options.enter(null, () => this.#abort.abort(this.#stopped()));
  }

  /** Its deadline ends the waiting, as does the end of the run. */
  async within<T>(deadlineMs: number, work: Promise<T>, problem: string): Promise<T> {
    const { clock, spec } = this.#options;
    const { signal } = this.#abort;
    let giveUp: () => void = () => undefined;
    const late = new Promise<never>((_, reject) => {
      const expire = (): void => reject(new HoldfastError('DRIVER_FAILED', { module: spec.id, problem }));
      const timer = clock.after(deadlineMs, expire);
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

  #context(): ModuleContext {
    const { spec, status, clock, system, stopping, call, send: sendAny, request, openBreaker, reconnect } = this.#options;
    const { id, name, systems } = spec;
    const { signal } = this.#abort;
    const enqueue = (data: SendData, options: AnySend): Promise<unknown> => {
      refuse(problemOfSend(data, options));
      return this.#ifWanted(() => sendAny(data, options));
    };
    function send<T>(data: SendData, options: SendOptions & { reply: Reply<T> }): Promise<T | null>;
    function send(data: SendData, options?: SendOptions): Promise<Buffer | null>;
    function send(data: SendData, options: AnySend = {}): Promise<unknown> {
      return enqueue(data, options);
    }
    const tell = (report: () => void): void => {
      if (!this.#replaced || call() !== null) report();
    };
    const log = (level: ModuleLogLine['level']) => (message: unknown) => this.#options.log(level, textOfThrown(message));
    const run = (what: string) => (task: () => void | Promise<void>) => this.#run(what, task);
    return {
      id,
      name,
      status: {
        set: (key, value) => tell(() => this.#set(key, value)),
        get: (key) => status.get(key),
        signal: (key) => tell(() => status.signal(key)),
      },
      send,
      http: {
        request: (asked) => {
          refuse(problemOfRequest(asked));
          return this.#ifWanted(() => request(asked));
        },
      },
      openBreaker: (problem) => tell(() => openBreaker(textOfThrown(problem))),
      reconnect: (reason) => tell(() => reconnect(textOfThrown(reason))),
      now: () => clock.wallMs(),
      on: (event, handler) => {
        refuse(problemOfListener(this.#handlers, event, handler));
        this.#handlers[event].push(handler);
      },
      schedule: createSchedule({ clock, signal, run: run('schedule') }),
      system: createSystem({ module: id, systems, port: system, clock, signal, stopping, call, run: run('subscription') }),
      handover: { restore: (schema) => this.#restore(schema), save: (take) => void (this.#save = take) },
      log: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
      signal,
      get user() {
        return call()?.user ?? null;
      },
    };
  }

  /** Replaced code acts for calls only: its own work would meet that of the code in its place. */
  #ifWanted<T>(act: () => Promise<T>): Promise<T> {
    if (!this.#replaced || !this.ended || this.#options.call() !== null) return act();
    const { id } = this.#options.spec;
    const refused = Promise.reject<T>(new HoldfastError('MODULE_NOT_RUNNING', { module: id, reason: 'its code was replaced' }));
    // A driver may send without waiting: a failure is no reason for an unhandled rejection.
    refused.catch(() => undefined);
    return refused;
  }

  /**
   * Runs code of the driver; what it throws is logged, never passed on. Its deadline ends the waiting. null: it has ended
   * (most does at once, and needs no promise).
   */
  #run(what: string, task: () => void | Promise<void>): Promise<void> | null {
    if (this.ended) return null;
    try {
      const done = this.#options.enter(null, task);
      return done instanceof Promise ? this.#finish(what, done) : null;
    } catch (error) {
      this.#complain(what, error);
      return null;
    }
  }

  async #finish(what: string, work: Promise<void>): Promise<void> {
    try {
      await this.within(limits.driverHandlerMs, work, `it took more than ${limits.driverHandlerMs} ms`);
    } catch (error) {
      this.#complain(what, error);
    }
  }

  #restore<T>(schema: z.ZodType<T>): T | null {
    const saved = savedSchema.safeParse(this.#options.handover);
    if (!saved.success || saved.data.version !== this.driver.handoverVersion) return null;
    return schema.safeParse(saved.data.state).data ?? null;
  }

  #complain(what: string, error: unknown): void {
    // What a stopping module leaves behind is no news.
    if (this.ended) return;
    const { message } = toHoldfastError(error, this.#options.spec.id);
    this.#options.log('error', `${what}: ${message}`.slice(0, limits.logLineBytes));
    this.#options.fault(`${what}: ${message}`.slice(0, limits.logLineBytes));
  }

  #set(key: string, value: Json): void {
    try {
      this.#options.status.set(key, value);
    } catch (error) {
      this.unsendable(`the status variable ${key}`, error);
    }
  }

  /** What the driver hands out and JSON cannot say, or not within the limits, is its own fault. Throws what it is told. */
  unsendable(what: string, error: unknown): never {
    this.#complain(what, error);
    throw error;
  }

  #stopped(): HoldfastError {
    return new HoldfastError('MODULE_NOT_RUNNING', { module: this.#options.spec.id, reason: 'it was stopped' });
  }
}
