import type { z } from 'zod';
import type { Json } from '../../foundation/json.ts';
import type { NotedFacts } from '../../model/events.ts';
import { limits } from '../../model/limits.ts';
import { parseInput } from '../../client-api/parse.ts';
import type { Route } from '../../client-api/route.ts';
import type { Clock } from '../../ports/clock.ts';
import type { EventLog } from '../../ports/event-log.ts';
import type { Random } from '../../ports/random.ts';
import type { HoldfastNode } from '../../runtime/node.ts';
import type { Caller, RequestHeaders } from '../auth/auth.ts';
import { bufferSource, EventBuffer } from '../event-buffer.ts';
import type { KeptLists } from '../kept-lists.ts';
import type { ApiReply, Headers } from '../reply.ts';
import type { SiteFiles } from '../site-files.ts';

export interface HandlerDeps {
  node: HoldfastNode;
  lists: KeptLists;
  events: EventLog;
  clock: Clock;
  random: Random;
  siteFiles: SiteFiles;
  /** Of this program. */
  version: string;
  metricsText: () => Promise<string>;
  /** Copies the store into a new file of the backup folder; name null: one with the time in it. */
  backup: (name: string | null) => Promise<{ path: string }>;
  /** Aborts when the shutdown begins. */
  closing: AbortSignal;
  /** Aborts when the shutdown has no more patience with requests under way. */
  cancelling: AbortSignal;
}

/** A request that was let in, not yet parsed. */
export interface RawCall {
  params: unknown;
  query: unknown;
  body: unknown;
  /** Of open routes: anybody. */
  caller: Caller;
  headers: RequestHeaders;
  /** `X-Request-ID`. */
  requestId: string;
  /** Aborts when the client is gone or the server has to end. */
  signal: AbortSignal;
  /** Adds to the audit line. */
  note(facts: NotedFacts): void;
  /** The command runs under an id of its own: answer and record say that one. */
  renamed(requestId: string): void;
}

type Call<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> = Omit<RawCall, 'params' | 'query' | 'body'> & {
  params: z.output<P>;
  query: z.output<Q>;
  body: z.output<B>;
};

export type Handler = (call: RawCall) => Promise<ApiReply>;

export function parsed<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType>(route: Route<P, Q, B>, call: RawCall): Call<P, Q, B> {
  return {
    ...call,
    params: parseInput(route.params, call.params, 'params'),
    query: parseInput(route.query, call.query, 'query'),
    body: parseInput(route.body, call.body, 'body'),
  };
}

/** A handler of a `json` or `text` route: parses the request, runs, answers with the route's status. */
export function answer<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType>(
  route: Route<P, Q, B, R>,
  run: (call: Call<P, Q, B>) => Promise<{ body: z.input<R>; headers?: Headers; status?: number }>,
): Handler {
  return async (raw) => {
    const { body, headers = {}, status = route.status } = await run(parsed(route, raw));
    return { kind: route.answer === 'events' ? 'json' : route.answer, status, headers, body };
  };
}

/** A handler of an `events` route. `open` may refuse; it calls `send` from then on, and returns the way to stop. */
export function stream<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType<Json>>(
  route: Route<P, Q, B, R>,
  event: string,
  open: (call: Call<P, Q, B>, send: (data: z.input<R> & Json, key?: string) => void) => Promise<() => void>,
): Handler {
  return async (raw) => {
    const buffer = new EventBuffer(limits.apiStreamEvents);
    const unsubscribe = await open(parsed(route, raw), (data, key) => buffer.push(data, key ?? null));
    let stopped = false;
    const stop = (): void => {
      if (stopped) return;
      stopped = true;
      unsubscribe();
      buffer.close();
    };
    return { kind: 'events', source: bufferSource(buffer, event), stop };
  };
}
