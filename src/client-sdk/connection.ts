import type { Json } from '../shared/foundation/json.ts';
import { PING, socketPaths, type SocketCommandName } from '../shared/client-api/socket.ts';
import { fromWire, HoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import { type Frame, type Meta, parseFrame } from './frames.ts';
import type { Credential, OpenSocket, Platform } from './transport.ts';

export interface ConnectionListener {
  /** The server answered: requests may be sent. */
  ready(): void;
  told(frame: Exclude<Frame, { type: 'success' | 'error' }>): void;
  /** Once. Every request has been settled before. `problem` is for people. */
  lost(problem: string): void;
}

export type Outcome = { value: Json } | { error: HoldfastError };

export interface ConnectionOptions {
  /** Later ones have higher numbers. */
  number: number;
  origin: string;
  credential: Credential;
  platform: Pick<Platform, 'http' | 'sockets' | 'nowMs'>;
}

const PATH = socketPaths[0] ?? '';

/** One socket to one server: its heartbeat, and its requests, each of which is settled exactly once. */
export class Connection {
  readonly number: number;
  readonly origin: string;
  readonly #options: ConnectionOptions;
  readonly #listener: ConnectionListener;
  readonly #socket: OpenSocket;
  readonly #pending = new Map<number, (outcome: Outcome) => void>();
  /** Locations whose values stand still at this server, and since when (Unix milliseconds). */
  readonly #stale = new Map<string, number>();
  #lastId = 0;
  #heardMs: number;
  #isReady = false;
  #isOver = false;
  #stopTimers: (() => void)[] = [];

  constructor(options: ConnectionOptions, listener: ConnectionListener) {
    this.number = options.number;
    this.origin = options.origin;
    this.#options = options;
    this.#listener = listener;
    this.#heardMs = options.platform.nowMs();
    this.#socket = options.platform.sockets.open(
      { origin: options.origin, path: PATH, credential: options.credential },
      { opened: () => void this.#socket.send(PING), message: (text) => this.#message(text), closed: (problem) => this.#end(problem) },
    );
    this.#expect(limits.sdkConnectMs, `no answer within ${limits.sdkConnectMs} ms`);
  }

  get isReady(): boolean {
    return this.#isReady && !this.#isOver;
  }

  /** Unix milliseconds of the last frame of the server. */
  get heardMs(): number {
    return this.#heardMs;
  }

  /** Since when values of this server stand still, because it does not hear who drives the devices; null: it does. */
  get staleSinceMs(): number | null {
    return this.#stale.size === 0 ? null : Math.min(...this.#stale.values());
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** False: it certainly was not sent, and `settle` is not called. */
  request(command: SocketCommandName, fields: Meta & { args?: readonly Json[] }, settle: (outcome: Outcome) => void): boolean {
    const id = (this.#lastId += 1);
    this.#pending.set(id, settle);
    if (this.isReady && this.#socket.send(JSON.stringify({ id, cmd: command, ...fields }))) return true;
    this.#pending.delete(id);
    return false;
  }

  close(): void {
    this.#end('closed by this side');
  }

  #message(text: string): void {
    if (this.#isOver) return;
    this.#heardMs = this.#options.platform.nowMs();
    this.#expect(limits.sdkSilentMs, `silent for ${limits.sdkSilentMs} ms`);
    if (!this.#isReady) {
      this.#isReady = true;
      this.#listener.ready();
    }
    const frame = parseFrame(text);
    if (frame === null) return;
    if (frame.type === 'staleness') this.#noteStaleness(frame);
    if (frame.type !== 'success' && frame.type !== 'error') return this.#listener.told(frame);
    const settle = this.#pending.get(frame.id);
    this.#pending.delete(frame.id);
    settle?.(frame.type === 'error' ? { error: fromWire(frame.error) } : { value: frame.value ?? null });
  }

  #noteStaleness({ location, stale, age_ms: ageMs }: Extract<Frame, { type: 'staleness' }>): void {
    if (stale) this.#stale.set(location, this.#heardMs - ageMs);
    else this.#stale.delete(location);
  }

  /** The next frame has to come within `ms`; once ready, the server is asked for one in time. */
  #expect(ms: number, problem: string): void {
    const { after } = this.#options.platform.http;
    this.#cancelTimers();
    this.#stopTimers = [after(ms, () => this.#end(problem)), after(limits.sdkPingMs, () => void this.#socket.send(PING))];
  }

  #cancelTimers(): void {
    for (const stop of this.#stopTimers) stop();
  }

  #end(problem: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelTimers();
    this.#socket.close();
    const lost = new HoldfastError('LINK_LOST', { fate: 'unknown' });
    for (const settle of this.#pending.values()) settle({ error: lost });
    this.#pending.clear();
    this.#listener.lost(problem);
  }
}
