import { z } from 'zod';
import { assert } from '../foundation/assert.ts';
import { jsonValueSchema } from './parse.ts';
import * as schema from './schemas.ts';
import type { Role } from './schemas.ts';

/** One REST route. The server, the clients and the documentation are made from these rows. */
export interface Route<
  P extends z.ZodType = z.ZodType,
  Q extends z.ZodType = z.ZodType,
  B extends z.ZodType = z.ZodType,
  R extends z.ZodType = z.ZodType,
> {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  /** The least role of the key; null: open to everybody. */
  readonly role: Role | null;
  /** An operator needs to be listed in the `admins` of the location `:id`; an administrator does not. */
  readonly locationAdmins: boolean;
  /** Changes something: every request is audited, whatever its result. */
  readonly audited: boolean;
  /** Changes documents, which belong to the master. */
  readonly masterOnly: boolean;
  /** Answered before the node is ready. */
  readonly whileStarting: boolean;
  readonly answer: 'json' | 'text' | 'events';
  /** HTTP status of success. */
  readonly status: 200 | 201;
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  /** Of `events`: the data of each event. */
  readonly response: R;
  readonly description: string;
}

const API = '/api/engine/v2';

const read = {
  method: 'GET',
  role: 'viewer',
  locationAdmins: false,
  audited: false,
  masterOnly: false,
  whileStarting: false,
  answer: 'json',
  status: 200,
  params: schema.nothing,
  query: z.object({}),
  body: schema.nothing,
} as const;
const health = { ...read, role: null, whileStarting: true, response: schema.healthSchema } as const;
const change = { ...read, method: 'POST', role: 'admin', audited: true } as const;
const order = {
  ...change,
  role: 'operator',
  locationAdmins: true,
  params: schema.byId,
  body: schema.orderBody,
  response: schema.orderSchema,
} as const;
const documents = { ...change, masterOnly: true } as const;

/** Every route that clients speak. */
export const routes = {
  live: { ...health, path: '/health/live', description: 'The process runs.' },
  ready: { ...health, path: '/health/ready', description: '200 when API requests are accepted; 503 says what is missing.' },
  startup: { ...health, path: '/health/startup', description: '200 once the node has started.' },
  metrics: {
    ...read,
    path: '/metrics',
    whileStarting: true,
    answer: 'text',
    response: z.string(),
    description: 'Metrics in the Prometheus text format.',
  },

  edgeList: {
    ...read,
    path: `${API}/edges`,
    query: schema.listQuery,
    response: z.array(schema.locationSchema),
    description: 'Locations: who holds each of them, since when and why.',
  },
  edgeShow: { ...read, path: `${API}/edges/:id`, params: schema.byId, response: schema.locationSchema, description: 'One location.' },
  edgeHistory: {
    ...read,
    path: `${API}/edges/:id/history`,
    params: schema.byId,
    query: schema.historyQuery,
    response: z.array(schema.historySchema),
    description: 'Moves of control of a location, newest first.',
  },
  takeover: { ...order, path: `${API}/edges/:id/takeover`, description: 'Order: the master takes control.' },
  handback: { ...order, path: `${API}/edges/:id/handback`, description: 'Order: control returns to the edge.' },
  pause: { ...order, path: `${API}/edges/:id/pause`, description: 'Order: no automatic moves until `resume`; survives restarts.' },
  resume: { ...order, path: `${API}/edges/:id/resume`, description: 'Order: ends a pause.' },

  edgeAdd: {
    ...documents,
    path: `${API}/edges`,
    body: schema.byId,
    status: 201,
    response: schema.enrolmentSchema,
    description: 'Enrols an edge: answers its enrolment string, once.',
  },
  edgeRotate: {
    ...documents,
    path: `${API}/edges/:id/rotate`,
    params: schema.byId,
    response: schema.enrolmentSchema,
    description: 'A new secret for an edge; the old one is valid until the new one was used.',
  },
  edgeRevoke: {
    ...documents,
    path: `${API}/edges/:id/revoke`,
    params: schema.byId,
    response: schema.revokedSchema,
    description: 'Ends the right of an edge to connect and closes its link.',
  },

  members: {
    ...read,
    path: `${API}/members`,
    response: z.array(schema.memberSchema),
    description: 'Where clients of each location can be served: the origins to which a redirect may send them.',
  },

  systemList: {
    ...read,
    path: `${API}/systems`,
    query: schema.listQuery,
    response: z.array(schema.systemSchema),
    description: 'Systems; `q` searches id, name and description.',
  },
  systemShow: { ...read, path: `${API}/systems/:id`, params: schema.byId, response: schema.systemDetailSchema, description: 'One system.' },
  exec: {
    ...change,
    path: `${API}/systems/:id/:module/:method`,
    role: 'operator',
    params: schema.ofMethod,
    query: schema.execQuery,
    body: schema.execBody,
    response: jsonValueSchema,
    description: 'Runs a method; the body is the array of its arguments, the answer its bare result. X-Holdfast-Served-By names the node.',
  },
  moduleStatus: {
    ...read,
    path: `${API}/systems/:id/:module`,
    params: schema.ofModule,
    response: schema.statusSchema,
    description: 'All status variables of a module.',
  },
  variable: {
    ...read,
    path: `${API}/systems/:id/:module/:key`,
    params: schema.ofVariable,
    response: jsonValueSchema,
    description: 'One status variable; null when it was never set.',
  },
  watch: {
    ...read,
    path: `${API}/systems/:id/:module/:key/watch`,
    answer: 'events',
    params: schema.ofVariable,
    response: schema.statusEventSchema,
    description: 'Server-sent events: the variable now and on each change; a slow reader gets the last value only.',
  },
  events: {
    ...read,
    path: `${API}/events`,
    answer: 'events',
    response: schema.controlEventSchema,
    description: 'Server-sent events: moves of control. A slow reader is told how many it missed.',
  },

  apply: {
    ...documents,
    path: `${API}/documents/apply`,
    body: schema.applyBody,
    response: schema.planSchema,
    description: 'Makes the documents what the text says; `dry_run` only plans.',
  },
  export: {
    ...read,
    path: `${API}/documents/export`,
    role: 'admin',
    response: schema.exportSchema,
    description: 'All documents as one text that `apply` accepts.',
  },

  backup: {
    ...change,
    path: `${API}/backup`,
    body: schema.backupBody,
    status: 201,
    response: schema.backupSchema,
    description: 'Copies the documents of this server into a new file of its backup folder, while it runs.',
  },

  keyList: {
    ...read,
    path: `${API}/api_keys`,
    role: 'admin',
    query: schema.listQuery,
    response: z.array(schema.apiKeySchema),
    description: 'API keys, without their secrets.',
  },
  keyAdd: {
    ...documents,
    path: `${API}/api_keys`,
    body: schema.newKeyBody,
    status: 201,
    response: schema.newApiKeySchema,
    description: 'A new API key, shown once.',
  },
  keyRevoke: {
    ...documents,
    method: 'DELETE',
    path: `${API}/api_keys/:id`,
    params: schema.byId,
    response: schema.revokedSchema,
    description: 'Revokes an API key; its open streams end.',
  },
} as const satisfies Record<string, Route>;

export type RouteName = keyof typeof routes;

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
