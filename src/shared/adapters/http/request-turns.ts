import type { RequestListener, Server } from 'node:http';
import type { Socket } from 'node:net';
import { FairReading, type Lane } from '../../api/fair-reading.ts';
import type { Clock } from '../../ports/clock.ts';
import { rateAddress } from './rate-address.ts';

/**
 * Does something for a connection when it is its turn. Hundreds may ask at once: what others ask, and heartbeats, go in between.
 * Connections from one address that have shown no valid key have one turn together, so that nobody gets more by opening many.
 */
export class RequestTurns {
  readonly #reading: FairReading;
  readonly #lanes = new WeakMap<Socket, Lane>();
  readonly #proved = new WeakSet<Socket>();

  constructor(clock: Clock) {
    this.#reading = new FairReading(clock, setImmediate);
  }

  inTurn(socket: Socket, work: () => void): void {
    const lane = this.#lanes.get(socket) ?? this.#laneOf(socket);
    lane.take(work);
  }

  /** What `work` makes, or throws, when it is the turn of this connection. */
  turn<T>(socket: Socket, work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.inTurn(socket, () => {
        try {
          resolve(work());
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
    });
  }

  /** Those who come do not wait behind all that others ask. */
  letIn(server: Server): void {
    server.on('connection', () => this.#reading.arrived());
  }

  /** A request on it carried a valid credential. */
  proved(socket: Socket): void {
    this.#proved.add(socket);
  }

  /** Before anything is done for a request: to refuse it costs nearly as much as to answer it. Nobody reads the answer of one that has left. */
  listener(handler: RequestListener): RequestListener {
    return (request, response) =>
      this.inTurn(request.socket, () => {
        if (!request.socket.destroyed) handler(request, response);
      });
  }

  #laneOf(socket: Socket): Lane {
    const address = rateAddress(socket.remoteAddress ?? '');
    const lane = this.#reading.lane(null, () => (this.#proved.has(socket) ? socket : address));
    this.#lanes.set(socket, lane);
    return lane;
  }
}
