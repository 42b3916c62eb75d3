import { z } from 'zod';
import { assert } from '../foundation/assert.ts';
import { limits } from '../model/limits.ts';
import * as schema from './schemas.ts';
import type { Role } from './schemas.ts';

/** One REST route. The server, the clients, the documentation and the OpenAPI description are made from these rows. */
export interface Route<
  P extends z.ZodType = z.ZodType,
  Q extends z.ZodType = z.ZodType,
  B extends z.ZodType = z.ZodType,
  R extends z.ZodType = z.ZodType,
> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  /** The least role of the caller; null: open to everybody. */
  readonly role: Role | null;
  /**
   * An operator needs to be listed in the `admins` of the location that `:id` is, of those that the system or module
   * `:id` belongs to, or of those that run the driver `:id` (of one, when the query names it as `location`), or of that
   * whose modules the request `:id` starts or stops; an administrator does not.
   */
  readonly adminOf: 'location' | 'system' | 'module' | 'driver' | 'request' | null;
  /** The word under which every request is on record, whatever its result: what programs do all day is a `command`. */
  readonly audited: 'audit' | 'command' | null;
  /** Changes documents, which belong to the master. */
  readonly masterOnly: boolean;
  /** Answered before the node is ready, and not limited in rate. */
  readonly whileStarting: boolean;
  /** Made of many documents or events: few such requests are carried out at a time. None of them may wait for other nodes. */
  readonly list: boolean;
  /** The largest body. Whether somebody may send one is found out before it is read. */
  readonly bodyBytes: number;
  /** The largest answer. What a request has changed is answered all the same. */
  readonly answerBytes: number;
  readonly answer: 'json' | 'text' | 'html' | 'events';
  /** HTTP status of success. */
  readonly status: 200 | 201 | 202;
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  /** Of `events`: the data of each event. */
  readonly response: R;
  readonly description: string;
}

/** Where the newer generation has its routes. */
export const API = '/api/engine/v2';

export const read = {
  method: 'GET',
  role: 'viewer',
  adminOf: null,
  audited: null,
  masterOnly: false,
  whileStarting: false,
  list: false,
  bodyBytes: limits.bodyBytes,
  answerBytes: limits.apiAnswerBytes,
  answer: 'json',
  status: 200,
  params: schema.nothing,
  query: z.object({}),
  body: schema.nothing,
} as const;
export const list = { ...read, list: true } as const;
export const open = { ...read, role: null } as const;
export const change = { ...read, method: 'POST', role: 'admin', audited: 'audit' } as const;
export const control = { ...change, role: 'operator' } as const;
/** Runs a method of a module. */
export const command = { ...control, audited: 'command' } as const;
export const documents = { ...change, masterOnly: true } as const;

/** The path of a route with its parameters filled in. */
export function pathOf(route: Route, params: Record<string, unknown>): string {
  return route.path.replaceAll(/:(\w+)/g, (_, name: string) => {
    const value = params[name];
    assert(typeof value === 'string', `${route.path} needs the parameter ${name}`);
    return encodeURIComponent(value);
  });
}

/** Variable parts of a request of this route, as clients give them; parts without required fields may be left out. */
export type RequestOf<R extends Route> = Part<'params', z.input<R['params']>> &
  Part<'query', z.input<R['query']>> &
  Part<'body', z.input<R['body']>>;
// `{}` extends a type exactly when nothing in it is required.
type Part<Name extends string, T> = undefined extends T ? { [K in Name]?: T } : {} extends T ? { [K in Name]?: T } : { [K in Name]: T };
