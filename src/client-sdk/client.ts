import { z } from 'zod';
import { pathOf } from '../shared/client-api/routes.ts';
import type { RequestOf, Route } from '../shared/client-api/routes.ts';
import { errorSchema } from '../shared/client-api/schemas.ts';
import { fromWire, HoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import { parseEvents } from './event-parser.ts';
import { type Credential, credentialHeaders, type HttpAnswer, type HttpRequest, type HttpTransport } from './transport.ts';

export interface CallOptions {
  signal?: AbortSignal;
  /** For the whole answer; of a stream, for its beginning. */
  timeoutMs?: number;
}

export interface Answer<T> {
  body: T;
  headers: Readonly<Record<string, string>>;
}

export type StreamEvent<T> = { kind: 'event'; data: T } | { kind: 'dropped'; count: number };

/** Speaks every route of the table, typed by it. All failures are HoldfastErrors, those of the server as it sent them. */
export interface Client {
  readonly origin: string;
  /** The body of the answer. */
  call<R extends Route>(route: R, request: RequestOf<R>, options?: CallOptions): Promise<z.output<R['response']>>;
  /** Body and headers of the answer. */
  request<R extends Route>(route: R, request: RequestOf<R>, options?: CallOptions): Promise<Answer<z.output<R['response']>>>;
  /** Every item of a list route, page by page. */
  all<T>(route: ListRoute<T>, q?: string, options?: CallOptions): Promise<T[]>;
  /** Resolves once the server has opened the stream. It ends when the server ends it, or with an error. */
  stream<R extends Route>(
    route: R,
    request: RequestOf<R>,
    options: CallOptions & { signal: AbortSignal },
  ): Promise<AsyncIterable<StreamEvent<z.output<R['response']>>>>;
  close(): void;
}

type ListRoute<T> = Route<z.ZodType, z.ZodType, z.ZodType, z.ZodType<T[]>>;

interface Parts {
  params?: unknown;
  query?: unknown;
  body?: unknown;
}

export interface ClientCredentials extends Credential {
  origin: string;
  /** Where the server may send a request on to; without it, it serves all by itself. Browsers cannot be sent. */
  follows?: (origin: string) => boolean;
  /** Cancels every call. */
  signal?: AbortSignal;
}

const DEFAULT_TIMEOUT_MS = 60_000;
/** A request is sent on so often at most, like at the servers. */
const MAX_HOPS = 2;
const MAX_ANSWER_CHARACTERS = 64 * 1024 * 1024;
const droppedSchema = z.object({ dropped: z.number() });
const fields = z.record(z.string(), z.unknown()).default({});
const queryFields = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]).optional()).default({});

export function createClientOver(transport: HttpTransport, credentials: ClientCredentials): Client {
  const { origin, signal: always } = credentials;
  const deadline = (ms: number, signal: AbortSignal | undefined): Deadline => deadlineOf(transport, origin, ms, [always, signal]);
  const open = async (route: Route, { params, query, body }: Parts, signal: AbortSignal, idleMs: number): Promise<HttpAnswer> => {
    const search = searchOf(queryFields.parse(query));
    const headers: Record<string, string> = { accept: route.answer === 'events' ? 'text/event-stream' : '*/*', ...credentialHeaders(credentials) };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const answer = await sendOn(transport, credentials.follows, {
      method: route.method,
      origin,
      target: `${pathOf(route, fields.parse(params))}${search === '' ? '' : `?${search}`}`,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal,
      idleMs,
    });
    if (answer.status >= 400) throw refusal(answer.status, await textOf(answer));
    return answer;
  };

  const request = async <R extends Route>(route: R, parts: Parts, options: CallOptions = {}): Promise<Answer<z.output<R['response']>>> => {
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    const limit = deadline(timeoutMs, options.signal);
    try {
      const answer = await open(route, parts, limit.signal, timeoutMs);
      const text = await textOf(answer);
      return { body: parseAnswer<R['response']>(route.response, route.answer === 'text' ? text : parseJson(text)), headers: answer.headers };
    } finally {
      limit.end();
    }
  };

  return {
    origin,
    request,
    call: async (route, parts, options) => (await request(route, parts, options)).body,
    all: async <T>(route: ListRoute<T>, q = '', options: CallOptions = {}): Promise<T[]> => {
      const items: T[] = [];
      for (;;) {
        const page = await request(route, { query: { q, limit: limits.listMax, offset: items.length } }, options);
        items.push(...page.body);
        if (page.body.length === 0 || items.length >= Number(page.headers['x-total-count'] ?? 0)) return items;
      }
    },
    stream: async (route, parts, options) => {
      const limit = deadline(options.timeoutMs ?? DEFAULT_TIMEOUT_MS, options.signal);
      // Three heartbeats missed: the stream is dead although nobody said so.
      try {
        const answer = await open(route, parts, limit.signal, limits.apiStreamHeartbeatMs * 3);
        limit.started();
        return eventsOf(route, answer, () => limit.end());
      } catch (error) {
        limit.end();
        throw error;
      }
    },
    close: () => transport.close(),
  };
}

/** Goes where servers send it, but only where `follows` allows: else the first one is asked to serve it by itself. */
async function sendOn(transport: HttpTransport, follows: ClientCredentials['follows'], request: HttpRequest): Promise<HttpAnswer> {
  if (follows === undefined || !transport.showsRedirects) return transport.send(request);
  let at = request;
  for (let hops = 0; hops <= MAX_HOPS; hops += 1) {
    const answer = await transport.send({ ...at, headers: { ...at.headers, prefer: 'redirect' } });
    if (answer.status !== 307) return answer;
    await textOf(answer);
    const location = answer.headers['location'] ?? '';
    const to = URL.canParse(location) ? new URL(location).origin : null;
    if (to === null || !follows(to)) break;
    at = { ...request, origin: to, target: location.slice(to.length) };
  }
  return transport.send(request);
}

function searchOf(query: z.output<typeof queryFields>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.append(name, String(value));
  return search.toString();
}

async function* eventsOf<R extends Route>(route: R, answer: HttpAnswer, end: () => void): AsyncGenerator<StreamEvent<z.output<R['response']>>> {
  try {
    for await (const { event, data } of parseEvents(answer.chunks)) {
      const json = parseJson(data);
      if (event === 'dropped') yield { kind: 'dropped', count: parseAnswer(droppedSchema, json).dropped };
      else yield { kind: 'event', data: parseAnswer<R['response']>(route.response, json) };
    }
  } finally {
    end();
  }
}

interface Deadline {
  signal: AbortSignal;
  /** Takes the time limit away. */
  started(): void;
  end(): void;
}

/** A signal that aborts when one of the caller's does or the time is over. */
function deadlineOf(transport: HttpTransport, origin: string, ms: number, outer: (AbortSignal | undefined)[]): Deadline {
  const abort = new AbortController();
  const cancel = (): void => abort.abort(new HoldfastError('CANCELLED', { fate: 'unknown' }));
  const problem = `no answer within ${ms} ms; what was asked may have been done`;
  const started = transport.after(ms, () => abort.abort(new HoldfastError('UNREACHABLE', { origin, problem })));
  for (const signal of outer) {
    signal?.addEventListener('abort', cancel, { once: true });
    if (signal?.aborted === true) cancel();
  }
  return {
    signal: abort.signal,
    started,
    end: () => {
      started();
      for (const signal of outer) signal?.removeEventListener('abort', cancel);
    },
  };
}

async function textOf(answer: HttpAnswer): Promise<string> {
  const parts: string[] = [];
  let length = 0;
  for await (const chunk of answer.chunks) {
    parts.push(chunk);
    length += chunk.length;
    if (length > MAX_ANSWER_CHARACTERS) throw new HoldfastError('LINK_PROTOCOL', { problem: 'the answer is too large' });
  }
  return parts.join('');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new HoldfastError('LINK_PROTOCOL', { problem: 'the answer is not JSON; is this a Holdfast server?' });
  }
}

function parseAnswer<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new HoldfastError('LINK_PROTOCOL', { problem: `the answer does not fit: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}` });
}

function refusal(status: number, text: string): HoldfastError {
  let json: unknown = null;
  try {
    json = JSON.parse(text);
  } catch {
    // Not from us: a proxy on the way, most likely.
  }
  const wire = errorSchema.safeParse(json);
  return wire.success ? fromWire(wire.data) : new HoldfastError('LINK_PROTOCOL', { problem: `status ${status} without an error of ours` });
}
