/** HTTP as the client needs it; the Node one is in `node-transport.ts`, a browser brings its own. */
export interface HttpTransport {
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
