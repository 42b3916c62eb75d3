import { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

/**
 * What a server makes of each request that it reads. One packet holds thousands of them, and to read them costs what to answer
 * them costs: from the first one too many nothing more of that connection is read as HTTP. The parser of Node leaves alone what
 * follows a CONNECT; nothing else makes it stop. What becomes of the connection is up to the listeners of `connect`; without one
 * it is cut off.
 */
export function requestsUntil(isTooMany: (socket: Socket) => boolean): typeof IncomingMessage {
  return class extends IncomingMessage {
    constructor(socket: Socket) {
      super(socket);
      if (!isTooMany(socket)) return;
      const fixed = (value: unknown): PropertyDescriptor => ({ get: () => value, set: () => undefined });
      Object.defineProperties(this, { method: fixed('CONNECT'), upgrade: fixed(true) });
    }
  };
}
