import { once } from 'node:events';
import { expect, it, onTestFinished } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { SocketConnection, webSocketOptions } from '../../../src/shared/adapters/link-ws/socket-connection.ts';
import { limits } from '../../../src/shared/model/limits.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { until } from '../../support/api-server.ts';

it.each(['ping', 'pong'] as const)('a peer that sends %s frames without end is cut off, and not heard any more', async (frame) => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', ...webSocketOptions });
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('it has no port');
  const edge = new WebSocket(`ws://127.0.0.1:${address.port}`);
  onTestFinished(() => {
    edge.terminate();
    server.close();
  });
  const [[socket, { socket: stream }]] = await Promise.all([once(server, 'connection'), once(edge, 'open')]);
  const clock = new FakeClock();
  const master = new SocketConnection(socket, stream, { peerId: 'edge-1', peerProcess: '', remote: 'here', early: [], dialled: false, clock });
  const [heard, ends]: [string[], string[]] = [[], []];
  master.listen({ frame: (text) => heard.push(text), drained: () => undefined, closed: (reason) => ends.push(reason) });
  for (let i = 0; i < limits.socketPingBurst; i += 1) edge[frame]();
  edge.send('first');
  await until(() => heard.length === 1, 'the first frame');
  expect(ends).toEqual([]);
  edge[frame]();
  edge.send('second');
  const [code, reason] = await once(edge, 'close');
  expect([code, String(reason)]).toEqual([1000, 'too-many-pings']);
  expect([heard, ends]).toEqual([['first'], ['too-many-pings']]);
});
