import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { createSystemRandom } from '../../src/shared/adapters/random/system-random.ts';
import { openServerIdentity } from '../../src/shared/adapters/tls/certificates.ts';

/** The least that keeps idle links: it sends each client as much as a copy of the documents, then heartbeats both ways, once a second. */
const [folder = '', copyBytes = '0', frameBytes = '0'] = process.argv.slice(2);
const { chain, key } = await openServerIdentity({ folder, hosts: ['127.0.0.1'], random: createSystemRandom(), wallMs: Date.now() });
const server = createServer({ cert: chain, key, minVersion: 'TLSv1.3' });
new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (socket) => {
  let left = Number(copyBytes);
  const beat = setInterval(() => socket.send('{"t":"hb","n":1,"ack":0}'), 1_000);
  socket.on('close', () => clearInterval(beat));
  socket.on('message', (data) => {
    const text = String(data);
    if (text.startsWith('{"t":"hb"')) socket.send('{"t":"hba","n":1,"ack":0}');
    if (text !== 'more' || left <= 0) return;
    left -= Number(frameBytes);
    socket.send('x'.repeat(Number(frameBytes)));
  });
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`));
