import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { endWithParent, tell } from '../support/child.ts';
import { answersOnPipe, startPipedProcess } from './piped-process.ts';

/** The least that passes commands of clients through a pipe to a process that answers: what the machine itself takes for that way. */
if (!answersOnPipe()) {
  endWithParent();
  const ask = startPipedProcess();
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
  server.on('connection', (socket) => {
    socket.on('message', (data) => {
      const { id, args } = JSON.parse(String(data)) as { id: number; args: unknown[] };
      ask(args[0], (value) => socket.send(JSON.stringify({ id, type: 'success', value })));
    });
  });
  await once(server, 'listening');
  tell({ port: (server.address() as AddressInfo).port });
}
