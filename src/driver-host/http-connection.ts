import http from 'node:http';
import type { Duplex } from 'node:stream';
import type { HttpCaller, HttpRequest, HttpResponse, HttpService } from '../driver-sdk/http.ts';
import type { ConnectionHandler } from '../driver-sdk/transport.ts';
import { HoldfastError, toHoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock, Timer } from '../shared/ports/clock.ts';
import type { ConnectionSettings } from './connection-settings.ts';
import { type DeviceSocket, openDeviceSocket } from './device-socket.ts';
import type { LineEnd } from './line.ts';

export interface HttpConnectionOptions {
  module: string;
  /** `http:` or `https:`; requests stay below its origin and path. */
  base: URL;
  settings: ConnectionSettings;
  clock: Clock;
  /** Asked right before a request leaves; throws when it must not. */
  beforeWrite(bytes: number): void;
}

interface HttpSocket extends DeviceSocket {
  /** A request waits for it. */
  whenUp: (() => void) | null;
}

interface Running {
  left: boolean;
  /** Ends it; `fate` tells the error what became of the request. */
  giveUp(why: (fate: 'not-sent' | 'unknown') => HoldfastError): void;
}

const SAFE = new Set(['GET', 'HEAD']);

/**
 * HTTP to one service, a few connections that are kept for the next request. It counts as connected until a request
 * could not be delivered, or several in a row were not answered. Redirects are answers like others, so that no request ends at another host.
 */
export class HttpConnection implements HttpService {
  readonly #options: HttpConnectionOptions;
  readonly #agent: http.Agent;
  readonly #sockets = new Map<Duplex, HttpSocket>();
  readonly #running = new Set<Running>();
  #handler: ConnectionHandler | null = null;
  #connected = false;
  /** Requests in a row that left and were not answered in time. */
  #unanswered = 0;
  #broken: { problem: string; untilMs: number } | null = null;
  #drain: Timer | null = null;
  #closed = false;

  constructor(options: HttpConnectionOptions) {
    this.#options = options;
    this.#agent = Object.assign(new http.Agent({ keepAlive: true, maxSockets: limits.httpConnections }), {
      createConnection: () => this.#openSocket(),
    });
  }

  open(handler: ConnectionHandler): void {
    if (this.#closed) return;
    this.#handler = handler;
    this.#reached();
    handler.attempted();
  }

  async request(request: HttpRequest, caller: HttpCaller | null): Promise<HttpResponse> {
    const { module, clock } = this.#options;
    if (this.#closed) throw new HoldfastError('GATE_CLOSED', { module, reason: 'the module stops' });
    if (caller?.signal.aborted === true) throw caller.signal.reason;
    if (this.#broken !== null && clock.monotonicMs() < this.#broken.untilMs) throw this.#refused(this.#broken.problem);
    if (this.#running.size >= limits.commandQueue) throw new HoldfastError('QUEUE_FULL', { module, limit: limits.commandQueue });
    const url = this.#urlOf(request.path);
    const endMs = clock.monotonicMs() + (request.timeoutMs ?? limits.commandMs);
    try {
      return await this.#send(url, request, endMs, caller);
    } catch (error) {
      // The service may have closed a connection that it had kept for us: what changes nothing is asked once more.
      if (!(error instanceof StaleConnection)) throw error;
      return await this.#send(url, request, endMs, caller);
    }
  }

  openBreaker(problem: string): void {
    this.#broken = { problem, untilMs: this.#options.clock.monotonicMs() + limits.deviceBreakerMs };
    this.#handler?.broken(problem);
    this.#lost(problem);
  }

  retryNow(): void {
    if (this.#broken !== null) this.#broken.untilMs = 0;
  }

  /** Each request stands for itself: there is nothing to begin anew but what the code does when it is connected. */
  renew(): void {
    this.retryNow();
    if (this.#connected) this.#handler?.connected();
  }

  /** The gate closed: what has left may still be answered for a moment, everything else ends. */
  dropUnsent(): void {
    const { module, clock } = this.#options;
    const shut = new HoldfastError('GATE_CLOSED', { module, reason: 'this process does not control the location' });
    for (const running of this.#running) if (!running.left) running.giveUp(() => shut);
    this.#drain ??= clock.after(limits.moduleDrainMs, () => {
      this.#drain = null;
      this.reset();
    });
  }

  reset(): void {
    for (const running of this.#running) running.giveUp((fate) => new HoldfastError('CANCELLED', { fate }));
    for (const socket of this.#sockets.values()) socket.drop();
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#drain?.cancel();
    this.reset();
    return Promise.resolve();
  }

  /** Throws INPUT_INVALID for what would lead to another host. */
  #urlOf(path: string): URL {
    const { base } = this.#options;
    const below = `${base.pathname.replace(/\/$/, '')}/${path.replace(/^\/+/, '')}`;
    const url = URL.canParse(below, base.origin) ? new URL(below, base.origin) : null;
    if (url?.origin === base.origin) return url;
    throw new HoldfastError('INPUT_INVALID', { field: 'path', problem: 'must be a path of the service' });
  }

  #send(url: URL, { method = 'GET', headers = {}, body = '' }: HttpRequest, endMs: number, caller: HttpCaller | null): Promise<HttpResponse> {
    const { module, clock, settings } = this.#options;
    const bytes = Buffer.from(body);
    const authorization = settings.authorization === null ? {} : { authorization: settings.authorization };
    const length = bytes.length > 0 ? { 'content-length': String(bytes.length) } : {};
    return new Promise((resolve, reject) => {
      const to = { protocol: 'http:', host: url.hostname, path: `${url.pathname}${url.search}`, agent: this.#agent };
      // Throws what no header may hold.
      const request = http.request({ ...to, method, headers: { host: url.host, ...length, ...authorization, ...headers } });
      const finish = (outcome: () => void): void => {
        if (!this.#running.delete(running)) return;
        timer.cancel();
        caller?.signal.removeEventListener('abort', aborted);
        outcome();
      };
      let socket: HttpSocket | undefined;
      const running: Running = {
        left: false,
        giveUp: (why) => {
          finish(() => reject(why(running.left ? 'unknown' : 'not-sent')));
          request.destroy();
        },
      };
      const aborted = (): void => running.giveUp(() => caller?.signal.reason as HoldfastError);
      const late = (): void => {
        this.#late({ left: running.left, connecting: socket?.up === false });
        running.giveUp((fate) => new HoldfastError('DEADLINE', { fate }));
      };
      const timer = clock.after(endMs - clock.monotonicMs(), late);
      caller?.signal.addEventListener('abort', aborted, { once: true });
      this.#running.add(running);

      const depart = (): void => {
        if (!this.#running.has(running)) return;
        try {
          this.#options.beforeWrite(url.pathname.length + url.search.length + bytes.length);
        } catch (error) {
          running.giveUp(() => toHoldfastError(error, module));
          return;
        }
        running.left = true;
        caller?.left();
        request.end(bytes);
      };
      request.on('socket', (stream) => {
        socket = this.#sockets.get(stream);
        if (socket === undefined || socket.up) depart();
        else socket.whenUp = depart;
      });
      request.on('response', (response) => {
        this.#reached();
        void this.#read(response).then(
          (answer) => finish(() => resolve(answer)),
          (error: unknown) => running.giveUp((fate) => (error instanceof HoldfastError ? error : new HoldfastError('DEVICE_LOST', { module, fate }))),
        );
      });
      request.on('error', (error: NodeJS.ErrnoException) => {
        if (!this.#running.has(running)) return;
        const stale = request.reusedSocket && SAFE.has(method) && error.code === 'ECONNRESET';
        if (stale) return finish(() => reject(new StaleConnection()));
        const end = socket?.end ?? { reason: error.message, permanent: false };
        if (end.permanent) this.openBreaker(end.reason);
        else this.#lost(end.reason);
        // Of the parser: the connection did not break, what came over it is something else. What changes something may have done so.
        if (SAFE.has(method) && error.code?.startsWith('HPE_') === true) return finish(() => reject(this.#refused(`its answer is not HTTP: ${error.message}`)));
        finish(() => reject(this.#undelivered(end, running.left)));
      });
    });
  }

  async #read(response: http.IncomingMessage): Promise<HttpResponse> {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limits.httpAnswerBytes) throw this.#refused(`its answer has more than ${limits.httpAnswerBytes} bytes`);
      chunks.push(chunk);
    }
    return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) };
  }

  /** Called by the agent. */
  #openSocket(): Duplex {
    const { base, settings, clock } = this.#options;
    const isTls = base.protocol === 'https:';
    const target = { host: hostOf(base), port: Number(base.port || (isTls ? 443 : 80)), tls: isTls ? settings : null, clock };
    const events = {
      up: (): void => {
        socket.whenUp?.();
        socket.whenUp = null;
      },
      ended: () => void this.#sockets.delete(socket.stream),
    };
    const opened = openDeviceSocket(target, events);
    const socket: HttpSocket = Object.assign(opened, { whenUp: null });
    this.#sockets.set(socket.stream, socket);
    return socket.stream;
  }

  #undelivered({ reason, permanent }: LineEnd, left: boolean): HoldfastError {
    const { module } = this.#options;
    if (permanent) return this.#refused(reason);
    return left ? new HoldfastError('DEVICE_LOST', { module, fate: 'unknown' }) : new HoldfastError('DEVICE_OFFLINE', { module });
  }

  #reached(): void {
    if (this.#broken !== null) this.#handler?.broken(null);
    this.#broken = null;
    this.#unanswered = 0;
    if (!this.#connected) this.#handler?.connected();
    this.#connected = true;
  }

  /** One that waits for its turn says nothing of the device. */
  #late({ left, connecting }: { left: boolean; connecting: boolean }): void {
    if (left) this.#unanswered += 1;
    if (connecting) this.#lost('no connection in time');
    else if (this.#unanswered >= limits.deviceUnanswered) this.#lost('the device does not answer');
  }

  #lost(reason: string): void {
    if (this.#connected) this.#handler?.disconnected(reason);
    this.#connected = false;
  }

  #refused(problem: string): HoldfastError {
    return new HoldfastError('DEVICE_REFUSED', { module: this.#options.module, problem });
  }
}

/** A kept connection turned out to be closed. */
class StaleConnection extends Error {}

const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '');
