import { IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { errorReply } from '../../api/reply.ts';
import { sayLastWord } from '../../foundation/last-word.ts';
import { readNoFurther } from '../../foundation/read-no-further.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { OpenResponses } from './open-responses.ts';

const TOO_MANY = new HoldfastError('LIMIT_REACHED', { what: 'requests may be under way on one connection', limit: limits.apiPipelined });

/** Requests that a client sends without waiting for answers: see `readNoFurther`. */
export class PiledRequests {
  #open: OpenResponses | null = null;
  readonly #ending = new Set<Socket>();

  /** For the server that is about to be made. */
  requestClass(): typeof IncomingMessage {
    const isTooMany = (socket: Socket): boolean => (this.#open?.countOn(socket) ?? 0) >= limits.apiPipelined;
    return class extends IncomingMessage {
      constructor(socket: Socket) {
        super(socket);
        if (isTooMany(socket)) readNoFurther(this);
      }
    };
  }

  /** Those under way are answered, then the one too many is refused, and the connection ends. A real CONNECT is cut off. */
  refuseOn(server: Server, open: OpenResponses, clock: Clock): void {
    this.#open = open;
    // Node would answer it by itself, as often as it comes, and nobody would count it. Nor does this server have such expectations.
    server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => server.emit('request', request, response));
    server.on('connect', ({ socket }: IncomingMessage) => {
      // Node looks after it no more.
      socket.on('error', () => undefined);
      if (open.countOn(socket) < limits.apiPipelined) return void socket.destroy();
      this.#ending.add(socket);
      socket.once('close', () => this.#ending.delete(socket));
      socket.once('end', () => socket.destroy());
      // Otherwise nobody sees that the client has left.
      socket.resume();
      open.whenAnswered(socket, () => sayLastWord(socket, refusal(), (cut) => clock.after(limits.clientSocketCloseMs, cut)));
    });
  }

  /** Connections that are about to end: the server does not know them as its own any more. */
  cut(): void {
    for (const socket of this.#ending) socket.destroy();
  }
}

function refusal(): string {
  const { status, body } = errorReply(TOO_MANY);
  const text = JSON.stringify(body);
  const head = `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(text)}`;
  return `${head}\r\nconnection: close\r\n\r\n${text}`;
}
