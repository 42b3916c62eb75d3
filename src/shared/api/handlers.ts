import type { z } from 'zod';
import { HoldfastError } from '../model/errors.ts';
import type { Json, JsonObject } from '../foundation/json.ts';
import { limits } from '../model/limits.ts';
import { parseInput } from '../client-api/parse.ts';
import { routes } from '../client-api/routes.ts';
import type { Route, RouteName } from '../client-api/routes.ts';
import type { Clock } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';
import type { HoldfastNode, LocationView, OrderKind, Readiness } from '../runtime/node.ts';
import { createApiKey, revokeApiKey } from './api-keys.ts';
import type { Authenticator, Caller } from './auth.ts';
import { withDeadline } from './deadline.ts';
import { EventBuffer } from './event-buffer.ts';
import { listAll, moduleNames, pageOf } from './lists.ts';
import { listHeaders } from './reply.ts';
import type { ApiReply, Headers } from './reply.ts';
import type { SiteFiles } from './site-files.ts';
import { apiKeyOf, controlEventOf, historyOf, locationOf, systemOf } from './views.ts';

export interface HandlerDeps {
  node: HoldfastNode;
  auth: Authenticator;
  clock: Clock;
  random: Random;
  siteFiles: SiteFiles;
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
  /** Aborts when the client is gone or the server has to end. */
  signal: AbortSignal;
  /** Adds to the audit line. */
  note(facts: JsonObject): void;
}

type Call<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> = Omit<RawCall, 'params' | 'query' | 'body'> & {
  params: z.output<P>;
  query: z.output<Q>;
  body: z.output<B>;
};

type Handler = (call: RawCall) => Promise<ApiReply>;
export type Handlers = Record<RouteName, Handler>;

function parsed<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType>(route: Route<P, Q, B>, call: RawCall): Call<P, Q, B> {
  return {
    ...call,
    params: parseInput(route.params, call.params, 'params'),
    query: parseInput(route.query, call.query, 'query'),
    body: parseInput(route.body, call.body, 'body'),
  };
}

/** A handler of a `json` or `text` route: parses the request, runs, answers with the route's status. */
function answer<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType>(
  route: Route<P, Q, B, R>,
  run: (call: Call<P, Q, B>) => Promise<{ body: z.input<R>; headers?: Headers; status?: number }>,
): Handler {
  return async (raw) => {
    const { body, headers = {}, status = route.status } = await run(parsed(route, raw));
    return { kind: route.answer === 'text' ? 'text' : 'json', status, headers, body };
  };
}

/** A handler of an `events` route. `open` may refuse; it calls `send` from then on, and returns the way to stop. */
function stream<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType<Json>>(
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
    return { kind: 'events', event, buffer, stop };
  };
}

export function createHandlers(deps: HandlerDeps): Handlers {
  const { node } = deps;
  return {
    live: answer(routes.live, async () => ({ body: { status: 'up' as const, role: node.role, node: node.id, waiting_for: [] } })),
    ready: answer(routes.ready, async () => healthOf(deps, (readiness) => readiness.ready)),
    startup: answer(routes.startup, async () => healthOf(deps, (readiness) => readiness.started)),
    metrics: answer(routes.metrics, async () => ({
      body: await deps.metricsText(),
      headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
    })),
    events: stream(routes.events, 'control', async (_, send) => node.onControl((event) => send(controlEventOf(event)))),
    ...locationHandlers(deps),
    ...enrolmentHandlers(deps),
    ...systemHandlers(deps),
    ...documentHandlers(deps),
  };
}

function healthOf({ node, closing }: HandlerDeps, good: (readiness: Readiness) => boolean) {
  const readiness = node.readiness();
  const up = good(readiness) && !closing.aborted;
  const waiting_for = closing.aborted ? ['the shutdown to end'] : readiness.waitingFor;
  const body = { status: up ? ('up' as const) : ('starting' as const), role: node.role, node: node.id, waiting_for: up ? [] : waiting_for };
  return up ? { body } : { body, status: 503, headers: { 'retry-after': '1' } };
}

function locationHandlers({ node, auth, clock, cancelling }: HandlerDeps) {
  const find = (id: string): LocationView => {
    const view = node.location(id);
    if (view === null) throw new HoldfastError('NOT_FOUND', { kind: 'location', id });
    return view;
  };
  const orderOf = (route: (typeof routes)[OrderKind], kind: OrderKind): Handler =>
    answer(route, async ({ params, body, caller, note }) => {
      note({ dryRun: body.dry_run });
      await auth.requireLocationAdmin(caller, params.id);
      find(params.id);
      const request = { location: params.id, kind, by: caller.id, dryRun: body.dry_run };
      // Only a shutdown cancels it: an order half carried out because its client left would surprise everybody.
      const result = await withDeadline(clock, limits.orderMs + limits.claimMs, cancelling, (signal) => node.order(request, signal));
      note({ summary: result.summary });
      return {
        body: { before: locationOf(result.before), after: locationOf(result.after), summary: result.summary, dry_run: body.dry_run },
      };
    });

  return {
    edgeList: answer(routes.edgeList, async ({ query }) => {
      const all = node.locations().sort((a, b) => (a.id < b.id ? -1 : 1));
      const { items, total } = pageOf(all, query, (view) => [view.id, view.name]);
      return { body: items.map(locationOf), headers: listHeaders(routes.edgeList.path, query, items.length, total) };
    }),
    edgeShow: answer(routes.edgeShow, async ({ params }) => ({ body: locationOf(find(params.id)) })),
    edgeHistory: answer(routes.edgeHistory, async ({ params, query }) => {
      find(params.id);
      return { body: (await node.history(params.id, query.limit)).map(historyOf).sort((a, b) => b.sequence - a.sequence) };
    }),
    members: answer(routes.members, async () => ({ body: node.members() })),
    takeover: orderOf(routes.takeover, 'takeover'),
    handback: orderOf(routes.handback, 'handback'),
    pause: orderOf(routes.pause, 'pause'),
    resume: orderOf(routes.resume, 'resume'),
  };
}

function enrolmentHandlers({ node }: HandlerDeps) {
  return {
    edgeAdd: answer(routes.edgeAdd, async ({ body, note }) => {
      note({ edge: body.id });
      return { body: { id: body.id, ...(await node.enrolment.add(body.id)) } };
    }),
    edgeRotate: answer(routes.edgeRotate, async ({ params }) => ({ body: { id: params.id, ...(await node.enrolment.rotate(params.id)) } })),
    edgeRevoke: answer(routes.edgeRevoke, async ({ params }) => {
      await node.enrolment.revoke(params.id);
      return { body: { id: params.id, revoked: true as const } };
    }),
  };
}

function systemHandlers({ node, clock }: HandlerDeps) {
  return {
    systemList: answer(routes.systemList, async ({ query }) => {
      const systems = (await listAll(node.store, 'sys')).map(systemOf);
      const { items, total } = pageOf(systems, query, (system) => [system.id, system.name, system.description]);
      return { body: items, headers: listHeaders(routes.systemList.path, query, items.length, total) };
    }),
    systemShow: answer(routes.systemShow, async ({ params }) => {
      const stored = await node.store.get(params.id);
      if (stored?.document.type !== 'sys') throw new HoldfastError('NOT_FOUND', { kind: 'system', id: params.id });
      return { body: { ...systemOf(stored.document), module_names: await moduleNames(node.store, stored.document) } };
    }),
    exec: answer(routes.exec, async ({ params, query, body, caller, signal }) => {
      const { id, module, method } = params;
      const timeoutMs = query.timeout_ms;
      const request = { system: id, module: module.name, index: module.index, method, args: body, user: caller.id, timeoutMs };
      // The node keeps the deadline; ours is only the net below it.
      const result = await withDeadline(clock, timeoutMs + 1_000, signal, (signal) => node.exec(request, signal));
      return { body: result.value, headers: { 'x-holdfast-served-by': result.servedBy } };
    }),
    moduleStatus: answer(routes.moduleStatus, async ({ params: { id, module } }) => ({
      body: (await node.status(id, module.name, module.index)).values,
    })),
    variable: answer(routes.variable, async ({ params: { id, module, key } }) => {
      const { values } = await node.status(id, module.name, module.index);
      return { body: Object.hasOwn(values, key) ? (values[key] ?? null) : null };
    }),
    watch: stream(routes.watch, 'status', async ({ params: { id, module, key } }, send) =>
      node.watch({ system: id, module: module.name, index: module.index, key }, ({ system, module, index, key, value }) =>
        send({ system, module, index, key, value }, key),
      ),
    ),
  };
}

function documentHandlers({ node, siteFiles, backup, random, clock }: HandlerDeps) {
  return {
    backup: answer(routes.backup, async ({ body, note }) => {
      const made = await backup(body.name ?? null);
      note({ path: made.path });
      return { body: made };
    }),
    apply: answer(routes.apply, async ({ body, note }) => {
      const planned = await siteFiles.plan(body.text);
      note({ dryRun: body.dry_run, changes: planned.plan.changes.length });
      if (!body.dry_run) await planned.run();
      return { body: { ...planned.plan, dry_run: body.dry_run } };
    }),
    export: answer(routes.export, async () => ({ body: { text: await siteFiles.export() } })),
    keyList: answer(routes.keyList, async ({ query }) => {
      const keys = (await listAll(node.store, 'api_key')).map(apiKeyOf);
      const { items, total } = pageOf(keys, query, (key) => [key.id, key.name]);
      return { body: items, headers: listHeaders(routes.keyList.path, query, items.length, total) };
    }),
    keyAdd: answer(routes.keyAdd, async ({ body, note }) => {
      const made = await createApiKey(node.store, body, random, clock);
      note({ key: made.id, name: made.name, role: made.role });
      return { body: made };
    }),
    keyRevoke: answer(routes.keyRevoke, async ({ params }) => {
      await revokeApiKey(node.store, params.id);
      return { body: { id: params.id, revoked: true as const } };
    }),
  };
}
