import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import { createServer as createTlsServer, Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import helmet from '@fastify/helmet';
import rateLimit from '@fastify/rate-limit';
import fastify from 'fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify';
import type { Api, RequestContext } from '../../api/api.ts';
import { errorReply, isLong, jsonTextOf } from '../../api/reply.ts';
import type { BodyReply } from '../../api/reply.ts';
import { routes } from '../../client-api/routes.ts';
import type { Route, RouteName } from '../../client-api/routes.ts';
import { prototypeKeyIn, prototypeKeyProblem } from '../../foundation/json.ts';
import { sayLastWord } from '../../foundation/last-word.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import { withoutKeys } from '../../model/redact.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Random } from '../../ports/random.ts';
import { ConnectionRoom } from './connection-room.ts';
import { countedBody } from './counted-body.ts';
import { sendEvents } from './events.ts';
import { OpenResponses } from './open-responses.ts';
import { PiledRequests } from './piled-requests.ts';
import { rateAddress } from './rate-address.ts';
import { RequestTurns } from './request-turns.ts';
import { boundSilentConnections } from './silent-connections.ts';

export interface HttpServerOptions {
  api: Api;
  host: string;
  /** 0: any free port. */
  port: number;
  /** PEM. Without it only loopback addresses are served. */
  tls?: { cert: string; key: string };
  clock: Clock;
  random: Random;
  requestsPerMinute?: number;
  /** Less, for tests of clients that read nothing. */
  unreadBytes?: number;
  /** Fewer, for tests of a full server. */
  connections?: number;
  /** Shorter ones, for tests of clients that are too slow. */
  timeouts?: SlowClients;
}

export interface HttpServer {
  /** Such as `https://127.0.0.1:8443`. */
  readonly origin: string;
  /** For `upgrade` requests. */
  readonly server: Server;
  /** For connections from now on. */
  replaceCertificate(tls: { cert: string; key: string }): void;
  /** Refuses new requests, ends streams, gives requests under way `shutdownStepMs`, then cuts what is left. */
  close(): Promise<void>;
}

/** A client that sends its request slowly, or not at all, is cut off. */
type SlowClients = Record<'headersTimeout' | 'requestTimeout' | 'connectionsCheckingInterval', number>;
const slowClients: SlowClients = { headersTimeout: limits.apiHeadersMs, requestTimeout: limits.apiRequestMs, connectionsCheckingInterval: 1_000 };

const TLS_MIN = 'TLSv1.2';

/** In our words: those of the framework repeat the URL, and with it a key in its query. */
const BAD_URL = { field: 'url', problem: 'is not a valid URL, or a part of it is too long' };

const notOurs = (): never => {
  throw new Error('the framework calls what it has no reason to call');
};
/** Our routes check their input themselves. Without these, the framework loads its compilers of schemas: a tenth of a second at each start. */
const noSchemas = { buildValidator: notOurs, buildSerializer: notOurs };

type Contexts = WeakMap<FastifyRequest, RequestContext>;

const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);

/** Serves the REST API. Throws CONFIG_INVALID when the address cannot be used. */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, tls } = options;
  if (tls === undefined && !isLoopback(host)) {
    const problem = `${host} is not a loopback address: plain HTTP is not served there`;
    throw new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_HTTP', problem });
  }
  const { app, open, piled } = await createApp(options);
  try {
    await app.listen({ host, port });
  } catch (error) {
    await app.close();
    const problem = error instanceof Error ? error.message : String(error);
    throw new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_HTTP', problem }, { cause: error });
  }
  const address: AddressInfo | string | null = app.server.address();
  const actual = typeof address === 'object' && address !== null ? address.port : port;
  const name = host.includes(':') ? `[${host}]` : host;
  return {
    origin: `${tls === undefined ? 'http' : 'https'}://${name}:${actual}`,
    server: app.server,
    replaceCertificate: (renewed) => {
      if (app.server instanceof TlsServer) app.server.setSecureContext({ ...renewed, minVersion: TLS_MIN });
    },
    close: () => closeGently(app, options, { open, piled }),
  };
}

async function createApp(options: HttpServerOptions): Promise<{ app: FastifyInstance; open: OpenResponses; piled: PiledRequests }> {
  const { api, clock, random, timeouts = slowClients, tls, connections = limits.apiConnections } = options;
  const contexts: Contexts = new WeakMap();
  const turns = new RequestTurns(clock);
  const piled = new PiledRequests();
  const app = fastify({
    logger: false,
    bodyLimit: limits.bodyBytes,
    exposeHeadRoutes: false,
    // `admit` refuses in our own shape.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 512 },
    schemaController: { compilersFactory: noSchemas },
    requestIdHeader: false,
    genReqId: (request) => {
      const given = request.headers['x-request-id'];
      // Not either when it is a key.
      return typeof given === 'string' && /^[\w.-]{1,100}$/.test(given) && withoutKeys(given) === given ? given : random.hex(8);
    },
    serverFactory: (handler) => {
      const plain = { ...timeouts, keepAliveTimeout: limits.apiIdleMs, requireHostHeader: false, IncomingMessage: piled.requestClass() };
      const listener = turns.listener(requireHost(handler));
      const handshakeTimeout = timeouts.headersTimeout;
      const server =
        tls === undefined ? createServer(plain, listener) : createTlsServer({ ...plain, ...tls, handshakeTimeout, minVersion: TLS_MIN }, listener);
      server.maxConnections = connections;
      boundSilentConnections(server, limits.apiSilentConnections);
      return server;
    },
    frameworkErrors: (_, request, reply) => {
      setCommonHeaders(api, request, reply);
      void send(reply, api.fail(null, new HoldfastError('INPUT_INVALID', BAD_URL), request.id));
    },
    clientErrorHandler: (error, socket) => refuseSocket(error, socket, clock),
  });

  const open = new OpenResponses(app.server, options.unreadBytes ?? limits.apiUnreadBytes);
  const room = new ConnectionRoom(app.server, open, connections);
  piled.refuseOn(app.server, open, clock);
  turns.letIn(app.server);
  takeJsonOnly(app);
  app.setErrorHandler((error, request, reply) => {
    const known = operatingError(error, request.routeOptions.bodyLimit);
    return send(reply, api.fail(contexts.get(request) ?? null, known, request.id));
  });
  app.addHook('onRequest', async (request, reply) => setCommonHeaders(api, request, reply));
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    hsts: tls !== undefined,
  });
  await app.register(rateLimit, {
    max: options.requestsPerMinute ?? limits.apiRequestsPerMinute,
    timeWindow: 60_000,
    // By key once it is proved, so that nobody can use up the share of somebody else's key.
    keyGenerator: (request) => {
      const caller = contexts.get(request)?.caller;
      return caller === undefined || caller === null ? rateAddress(request.ip) : `key ${caller.id}`;
    },
    errorResponseBuilder: (_, { ttl }) => new HoldfastError('RATE_LIMITED', { retryAfterMs: ttl }),
  });

  // Before a body is read, as everywhere: nobody has shown a key. (The types know two of the hooks that it takes.)
  const unknownRoute = { preHandler: [], onRequest: [app.rateLimit(), refuseRoute] };
  app.setNotFoundHandler(unknownRoute, refuseRoute);
  const shared = { contexts, open, room, turns };
  app.route(preflight(api));
  for (const name of Object.keys(routes) as RouteName[]) app.route(routeOptions(name, options, shared));
  return { app, open, piled };
}

/** Node would refuse it by itself, as often as it comes, and nobody would count it. */
const requireHost = (handler: RequestListener): RequestListener => (request, response) => {
  if (request.headers.host !== undefined || request.httpVersion !== '1.1') return handler(request, response);
  const text = JSON.stringify(errorReply(new HoldfastError('INPUT_INVALID', { field: 'host', problem: 'is missing' })).body);
  response.writeHead(400, { 'content-type': contentTypes.json, 'content-length': Buffer.byteLength(text), connection: 'close' }).end(text);
};

async function refuseRoute(request: FastifyRequest): Promise<never> {
  const id = `${request.method} ${request.url.split('?')[0] ?? ''}`.slice(0, 300);
  throw new HoldfastError('NOT_FOUND', { kind: 'route', id });
}

function takeJsonOnly(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body.length === 0) done(null, undefined);
    // A string by `parseAs`; the types allow a buffer.
    else void parseJson(request, body.toString(), (error, value) => done(error === null ? null : (prototypeKey(body.toString()) ?? error), value));
  });
}

/** The framework calls it no JSON, which it is: whoever sent it would look in the wrong place. */
function prototypeKey(text: string): HoldfastError | null {
  try {
    const key = prototypeKeyIn(JSON.parse(text));
    return key === null ? null : new HoldfastError('INPUT_INVALID', { field: 'body', problem: prototypeKeyProblem(key) });
  } catch {
    return null;
  }
}

/** Of all routes. */
interface Shared {
  contexts: Contexts;
  open: OpenResponses;
  room: ConnectionRoom;
  turns: RequestTurns;
}

function routeOptions(name: RouteName, { api, clock }: HttpServerOptions, { contexts, open, room, turns }: Shared): RouteOptions {
  const route: Route = routes[name];
  const contextOf = (request: FastifyRequest): RequestContext => {
    const context = contexts.get(request);
    if (context === undefined) throw new Error('a request without a context');
    return context;
  };
  return {
    method: route.method,
    url: route.path,
    bodyLimit: route.bodyBytes,
    // HEAD only asks.
    exposeHeadRoute: route.method === 'GET' && route.answer !== 'events' && !route.audited,
    ...(route.role === null && route.whileStarting ? { config: { rateLimit: false } } : {}),
    // The plug-in puts its rate limit behind this hook; `admit` comes after both, and before the body is read.
    onRequest: async (request, reply) => {
      const { id: requestId, headers, params, query, ip: remote, url } = request;
      const context = await api.begin({ route: name, headers, requestId, remote, params, query, url });
      contexts.set(request, context);
      if (context.caller !== null) {
        room.proved(request.socket, context.caller.id);
        turns.proved(request.socket);
      }
      void reply.headers(api.headersFor(context));
    },
    preParsing: async (request, reply, body) => {
      const context = contextOf(request);
      await api.admit(context);
      // Nobody reads the body of one that asks: Node lets it go.
      if (route.method === 'GET') return body;
      const admitBody = (bytes: number): void => whenClosed(reply, api.admitBody(context, bytes));
      if (request.headers['transfer-encoding'] !== undefined) return countedBody(body, () => admitBody(route.bodyBytes));
      admitBody(Math.min(Number(request.headers['content-length'] ?? 0), route.bodyBytes));
      return body;
    },
    handler: async (request, reply) => {
      const gone = new AbortController();
      whenClosed(reply, () => gone.abort());
      // Many may have waited for the end of their bodies, and come at once.
      if (request.body !== undefined) await turns.turn(request.socket, () => undefined);
      const context = contextOf(request);
      const result = await api.run(context, { query: request.query, body: request.body, gone: gone.signal });
      if (context.requestId !== request.id) void reply.header('x-request-id', context.requestId);
      if (result.kind !== 'events') {
        // To write its text takes time: hundreds may come at once.
        const text = isLong(result, limits.apiLargeAnswerBytes) ? await turns.turn(request.socket, () => textOf(result)) : textOf(result);
        open.written(reply.raw, text.length);
        return send(reply, result, text);
      }
      reply.hijack();
      sendEvents(reply.raw, textHeaders(reply), result, clock);
      return reply;
    },
  };
}

/** Also when that was before: the client may have left while it was found out who asks. */
function whenClosed({ raw }: FastifyReply, callback: () => void): void {
  if (raw.closed || raw.req.socket.destroyed) callback();
  else raw.once('close', callback);
}

function setCommonHeaders({ origins }: Api, request: FastifyRequest, reply: FastifyReply): void {
  void reply.header('x-request-id', request.id).header('cache-control', 'no-store').headers(origins.headersFor(request.headers));
}

/** Browsers ask before they send what a form could not: may that page use the API? */
const preflight = ({ origins }: Api): RouteOptions => ({
  method: 'OPTIONS',
  url: '/*',
  // Behind the rate limit, and before a body is read that nobody asked for.
  preParsing: async (request, reply) => {
    const allowed = origins.preflight(request.headers);
    if (allowed === null) void reply.status(403).send();
    else void reply.status(204).headers(allowed).send();
  },
  handler: notOurs,
});

const contentTypes: Readonly<Record<BodyReply['kind'], string>> = {
  json: 'application/json; charset=utf-8',
  text: 'text/plain; charset=utf-8',
  html: 'text/html; charset=utf-8',
};

const textOf = ({ kind, body }: BodyReply): string | Buffer => (kind === 'json' ? jsonTextOf(body) : String(body));

function send(reply: FastifyReply, answer: BodyReply, text = textOf(answer)): FastifyReply {
  const { kind, status, headers } = answer;
  return reply.status(status).type(contentTypes[kind]).headers(headers).send(text);
}

/** Headers set so far; a hijacked reply does not send them by itself. */
function textHeaders(reply: FastifyReply): Record<string, string> {
  return Object.fromEntries(Object.entries(reply.getHeaders()).map(([name, value]) => [name, String(value)]));
}

const bodyProblems: Record<string, { field: string; problem: string }> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: { field: 'content-type', problem: 'must be application/json' },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: { field: 'content-length', problem: 'does not match the body' },
};

/** What the server framework says about a bad request, in our words; anything else stays what it is. */
function operatingError(error: unknown, limitBytes: number): unknown {
  if (error instanceof HoldfastError || !(error instanceof Error)) return error;
  const { code, statusCode } = error as Error & { code?: unknown; statusCode?: unknown };
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new HoldfastError('BODY_TOO_LARGE', { limitBytes });
  const known = typeof code === 'string' && Object.hasOwn(bodyProblems, code) ? bodyProblems[code] : undefined;
  if (known !== undefined) return new HoldfastError('INPUT_INVALID', known);
  const clientsFault = typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500;
  return clientsFault ? new HoldfastError('INPUT_INVALID', { field: 'body', problem: error.message }) : error;
}

/** What is not even HTTP. */
function refuseSocket(error: Error & { code?: string }, socket: Socket, clock: Clock): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const status = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : error.code === 'HPE_HEADER_OVERFLOW' ? 431 : 400;
  const problem = status === 408 ? 'came too slowly' : status === 431 ? 'has too many headers' : 'is not HTTP';
  const body = JSON.stringify(errorReply(new HoldfastError('INPUT_INVALID', { field: 'request', problem })).body);
  const head = `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}`;
  sayLastWord(socket, `${head}\r\nconnection: close\r\n\r\n${body}`, (cut) => clock.after(limits.clientSocketCloseMs, cut));
}

async function closeGently(app: FastifyInstance, { api, clock }: HttpServerOptions, of: { open: OpenResponses; piled: PiledRequests }): Promise<void> {
  const { open, piled } = of;
  const cut = (): void => {
    app.server.closeAllConnections();
    piled.cut();
  };
  api.close();
  // Connections without a request would otherwise hold the server open: browsers make them in advance.
  const cutIdle = (): void => {
    if (open.size === 0) cut();
  };
  open.onClose(cutIdle);
  const patience = clock.after(limits.shutdownStepMs, () => {
    api.cancel();
    // One turn, so that those who were cancelled hear of it.
    setImmediate(cut);
  });
  const closed = app.close();
  cutIdle();
  await closed;
  patience.cancel();
}
