import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Server } from 'socket.io';
import { io } from 'socket.io-client';
import { endWithParent, tell } from '../support/child.ts';

/** Answers by acknowledgement; with the port of another one, passes on to that. */
endWithParent();
const [cert = '', key = '', next = ''] = process.argv.slice(2);
const upstream = next === '' ? null : io(`https://127.0.0.1:${next}`, { transports: ['websocket'], rejectUnauthorized: false });
const server = createServer({ cert: readFileSync(cert), key: readFileSync(key), minVersion: 'TLSv1.3' });
new Server(server, { transports: ['websocket'] }).on('connection', (socket) => {
  socket.on('exec', (body: unknown, answer: (value: unknown) => void) => {
    if (upstream === null) answer(body);
    else upstream.emit('exec', body, answer);
  });
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
tell({ port: (server.address() as AddressInfo).port });
