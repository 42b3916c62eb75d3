import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Client, connect, createClient, routes } from '../../src/client-sdk/index.ts';
import { startTestServer, type TestServer } from '../support/api-server.ts';

/** The SDK and two real APIs that send clients to each other. */

let master: TestServer;
let edge: TestServer;
const clients: { close(): void }[] = [];
beforeEach(async () => {
  master = await startTestServer({ role: 'master' });
  edge = await startTestServer({ role: 'edge' });
  for (const { node } of [master, edge]) {
    node.located.set('sys-1', 'edge-1');
    node.origins.push({ location: 'edge-1', edge: edge.http.origin, master: master.http.origin });
    node.methods.set('where', async () => node.role);
  }
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await Promise.all([master.close(), edge.close()]);
});

const run = { params: { id: 'sys-1', module: 'Display_1', method: 'where' }, body: [] };
const clientOf = (follows?: (origin: string) => boolean): Client => {
  // Both servers make the same keys, as they do when one has them from the other.
  const client = createClient({ origin: master.http.origin, apiKey: master.keys.operator, ...(follows === undefined ? {} : { follows }) });
  clients.push(client);
  return client;
};

it('a request goes where control is, and runs there only', async () => {
  expect(await clientOf((origin) => origin === edge.http.origin).call(routes.exec, run)).toBe('edge');
  expect([master.node.execs.length, edge.node.execs.length]).toEqual([0, 1]);
});

it('a request stays where it was sent when the client follows nobody, or not there', async () => {
  expect(await clientOf().call(routes.exec, run)).toBe('master');
  expect(await clientOf((origin) => origin === 'https://elsewhere.example.org').call(routes.exec, run)).toBe('master');
  expect(edge.node.execs).toEqual([]);
});

it('two servers that point at each other: it is served, once', async () => {
  edge.node.move('edge-1', { holder: 'master' });
  master.node.move('edge-1', { holder: 'edge' });
  expect(await clientOf(() => true).call(routes.exec, run)).toBe('master');
  expect([master.node.execs.length, edge.node.execs.length]).toEqual([1, 0]);
});

it('the members of a system are those of its location', async () => {
  master.node.origins.push({ location: 'edge-2', edge: null, master: null });
  expect(await clientOf().call(routes.members, { query: { system: 'sys-1' } })).toEqual([master.node.origins[0]]);
  expect(await clientOf().call(routes.members, { query: { system: 'sys-9' } })).toEqual([]);
});

it('a session goes from server to server as control moves, and its REST calls go along', async () => {
  const { operator } = master.keys;
  const session = await connect({ origins: [master.http.origin], apiKey: operator });
  clients.push(session);
  const power = { system: 'sys-1', module: 'Display', name: 'power' };
  master.node.setStatus({ ...power, index: 1, key: 'power', value: 1 });
  edge.node.setStatus({ ...power, index: 1, key: 'power', value: 2 });
  const seen: unknown[] = [];
  for (const { node } of [master, edge]) node.move('edge-1', { holder: 'master', epoch: { generation: 0, number: 5 } });
  session.bind(power, (value) => void seen.push(value));
  await expect.poll(() => session.state).toMatchObject({ servedBy: 'master', stale: false });
  edge.node.move('edge-1', { holder: 'edge', epoch: { generation: 0, number: 6 } });
  master.node.move('edge-1', { holder: 'edge', epoch: { generation: 0, number: 6 } });
  await expect.poll(() => session.state).toMatchObject({ servedBy: 'edge', stale: false });
  expect(seen).toEqual([1, 2]);
  expect(await session.exec({ ...power, name: 'where' })).toBe('edge');
  expect(session.rest().origin).toBe(edge.http.origin);
  expect(await session.rest().call(routes.exec, run)).toBe('edge');
});

it('a session that begins at a server which only relays is sent on, and one without a binding stays', async () => {
  const open = async () => {
    const session = await connect({ origins: [master.http.origin], apiKey: master.keys.operator });
    clients.push(session);
    return session;
  };
  const idle = await open();
  await expect.poll(() => idle.state.servedBy ?? idle.state.origin).toBe(master.http.origin);
  const session = await open();
  session.bind({ system: 'sys-1', module: 'Display', name: 'power' }, () => undefined);
  await expect.poll(() => session.state).toMatchObject({ servedBy: 'edge', stale: false });
  expect(idle.state.origin).toBe(master.http.origin);
});

it('a session with a wrong key says so', async () => {
  const session = await connect({ origins: [master.http.origin], apiKey: 'key-1.wrong' });
  clients.push(session);
  session.bind({ system: 'sys-1', module: 'Display', name: 'power' }, () => undefined);
  await expect.poll(() => session.state.problem).toContain('No valid API key');
});
