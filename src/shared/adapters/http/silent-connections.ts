import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import { Strangers } from './strangers.ts';

/**
 * Connections that have asked for nothing yet. There may be so many: then one of the address that has most of them makes room
 * for a new one, so that whoever only connects, which needs no key, cannot keep those out who ask.
 */
export function boundSilentConnections(server: Server, most: number): void {
  const silent = new Strangers();
  const arrived = (socket: Socket): void => {
    silent.arrived(socket);
    if (silent.size > most) silent.toMakeRoom(socket)?.destroy();
  };
  const asked = ({ socket }: IncomingMessage): void => void silent.known(socket);
  server.on('connection', arrived);
  server.on('secureConnection', arrived);
  server.on('request', asked);
  server.on('upgrade', asked);
}
