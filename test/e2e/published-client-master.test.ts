import { afterAll, beforeAll, expect, it } from 'vitest';
import { routes } from '../../src/client-sdk/index.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { startFederation, type TestFederation } from '../support/federation.ts';
import { logSession, normalSession, power, setUpPanel } from '../support/published-client.ts';
import { SocketClient } from '../support/socket-client.ts';

/** The published client, unmodified, against a master while control moves: real processes, killed and started again. */

const scope = new Scope();
let world: TestFederation;
beforeAll(async () => {
  world = await startFederation(scope, { timeoutSeconds: 15 });
}, 180_000);
afterAll(async () => {
  await scope.close();
});

it('lists, pages, shows, binds and executes through a master', async () => {
  await normalSession({ origin: world.federation.master.origin, apiKey: world.federation.apiKey });
});

it('sees the log lines of drivers at an edge through a master', async () => {
  await logSession(world);
});

it('keeps its bindings, with fresh values, while the edge dies, the master takes over and hands back', async () => {
  const { federation } = world;
  const { client, values } = await setUpPanel({ origin: federation.master.origin, apiKey: federation.apiKey });
  const sockets: [number, number][] = [];
  client.connectionState().subscribe((state) => void sockets.push(state));
  const before = sockets.length;
  const volume = await values('volume');
  const set = (value: number): Promise<unknown> => client.execute({ ...power, name: 'set', args: ['volume', value] });
  const reaches = (value: number): Promise<void> => expect.poll(() => volume.at(-1), { timeout: 10_000 }).toBe(value);

  await set(1);
  await reaches(1);
  federation.edge('berlin')?.process.signal('SIGKILL');
  await world.until('berlin', { holder: 'master', state: 'holding', reason: 'edge-lost' }, 60_000);
  await set(2);
  await reaches(2);
  await federation.restartEdge('berlin');
  await world.until('berlin', { holder: 'master', state: 'waiting-window' });
  await set(3);
  await reaches(3);
  await world.client.call(routes.handback, { params: { id: 'berlin' }, body: {} });
  await world.until('berlin', { holder: 'edge', state: 'standby' });
  await world.untilEdge('berlin', { holder: 'edge', state: 'holding' });
  await set(4);
  await reaches(4);

  // No value was lost, repeated or invented on the way, and it was one socket all the time.
  expect(volume.filter((value) => typeof value === 'number')).toEqual([1, 2, 3, 4]);
  expect(volume.slice(volume.indexOf(1)).includes(null)).toBe(false);
  expect(sockets.length).toBe(before);
});

it('a client of the older generation is served on its path, and told where control is', async () => {
  const { federation } = world;
  const client = await SocketClient.open(`${federation.master.origin}/control/websocket?api-key=${federation.apiKey}`);
  scope.defer('older client', () => client.close());
  expect(await client.ask('ping')).toBe('pong');
  const meta = { sys: 'sys-berlin', mod: 'Lights', index: 1, name: 'power' };
  expect(await client.ask({ id: 'a1', cmd: 'bind', ...meta })).toEqual({ id: 'a1', type: 'success', meta });
  expect(await client.next()).toMatchObject({ type: 'notify', meta });
  client.send({ id: 'a2', cmd: 'exec', ...meta, args: [true] });
  expect(await client.find(({ id }) => id === 'a2', 'the answer')).toMatchObject({ type: 'success', value: true });
  await client.find(({ type, value }) => type === 'notify' && value === true, 'the new value');

  await world.client.call(routes.takeover, { params: { id: 'berlin' }, body: {} });
  const edge = federation.edge('berlin')?.origin;
  expect(await client.find(({ type, reason }) => type === 'redirect' && reason !== 'controlled-elsewhere', 'the redirect')).toMatchObject({
    reason: 'operator-takeover',
    location: 'berlin',
    sys: 'sys-berlin',
    origin: federation.master.origin,
    alternatives: [edge],
  });
  await world.client.call(routes.handback, { params: { id: 'berlin' }, body: {} });
  await client.find(({ type, origin }) => type === 'redirect' && origin === edge, 'the redirect to the edge');

  // REST at the master, for a client that prefers to be sent: the edge answers.
  const answer = await fetch(`${federation.master.origin}/api/engine/v2/systems/sys-berlin/Lights_1/power`, {
    headers: { 'x-api-key': federation.apiKey, prefer: 'redirect' },
  });
  expect([answer.redirected, new URL(answer.url).origin, await answer.json()]).toEqual([true, edge, true]);
});
