import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import type { Lane } from '../../api/fair-reading.ts';
import { TurnGatherer } from '../../foundation/turn-gatherer.ts';
import { limits } from '../../model/limits.ts';
import type { ClientSocket } from '../../ports/client-socket.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ClientWebSocket } from './client-web-socket.ts';
import { DutyCycle } from './duty-cycle.ts';

type Flushed = Pick<ClientConnection, 'flush'>;

/**
 * Connections with something to send, flushed together at the end of the event-loop turn, or a lone one at once. Telling
 * of status rests when it took long, so that commands and the link get their time: what changes meanwhile leaves in the
 * same write.
 */
export class Flusher {
  #answered: Flushed[] = [];
  #told: Flushed[] = [];
  readonly #turn = new TurnGatherer(() => this.#flush(), setImmediate);
  readonly #telling: DutyCycle;
  /** What was joined last: clients that are bound to the same are sent the same, one after the other. */
  #last: { frames: readonly Uint8Array[]; joined: Uint8Array } = { frames: [], joined: new Uint8Array() };

  constructor(clock: Clock) {
    this.#telling = new DutyCycle(clock, limits.clientStatusRestMs, () => {
      const told = this.#told;
      this.#told = [];
      this.#flushAll(told);
    });
  }

  answered(connection: Flushed): void {
    this.#answered.push(connection);
    this.#turn.sent();
  }

  told(connection: Flushed): void {
    this.#told.push(connection);
    this.#turn.sent();
  }

  /** The bytes of frames that leave together: one write costs less than one of many pieces, and one copy serves all. */
  join(frames: readonly Uint8Array[]): Uint8Array {
    const { frames: last, joined } = this.#last;
    if (frames.length === last.length && frames.every((frame, i) => frame === last[i])) return joined;
    this.#last = { frames, joined: Buffer.concat(frames) };
    return this.#last.joined;
  }

  #flush(): void {
    const answered = this.#answered;
    this.#answered = [];
    this.#flushAll(answered);
    if (this.#told.length > 0) this.#telling.demand();
  }

  #flushAll(connections: readonly Flushed[]): void {
    for (const connection of connections) connection.flush();
    this.#last = { frames: [], joined: new Uint8Array() };
  }
}

/**
 * A client's WebSocket. Frames come ready-made and go past the library into the stream below it: that is safe because
 * the library, without compression, writes each of its own frames in one go.
 */
export class ClientConnection implements ClientSocket {
  readonly #socket: ClientWebSocket;
  readonly #stream: Duplex;
  readonly #flusher: Flusher;
  readonly #lane: Lane;
  #frames: Uint8Array[] = [];
  #bytes = 0;

  constructor(socket: ClientWebSocket, stream: Duplex, { flusher, lane }: { flusher: Flusher; lane: Lane }) {
    this.#socket = socket;
    this.#stream = stream;
    this.#flusher = flusher;
    this.#lane = lane;
  }

  send(frame: Uint8Array): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#push(frame);
    this.#flusher.answered(this);
  }

  sendStatus(frame: Uint8Array): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#push(frame);
    // Those before it leave with it, whatever they are.
    if (this.#frames.length === 1) this.#flusher.told(this);
  }

  queuedBytes(): number {
    return this.#bytes + this.#stream.writableLength;
  }

  ping(): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.ping();
  }

  receiveRest(): void {
    this.#lane.finish();
  }

  close(code: number, reason: string): void {
    this.flush();
    this.#socket.finish(code, reason);
  }

  flush(): void {
    const frames = this.#frames;
    this.#frames = [];
    this.#bytes = 0;
    const [first] = frames;
    if (first === undefined || this.#socket.readyState !== WebSocket.OPEN) return;
    this.#stream.write(frames.length === 1 ? first : this.#flusher.join(frames));
  }

  #push(frame: Uint8Array): void {
    this.#frames.push(frame);
    this.#bytes += frame.length;
  }
}
