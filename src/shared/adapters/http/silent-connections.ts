import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Connections that have asked for nothing yet. There may be so many: the oldest makes room for a new one, so that whoever only
 * connects, which needs no key, cannot keep those out who ask.
 */
export function boundSilentConnections(server: Server, most: number): void {
  // By the other end: below TLS, and above it, the same connection is two sockets.
  const silent = new Map<string, Socket>();
  const arrived = (socket: Socket): void => {
    const key = otherEndOf(socket);
    silent.set(key, socket);
    socket.once('close', () => {
      if (silent.get(key) === socket) silent.delete(key);
    });
    const [oldest] = silent.values();
    if (silent.size > most) oldest?.destroy();
  };
  const asked = ({ socket }: { socket: Socket }): void => void silent.delete(otherEndOf(socket));
  server.on('connection', arrived);
  server.on('secureConnection', arrived);
  server.on('request', asked);
  server.on('upgrade', asked);
}

/** Of a connection, also below TLS. */
export const otherEndOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;
