import { z } from 'zod';
import type { Json, JsonObject } from '../../foundation/json.ts';
import { epochSchema } from '../../model/control.ts';
import type { GateState } from '../../control/write-gate.ts';
import type { DeviceWrite, ModuleFunction, ModuleLogLine, ModuleSpec, StatusValue, SystemRequest } from '../../ports/device-link.ts';

/**
 * What a node and its driver hosts say to each other. Both are of one build, so there is no version.
 * `id` ties an answer to its question; `run` counts the starts of a location, so that what belongs to an earlier one
 * is known.
 */

/** It came out of JSON.parse: JSON it is, and walking through it again would cost more than the rest of the message. */
const json = z.unknown().transform((value) => (value ?? null) as Json);
const id = z.int().min(0);
const text = z.string();
const roles = ['device', 'service', 'logic', 'trigger'] as const;

export const startOrder: readonly ModuleSpec['role'][] = roles;
export const stopOrder: readonly ModuleSpec['role'][] = [...roles].reverse();

const moduleSpec: z.ZodType<ModuleSpec> = z.object({
  id: text,
  driver: text,
  role: z.enum(roles),
  name: text,
  ip: text,
  port: z.int(),
  tls: z.boolean(),
  udp: z.boolean(),
  makebreak: z.boolean(),
  uri: text,
  settings: z.record(z.string(), json),
  systems: z.array(text),
});

const compiledDriver = z.object({ name: text, entry: text, code: text });

export interface CheckedDriver {
  name: string;
  role: ModuleSpec['role'];
  transports: string[];
  /** JSON schema of its settings. */
  settings: JsonObject;
  functions: Record<string, ModuleFunction>;
  /** Status variables that it has right after its setup. */
  status: string[];
}

const target = { name: text, index: id };
const watched = z.object({ kind: z.literal('watch'), ...target, key: text });
const systemRequest: z.ZodType<SystemRequest | z.output<typeof watched>> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('exec'), ...target, method: text, args: z.array(json), user: text, deadlineMs: z.number() }),
  z.object({ kind: z.literal('status'), ...target, key: text }),
  z.object({ kind: z.literal('count'), name: text }),
  /** Answered by a `system.change` for each value until `system.end`. */
  watched,
]);
const moduleFunction: z.ZodType<ModuleFunction> = z.object({
  arity: id,
  params: z.record(z.string(), z.record(z.string(), json)),
  order: z.array(text),
});
const checkedDriver: z.ZodType<CheckedDriver> = z.object({
  name: text,
  role: z.enum(roles),
  transports: z.array(text),
  settings: z.record(z.string(), json),
  functions: z.record(z.string(), moduleFunction),
  status: z.array(text),
});
const wireError = z.object({ code: text, message: text, help: text, facts: z.record(z.string(), json) });

const gateState: z.ZodType<GateState> = z.object({
  epoch: epochSchema,
  open: z.boolean(),
  leaseUntilMs: z.number().nullable(),
});
const deviceWrite: z.ZodType<DeviceWrite> = z.object({
  module: text,
  location: text,
  epoch: epochSchema,
  wallMs: z.number(),
  monotonicMs: z.number(),
  bytes: z.number(),
});

export const toHostSchema = z.discriminatedUnion('t', [
  /** The whole gate each time: to hear it twice does no harm. */
  z.object({ t: z.literal('gate'), location: text, run: id, gate: gateState }),
  z.object({
    t: z.literal('start'),
    id,
    location: text,
    run: id,
    /** `edited`: with the code that was tried live last. `fault`: what it did wrong before, to be shown for a while. */
    modules: z.array(z.object({ spec: moduleSpec, handover: json, edited: z.boolean(), fault: text.nullable() })),
  }),
  /** Stops these modules; `hookMs` is how long their own clean-up may take. */
  z.object({ t: z.literal('stop'), id, location: text, modules: z.array(text), hookMs: z.number() }),
  /** Changed settings for modules that run. */
  z.object({ t: z.literal('update'), id, location: text, modules: z.array(moduleSpec) }),
  /** What the file of a driver says now, or would with another content of one file. */
  z.object({ t: z.literal('compile'), id, driver: text, edit: z.object({ file: text, content: text }).nullable() }),
  /** Loads it beside what runs, if it was compiled, and tries the settings of these modules on it. */
  z.object({ t: z.literal('prepare'), id, location: text, driver: text, compiled: compiledDriver.nullable(), modules: z.array(moduleSpec) }),
  /** Loads it and sets it up without a device, for what it says of itself. In a process of its own only. */
  z.object({ t: z.literal('check'), id, compiled: compiledDriver, settings: z.record(z.string(), json) }),
  /**
   * Without modules: what was prepared last is the code of the driver now, or (`edited`) what is tried of it. With modules:
   * these run the one or the other from now on.
   */
  z.object({ t: z.literal('reload'), id, location: text, driver: text, modules: z.array(moduleSpec), edited: z.boolean() }),
  z.object({
    t: z.literal('exec'),
    id,
    location: text,
    module: text,
    method: text,
    args: z.array(json),
    epoch: epochSchema,
    deadlineMs: z.number(),
    user: text,
  }),
  z.object({ t: z.literal('cancel'), id }),
  z.object({ t: z.literal('functions'), id, location: text, module: text }),
  /** To what a module asked of its system; these ids are counted by the host. */
  z.object({ t: z.literal('system.answer'), id, value: json }),
  z.object({ t: z.literal('system.error'), id, error: wireError }),
  z.object({ t: z.literal('system.change'), id, value: json }),
  z.object({ t: z.literal('writes'), id, location: text }),
  z.object({ t: z.literal('ping'), id }),
]);
export type ToHost = z.output<typeof toHostSchema>;

export const fromHostSchema = z.discriminatedUnion('t', [
  z.object({ t: z.literal('ready') }),
  /** Each module of the order was tried once; the others of it run. */
  z.object({ t: z.literal('started'), id, failed: z.array(z.object({ module: text, problem: text })) }),
  z.object({ t: z.literal('stopped'), id, handover: z.record(z.string(), json) }),
  /** `restart`: modules that did not take their changed settings. */
  z.object({ t: z.literal('updated'), id, restart: z.array(text) }),
  /** null: it came with the program. */
  z.object({ t: z.literal('compiled'), id, compiled: compiledDriver.nullable() }),
  /** `same`: modules that run this very code already. */
  z.object({ t: z.literal('prepared'), id, same: z.array(text) }),
  z.object({ t: z.literal('checked'), id, checked: checkedDriver }),
  z.object({
    t: z.literal('reloaded'),
    id,
    /** `problem`: it runs what it ran before. `restart`: only a start can bring it to the new code. `pausedMs`: so long its calls waited. */
    modules: z.array(z.object({ module: text, problem: text.nullable(), restart: z.boolean(), pausedMs: z.number() })),
  }),
  z.object({ t: z.literal('answer'), id, value: json }),
  z.object({ t: z.literal('functions'), id, functions: z.record(z.string(), moduleFunction) }),
  z.object({ t: z.literal('error'), id, error: wireError }),
  z.object({ t: z.literal('writes'), id, writes: z.array(deviceWrite) }),
  /** A module asks of its system, under the epoch that it works with. */
  z.object({ t: z.literal('system'), id, location: text, module: text, epoch: epochSchema, request: systemRequest }),
  /** Nobody waits for the answer, or watches, any more. */
  z.object({ t: z.literal('system.end'), id }),
  z.object({ t: z.literal('status'), location: text, module: text, key: text, value: json, epoch: epochSchema }),
  z.object({
    t: z.literal('log'),
    location: text,
    module: text,
    level: z.enum(['debug', 'info', 'warn', 'error']),
    message: text,
  }),
  /** `refused`: writes that the gate refused since the last answer. */
  z.object({ t: z.literal('pong'), id, refused: z.number() }),
]);
export type FromHost = z.output<typeof fromHostSchema>;

export type SystemMessage = Extract<FromHost, { t: 'system' | 'system.end' }>;
export type Answer = Exclude<Extract<FromHost, { id: number }>, SystemMessage>;
export type StatusMessage = Extract<FromHost, { t: 'status' }> & StatusValue;
export type LogMessage = Extract<FromHost, { t: 'log' }> & ModuleLogLine;

/** The last line that a dying host writes to its error output: whose code it was running. */
export const lastWordsSchema = z.object({
  lastWords: z.enum(['stalled', 'crashed', 'exited', 'memory']),
  /** `location/module`; null: no driver's. */
  culprit: text.nullable(),
  problem: text,
});
export type LastWords = z.output<typeof lastWordsSchema>;
