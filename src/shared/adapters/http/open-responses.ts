import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Answers that are under way, and those of each connection: a client may send requests without waiting for answers. */
export class OpenResponses {
  readonly #all = new Set<ServerResponse>();
  readonly #ofSockets = new WeakMap<Socket, Set<ServerResponse>>();

  constructor(server: Server) {
    // Before it is answered, so that it counts itself.
    server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      const ofSocket = this.#of(socket);
      ofSocket.add(response);
      this.#all.add(response);
      response.once('close', () => {
        ofSocket.delete(response);
        this.#all.delete(response);
      });
    });
  }

  get size(): number {
    return this.#all.size;
  }

  /** On the connection of a request. */
  countOn(socket: Socket): number {
    return this.#ofSockets.get(socket)?.size ?? 0;
  }

  /** Each time one of those that are under way now is over. */
  onClose(callback: () => void): void {
    for (const response of this.#all) response.once('close', callback);
  }

  #of(socket: Socket): Set<ServerResponse> {
    const known = this.#ofSockets.get(socket);
    if (known !== undefined) return known;
    const made = new Set<ServerResponse>();
    this.#ofSockets.set(socket, made);
    // Node says `close` for the answer alone whose turn it is: the others would be waited for, and kept, for ever.
    socket.once('close', () => {
      for (const response of made) if (response.socket === null) response.emit('close');
    });
    return made;
  }
}
