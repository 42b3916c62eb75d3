import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { once } from 'node:events';
import { endWithParent, tell } from '../support/child.ts';

/** The least that passes commands of clients on to a responder and its answers back: JSON at each hop, and nothing else. */
endWithParent();
const [responderPort = ''] = process.argv.slice(2);
const responder = new WebSocket(`wss://127.0.0.1:${responderPort}`, { rejectUnauthorized: false, perMessageDeflate: false });
const pending = new Map<number, (value: unknown) => void>();
let lastId = 0;
responder.on('message', (data) => {
  const { id, value } = JSON.parse(String(data)) as { id: number; value: unknown };
  pending.get(id)?.(value);
  pending.delete(id);
});
await once(responder, 'open');
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
server.on('connection', (socket) => {
  socket.on('message', (data) => {
    const { id, ...body } = JSON.parse(String(data)) as { id: number };
    lastId += 1;
    pending.set(lastId, (value) => socket.send(JSON.stringify({ id, type: 'success', value })));
    responder.send(JSON.stringify({ id: lastId, body }));
  });
});
await once(server, 'listening');
tell({ port: (server.address() as AddressInfo).port });
