import { connect, type Socket } from 'node:net';
import { promisify } from 'node:util';
import { afterEach, expect, it } from 'vitest';
import { startTestServer, until, type TestServer } from '../support/api-server.ts';

const MEGABYTE = 1_048_576;
let server: TestServer;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await server.close();
});

/** A client that asks, and reads nothing. */
function deaf(path: string): Socket {
  const socket = connect(Number(new URL(server.http.origin).port), '127.0.0.1').pause();
  sockets.push(socket);
  socket.on('error', () => undefined).write(`GET ${path} HTTP/1.1\r\nhost: here\r\nx-api-key: ${server.keys.viewer}\r\n\r\n`);
  return socket;
}
const connections = (): Promise<number> => promisify(server.http.server.getConnections.bind(server.http.server))();

it('a client that leaves before it is the turn of its list is no fault of the server', async () => {
  server = await startTestServer();
  let answerAll: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (answerAll = resolve));
  const { store } = server.node;
  const read = store.list.bind(store);
  let reads = 0;
  store.list = async (kind, options) => {
    reads += 1;
    await held;
    return await read(kind, options);
  };
  const list = (path: string, signal?: AbortSignal): Promise<Response> =>
    fetch(`${server.http.origin}/api/engine/v2/${path}`, { headers: { 'x-api-key': server.keys.viewer }, ...(signal === undefined ? {} : { signal }) });
  const others = [list('systems'), list('modules')];
  await until(() => reads === 2, 'as many as may be are under way');
  const timers = server.clock.pendingTimers;
  const leaving = new AbortController();
  const left = list('zones', leaving.signal).catch(() => 'left');
  await until(() => server.clock.pendingTimers > timers, 'the third waits');
  leaving.abort();
  expect(await left).toBe('left');
  await until(() => server.clock.pendingTimers === timers, 'it waits no more');
  answerAll();
  for (const other of others) expect((await other).status).toBe(200);
  expect(reads).toBe(2);
  expect(server.log.filter(({ level }) => level === 'error')).toEqual([]);
});

it('an idle connection is kept for half a minute, which its client is told', async () => {
  server = await startTestServer();
  const { headers } = await fetch(`${server.http.origin}/health/live`);
  expect(headers.get('keep-alive')).toBe('timeout=30');
});

it('too much that nobody reads: the connection goes where most of it waits, and the others get their answers', async () => {
  server = await startTestServer({ unreadBytes: 48 * MEGABYTE });
  // More than the operating system takes of a connection that is not read.
  server.node.setStatus({ system: 'sys-1', module: 'Display', index: 1, key: 'large', value: 'x'.repeat(20 * MEGABYTE) });
  const path = '/api/engine/v2/systems/sys-1/Display_1/large';
  let [accepted, open] = [0, 0];
  server.http.server.on('connection', () => (accepted += 1));
  for (let n = 0; n < 3; n += 1) deaf(path);
  const count = (): void => void connections().then((found) => (open = found));
  await until(() => accepted === 3, 'all are connected');
  await until(() => (count(), open === 2), 'one of them is cut');
  const answer = await fetch(`${server.http.origin}/api/engine/v2/version`);
  expect(answer.status).toBe(200);
});
