/** What the SDK needs of the world. Node: `index.ts`; browsers: `browser.ts`; tests: a world with a fake clock. */
export interface Platform {
  http: HttpTransport;
  sockets: SocketTransport;
  /** Unix milliseconds. */
  nowMs(): number;
  /** Uniform in [0, 1). */
  draw(): number;
}

export interface HttpTransport {
  /** Is a redirect an answer like any other here, and not followed behind our back? */
  readonly showsRedirects: boolean;
  /** Resolves when the head of the answer is there. Throws UNREACHABLE, or what `signal` aborts with. */
  send(request: HttpRequest): Promise<HttpAnswer>;
  /** Calls back once, after `ms`. Returns the way to cancel. */
  after(ms: number, callback: () => void): () => void;
  /** Gives idle connections back. */
  close(): void;
}

export interface HttpRequest {
  method: string;
  origin: string;
  /** Path and query. */
  target: string;
  headers: Record<string, string>;
  body: string | null;
  signal: AbortSignal;
  /** The answer is given up when nothing at all arrives for so long. */
  idleMs: number;
}

export interface HttpAnswer {
  status: number;
  headers: Readonly<Record<string, string>>;
  /** The body as it arrives. Throws like `send`. */
  chunks: AsyncIterable<string>;
}

export interface SocketTransport {
  open(request: SocketRequest, listener: SocketListener): OpenSocket;
}

export interface SocketRequest {
  origin: string;
  path: string;
  credential: Credential;
}

/** Never called before `open` has returned. */
export interface SocketListener {
  opened(): void;
  message(text: string): void;
  /** Once, also when it never opened. `problem` is for people. */
  closed(problem: string): void;
}

export interface OpenSocket {
  /** False: it is not open, and the text certainly was not sent. */
  send(text: string): boolean;
  close(): void;
}

/** Keeps a text between two runs of an application. */
export interface TextStorage {
  load(): Promise<string | null>;
  save(text: string): Promise<void>;
}

/** An API key, `<id>.<secret>`, or a bearer token; neither for what is open to everybody. */
export interface Credential {
  apiKey?: string | null | undefined;
  token?: string | null | undefined;
}

export function credentialHeaders({ apiKey, token }: Credential): Record<string, string> {
  if (typeof apiKey === 'string') return { 'x-api-key': apiKey };
  return typeof token === 'string' ? { authorization: `Bearer ${token}` } : {};
}
