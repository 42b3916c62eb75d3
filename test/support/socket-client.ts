import { once } from 'node:events';
import { Socket } from 'node:net';
import { afterEach } from 'vitest';
import { WebSocket } from 'ws';
import { socketPaths } from '../../src/shared/client-api/socket.ts';
import type { TestServer } from './api-server.ts';

export type Frame = Record<string, unknown>;

/** A client of the WebSocket protocol, as small as can be: what it sends and what came, frame by frame. */
export class SocketClient {
  readonly socket: WebSocket;
  /** JSON frames and the texts that are none, in the order they came. */
  readonly frames: (Frame | string)[] = [];
  closed: { code: number; reason: string } | null = null;
  #taken = 0;
  #wake: (() => void)[] = [];

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (data: Buffer) => {
      const text = data.toString();
      this.frames.push(text.startsWith('{') ? (JSON.parse(text) as Frame) : text);
      this.#wakeAll();
    });
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
      this.#wakeAll();
    });
    socket.on('error', () => undefined);
  }

  static async open(url: string, headers: Record<string, string> = {}, options: object = {}): Promise<SocketClient> {
    const socket = new WebSocket(url.replace(/^http/, 'ws'), { headers, ...options });
    const client = new SocketClient(socket);
    await once(socket, 'open');
    return client;
  }

  /** HTTP status of a refusal. */
  static async refused(url: string, headers: Record<string, string> = {}): Promise<number> {
    const socket = new WebSocket(url.replace(/^http/, 'ws'), { headers });
    socket.on('error', () => undefined);
    return await new Promise((resolve, reject) => {
      socket.on('open', () => reject(new Error('it was let in')));
      socket.on('unexpected-response', (_, response) => {
        resolve(response.statusCode ?? 0);
        response.resume();
        socket.terminate();
      });
    });
  }

  /** Below the library, which sends nothing that breaks the protocol. */
  get stream(): Socket {
    const stream: unknown = Reflect.get(this.socket, '_socket');
    if (!(stream instanceof Socket)) throw new Error('the WebSocket has no socket any more');
    return stream;
  }

  send(frame: object | string): void {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  /** The next frame that was not taken yet. */
  async next(): Promise<Frame | string> {
    await this.#until(() => this.frames.length > this.#taken, 'a frame');
    return this.frames[(this.#taken += 1) - 1] ?? '';
  }

  /** Sends, and takes the answer. */
  async ask(frame: object | string): Promise<Frame | string> {
    this.send(frame);
    return this.next();
  }

  /** A pong that was not there before, whatever else came. */
  async alive(): Promise<void> {
    const pongs = (): number => this.frames.filter((frame) => frame === 'pong').length;
    const before = pongs();
    this.send('ping');
    await this.#until(() => pongs() > before, 'a pong');
  }

  /** The first frame, taken or not, that matches. */
  async find(matches: (frame: Frame) => boolean, what: string): Promise<Frame> {
    const found = (): Frame | undefined => this.frames.find((frame): frame is Frame => typeof frame === 'object' && matches(frame));
    await this.#until(() => found() !== undefined, what);
    return found() ?? {};
  }

  async untilClosed(): Promise<{ code: number; reason: string }> {
    await this.#until(() => this.closed !== null, 'the end of the socket');
    return this.closed ?? { code: 0, reason: '' };
  }

  close(): void {
    this.socket.terminate();
  }

  async #until(condition: () => boolean, what: string): Promise<void> {
    let late = false;
    const patience = setTimeout(() => {
      late = true;
      this.#wakeAll();
    }, 30_000);
    try {
      while (!condition()) {
        if (late) throw new Error(`never came: ${what}; the last were ${JSON.stringify(this.frames.slice(-10)).slice(0, 1_000)}`);
        await new Promise<void>((resolve) => this.#wake.push(resolve));
      }
    } finally {
      clearTimeout(patience);
    }
  }

  #wakeAll(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** Opens clients of a test server, which end with the test. */
export function socketClientsOf(server: () => TestServer) {
  const clients: SocketClient[] = [];
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
  });
  return async (role: keyof TestServer['keys'] = 'operator', path = socketPaths[0] ?? '', options: object = {}): Promise<SocketClient> => {
    const { http, keys } = server();
    const client = await SocketClient.open(`${http.origin}${path}`, { 'x-api-key': keys[role] }, options);
    clients.push(client);
    return client;
  };
}
