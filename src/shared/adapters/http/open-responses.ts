import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

interface OfSocket {
  socket: Socket;
  /** With the length of what was written of each and is not known to have left. */
  responses: Map<ServerResponse, number>;
  length: number;
}

/** Answers that are under way, and those of each connection: a client may send requests without waiting for answers, or not read any. */
export class OpenResponses {
  readonly #longest: number;
  readonly #all = new Map<ServerResponse, OfSocket>();
  readonly #ofSockets = new WeakMap<Socket, OfSocket>();
  #length = 0;

  /** `longest`: of all answers together that wait to be read. */
  constructor(server: Server, longest: number) {
    this.#longest = longest;
    // Before it is answered, so that it counts itself.
    server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      const ofSocket = this.#of(socket);
      ofSocket.responses.set(response, 0);
      this.#all.set(response, ofSocket);
      response.once('close', () => this.#closed(response, ofSocket));
    });
  }

  get size(): number {
    return this.#all.size;
  }

  /** On the connection of a request. */
  countOn(socket: Socket): number {
    return this.#ofSockets.get(socket)?.responses.size ?? 0;
  }

  /** Somebody works at an answer to it. */
  isAnswering(socket: Socket): boolean {
    for (const response of this.#ofSockets.get(socket)?.responses.keys() ?? []) if (!response.writableEnded) return true;
    return false;
  }

  /** The whole answer is about to be written. When too much waits, the connection where most of it waits is cut. */
  written(response: ServerResponse, length: number): void {
    const ofSocket = this.#all.get(response);
    if (ofSocket === undefined) return;
    this.#add(response, ofSocket, length);
    if (this.#length > this.#longest) this.#slowest()?.destroy();
  }

  /** Once, when none is under way on this connection any more. */
  whenAnswered(socket: Socket, callback: () => void): void {
    const wait = (): void => {
      const [response] = this.#ofSockets.get(socket)?.responses.keys() ?? [];
      if (response === undefined) callback();
      else response.once('close', wait);
    };
    wait();
  }

  /** Each time one of those that are under way now is over. */
  onClose(callback: () => void): void {
    for (const response of this.#all.keys()) response.once('close', callback);
  }

  #of(socket: Socket): OfSocket {
    const known = this.#ofSockets.get(socket);
    if (known !== undefined) return known;
    const made: OfSocket = { socket, responses: new Map(), length: 0 };
    this.#ofSockets.set(socket, made);
    // Node says `close` for the answer alone whose turn it is: the others would be waited for, and kept, for ever.
    socket.once('close', () => {
      for (const response of made.responses.keys()) if (response.socket === null) response.emit('close');
    });
    return made;
  }

  #closed(response: ServerResponse, ofSocket: OfSocket): void {
    this.#add(response, ofSocket, -(ofSocket.responses.get(response) ?? 0));
    ofSocket.responses.delete(response);
    this.#all.delete(response);
  }

  #add(response: ServerResponse, ofSocket: OfSocket, length: number): void {
    ofSocket.responses.set(response, (ofSocket.responses.get(response) ?? 0) + length);
    ofSocket.length += length;
    this.#length += length;
  }

  #slowest(): Socket | null {
    let slowest: OfSocket | null = null;
    for (const ofSocket of this.#all.values()) if (ofSocket.length > (slowest?.length ?? 0)) slowest = ofSocket;
    return slowest?.socket ?? null;
  }
}
