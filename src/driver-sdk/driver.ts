import type { z } from 'zod';
import type { Json, JsonObject } from '../shared/foundation/json.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import type { ModuleSpec } from '../shared/ports/device-link.ts';
import type { AfterTimeout, Reply, SendOptions } from './command-queue.ts';
import { requireDefinition } from './definition.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import { remember } from './functions.ts';
import type { Schedule } from './schedule.ts';
import type { SystemOfModule } from './system.ts';
import type { Tokeniser } from './tokeniser.ts';

export type DriverRole = ModuleSpec['role'];

/** Make-and-break is a way to use `tcp` and `tls`, and the module's choice. */
export type TransportKind = 'tcp' | 'tls' | 'udp' | 'http';

/** Text (UTF-8) or bytes. */
export type SendData = string | Uint8Array | (() => string | Uint8Array);

/** A public method of a module. Its arguments come from outside; `method` checks them. */
export type Method = (...args: Json[]) => unknown;
export type Methods = Record<string, Method>;

export interface EventHandlers {
  /**
   * A connection was made, also one that make-and-break makes on demand while the device counts as connected: for banners and
   * logins. `connected` comes after it.
   */
  opened: () => void | Promise<void>;
  /** The device is there. */
  connected: () => void | Promise<void>;
  disconnected: (reason: string) => void | Promise<void>;
  /** Messages that answer no command. */
  received: (message: Buffer) => void | Promise<void>;
  /** The module is about to stop; the write gate may be closed already. */
  stop: () => void | Promise<void>;
}

/** What a driver may use, besides its settings. Everything here ends with the module. */
export interface ModuleContext {
  readonly id: string;
  /** Name in systems, such as `Display`. */
  readonly name: string;
  readonly status: {
    /** Publishes only when the value differs from the last one. */
    set(key: string, value: Json): void;
    /** Also of `connected` and `problem`, which the runtime keeps. */
    get(key: string): Json | undefined;
    /** Publishes the value again although it is the same. */
    signal(key: string): void;
  };
  /**
   * Queues a command. `reply` judges each message that comes while it is in flight.
   * Resolves with its value, or null for `done`. A function as `data` is asked each time that the command leaves.
   */
  send<T>(data: SendData, options: SendOptions & { reply: Reply<T> }): Promise<T | null>;
  /** Without `reply` the next message of the device is the answer; null when none is awaited. */
  send(data: SendData, options?: SendOptions): Promise<Buffer | null>;
  /** Asks the service. Drivers of the kind `http` only. */
  readonly http: { request(request: HttpRequest): Promise<HttpResponse> };
  /**
   * The device refuses us as we are set up (a wrong password), and asking again soon has no use: closes the connection
   * and tries again much later, or at once when a setting changes. The status variable `problem` says why.
   */
  openBreaker(problem: string): void;
  /** Ends the connection: another one is made after the usual pause, with make-and-break on demand. `reason` is for `disconnected`. */
  reconnect(reason: string): void;
  on<E extends keyof EventHandlers>(event: E, handler: EventHandlers[E]): void;
  readonly schedule: Schedule;
  /** The clock on the wall, in unix milliseconds; that of the harness in a test. */
  now(): number;
  /** The system that lists a logic module. It reaches modules wherever they are controlled. */
  readonly system: SystemOfModule;
  /** What the next holder of control goes on from. */
  readonly handover: {
    /** What the other side saved under the same version; null when there is nothing, or it does not fit. */
    restore<T>(schema: z.ZodType<T>): T | null;
    save(take: () => Json): void;
  };
  readonly log: Record<'debug' | 'info' | 'warn' | 'error', (message: string) => void>;
  /** Aborts when the module stops. */
  readonly signal: AbortSignal;
  /** Who asked, while a method runs; null in the driver's own work. */
  readonly user: string | null;
}

export type DriverContext<Settings> = ModuleContext & {
  readonly settings: Settings;
  /** Takes changed settings while the module runs. Without it, or when it throws, the module starts anew. */
  onUpdate(handler: (settings: Settings) => void | Promise<void>): void;
};

/** Takes settings that were not checked yet. Throws INPUT_INVALID when they do not fit. */
export type Update = (settings: JsonObject) => void | Promise<void>;

export interface DriverDefinition<Settings> {
  /** Lower case; unique. */
  name: string;
  role: DriverRole;
  settings: z.ZodType<Settings>;
  /** What the driver can speak over; the module chooses. Devices: TCP and TLS unless told; services: HTTP; others: nothing. */
  transports?: readonly TransportKind[];
  /** Cuts what the device sends into messages; without it each chunk is one. */
  tokeniser?: () => Tokeniser;
  /** Least pause between two commands. */
  delayMs?: number;
  /**
   * `reconnect`: for a protocol whose answers do not say what they answer. After a command whose answer did not come in time
   * the connection is made anew, so that the late answer is not taken for that of the next command. `keep` unless told.
   */
  afterTimeout?: AfterTimeout;
  /** Raise it when the hand-over state changes its shape. */
  handoverVersion?: number;
  /** Whether a reload makes the connection anew; unless told, when the code before or after it listens to an event (`ctx.on`). */
  reconnectOnReload?: boolean;
  /** Runs when the module starts; what it returns are the public methods. */
  setup(ctx: DriverContext<Settings>): Methods | Promise<Methods>;
}

/** A driver as the runtime sees it: its type of settings is behind it. */
export interface Driver {
  readonly name: string;
  readonly role: DriverRole;
  readonly transports: readonly TransportKind[];
  readonly tokeniser: (() => Tokeniser) | null;
  readonly delayMs: number;
  readonly afterTimeout: AfterTimeout;
  readonly handoverVersion: number;
  /** null: its handlers tell. */
  readonly reconnectOnReload: boolean | null;
  readonly settings: z.ZodType;
  /** Throws INPUT_INVALID for settings that do not fit. `onUpdate` is called when the driver takes changed ones. */
  load(context: ModuleContext, settings: JsonObject, onUpdate: (update: Update) => void): Methods | Promise<Methods>;
}

const usualTransports: Record<DriverRole, readonly TransportKind[]> = {
  device: ['tcp', 'tls'],
  service: ['http'],
  logic: [],
  trigger: [],
};

/** Declares a driver: code for one kind of device or service. Throws INPUT_INVALID, and names the field. */
export function defineDriver<Settings>(definition: DriverDefinition<Settings>): Driver {
  requireDefinition(definition);
  const { name, role, setup } = definition;
  return {
    name,
    role,
    transports: definition.transports ?? usualTransports[role],
    tokeniser: definition.tokeniser ?? null,
    delayMs: definition.delayMs ?? 0,
    afterTimeout: definition.afterTimeout ?? 'keep',
    handoverVersion: definition.handoverVersion ?? 1,
    reconnectOnReload: definition.reconnectOnReload ?? null,
    settings: definition.settings,
    load: (context, input, onUpdate) => {
      const read = (given: JsonObject): Settings => parse(definition.settings, given, 'settings');
      const driverContext: DriverContext<Settings> = Object.assign(context, {
        settings: read(input),
        onUpdate: (handler: (settings: Settings) => void | Promise<void>) =>
          onUpdate((changed) => {
            const settings = read(changed);
            Object.assign(driverContext, { settings });
            return handler(settings);
          }),
      });
      return setup(driverContext);
    },
  };
}

/**
 * A method whose arguments are checked before it runs: `method(z.tuple([z.boolean()]), (on) => …)`.
 * Who lists the methods of the module sees the schema, and the names of the parameters of `run`.
 */
export function method<Arguments extends unknown[]>(
  parameters: z.ZodType<Arguments>,
  run: (...args: Arguments) => unknown,
): Method {
  return remember((...args) => run(...parse(parameters, args, 'args')), { schema: parameters, run });
}

function parse<T>(schema: z.ZodType<T>, input: unknown, root: string): T {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = [root, ...(issue?.path ?? [])].map(String).join('.');
  throw new HoldfastError('INPUT_INVALID', { field, problem: issue?.message ?? 'does not fit' });
}
