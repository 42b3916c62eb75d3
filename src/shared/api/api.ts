import { assert, AssertionError } from '../foundation/assert.ts';
import { NumberedTable } from '../foundation/numbered-table.ts';
import { HoldfastError } from '../model/errors.ts';
import { recordedAs } from '../model/events.ts';
import type { NotedFacts } from '../model/events.ts';
import { limits } from '../model/limits.ts';
import { redact } from '../model/redact.ts';
import { parseInput } from '../client-api/parse.ts';
import { isRouteName, routes } from '../client-api/routes.ts';
import type { Route, RouteName } from '../client-api/routes.ts';
import { byId, byRequestId } from '../client-api/schemas.ts';
import type { Role } from '../client-api/schemas.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { EventLog } from '../ports/event-log.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Random } from '../ports/random.ts';
import { cancellerOf } from '../runtime/commands/commands-in-flight.ts';
import type { HoldfastNode } from '../runtime/node.ts';
import { AccessRefusals } from './auth/access-refusals.ts';
import { Authenticator, hasRole } from './auth/auth.ts';
import type { Caller, RequestHeaders } from './auth/auth.ts';
import { ClientSockets } from './sockets/client-sockets.ts';
import { credentialIn } from './auth/credential-text.ts';
import { createHandlers } from './handlers/handlers.ts';
import type { Handlers } from './handlers/handlers.ts';
import { holderHeaders, locationOf, redirectOf } from './holder-origin.ts';
import { KeptLists } from './kept-lists.ts';
import { LargeRequests } from './large-requests.ts';
import { ListTurns } from './list-turns.ts';
import { locationsTouched } from './modules.ts';
import { Origins, type Scheme } from './auth/origins.ts';
import { errorReply, requireFits } from './reply.ts';
import type { ApiReply, BodyReply, EventsReply, Headers } from './reply.ts';
import type { SiteFiles } from './site-files.ts';
import type { SocketCall } from './sockets/socket-session.ts';
import { admitWebhook } from './handlers/trigger-handlers.ts';

export interface ApiDeps {
  node: HoldfastNode;
  events: EventLog;
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  /** The text that `/metrics` answers. */
  metricsText: () => Promise<string>;
  siteFiles: SiteFiles;
  /** Milliseconds since the documents were known to be those of the database; null: they are now. */
  staleMs: () => number | null;
  /** Of this program. */
  version: string;
  /** Whose pages may use the API, besides our own. */
  origins: readonly string[];
  /** Of this server. */
  scheme: Scheme;
  /** Copies the store into a new file of the backup folder; name null: one with the time in it. */
  backup: (name: string | null) => Promise<{ path: string }>;
  /** Called with a broken invariant of the program: the process must end. */
  onProgrammerError: (error: unknown) => void;
}

/** One request on its way. The server makes it with `begin` and passes it to every further step. */
export interface RequestContext {
  readonly route: RouteName;
  readonly caller: Caller | null;
  /** Why nobody is known who asks; null: somebody is, or nobody has to be. */
  readonly refusal: HoldfastError | null;
  /** `X-Request-ID`, or what its command runs under. */
  requestId: string;
  readonly remote: string;
  readonly headers: RequestHeaders;
  /** Path and query as they came. */
  readonly url: string;
  readonly params: unknown;
  /** That it is about, for the audit. */
  readonly locations: readonly string[];
  readonly facts: NotedFacts;
  settled: boolean;
}

export interface RequestStart {
  route: RouteName;
  headers: RequestHeaders;
  requestId: string;
  remote: string;
  params: unknown;
  query: unknown;
  /** Path and query as they came. */
  url: string;
}

export interface RequestInput {
  query: unknown;
  body: unknown;
  /** The largest answer that can be sent; absent: that of the route. */
  answerBytes?: number;
  /** Aborts when the client leaves. */
  gone: AbortSignal;
}

const ANYBODY: Caller = { id: 'anybody', user: 'anybody', name: 'anybody', role: 'viewer', expiresMs: null };
/** Timers take no longer times; a stream of a month may end and be opened again. */
const LONGEST_TIMER_MS = 2_000_000_000;

/**
 * The REST API without its server: who may do what, readiness, audit, errors.
 * Order of calls: `begin`, (rate limit), `admit`, `admitBody`, (read the body), `run`; `fail` when any step in between throws.
 */
export class Api {
  /** The WebSockets of clients. */
  readonly sockets: ClientSockets;
  readonly #deps: ApiDeps;
  readonly origins: Origins;
  readonly #auth: Authenticator;
  readonly #handlers: Handlers;
  readonly #refusals: AccessRefusals;
  readonly #closing = new AbortController();
  readonly #cancelling = new AbortController();
  readonly #requests = new NumberedTable<AbortController>();
  readonly #largeBodies = new LargeRequests({ limitBytes: limits.largeBodiesBytes, where: 'server' });
  /** Of those who have shown no key: whatever they do, it does not count for others. */
  readonly #strangersBodies = new LargeRequests({ limitBytes: limits.strangersBodiesBytes, where: 'server without a key' });
  readonly #listTurns: ListTurns;
  readonly #keptLists: KeptLists;
  readonly #streams = new Map<EventsReply, { caller: Caller; route: RouteName }>();

  constructor(deps: ApiDeps) {
    this.#deps = deps;
    this.#auth = new Authenticator(deps.node.store, deps.clock, (isTouched) => {
      this.#endForeignStreams(isTouched);
      this.sockets.checkKeys(isTouched);
    });
    this.#refusals = new AccessRefusals(deps);
    this.#listTurns = new ListTurns(deps.clock, setImmediate);
    this.origins = new Origins(deps.origins, deps.scheme);
    this.sockets = new ClientSockets({
      ...deps,
      auth: this.#auth,
      refused: (error, refusal) => this.#refusals.note(error, { ...refusal, requestId: null }),
      commandsPerSecond: limits.clientSocketCommandsPerSecond,
      // An untrusted page does not get here, so that cookies count.
      identify: (headers, query) => this.#auth.identify(credentialIn(headers, query, true)),
      refusalOf: (headers, query) => this.#auth.refusalOf(credentialIn(headers, query, true)),
      trusts: (headers) => this.origins.trusts(headers, true),
      request: (call) => this.#request(call),
      asOperatingError: (error) => this.#known(error, deps.random.hex(8)),
    });
    this.#keptLists = new KeptLists(deps.node.store, deps.clock);
    this.#handlers = createHandlers({ ...deps, lists: this.#keptLists, closing: this.#closing.signal, cancelling: this.#cancelling.signal });
  }

  /** Finds out who asks. Refuses nothing yet: the rate limit comes first. */
  async begin(start: RequestStart): Promise<RequestContext> {
    const { route, headers, requestId, remote, params, query, url } = start;
    // Before the node is ready its store may not answer; `admit` refuses then anyway.
    const { role, whileStarting, audited } = routes[route];
    const known = role !== null && (whileStarting || this.#deps.node.readiness().ready);
    const withCookies = this.origins.trusts(headers, audited !== null);
    const credential = known ? credentialIn(headers, query, withCookies) : null;
    const caller = await this.#auth.identify(credential);
    const refusal = known && caller === null ? await this.#auth.refusalOf(credential) : null;
    return { route, caller, refusal, requestId, remote, headers, url, params, locations: this.#locationsFor(route, params), facts: {}, settled: false };
  }

  /** As the documents say now: what is removed has none afterwards. */
  #locationsFor(route: RouteName, params: unknown): string[] {
    const { adminOf, audited, path } = routes[route];
    if (audited === null) return [];
    const { node } = this.#deps;
    // It reaches all of its modules, wherever they belong.
    const ofSystem = adminOf === 'system' ? byId.safeParse(params).data : undefined;
    if (ofSystem !== undefined) return node.locationsOfSystem(ofSystem.id).slice(0, limits.namedDocuments);
    const location = locationOf(node, path, params);
    return location === null ? [] : [location];
  }

  /** What every answer to this request says, errors included. */
  headersFor({ route, params }: RequestContext): Headers {
    const stale = this.#deps.staleMs();
    const age: Headers = stale === null ? {} : { 'x-holdfast-store-age': String(Math.ceil(stale / 1_000)) };
    return { ...holderHeaders(this.#deps.node, { path: routes[route].path, params }), ...age };
  }

  /** Throws when the request may not go on. */
  async admit(context: RequestContext): Promise<void> {
    const route: Route = routes[context.route];
    if (route.role === null && route.whileStarting) return;
    if (this.#closing.signal.aborted) throw new HoldfastError('SHUTTING_DOWN', {});
    const { ready, waitingFor } = this.#deps.node.readiness();
    if (!ready && !route.whileStarting) {
      throw new HoldfastError('NOT_READY', { waitingFor: waitingFor.join(', ') || 'its start', retryAfterMs: 1_000 });
    }
    if (route.role !== null) requireRole(context, route.role);
    if (route.masterOnly && this.#deps.node.role === 'edge') throw new HoldfastError('MASTER_ONLY', { action: `${route.method} ${route.path}` });
    await admitWebhook(this.#deps.node, context);
  }

  /** A body of so many bytes is to be read. Throws when too much is under way; call what it returns when the request is over. */
  admitBody({ caller }: RequestContext, bytes: number): () => void {
    const bodies = caller === null ? this.#strangersBodies : this.#largeBodies;
    bodies.begin(bytes);
    return () => bodies.ended(bytes);
  }

  /** Carries the request out. Never throws: a failure is a reply too. */
  async run(context: RequestContext, input: RequestInput): Promise<ApiReply> {
    try {
      return await this.#carryOut(context, input);
    } catch (error) {
      return this.fail(context, error);
    }
  }

  async #carryOut(context: RequestContext, input: RequestInput): Promise<ApiReply> {
    // One listener per request and no AbortSignal.any: that keeps its sources alive on Node 20.
    const abort = new AbortController();
    const leave = (): void => abort.abort(input.gone.reason);
    input.gone.addEventListener('abort', leave, { once: true });
    const number = this.#requests.add(abort);
    try {
      // It waited for its turn: nobody is there for the answer any more.
      if (input.gone.aborted) throw new HoldfastError('CANCELLED', { fate: 'not-sent' });
      const caller = context.caller ?? ANYBODY;
      if (routes[context.route].answer === 'events') this.#admitStream(caller);
      await this.#requireLocationAdmin(context, caller, input.query);
      const redirect = redirectOf(this.#deps.node, { ...context, route: routes[context.route] });
      if (redirect !== null) {
        this.#settle(context, redirect.status, 'redirected');
        return redirect;
      }
      const reply = await this.#inTurn(context.route, caller, abort.signal, () =>
        this.#handlers[context.route]({
          params: context.params,
          query: input.query,
          body: input.body,
          headers: context.headers,
          requestId: context.requestId,
          caller,
          signal: abort.signal,
          note: (facts) => Object.assign(context.facts, facts),
          renamed: (requestId) => {
            context.requestId = requestId;
          },
        }),
      );
      const { audited, answerBytes } = routes[context.route];
      if (reply.kind !== 'events' && audited === null) requireFits(reply, Math.min(answerBytes, input.answerBytes ?? answerBytes));
      this.#settle(context, reply.kind === 'events' ? 200 : reply.status, 'ok');
      return reply.kind === 'events' ? this.#track(reply, context, input.gone) : reply;
    } finally {
      this.#requests.take(number);
      input.gone.removeEventListener('abort', leave);
    }
  }

  #admitStream(caller: Caller): void {
    const own = [...this.#streams.values()].filter((stream) => stream.caller.id === caller.id).length;
    if (this.#streams.size >= limits.apiStreams) throw new HoldfastError('STREAMS_FULL', { limit: limits.apiStreams });
    if (own >= limits.apiStreamsPerKey) {
      throw new HoldfastError('LIMIT_REACHED', { what: 'event streams may be open with one key', limit: limits.apiStreamsPerKey });
    }
  }

  /** The reply to a request that ended with an error; `context` null when no route was found. */
  fail(context: RequestContext | null, error: unknown, requestId = context?.requestId ?? ''): BodyReply {
    return errorReply(context === null ? this.#known(error, requestId) : this.#failed(context, error));
  }

  /** From now on new requests are refused, and event streams end. Requests under way go on. */
  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new HoldfastError('SHUTTING_DOWN', {}));
    this.#auth.close();
    this.#keptLists.close();
    this.sockets.close();
    for (const reply of this.#streams.keys()) reply.stop();
  }

  /** Cancels the requests that are still under way. */
  cancel(): void {
    this.close();
    this.#cancelling.abort();
    this.sockets.cancel();
    for (const abort of this.#requests.values()) abort.abort();
  }

  async #inTurn<T>(route: RouteName, caller: Caller, signal: AbortSignal, handle: () => Promise<T>): Promise<T> {
    if (!routes[route].list) return await handle();
    const ended = await this.#listTurns.begin(caller.id, signal);
    try {
      return await handle();
    } finally {
      ended();
    }
  }

  async #requireLocationAdmin({ route, params }: RequestContext, caller: Caller, query: unknown): Promise<void> {
    const { adminOf } = routes[route];
    if (adminOf === null || hasRole(caller, 'admin')) return;
    const { id } = parseInput(adminOf === 'request' ? byRequestId : byId, params, 'params');
    await this.#auth.requireLocationAdmin(caller, await locationsTouched(this.#deps.node, adminOf, id, query));
  }

  /** The same as REST, of a client that is known. Throws what REST would answer. */
  async #request({ route, params, query, body, caller, remote, requestId, gone }: SocketCall): Promise<{ status: number; body: unknown }> {
    if (!isRouteName(route) || routes[route].answer !== 'json') {
      throw new HoldfastError('INPUT_INVALID', { field: 'route', problem: 'is no route that is answered in JSON; /openapi.json has their names' });
    }
    const locations = this.#locationsFor(route, params);
    const known = { caller, refusal: null };
    const context: RequestContext = { route, ...known, requestId, remote, headers: {}, url: '', params: params ?? {}, locations, facts: {}, settled: false };
    try {
      await this.admit(context);
      const reply = await this.#carryOut(context, { query: query ?? {}, body, answerBytes: limits.clientSocketAnswerBytes, gone });
      assert(reply.kind === 'json', `${route} is answered in JSON`);
      return reply;
    } catch (error) {
      throw this.#failed(context, error);
    }
  }

  #failed(context: RequestContext, error: unknown): HoldfastError {
    const known = this.#known(error, context.requestId);
    const { caller, remote, requestId } = context;
    const { method, path } = routes[context.route];
    this.#refusals.note(known, { who: caller?.id ?? null, what: `${method} ${path}`, remote, requestId });
    Object.assign(context.facts, cancellerOf(known));
    this.#settle(context, known.status, known.code);
    return known;
  }

  #known(error: unknown, requestId: string): HoldfastError {
    return error instanceof HoldfastError ? error : this.#unexpected(error, requestId);
  }

  #unexpected(error: unknown, requestId: string): HoldfastError {
    const stack = error instanceof Error ? error.stack : String(error);
    this.#deps.log.error('api.failed', { requestId, stack });
    if (error instanceof AssertionError) this.#deps.onProgrammerError(error);
    return new HoldfastError('INTERNAL', { requestId });
  }

  /** Counts and audits a request, once. */
  #settle(context: RequestContext, status: number, result: string): void {
    if (context.settled) return;
    context.settled = true;
    const route: Route = routes[context.route];
    this.#deps.metrics.add('holdfast_api_requests_total', { route: context.route, status: String(status) });
    if (route.audited === null) return;
    // What is no valid parameter may be anything, such as a key in the wrong place.
    const valid = route.params.safeParse(context.params).success;
    const { location: noted = null, to } = context.facts;
    const [location, ...others] = noted === null && valid ? context.locations : [noted];
    const line = {
      who: context.caller?.id ?? 'nobody',
      user: context.caller?.user ?? null,
      role: context.caller?.role ?? null,
      what: `${route.method} ${route.path}`,
      params: valid ? withoutSecrets(context.params) : null,
      ...context.facts,
      ...(location === undefined ? {} : { location: typeof location === 'string' ? redact(location) : location }),
      result,
      status,
      remote: context.remote,
      requestId: context.requestId,
    };
    const word = recordedAs(route.audited, status);
    this.#deps.log.info(word, line);
    // Who looks at one location only must see all that concerns it: also what comes to it.
    for (const other of others) this.#deps.log.info(word, { ...line, location: other });
    if (to !== undefined) this.#deps.log.info(word, { ...line, location: to, from: location ?? null });
  }

  #track(reply: EventsReply, context: RequestContext, gone: AbortSignal): EventsReply {
    const caller = context.caller ?? ANYBODY;
    const expiry = this.#whenExpired(caller, () => tracked.stop());
    const tracked: EventsReply = {
      ...reply,
      stop: () => {
        expiry?.cancel();
        reply.stop();
        this.#streams.delete(tracked);
        this.#deps.metrics.set('holdfast_api_streams', {}, this.#streams.size);
      },
    };
    this.#streams.set(tracked, { caller, route: context.route });
    this.#deps.metrics.set('holdfast_api_streams', {}, this.#streams.size);
    // The client may have left, or the shutdown begun, while the stream was opened.
    if (gone.aborted || this.#closing.signal.aborted) tracked.stop();
    return tracked;
  }

  #whenExpired({ expiresMs }: Caller, callback: () => void): Timer | null {
    if (expiresMs === null) return null;
    const { clock } = this.#deps;
    return clock.after(Math.max(0, Math.min(expiresMs - clock.wallMs(), LONGEST_TIMER_MS)), callback);
  }

  /** After a commit: streams of keys that were revoked or changed their role end. */
  #endForeignStreams(isTouched: (caller: Caller) => boolean): void {
    for (const [reply, { caller }] of this.#streams) {
      if (!isTouched(caller)) continue;
      this.#auth.stillValid(caller).then(
        (valid) => {
          if (!valid) reply.stop();
        },
        (error: unknown) => this.#deps.log.warn('api.stream-check-failed', { error: String(error) }),
      );
    }
  }
}

/** Callers of webhooks may have theirs in the path, and somebody will put a whole key where its id belongs. */
function withoutSecrets(params: unknown): unknown {
  if (typeof params !== 'object' || params === null) return params;
  const texts = Object.entries(params).map(([name, value]: [string, unknown]) => [name, typeof value === 'string' ? redact(value) : value]);
  return { ...Object.fromEntries(texts), ...('secret' in params ? { secret: '[redacted]' } : {}) };
}

function requireRole({ caller, refusal }: RequestContext, role: Role): void {
  if (caller === null) throw refusal ?? new HoldfastError('UNAUTHORISED', {});
  if (!hasRole(caller, role)) throw new HoldfastError('FORBIDDEN', { needs: `the role ${role}` });
}

export const createApi = (deps: ApiDeps): Api => new Api(deps);
