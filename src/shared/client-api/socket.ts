import { z } from 'zod';
import type { Json } from '../foundation/json.ts';
import type { Revision } from '../model/control.ts';
import type { WireError } from '../model/errors.ts';
import { jsonValueSchema } from './parse.ts';
import type { Role } from './schemas.ts';

/** What clients say over a WebSocket: JSON text, one message a frame. Fields that are not known are ignored, as published clients send them. */

/** The newer path and the older one: the same protocol. */
export const socketPaths: readonly string[] = ['/api/engine/v2/systems/control', '/control/websocket'];

/** Text frames that are no JSON: a client's question whether the server is there, and the answer, also sent unasked. */
export const PING = 'ping';
export const PONG = 'pong';

/** Numbers that published clients know. */
export const socketErrors = {
  'parse-error': { code: 0, meaning: 'The frame is not JSON text.' },
  'bad-request': { code: 1, meaning: 'A field is missing or wrong.' },
  'access-denied': { code: 2, meaning: 'The role of the key does not allow it.' },
  'request-failed': { code: 3, meaning: 'The command was understood and failed; `error` says why, and what became of it.' },
  'unknown-command': { code: 4, meaning: 'There is no such command.' },
  'system-not-found': { code: 5, meaning: 'There is no such system.' },
  'module-not-found': { code: 6, meaning: 'The system has no such module.' },
  'unexpected-failure': { code: 7, meaning: 'A fault of the server; its log has it.' },
} as const;
export type SocketErrorName = keyof typeof socketErrors;

/** Echoed with the type it came with. */
const REQUEST_ID_LENGTH = 200;
const requestIdSchema = z.union([z.number(), z.string().max(REQUEST_ID_LENGTH)]);
export type RequestId = z.output<typeof requestIdSchema>;
/** What the schema says, by hand: every command is asked. */
export const isRequestId = (id: unknown): id is RequestId => (typeof id === 'string' ? id.length <= REQUEST_ID_LENGTH : Number.isFinite(id));

const requestFields = {
  id: requestIdSchema,
  sys: z.string().min(1).max(120),
  mod: z.string().min(1).max(120),
  index: z.int().min(1).max(9_999).default(1),
};
/** A status variable or a method. */
const name = z.string().regex(/^[^\p{Cc}]{1,200}$/u, 'must be 1 to 200 characters without control characters');
const ofName = z.object({ ...requestFields, name });
const ofExec = z.object({ ...requestFields, name, args: z.array(jsonValueSchema).max(100).default([]) });
/** `mod` may be the id of a module, which needs no system. */
const ofLog = z.object({ ...requestFields, sys: requestFields.sys.or(z.literal('')).default(''), name: name.or(z.literal('')).optional() });

/** A route of the REST API by its name in the OpenAPI description, with what REST carries in path, query and body. */
const ofRequest = z.object({
  id: requestIdSchema,
  route: z.string().max(100),
  params: z.unknown().optional(),
  query: z.unknown().optional(),
  body: z.unknown().optional(),
});

interface SocketCommand<S extends z.ZodType = z.ZodType> {
  /** The least role of the key. */
  role: Role;
  request: S;
  description: string;
}

/** Every command, once: the session, the tests and the documentation are made from these rows. */
export const socketCommands = {
  bind: { role: 'viewer', request: ofName, description: 'The value of a status variable now and on each change, as `notify`.' },
  unbind: { role: 'viewer', request: ofName, description: 'Ends a binding.' },
  exec: { role: 'operator', request: ofExec, description: 'Runs a method with `args`; the answer has its `value`.' },
  debug: { role: 'operator', request: ofLog, description: 'Log lines of a module, as `debug`; `mod` may be its id.' },
  ignore: { role: 'operator', request: ofLog, description: 'Ends the log lines.' },
  request: { role: 'viewer', request: ofRequest, description: 'A REST request that is answered in JSON, with the role that its `route` needs.' },
} as const satisfies Record<string, SocketCommand>;
export type SocketCommandName = keyof typeof socketCommands;
export type SocketRequest<C extends SocketCommandName> = z.output<(typeof socketCommands)[C]['request']>;

export const isSocketCommand = (text: string): text is SocketCommandName => Object.hasOwn(socketCommands, text);

/** What was asked for, in the words of the client. */
export interface SocketMeta {
  sys: string;
  mod: string;
  index: number;
  name?: string;
}

export type SocketFrame =
  /** `value`, and the node whose driver answered: of `exec`. `mod_id`: of `debug`. */
  | { id: RequestId; type: 'success'; value?: Json; served_by?: string; mod_id?: string; meta: SocketMeta }
  /** Of `request`: what REST would answer. */
  | { id: RequestId; type: 'success'; status: number; body: unknown }
  /** `id` null: the request had none that could be read. `code` and `error_code` are the same number, for both generations of clients. */
  | { id: RequestId | null; type: 'error'; code: number; error_code: number; msg: string; error: WireError }
  /** `revision` null: it was never set. */
  | { type: 'notify'; value: Json; revision: Revision | null; meta: SocketMeta }
  /** Told to clients that are bound to `sys` when another server has control. */
  | { type: 'redirect'; reason: string; location: string; sys: string; origin: string; alternatives: string[]; epoch: string }
  /**
   * Told to clients that are bound to modules of `location`: their values stand still here since `age_ms` (milliseconds), because
   * nobody who drives them is heard, or (`stale` false) are what the devices are again.
   */
  | { type: 'staleness'; location: string; stale: boolean; age_ms: number }
  /** `node`: who drives the module. */
  | { type: 'debug'; mod: string; klass: string; level: string; msg: string; node: string; meta: SocketMeta };
