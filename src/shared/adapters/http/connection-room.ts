import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import { limits } from '../../model/limits.ts';
import type { OpenResponses } from './open-responses.ts';
import { otherEndOf } from './silent-connections.ts';

/** Room is made before the last places are taken: who comes then is let in, and has to show who he is. */
const freePlaces = (most: number): number => Math.ceil(most / 64);

/**
 * Who makes room for new connections when the server is nearly full. Anybody can ask for something once, and again before he counts
 * as idle: so of those who have shown no valid credential the one goes that has asked for nothing for longest, and only if all
 * of them have requests under way one of these. A connection that has shown one stays, as far as its key has its share.
 */
export class ConnectionRoom {
  readonly #open: Pick<OpenResponses, 'countOn'>;
  readonly #full: number;
  /** By the other end, see `silent-connections.ts`; whose last request is longest ago is first. */
  readonly #strangers = new Map<string, Socket>();
  readonly #ofKeys = new Map<string, number>();
  #count = 0;

  /** `most`: as many as the server lets in. */
  constructor(server: Server, open: Pick<OpenResponses, 'countOn'>, most: number) {
    this.#open = open;
    this.#full = most - freePlaces(most);
    server.on('connection', (socket: Socket) => {
      this.#count += 1;
      socket.once('close', () => (this.#count -= 1));
      this.#arrived(socket);
      if (this.#count > this.#full) this.#longestIdle(socket)?.destroy();
    });
    server.on('secureConnection', (socket: Socket) => this.#arrived(socket));
    server.prependListener('request', ({ socket }: IncomingMessage) => {
      if (this.#strangers.delete(otherEndOf(socket))) this.#strangers.set(otherEndOf(socket), socket);
    });
    // WebSockets have shares of their own; an upgrade that is refused ends at once.
    server.on('upgrade', ({ socket }: IncomingMessage) => void this.#strangers.delete(otherEndOf(socket)));
  }

  /** A request on it carried a valid credential. Of one key that has many connections the others go on making room. */
  proved(socket: Socket, key: string): void {
    const own = this.#ofKeys.get(key) ?? 0;
    if (socket.destroyed || own >= limits.apiConnectionsPerKey || !this.#strangers.delete(otherEndOf(socket))) return;
    this.#ofKeys.set(key, own + 1);
    socket.once('close', () => {
      const left = (this.#ofKeys.get(key) ?? 0) - 1;
      if (left > 0) this.#ofKeys.set(key, left);
      else this.#ofKeys.delete(key);
    });
  }

  #arrived(socket: Socket): void {
    const key = otherEndOf(socket);
    this.#strangers.set(key, socket);
    socket.once('close', () => {
      if (this.#strangers.get(key) === socket) this.#strangers.delete(key);
    });
  }

  /** Other than the newest. */
  #longestIdle(newest: Socket): Socket | null {
    let busy: Socket | null = null;
    for (const socket of this.#strangers.values()) {
      if (socket === newest || socket.destroyed) continue;
      if (this.#open.countOn(socket) === 0) return socket;
      busy ??= socket;
    }
    return busy;
  }
}
