import type { ControlMessage } from '../../src/shared/control/messages.ts';
import type { CancelSignal } from '../../src/shared/foundation/cancel.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import type { PostType, RequestKind } from '../../src/shared/link/frames.ts';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import type { Epoch } from '../../src/shared/model/control.ts';
import type { Metrics } from '../../src/shared/ports/metrics.ts';
import type { Connection, ConnectionHandler } from '../../src/shared/ports/transport.ts';
import { PeerLink } from '../../src/shared/runtime/peer/peer-link.ts';
import { FakeClock } from './fake-clock.ts';
import { createMemoryLog } from './memory-log.ts';

export type Side = 'edge' | 'master';
/** `lost`: what is sent vanishes and nobody is told. `stalled`: the receiver does not read, so it stays buffered. */
export type Flow = 'open' | 'lost' | 'stalled';

export interface PipeOptions {
  delayMs?: number;
  /** Of each direction; without it nothing is ever buffered. */
  bytesPerSecond?: number;
}

/** One end of a pipe: what this side sends, and what it hears. */
class PipeEnd implements Connection {
  readonly peerId: string;
  readonly peerProcess = '';
  readonly remote: string;
  readonly #clock: FakeClock;
  readonly #options: PipeOptions;
  readonly #early: string[] = [];
  /** Everything that this end was asked to send; what is large leaves an empty text. */
  readonly sent: string[] = [];
  flow: Flow = 'open';
  maxBuffered = 0;
  #peer: PipeEnd | null = null;
  #handler: ConnectionHandler | null = null;
  #buffered = 0;
  #freeAtMs = 0;
  #closed: string | null = null;

  constructor(clock: FakeClock, peerId: string, options: PipeOptions) {
    this.#clock = clock;
    this.peerId = peerId;
    this.remote = `pipe to ${peerId}`;
    this.#options = options;
  }

  get closedReason(): string | null {
    return this.#closed;
  }

  join(peer: PipeEnd): void {
    this.#peer = peer;
  }

  send(frame: string): void {
    if (this.#closed !== null) return;
    this.sent.push(frame.length > 10_000 ? '' : frame);
    if (this.flow === 'lost') return;
    this.#buffered += frame.length;
    this.maxBuffered = Math.max(this.maxBuffered, this.#buffered);
    if (this.flow === 'stalled') return;
    const { bytesPerSecond, delayMs = 10 } = this.#options;
    const nowMs = this.#clock.monotonicMs();
    this.#freeAtMs = Math.max(nowMs, this.#freeAtMs) + (bytesPerSecond === undefined ? 0 : (frame.length * 1_000) / bytesPerSecond);
    const passed = (): void => {
      this.#buffered -= frame.length;
      // What was under way when the line went is lost with it.
      this.#clock.after(delayMs, () => this.flow === 'open' && this.#peer?.deliver(frame));
      if (this.#closed === null && bytesPerSecond !== undefined) this.#handler?.drained();
    };
    if (bytesPerSecond === undefined) passed();
    else this.#clock.after(this.#freeAtMs - nowMs, passed);
  }

  bufferedBytes(): number {
    return this.#buffered;
  }

  listen(handler: ConnectionHandler): void {
    this.#handler = handler;
    for (const text of this.#early.splice(0)) handler.frame(text);
    if (this.#closed !== null) handler.closed(this.#closed);
  }

  close(reason: string): void {
    if (this.#closed !== null) return;
    this.end(reason);
    this.#clock.after(this.#options.delayMs ?? 10, () => this.flow === 'open' && this.#peer?.end(reason));
  }

  deliver(text: string): void {
    if (this.#closed !== null) return;
    if (this.#handler === null) this.#early.push(text);
    else this.#handler.frame(text);
  }

  end(reason: string): void {
    if (this.#closed !== null) return;
    this.#closed = reason;
    this.#handler?.closed(reason);
  }
}

export interface Pipe {
  edge: PipeEnd;
  master: PipeEnd;
  /** Both directions, silently: the line is dead and nobody is told. */
  cut(): void;
  /** Both ends learn at once that the connection is gone; what was under way is lost. */
  reset(): void;
}

export function createPipe(clock: FakeClock, options: PipeOptions = {}): Pipe {
  const edge = new PipeEnd(clock, 'master', options);
  const master = new PipeEnd(clock, 'edge-1', options);
  edge.join(master);
  master.join(edge);
  const cut = (): void => {
    edge.flow = 'lost';
    master.flow = 'lost';
  };
  const reset = (): void => {
    cut();
    edge.end('reset');
    master.end('reset');
  };
  return { edge, master, cut, reset };
}

export interface Call {
  kind: RequestKind;
  body: Json;
  signal: CancelSignal;
  deadlineMs: number;
}

/** One side of the link, with a record of what happened to it. */
export interface LinkSide {
  link: PeerLink;
  metrics: Metrics;
  log: ReturnType<typeof createMemoryLog>;
  /** Highest epoch that this side has heard of. */
  floor: Epoch;
  calls: Call[];
  posts: { type: PostType; body: Json }[];
  /** Numbers of its sockets. */
  ups: number[];
  /** Sockets and control messages in the order in which they were told. */
  events: string[];
  control: ControlMessage[];
  opened: { link: number; resumed: boolean }[];
  downs: { link: number; reason: string; atMs: number }[];
  /** How requests are answered; default: the body comes back. */
  answer(call: Call): Promise<Json>;
}

export const epoch = (number: number): Epoch => ({ generation: 1, number });
const terms = { failover: true, policy: 'available', timeoutMs: 20_000, paused: false } as const;
const hello = (number: number): ControlMessage => ({ t: 'hello', negotiation: number, epoch: epoch(0), state: 'holding', held: [] });

export interface SideOptions {
  boot?: string;
  resumeWindowMs?: number;
  /** False: the master never answers a hello. */
  negotiates?: boolean;
}

let hexes = 0;

export function createSide(clock: FakeClock, side: Side, options: SideOptions = {}): LinkSide {
  const log = createMemoryLog();
  const metrics = createPromMetrics();
  const { boot = `${side}-boot`, resumeWindowMs = 10_000, negotiates = true } = options;
  const link: PeerLink = new PeerLink({
    side,
    clock,
    log,
    metrics,
    random: { next: () => 0.5, hex: (bytes) => (hexes += 1).toString(16).padStart(bytes * 2, '0') },
    bootId: boot,
    floor: () => here.floor,
    resumeWindowMs,
    peer: side === 'edge' ? 'master' : 'edge-1',
    handlers: {
      up: (number) => {
        here.ups.push(number);
        here.events.push(`up ${number}`);
      },
      control: (message, socket) => {
        here.control.push(message);
        here.events.push(`${message.t} ${socket}`);
        if (message.t !== 'hello' || !negotiates) return;
        const verdict = { winner: 'edge', reason: 'edge-kept-devices', epoch: here.floor, terms } as const;
        link.sendControl(socket, { t: 'negotiate', negotiation: message.negotiation, ...verdict });
      },
      open: (number, resumed) => here.opened.push({ link: number, resumed }),
      epochHeard: () => undefined,
      ended: () => undefined,
      down: (number, { reason }) => here.downs.push({ link: number, reason, atMs: clock.monotonicMs() }),
      request: (kind, body, { signal, deadlineMs }) => {
        const call = { kind, body, signal, deadlineMs };
        here.calls.push(call);
        return here.answer(call);
      },
      post: (type, body) => here.posts.push({ type, body }),
    },
  });
  const here: LinkSide = {
    link,
    metrics,
    log,
    floor: epoch(0),
    calls: [],
    posts: [],
    ups: [],
    events: [],
    control: [],
    opened: [],
    downs: [],
    answer: async ({ body }) => body,
  };
  return here;
}

export interface LinkPair {
  clock: FakeClock;
  edge: LinkSide;
  master: LinkSide;
  /** A new socket between the two, negotiation begun; resolves when time for it has passed. */
  connect(options?: PipeOptions): Promise<Pipe>;
  /** A new process on one side. */
  restart(side: Side): void;
}

export function createLinkPair(options: { edge?: SideOptions; master?: SideOptions } = {}): LinkPair {
  const clock = new FakeClock();
  let connections = 0;
  const pair: LinkPair = {
    clock,
    edge: createSide(clock, 'edge', options.edge),
    master: createSide(clock, 'master', options.master),
    connect: async (pipeOptions = {}) => {
      const pipe = createPipe(clock, pipeOptions);
      pair.master.link.attach(pipe.master);
      pair.edge.link.attach(pipe.edge);
      pair.edge.link.sendControl(pair.edge.ups.at(-1) ?? 0, hello((connections += 1)));
      await clock.advance(4 * (pipeOptions.delayMs ?? 10));
      return pipe;
    },
    restart: (side) => {
      pair[side].link.shutdown();
      pair[side] = createSide(clock, side, { ...options[side], boot: `${side}-boot-${(connections += 1)}` });
    },
  };
  return pair;
}

interface Asking {
  timeoutMs: number;
  signal: CancelSignal;
}

export const asking = (timeoutMs = 60_000, signal: CancelSignal = new AbortController().signal): Asking => ({ timeoutMs, signal });

/** A promise that a test settles when it wants to. */
export interface Later<T> {
  promise: Promise<T>;
  resolve(value: T): void;
  reject(error: Error): void;
}

export function later<T>(): Later<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((done, fail) => {
    resolve = done;
    reject = fail;
  });
  return { promise, resolve, reject };
}

/** The outcome of each promise so far: `code fate`, the value, or `pending`. */
export function watchOutcome(promise: Promise<Json>): { readonly outcome: Json } {
  const watched: { outcome: Json } = { outcome: 'pending' };
  promise.then(
    (value) => (watched.outcome = { value }),
    (error: unknown) => {
      const { code, facts } = error as { code?: string; facts?: Record<string, Json> };
      watched.outcome = { code: code ?? String(error), ...(facts?.['fate'] === undefined ? {} : { fate: facts['fate'] }) };
    },
  );
  return watched;
}
