import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { openServerIdentity } from '../../src/shared/adapters/tls/certificates.ts';
import { createSystemRandom } from '../../src/shared/adapters/random/system-random.ts';
import { routes } from '../../src/client-sdk/index.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { ClientSocket } from '../../src/shared/ports/client-socket.ts';
import { startTestServer, type TestServer } from '../support/api-server.ts';
import { socketClientsOf } from '../support/socket-client.ts';
import { tempFolders } from '../support/temp-folder.ts';

/** Nobody takes what is there for all. */

const folder = tempFolders();
let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.close());

const ignored = (): void => undefined;
const nowhere: ClientSocket = { send: ignored, sendStatus: ignored, queuedBytes: () => 0, ping: ignored, receiveRest: ignored, close: ignored };

describe('one key', () => {
  it('has so many WebSockets, and others have theirs', async () => {
    const { sockets } = server.api;
    const ask = (key: string) => sockets.admit({ address: '::1', headers: { 'x-api-key': key }, query: {} });
    const caller = await ask(server.keys.viewer);
    const sessions = Array.from({ length: limits.clientSocketsPerKey }, () => sockets.open(caller, nowhere, '::1'));
    await expect(ask(server.keys.viewer)).rejects.toMatchObject({ code: 'LIMIT_REACHED', facts: { limit: limits.clientSocketsPerKey } });
    expect(await (await socketClientsOf(() => server)('operator')).ask('ping')).toBe('pong');
    sessions.pop()?.closed();
    expect(await ask(server.keys.viewer)).toMatchObject({ id: caller.id });
    for (const session of sessions) session.closed();
  });

  it('has so many event streams, and others have theirs', async () => {
    const abort = new AbortController();
    onTestFinished(() => abort.abort());
    const open = (key: string) => server.client(key).stream(routes.events, {}, { signal: abort.signal });
    for (let count = 0; count < limits.apiStreamsPerKey; count += 1) await open(server.keys.viewer);
    await expect(open(server.keys.viewer)).rejects.toMatchObject({ code: 'LIMIT_REACHED', facts: { limit: limits.apiStreamsPerKey } });
    await open(server.keys.admin);
  });
});

describe('connections that ask for nothing', () => {
  /** Few at a time: what does not fit into the queue of the kernel is accepted seconds later. */
  const silent = async (origin: string, count: number): Promise<Socket[]> => {
    const sockets: Socket[] = [];
    onTestFinished(() => sockets.forEach((socket) => void socket.destroy()));
    while (sockets.length < count) {
      const some = Array.from({ length: Math.min(64, count - sockets.length) }, () => connect(Number(new URL(origin).port), '127.0.0.1').on('error', ignored));
      sockets.push(...some);
      await Promise.all(some.map((socket) => new Promise((done) => socket.once('connect', done))));
    }
    return sockets;
  };
  const closed = (sockets: Socket[]): number => sockets.filter((socket) => {
    socket.resume();
    return socket.destroyed;
  }).length;

  it('make room for newer ones, and never take the place of those who ask', async () => {
    const client = server.client(server.keys.admin);
    await client.call(routes.version, {});
    const oldest = await silent(server.http.origin, 50);
    const newer = await silent(server.http.origin, limits.apiSilentConnections);
    await expect.poll(() => closed(oldest), { timeout: 15_000 }).toBe(50);
    await client.call(routes.version, {});
    expect(closed(newer)).toBe(0);
  });

  it('are so many with TLS, too, before they prove anything', async () => {
    const random = createSystemRandom();
    const identity = await openServerIdentity({ folder: folder(), hosts: ['127.0.0.1'], random, wallMs: Date.now() });
    const secure = await startTestServer({ tls: { cert: identity.chain, key: identity.key } });
    onTestFinished(() => secure.close());
    const oldest = await silent(secure.http.origin, 20);
    const newer = await silent(secure.http.origin, limits.apiSilentConnections);
    await expect.poll(() => closed(oldest), { timeout: 15_000 }).toBe(20);
    expect(closed(newer)).toBe(0);
  });
});
