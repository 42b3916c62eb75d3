import { once } from 'node:events';
import { WebSocket } from 'ws';
import { endWithParent, hear, tell } from '../support/child.ts';

/** Idle links to the bare server, in one process: each asks for its copy, frame by frame, then exchanges heartbeats. */
endWithParent();
const [port = ''] = process.argv.slice(2);
const sockets: WebSocket[] = [];

async function connect(): Promise<WebSocket> {
  const socket = new WebSocket(`wss://127.0.0.1:${port}`, { rejectUnauthorized: false, perMessageDeflate: false });
  socket.on('message', (data: Buffer) => {
    if (data.length > 100) socket.send('more');
    else if (data.subarray(0, 10).toString() === '{"t":"hb",') socket.send('{"t":"hba","n":1,"ack":0}');
  });
  await once(socket, 'open');
  // As long as what an edge says to prove itself and to negotiate.
  for (const length of [200, 300, 700]) socket.send('x'.repeat(length));
  socket.send('more');
  setInterval(() => socket.send('{"t":"hb","n":1,"ack":0}'), 1_000);
  return socket;
}

tell({ started: true });
for (;;) {
  const { links } = await hear<{ links: number }>();
  while (sockets.length < links) sockets.push(await connect());
  tell({ links });
}
