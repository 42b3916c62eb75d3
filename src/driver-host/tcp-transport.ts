import net from 'node:net';
import type { Transport, TransportHandler } from '../driver-sdk/transport.ts';
import { backoffMs } from '../shared/foundation/backoff.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock, Timer } from '../shared/ports/clock.ts';
import type { Random } from '../shared/ports/random.ts';

export interface TcpTransportOptions {
  module: string;
  host: string;
  port: number;
  clock: Clock;
  random: Pick<Random, 'next'>;
  /** May the device be contacted at all now? */
  mayConnect(): boolean;
  /** Asked right before bytes leave; throws when they must not. */
  beforeWrite(bytes: number): void;
}

/** A connection that lived this long was a good one: the next attempt comes after the shortest delay. */
const GOOD_MS = 1_000;

const reconnect = { firstMs: limits.deviceReconnectMinMs, maxMs: limits.deviceReconnectMaxMs, factor: 2, jitter: 0.5 };

/** TCP to one device: connects at once, then again and again, slower and slower up to 10 s. Every end is a reset. */
export class TcpTransport implements Transport {
  readonly #options: TcpTransportOptions;
  #handler: TransportHandler | null = null;
  #socket: net.Socket | null = null;
  #connected = false;
  #attempted = false;
  /** Failures since the last good connection. */
  #failures = 0;
  #retry: Timer | null = null;
  #closed = false;

  constructor(options: TcpTransportOptions) {
    this.#options = options;
  }

  open(handler: TransportHandler): void {
    if (this.#closed) return;
    this.#handler = handler;
    this.#connect();
  }

  get ready(): boolean {
    return this.#connected && this.#socket?.writableNeedDrain === false;
  }

  write(data: Uint8Array): void {
    const { module, beforeWrite } = this.#options;
    const socket = this.#socket;
    if (socket === null || !this.#connected) throw new HoldfastError('DEVICE_OFFLINE', { module });
    beforeWrite(data.length);
    socket.write(data);
  }

  reset(): void {
    if (this.#socket !== null) drop(this.#socket);
  }

  /** The gate closed: bytes that the kernel has not taken yet must not leave later. */
  dropUnsent(): void {
    if (this.#socket !== null && (this.#socket.writableLength > 0 || !this.#connected)) drop(this.#socket);
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#connected = false;
    this.#retry?.cancel();
    const socket = this.#socket;
    if (socket === null) return Promise.resolve();
    return new Promise((resolve) => {
      socket.once('close', () => resolve());
      drop(socket);
    });
  }

  #connect(): void {
    const { host, port, clock, mayConnect } = this.#options;
    if (!mayConnect()) {
      this.#failed();
      return;
    }
    const socket = net.connect({ host, port, noDelay: true, keepAlive: true });
    this.#socket = socket;
    let reason = 'the device closed the connection';
    let connectedMs = 0;
    const deadline = clock.after(limits.deviceConnectMs, () => socket.destroy(new Error('connecting took too long')));
    socket.on('connect', () => {
      deadline.cancel();
      // The gate may have closed while the connection was being made.
      if (this.#closed || !mayConnect()) {
        drop(socket);
        return;
      }
      connectedMs = clock.monotonicMs();
      this.#connected = true;
      // In this order: a live device must not be taken for a dead one for a moment.
      this.#handler?.connected();
      this.#tried();
    });
    socket.on('data', (chunk) => {
      if (!this.#closed) this.#handler?.received(chunk);
    });
    socket.on('drain', () => this.#handler?.drained());
    socket.on('error', (error) => {
      reason = error.message;
    });
    socket.on('close', () => {
      deadline.cancel();
      this.#socket = null;
      if (this.#connected && clock.monotonicMs() - connectedMs >= GOOD_MS) this.#failures = 0;
      const wasConnected = this.#connected;
      this.#connected = false;
      if (this.#closed) return;
      if (wasConnected) this.#handler?.disconnected(reason);
      this.#failed();
    });
  }

  #failed(): void {
    const { clock, random } = this.#options;
    this.#tried();
    this.#retry = clock.after(backoffMs(reconnect, this.#failures, random.next()), () => this.#connect());
    this.#failures += 1;
  }

  #tried(): void {
    if (this.#attempted) return;
    this.#attempted = true;
    this.#handler?.attempted();
  }
}

/** Reset: what the kernel still holds is thrown away. A socket that is only connecting has nothing to reset. */
function drop(socket: net.Socket): void {
  if (socket.connecting) socket.destroy();
  else socket.resetAndDestroy();
}
