import { isDeepStrictEqual } from 'node:util';
import { HoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { HttpCaller, HttpRequest, HttpResponse, HttpService } from './http.ts';
import type { ConnectionHandler } from './transport.ts';

/** What the service answers; a body that is no text and no bytes is sent as JSON. */
export interface ManualAnswer {
  /** 200 unless told. */
  status?: number;
  headers?: HttpResponse['headers'];
  body?: string | Uint8Array | object;
}

interface Waiting {
  answer(response: HttpResponse): void;
  fail(error: unknown): void;
}

/** The service of a driver under test: it answers when the test says so. */
export class ManualHttp implements HttpService {
  readonly #clock: Clock;
  readonly #module: string;
  readonly #requests: HttpRequest[] = [];
  /** In the order of the requests. */
  readonly #waiting = new Set<Waiting>();
  #handler: ConnectionHandler | null = null;
  #connected = false;
  #broken = false;

  constructor(clock: Clock, module: string) {
    this.#clock = clock;
    this.#module = module;
  }

  open(handler: ConnectionHandler): void {
    this.#handler = handler;
    this.connect();
    handler.attempted();
  }

  request(request: HttpRequest, caller: HttpCaller | null): Promise<HttpResponse> {
    if (caller?.signal.aborted === true) return Promise.reject(caller.signal.reason as HoldfastError);
    return new Promise((resolve, reject) => {
      const finish = (outcome: () => void): void => {
        if (!this.#waiting.delete(waiting)) return;
        timer.cancel();
        caller?.signal.removeEventListener('abort', aborted);
        outcome();
      };
      const waiting: Waiting = {
        answer: (response) => finish(() => resolve(response)),
        fail: (error) => finish(() => reject(error)),
      };
      const aborted = (): void => waiting.fail(caller?.signal.reason);
      const late = (): void => waiting.fail(new HoldfastError('DEADLINE', { fate: 'unknown' }));
      const timer = this.#clock.after(request.timeoutMs ?? limits.commandMs, late);
      caller?.signal.addEventListener('abort', aborted, { once: true });
      this.#waiting.add(waiting);
      this.#requests.push(request);
      caller?.left();
    });
  }

  openBreaker(problem: string): void {
    this.#broken = true;
    this.#handler?.broken(problem);
    this.disconnect(problem);
  }

  renew(): void {
    this.#handler?.connected();
  }

  close(): Promise<void> {
    this.#handler = null;
    this.#end(() => new HoldfastError('CANCELLED', { fate: 'unknown' }));
    return Promise.resolve();
  }

  connect(): void {
    if (this.#broken) this.#handler?.broken(null);
    this.#broken = false;
    if (!this.#connected) this.#handler?.connected();
    this.#connected = true;
  }

  /** What waits for an answer gets none. */
  disconnect(reason: string): void {
    this.#end(() => new HoldfastError('DEVICE_LOST', { module: this.#module, fate: 'unknown' }));
    if (this.#connected) this.#handler?.disconnected(reason);
    this.#connected = false;
  }

  expect(expected: HttpRequest): HttpRequest {
    const made = this.#requests.shift();
    const full = { method: 'GET', ...made };
    if (made !== undefined && isDeepStrictEqual({ ...full, method: 'GET', ...expected }, full)) return made;
    throw new Error(`expected the request ${shown(expected)}, got ${made === undefined ? 'none' : shown(made)}`);
  }

  expectNone(): void {
    const [made] = this.#requests;
    if (made !== undefined) throw new Error(`expected no request, got ${shown(made)}`);
  }

  respond({ status = 200, headers = {}, body = '' }: ManualAnswer): void {
    const [oldest] = this.#waiting;
    if (oldest === undefined) throw new Error('no request waits for an answer');
    this.connect();
    const bytes = typeof body === 'string' || body instanceof Uint8Array ? Buffer.from(body) : Buffer.from(JSON.stringify(body));
    oldest.answer({ status, headers, body: bytes });
  }

  #end(why: () => HoldfastError): void {
    for (const waiting of this.#waiting) waiting.fail(why());
  }
}

const shown = ({ method = 'GET', path, body = '' }: HttpRequest): string => `${method} ${path} ${JSON.stringify(Buffer.from(body).toString())}`;
