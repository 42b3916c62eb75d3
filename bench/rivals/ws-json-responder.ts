import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { createSystemRandom } from '../../src/shared/adapters/random/system-random.ts';
import { openServerIdentity } from '../../src/shared/adapters/tls/certificates.ts';
import { endWithParent, tell } from '../support/child.ts';
import { answersOnPipe, startPipedProcess } from './piped-process.ts';

/** The least that answers requests over a WebSocket: JSON and ids, no deadlines, no session, no limits. With `pipe` a process behind it answers. */
if (!answersOnPipe()) {
  endWithParent();
  const [folder = '', by = ''] = process.argv.slice(2);
  const { chain, key } = await openServerIdentity({ folder, hosts: ['127.0.0.1'], random: createSystemRandom(), wallMs: Date.now() });
  const ask = by === 'pipe' ? startPipedProcess() : (value: unknown, answer: (value: unknown) => void) => answer(value);
  const server = createServer({ cert: chain, key, minVersion: 'TLSv1.3' });
  new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (socket) => {
    socket.on('message', (data) => {
      const { id, body } = JSON.parse(String(data)) as { id: number; body: unknown };
      ask(body, (value) => socket.send(JSON.stringify({ id, value })));
    });
  });
  server.listen(0, '127.0.0.1', () => tell({ port: (server.address() as AddressInfo).port }));
}
