import type { RequestHeaders } from './auth.ts';
import type { Headers } from '../reply.ts';

const EXPOSED = [
  'X-Total-Count', 'Link', 'Content-Range', 'ETag', 'Retry-After', 'X-Request-ID',
  'X-Holdfast-Origin', 'X-Holdfast-Served-By', 'X-Holdfast-Store-Age', 'X-Holdfast-Status-Age',
].join(', ');
const PREFLIGHT: Headers = {
  'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE',
  'access-control-allow-headers': 'Authorization, Content-Type, If-Match, Last-Event-ID, Prefer, X-API-Key, X-Request-ID',
  'access-control-max-age': '600',
};

export type Scheme = 'http' | 'https';

/** Whose pages may use the API from a browser: those of the server itself, and those of the configured origins. */
export class Origins {
  readonly #allowed: ReadonlySet<string>;
  readonly #scheme: Scheme;

  /** `allowed`: such as `https://panels.example.org`. `scheme`: of this server; a page over the other one is not its own. */
  constructor(allowed: readonly string[], scheme: Scheme) {
    this.#allowed = new Set(allowed);
    this.#scheme = scheme;
  }

  /**
   * A page that nobody trusts must not act with the cookies of a browser. Without `Origin` it is no page of another site,
   * or a link or an image of one, with which the browser sends a GET: harmless if that only reads. `changes`: it does more.
   */
  trusts(headers: RequestHeaders, changes: boolean): boolean {
    const { origin, host, 'sec-fetch-site': from = 'none' } = headers;
    if (origin === undefined) return !changes || from === 'none' || from === 'same-origin';
    if (typeof origin !== 'string') return false;
    return this.#allowed.has(origin) || (typeof host === 'string' && origin.toLowerCase() === `${this.#scheme}://${host.toLowerCase()}`);
  }

  /** What lets a page of a configured origin read the answer. */
  headersFor(headers: RequestHeaders): Headers {
    const { origin } = headers;
    if (typeof origin !== 'string' || !this.#allowed.has(origin)) return { vary: 'Origin' };
    return {
      vary: 'Origin',
      'access-control-allow-origin': origin,
      'access-control-allow-credentials': 'true',
      'access-control-expose-headers': EXPOSED,
    };
  }

  /** The answer to `OPTIONS`; null: not for pages of this origin. */
  preflight(headers: RequestHeaders): Headers | null {
    const allowed = this.headersFor(headers);
    return allowed['access-control-allow-origin'] === undefined ? null : { ...allowed, ...PREFLIGHT };
  }
}
