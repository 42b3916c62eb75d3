import { randomFillSync } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import { TokenBucket } from '../../api/token-bucket.ts';
import { textFrame } from '../../foundation/text-frame.ts';
import { TurnGatherer, type Urgency } from '../../foundation/turn-gatherer.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Connection, ConnectionHandler } from '../../ports/transport.ts';
import { textOf } from './proof-channel.ts';

/** `closeTimeout`: a peer that does not answer a close frame, or does not read it, is cut off then. */
export const webSocketOptions = {
  maxPayload: limits.maxFrameBytes,
  maxFragments: limits.socketFragments,
  perMessageDeflate: false,
  closeTimeout: limits.linkCloseMs,
} as const;

/** So much is not held back for the rest of a turn, or a rest: the peer can work on it meanwhile, and bulk waits for no more. */
const AT_ONCE_BYTES = limits.bulkSocketBytes;

export interface ConnectionIdentity {
  peerId: string;
  peerProcess: string;
  remote: string;
  /** Frames that came while nobody listened; the socket is paused until somebody does. */
  early: (string | null)[];
  /** This is the end that has dialled: it masks what it sends. */
  dialled: boolean;
  clock: Clock;
}

/** By which a process that dials says which one it is. */
export const PROCESS_HEADER = 'x-holdfast-process';

/**
 * A proved WebSocket as a Connection. The frames of one event-loop turn leave in one write, past the library into the stream
 * below it: that is safe because the library, without compression, writes each of its own frames in one go.
 */
export class SocketConnection implements Connection {
  readonly peerId: string;
  readonly peerProcess: string;
  readonly remote: string;
  readonly #socket: WebSocket;
  readonly #stream: Duplex;
  readonly #early: (string | null)[];
  readonly #masks: Masks | null;
  readonly #turn: TurnGatherer;
  #handler: ConnectionHandler | null = null;
  /** Of this turn. */
  #frames: Uint8Array[] = [];
  #bytes = 0;
  /** Why we end it: set once, from then on nothing is sent, and no frame delivered. */
  #closing: string | null = null;
  /** Set once; delivered once, when there is somebody to tell. */
  #closed: string | null = null;

  constructor(socket: WebSocket, stream: Duplex, { peerId, peerProcess, remote, early, dialled, clock }: ConnectionIdentity) {
    this.#turn = new TurnGatherer(() => this.#write(), setImmediate, { clock, restMs: limits.statusRestMs });
    this.#socket = socket;
    this.#stream = stream;
    this.#early = early;
    this.#masks = dialled ? new Masks() : null;
    this.peerId = peerId;
    this.peerProcess = peerProcess;
    this.remote = remote;
    socket.on('message', (data, isBinary) => {
      const text = textOf(data, isBinary);
      // Frames of a chunk that had been read before the socket was paused.
      if (this.#handler === null) this.#early.push(text);
      else this.#receive(this.#handler, text);
    });
    // A link has heartbeats of its own, and sends neither.
    const pings = new TokenBucket(clock, { perSecond: limits.socketPingsPerSecond, burst: limits.socketPingBurst });
    const pinged = (): void => {
      if (pings.take()) return;
      this.close('too-many-pings');
      // Who floods us goes on while the socket closes.
      socket.pause();
    };
    socket.on('ping', pinged);
    socket.on('pong', pinged);
    socket.on('close', (code, reason) => this.#end(this.#closing ?? closeWord(code, reason.toString())));
    socket.on('error', (error) => this.#end(this.#closing ?? errorWord(error)));
  }

  send(text: string, urgency: Urgency = 'now'): void {
    if (this.#closing !== null || this.#closed !== null) return;
    const frame = textFrame(text, this.#masks?.next());
    this.#frames.push(frame);
    this.#bytes += frame.length;
    if (this.#bytes >= AT_ONCE_BYTES) this.#write();
    this.#turn.sent(urgency);
  }

  bufferedBytes(): number {
    return this.#bytes + this.#stream.writableLength;
  }

  listen(handler: ConnectionHandler): void {
    this.#handler = handler;
    for (const text of this.#early.splice(0)) this.#receive(handler, text);
    if (this.#closed !== null) handler.closed(this.#closed);
    else this.#socket.resume();
  }

  close(reason: string): void {
    if (this.#closing !== null || this.#closed !== null) return;
    this.#write();
    this.#closing = reason;
    // The WebSocket bounds a close reason in bytes.
    this.#socket.close(1000, reason.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 100));
    // A paused socket would never see the peer's answer.
    this.#socket.resume();
    queueMicrotask(() => this.#end(reason));
  }

  #write(): void {
    const frames = this.#frames;
    this.#frames = [];
    this.#bytes = 0;
    const [first] = frames;
    if (first === undefined || this.#socket.readyState !== WebSocket.OPEN) return;
    this.#stream.write(frames.length === 1 ? first : Buffer.concat(frames), this.#written);
  }

  #receive(handler: ConnectionHandler, text: string | null): void {
    if (this.#closing !== null) return;
    if (text === null) this.close('binary-frame');
    else handler.frame(text);
  }

  /** For every write: the stream's `drain` comes above a mark of its own only, which differs between versions of Node. */
  readonly #written = (): void => {
    if (this.#closing === null && this.#closed === null) this.#handler?.drained();
  };

  #end(reason: string): void {
    if (this.#closed !== null) return;
    this.#closed = reason;
    this.#handler?.closed(reason);
  }
}

/** Reasons become labels of metrics: only words, and one for each of the peer's own texts that is none. */
const closeWord = (code: number, reason: string): string => (/^[a-z][a-z0-9-]{0,99}$/.test(reason) ? reason : `closed-${code}`);

/** A short word for logs and metrics; never the text of a peer. */
function errorWord(error: Error): string {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : 'error';
  return code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' ? 'oversized-frame' : code.toLowerCase().replaceAll('_', '-');
}

/** Masks, 4 random bytes each, drawn many at a time. */
class Masks {
  readonly #pool = Buffer.alloc(4_096);
  #at = this.#pool.length;

  next(): Uint8Array {
    if (this.#at === this.#pool.length) {
      randomFillSync(this.#pool);
      this.#at = 0;
    }
    this.#at += 4;
    return this.#pool.subarray(this.#at - 4, this.#at);
  }
}
