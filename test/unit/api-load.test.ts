import { connect, type Socket } from 'node:net';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import type { Json } from '../../src/shared/foundation/json.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { moduleDocument } from '../support/sample-documents.ts';
import { requestsTo, startTestServer, until, type TestServer } from '../support/api-server.ts';
import { socketClientsOf } from '../support/socket-client.ts';

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
  server = await startTestServer({ unreadBytes: 30 * MEGABYTE });
  // More than the operating system takes of a connection that is not read.
  server.node.setStatus({ system: 'sys-1', module: 'Display', index: 1, key: 'large', value: 'x'.repeat(7 * MEGABYTE) });
  const path = '/api/engine/v2/systems/sys-1/Display_1/large';
  let [accepted, open] = [0, 0];
  server.http.server.on('connection', () => (accepted += 1));
  for (let n = 0; n < 5; n += 1) deaf(path);
  const count = (): void => void connections().then((found) => (open = found));
  await until(() => accepted === 5, 'all are connected');
  await until(() => (count(), open === 4), 'one of them is cut');
  const answer = await fetch(`${server.http.origin}/api/engine/v2/version`);
  expect(answer.status).toBe(200);
});

describe('an answer', () => {
  const { get } = requestsTo(() => server);
  const STATE = '/api/engine/v2/systems/sys-1/Display_1';
  const tooLarge = (limitBytes: number) => ({ code: 'ANSWER_TOO_LARGE', facts: { limitBytes } });
  const setStatus = (key: string, value: Json): void => server.node.setStatus({ system: 'sys-1', module: 'Display', index: 1, key, value });

  it('that would be too large is refused before it is written; a part of it is had', async () => {
    server = await startTestServer();
    for (let n = 0; n < 9; n += 1) setStatus(`large-${n}`, 'x'.repeat(MEGABYTE));
    const answer = await get(STATE);
    expect([answer.status, await answer.json()]).toMatchObject([413, tooLarge(limits.apiAnswerBytes)]);
    expect(await (await get(`${STATE}/large-3`)).json()).toHaveLength(MEGABYTE);
  });

  it('over a WebSocket is less, so that it fits beside others', async () => {
    server = await startTestServer();
    for (let n = 0; n < 3; n += 1) setStatus(`large-${n}`, 'x'.repeat(MEGABYTE));
    const socket = await socketClientsOf(() => server)('viewer');
    const params = { id: 'sys-1', module: 'Display_1' };
    expect(await socket.ask({ id: 1, cmd: 'request', route: 'moduleStatus', params })).toMatchObject({ id: 1, error: tooLarge(limits.clientSocketAnswerBytes) });
    expect(await socket.ask({ id: 2, cmd: 'request', route: 'variable', params: { ...params, key: 'large-1' } })).toMatchObject({ id: 2, type: 'success' });
    expect((await get(STATE)).status).toBe(200);
    const documents = Array.from({ length: limits.listMax }, (_, n) => moduleDocument(`mod-large-${n}`, { notes: 'x'.repeat(10_000) }));
    await server.node.store.apply(documents.map((document) => ({ op: 'put', document, expect: null })));
    const list = { cmd: 'request', route: 'moduleList', query: { limit: limits.listMax } };
    expect(await socket.ask({ id: 3, ...list })).toMatchObject({ id: 3, error: tooLarge(limits.clientSocketAnswerBytes) });
    expect(await socket.ask({ id: 4, ...list, query: { limit: 100 } })).toMatchObject({ id: 4, status: 200 });
    expect((await get(`/api/engine/v2/modules?limit=${limits.listMax}`)).status).toBe(200);
  });

  it('that is large has a turn of its own: hundreds at once would keep the server from everything else', async () => {
    server = await startTestServer();
    let [turn, counting] = [0, true];
    const count = (): void => {
      turn += 1;
      if (counting) setImmediate(count);
    };
    const written: number[] = [];
    const text = 'x'.repeat(limits.apiLargeAnswerBytes);
    const toJSON = (): string => {
      server.clock.work(limits.clientTurnMs);
      written.push(turn);
      return text;
    };
    const waiting: (() => void)[] = [];
    server.node.methods.set('read', () => new Promise((answer) => waiting.push(() => answer({ text, toJSON } as unknown as Json))));
    count();
    const { post } = requestsTo(() => server);
    const asked = Array.from({ length: 20 }, () => post(`${STATE}/read`));
    await until(() => waiting.length === 20, 'all are at it');
    for (const answer of waiting) answer();
    await Promise.all(asked);
    counting = false;
    const most = Math.max(...written.map((one) => written.filter((other) => other === one).length));
    expect([written.length, most <= 2]).toEqual([20, true]);
  });
});
