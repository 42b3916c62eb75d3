import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { endWithParent, tell } from '../support/child.ts';

/** The least that passes commands of clients through a pipe to a process that answers: what the machine itself takes for that way. */
const PIPE = 3;
const [role = ''] = process.argv.slice(2);
if (role === 'responder') respond();
else await serve();

function respond(): void {
  const pipe = new Socket({ fd: PIPE, readable: true, writable: true });
  createInterface(pipe).on('line', (line) => {
    const { id, args } = JSON.parse(line) as { id: number; args: unknown[] };
    pipe.write(`${JSON.stringify({ id, value: args[0] })}\n`);
  });
}

async function serve(): Promise<void> {
  endWithParent();
  const responder = spawn(process.execPath, [process.argv[1] ?? '', 'responder'], { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
  const pipe = responder.stdio[PIPE] as Duplex;
  const pending = new Map<number, (value: unknown) => void>();
  let lastId = 0;
  createInterface(pipe).on('line', (line) => {
    const { id, value } = JSON.parse(line) as { id: number; value: unknown };
    pending.get(id)?.(value);
    pending.delete(id);
  });
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
  server.on('connection', (socket) => {
    socket.on('message', (data) => {
      const { id, ...body } = JSON.parse(String(data)) as { id: number };
      lastId += 1;
      pending.set(lastId, (value) => socket.send(JSON.stringify({ id, type: 'success', value })));
      pipe.write(`${JSON.stringify({ ...body, id: lastId })}\n`);
    });
  });
  await once(server, 'listening');
  tell({ port: (server.address() as AddressInfo).port });
}
