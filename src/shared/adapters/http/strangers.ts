import type { Socket } from 'node:net';
import { Counts } from '../../foundation/counts.ts';
import { rateAddress } from './rate-address.ts';

interface Stranger {
  socket: Socket;
  address: string;
}

/** Connections of which nobody knows whose they are. Who comes back goes to the end: the first has been quiet for longest. */
export class Strangers {
  /** By the other end: below TLS, and above it, the same connection is two sockets. */
  readonly #all = new Map<string, Stranger>();
  readonly #ofAddress = new Counts();

  get size(): number {
    return this.#all.size;
  }

  arrived(socket: Socket): void {
    const end = otherEndOf(socket);
    this.#remove(end);
    this.#add(end, { socket, address: rateAddress(socket.remoteAddress ?? '') });
    socket.once('close', () => {
      if (this.#all.get(end)?.socket === socket) this.#remove(end);
    });
  }

  /** It goes on: to the end. */
  asked(socket: Socket): void {
    const end = otherEndOf(socket);
    const stranger = this.#remove(end);
    if (stranger !== undefined) this.#add(end, stranger);
  }

  /** It is none any more. False: it was none. */
  known(socket: Socket): boolean {
    return this.#remove(otherEndOf(socket)) !== undefined;
  }

  /**
   * The one that is to make room for `newest`: of the address that has most of them, so that nobody loses a place to somebody who
   * has many. There the first that `isIdle`, or the first of all.
   */
  toMakeRoom(newest: Socket, isIdle: (socket: Socket) => boolean = () => true): Socket | null {
    const most = this.#ofAddress.most();
    let busy: Socket | null = null;
    for (const { socket, address } of this.#all.values()) {
      if (socket === newest || socket.destroyed || this.#ofAddress.of(address) < most) continue;
      if (isIdle(socket)) return socket;
      busy ??= socket;
    }
    return busy;
  }

  #add(end: string, stranger: Stranger): void {
    this.#all.set(end, stranger);
    this.#ofAddress.add(stranger.address);
  }

  #remove(end: string): Stranger | undefined {
    const stranger = this.#all.get(end);
    if (stranger === undefined) return undefined;
    this.#all.delete(end);
    this.#ofAddress.remove(stranger.address);
    return stranger;
  }
}

const otherEndOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;
