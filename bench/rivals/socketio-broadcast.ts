import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server } from 'socket.io';
import { endWithParent, tell } from '../support/child.ts';

endWithParent();
const server = createServer();
const io = new Server(server, { transports: ['websocket'] });
io.on('connection', (socket) => socket.on('publish', (value: unknown) => io.emit('value', value)));
server.listen(0, '127.0.0.1');
await once(server, 'listening');
tell({ port: (server.address() as AddressInfo).port });
