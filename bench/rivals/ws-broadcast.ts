import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import { endWithParent, tell } from '../support/child.ts';

/** The least that tells all subscribers what a publisher says: JSON once, and what is sent in one turn of the event loop leaves in one write. */
endWithParent();
const subscribers = new Map<WebSocket, Socket>();
let corked = false;
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
server.on('connection', (socket, { socket: stream }) => {
  socket.on('message', (data) => {
    const { id, cmd, args, sys, mod, index, name } = JSON.parse(String(data)) as { id: number; cmd: string; args: unknown[]; sys: string; mod: string; index: number; name: string };
    socket.send(JSON.stringify({ id, type: 'success', value: null }));
    if (cmd === 'bind') subscribers.set(socket, stream);
    else broadcast(JSON.stringify({ type: 'notify', value: args[0], meta: { sys, mod, index, name } }));
  });
});

function broadcast(text: string): void {
  if (!corked) {
    corked = true;
    for (const stream of subscribers.values()) stream.cork();
    setImmediate(() => {
      corked = false;
      for (const stream of subscribers.values()) stream.uncork();
    });
  }
  const message = Buffer.from(text);
  for (const socket of subscribers.keys()) socket.send(message, { binary: false });
}
await once(server, 'listening');
tell({ port: (server.address() as AddressInfo).port });
