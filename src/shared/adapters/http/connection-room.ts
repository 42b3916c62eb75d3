import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import { limits } from '../../model/limits.ts';
import type { OpenResponses } from './open-responses.ts';
import { Strangers } from './strangers.ts';

/** Room is made before the last places are taken: who comes then is let in, and has to show who he is. */
const freePlaces = (most: number): number => Math.ceil(most / 64);

/**
 * Who makes room for new connections when the server is nearly full. Anybody can ask for something once, and again before he counts
 * as idle: so of those who have shown no valid credential one goes of the address that has most of them. There it is the one that
 * has asked for nothing for longest, and only if all of them are being answered one of these. An answer that waits to be read is
 * none. A connection that has shown a credential stays, as far as its key has its share.
 */
export class ConnectionRoom {
  readonly #full: number;
  readonly #strangers = new Strangers();
  readonly #ofKeys = new Map<string, number>();
  #count = 0;

  /** `most`: as many as the server lets in. */
  constructor(server: Server, open: Pick<OpenResponses, 'isAnswering'>, most: number) {
    this.#full = most - freePlaces(most);
    server.on('connection', (socket: Socket) => {
      this.#count += 1;
      socket.once('close', () => (this.#count -= 1));
      this.#strangers.arrived(socket);
      if (this.#count > this.#full) this.#strangers.toMakeRoom(socket, (stranger) => !open.isAnswering(stranger))?.destroy();
    });
    server.on('secureConnection', (socket: Socket) => this.#strangers.arrived(socket));
    server.prependListener('request', ({ socket }: IncomingMessage) => this.#strangers.asked(socket));
    // WebSockets have shares of their own; an upgrade that is refused ends at once.
    server.on('upgrade', ({ socket }: IncomingMessage) => void this.#strangers.known(socket));
  }

  /** A request on it carried a valid credential. Of one key that has many connections the others go on making room. */
  proved(socket: Socket, key: string): void {
    const own = this.#ofKeys.get(key) ?? 0;
    if (socket.destroyed || own >= limits.apiConnectionsPerKey || !this.#strangers.known(socket)) return;
    this.#ofKeys.set(key, own + 1);
    socket.once('close', () => {
      const left = (this.#ofKeys.get(key) ?? 0) - 1;
      if (left > 0) this.#ofKeys.set(key, left);
      else this.#ofKeys.delete(key);
    });
  }
}
