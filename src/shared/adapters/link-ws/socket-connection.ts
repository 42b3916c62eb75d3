import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { limits } from '../../model/limits.ts';
import type { Connection, ConnectionHandler } from '../../ports/transport.ts';

/** Frames that may arrive before somebody listens. */
const EARLY_FRAMES = 100;

/** How long a closing handshake may take before the socket is destroyed. */
const CLOSE_GRACE_MS = 500;

/** A proved WebSocket as a Connection: writes of one event-loop turn leave in one segment. */
export class SocketConnection implements Connection {
  readonly peerId: string;
  readonly remote: string;
  readonly #socket: WebSocket;
  readonly #stream: Duplex;
  #handler: ConnectionHandler | null = null;
  #early: string[] = [];
  #corked = false;
  /** Set once; delivered once, when there is somebody to tell. */
  #closed: string | null = null;
  #closing: string | null = null;

  constructor(socket: WebSocket, stream: Duplex, identity: { peerId: string; remote: string }) {
    this.#socket = socket;
    this.#stream = stream;
    this.peerId = identity.peerId;
    this.remote = identity.remote;
    socket.on('message', (data, isBinary) => this.#receive(isBinary || !Buffer.isBuffer(data) ? null : data.toString('utf8')));
    socket.on('close', (code, reason) => this.#end(this.#closing ?? (reason.toString() || `closed-${code}`)));
    socket.on('error', (error) => this.#end(this.#closing ?? errorWord(error)));
    stream.on('drain', () => this.#handler?.drained());
  }

  send(frame: string): void {
    if (this.#closing !== null || this.#closed !== null) return;
    if (!this.#corked) {
      this.#corked = true;
      this.#stream.cork();
      setImmediate(() => {
        this.#corked = false;
        this.#stream.uncork();
      });
    }
    this.#socket.send(frame, () => {
      // Everything handed over has left: `drain` is not emitted below the high-water mark.
      if (this.#stream.writableLength === 0) this.#handler?.drained();
    });
  }

  bufferedBytes(): number {
    return this.#stream.writableLength;
  }

  listen(handler: ConnectionHandler): void {
    this.#handler = handler;
    const early = this.#early;
    this.#early = [];
    for (const text of early) handler.frame(text);
    if (this.#closed !== null) handler.closed(this.#closed);
  }

  close(reason: string): void {
    if (this.#closing !== null || this.#closed !== null) return;
    this.#closing = reason;
    this.#socket.close(1000, reason.slice(0, 100));
    setTimeout(() => this.#socket.terminate(), CLOSE_GRACE_MS).unref();
    queueMicrotask(() => this.#end(reason));
  }

  #receive(text: string | null): void {
    if (this.#closing !== null) return;
    if (text === null) this.close('binary-frame');
    else if (this.#handler !== null) this.#handler.frame(text);
    else if (this.#early.length < EARLY_FRAMES) this.#early.push(text);
    else this.close('nobody-listens');
  }

  #end(reason: string): void {
    if (this.#closed !== null) return;
    this.#closed = reason;
    this.#handler?.closed(reason);
  }
}

/** A short word for logs and metrics; never the text of a peer. */
function errorWord(error: Error): string {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : 'error';
  return code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' ? 'oversized-frame' : code.toLowerCase().replaceAll('_', '-');
}

export const webSocketOptions = { maxPayload: limits.maxFrameBytes, perMessageDeflate: false } as const;
