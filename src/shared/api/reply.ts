import { isLongerThan, type Json } from '../foundation/json.ts';
import { HoldfastError } from '../model/errors.ts';

export type Headers = Record<string, string>;

export interface BodyReply {
  kind: 'json' | 'text' | 'html';
  status: number;
  headers: Headers;
  /** Of `text` and `html` a string, of `json` anything that serialises, or its text. */
  body: unknown;
}

/** JSON that is text already: it is large, and always the same. */
export class JsonText {
  readonly text: string;
  /** The same, for all who ask at once. */
  readonly bytes: Buffer;

  constructor(text: string) {
    this.text = text;
    this.bytes = Buffer.from(text);
  }
}

/** What is sent of a body of `json`. */
export const jsonTextOf = (body: unknown): string | Buffer => (body instanceof JsonText ? body.bytes : JSON.stringify(body));

/** Before its text is made: what is asked for may be gigabytes. Text that is there already costs nothing. */
export const isLong = ({ body }: BodyReply, bytes: number): boolean => !(body instanceof JsonText) && isLongerThan(body, bytes);

export function requireFits(reply: BodyReply, limitBytes: number): void {
  if (isLong(reply, limitBytes)) throw new HoldfastError('ANSWER_TOO_LARGE', { limitBytes });
}

/** One server-sent event. Without `data` it only says how far the reader has come. */
export interface ServerEvent {
  event?: string;
  id?: string;
  data?: Json;
}

/** What a stream writes, at the pace of its reader. */
export interface StreamSource {
  /** The stream must end once nothing is left to take. */
  readonly closed: boolean;
  /** What comes next; undefined: nothing now. */
  take(): ServerEvent | undefined;
  /** Sets who is called when there may be something to take, or the source has closed. */
  listen(wake: () => void): void;
}

export interface EventsReply {
  kind: 'events';
  source: StreamSource;
  /** The reader is gone. */
  stop(): void;
}

export type ApiReply = BodyReply | EventsReply;

/** The one shape of every refusal: the wire error, and its text once more as `error` for published clients. */
export function errorReply(error: HoldfastError): BodyReply {
  const wire = error.toJSON();
  const { field, problem, retryAfterMs } = error.facts;
  // Published clients read `failures` of a 422.
  const failures = error.code === 'INPUT_INVALID' ? { failures: [{ field: field ?? '', reason: problem ?? '' }] } : {};
  const headers: Headers = typeof retryAfterMs === 'number' ? { 'retry-after': String(Math.max(1, Math.ceil(retryAfterMs / 1_000))) } : {};
  if (error.status === 401) headers['www-authenticate'] = 'Bearer';
  return { kind: 'json', status: error.status, headers, body: { error: wire.message, ...wire, ...failures } };
}

export interface Page {
  offset: number;
  limit: number;
}

/** What a list was asked, as its schema has read it: lists of values are those that were separated by commas. */
export type ListQuery = Page & { q: string } & Readonly<Record<string, string | number | boolean | string[] | undefined>>;

/** What published clients read of a list. A `Link` only when there is a next page: one without crashes them. */
export function listHeaders(path: string, query: ListQuery, length: number, total: number): Headers {
  const { limit, offset, ...filters } = query;
  const headers: Headers = {
    'x-total-count': String(total),
    'content-range': length === 0 ? `items */${total}` : `items ${offset}-${offset + length - 1}/${total}`,
  };
  const next = offset + length;
  if (length > 0 && next < total) {
    const search = new URLSearchParams({ limit: String(limit), offset: String(next) });
    // What the schema knows only: a key that came in the query stays out of it.
    for (const [name, value] of Object.entries(filters)) if (value !== undefined && value !== '') search.append(name, String(value));
    headers['link'] = `<${path}?${search.toString()}>; rel="next"`;
  }
  return headers;
}
