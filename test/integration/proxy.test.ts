import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Client, createClient, HoldfastError, routes, type StreamEvent } from '../../src/client-sdk/index.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { command, settled, startFederation, type TestFederation } from '../support/federation.ts';
import { confuseDevices } from '../support/published-client.ts';
import { SocketClient } from '../support/socket-client.ts';

/** Real processes: a client of the edge `lisbon` and the modules of the edge `berlin`, through the master. */

const scope = new Scope();
let world: TestFederation;
let atLisbon: Client;
let atBerlin: Client;
beforeAll(async () => {
  // Long enough that nobody takes over while a link is cut.
  world = await startFederation(scope, { timeoutSeconds: 60 });
  atLisbon = world.federation.client(world.federation.edge('lisbon')?.origin);
  atBerlin = world.federation.client(world.federation.edge('berlin')?.origin);
  scope.defer('client of lisbon', () => atLisbon.close());
  scope.defer('client of berlin', () => atBerlin.close());
}, 120_000);
afterAll(() => scope.close());

const display = { id: 'sys-berlin', module: 'Display_1' };
const run = (client: Client, method: string, body: (string | number | boolean)[], signal?: AbortSignal) =>
  client.request(routes.exec, { params: { ...display, method }, query: { timeout_ms: 30_000 }, body }, signal === undefined ? {} : { signal });
const variable = { sys: 'sys-berlin', mod: 'Display', index: 1, name: 'power' };
const socketAt = async (origin: string): Promise<SocketClient> => {
  const socket = await SocketClient.open(`${origin}/api/engine/v2/systems/control`, { 'x-api-key': world.federation.apiKey });
  scope.defer('socket', () => socket.close());
  return socket;
};
const inFlight = (client: Client) => client.call(routes.requestList, {});
const cutLine = (mode: 'cut' | 'open'): void => world.federation.edge('berlin')?.relay.set(mode);
const codeOf = (error: unknown): string => (error instanceof HoldfastError ? error.code : String(error));

async function collect<T>(stream: AsyncIterable<StreamEvent<T>>, into: T[]): Promise<void> {
  try {
    for await (const event of stream) if (event.kind === 'event') into.push(event.data);
  } catch {
    // It ends with the test.
  }
}

it('commands, status and methods reach the other edge, and say who served them', async () => {
  await settled(world, 'lisbon');
  await settled(world, 'berlin');
  const answer = await run(atLisbon, 'power', [true]);
  expect([answer.body, answer.headers['x-holdfast-served-by']]).toEqual([true, 'berlin']);
  expect(await atLisbon.call(routes.variable, { params: { ...display, key: 'power' } })).toBe(true);
  expect(await atLisbon.call(routes.moduleState, { params: { id: 'mod-berlin-1' } })).toMatchObject({ connected: true, power: true });
  expect(await atLisbon.call(routes.functions, { params: display })).toMatchObject({ power: { arity: 1 }, slow: { arity: 1 } });
  expect(await world.client.call(routes.functions, { params: display })).toHaveProperty('echo');
}, 90_000);

it('a system of the master reaches a module of an edge: commands, status, bindings', async () => {
  const text = 'systems: [{id: sys-central, name: Central, modules: [mod-berlin-1]}]';
  await world.client.call(routes.apply, { body: { text, dry_run: false } });
  const params = { ...display, id: 'sys-central' };
  const value = () => world.client.call(routes.variable, { params: { ...params, key: 'power' } }).catch(codeOf);
  // At once: who has been answered may use it.
  const answer = await world.client.request(routes.exec, { params: { ...params, method: 'power' }, query: { timeout_ms: 30_000 }, body: [false] });
  expect([answer.body, answer.headers['x-holdfast-served-by']]).toEqual([false, 'berlin']);
  await expect.poll(value, { timeout: 10_000 }).toBe(false);
  const socket = await socketAt(world.federation.master.origin);
  socket.send({ id: 1, cmd: 'bind', ...variable, sys: 'sys-central' });
  await socket.find(({ type, value }) => type === 'notify' && value === false, 'the value');
  socket.send({ id: 2, cmd: 'exec', ...variable, sys: 'sys-central', args: [true] });
  expect(await socket.find(({ id }) => id === 2, 'an answer')).toMatchObject({ type: 'success', value: true, served_by: 'berlin' });
  await socket.find(({ type, value }) => type === 'notify' && value === true, 'the new value');
  expect(await value()).toBe(true);
}, 60_000);

it('a WebSocket at one edge is bound to what another drives, and follows its log lines', async () => {
  const socket = await socketAt(world.federation.edge('lisbon')?.origin ?? '');
  const notified = (value: unknown): Promise<unknown> => socket.find((frame) => frame['type'] === 'notify' && frame['value'] === value, `power ${String(value)}`);
  socket.send({ id: 1, cmd: 'bind', ...variable });
  await notified(true);
  socket.send({ id: 2, cmd: 'exec', ...variable, args: [false] });
  expect(await socket.find(({ id }) => id === 2, 'an answer')).toMatchObject({ type: 'success', value: false, served_by: 'berlin' });
  await notified(false);

  socket.send({ id: 3, cmd: 'debug', ...variable, name: 'debug' });
  expect(await socket.find(({ id }) => id === 3, 'an answer')).toMatchObject({ type: 'success' });
  await confuseDevices(world);
  const line = await socket.find(({ type }) => type === 'debug', 'a line');
  expect(line).toMatchObject({ mod: 'mod-berlin-1', msg: 'not understood: event 9-nonsense 1', node: 'berlin' });
  socket.send({ id: 4, cmd: 'exec', ...variable, args: [true] });
  await socket.find(({ id }) => id === 4, 'an answer');
}, 60_000);

it('a command of a client that leaves is cancelled where it runs', async () => {
  const gone = new AbortController();
  const left = run(atLisbon, 'slow', [1_000], gone.signal).catch(codeOf);
  await expect.poll(async () => (await inFlight(atBerlin)).length, { timeout: 10_000 }).toBe(1);
  const [there] = await inFlight(world.client);
  expect(there).toMatchObject({ location: 'berlin', module: 'mod-berlin-1', method: 'slow', entry: 'lisbon', via: 'lisbon', at: 'berlin' });
  gone.abort();
  await left;
  await expect.poll(async () => (await inFlight(atBerlin)).length, { timeout: 10_000 }).toBe(0);
}, 60_000);

it('a command that somebody cancels at another server says so to its caller, and is on record at both with who it was and their credential', async () => {
  const { id: who, token } = await world.client.call(routes.tokenIssue, { body: { user: 'olga', role: 'operator' } });
  const at = { lisbon: atLisbon, berlin: atBerlin, master: world.client };
  const recordOf = async (client: Client, kind: string) => (await client.call(routes.eventList, { query: { kind, limit: 500 } })).events.at(-1);
  // From edge to edge, cancelled on the way; and from the master to an edge, cancelled where it runs.
  for (const [entry, where] of [['lisbon', 'master'], ['master', 'berlin']] as const) {
    const cancelled = run(at[entry], 'slow', [20_000]).catch((error: unknown) => error);
    await expect.poll(async () => (await inFlight(atBerlin)).length, { timeout: 10_000 }).toBe(1);
    const [request] = await inFlight(atBerlin);
    const operator = createClient({ origin: at[where].origin, apiKey: token });
    scope.defer('operator', () => operator.close());
    // A token that the edge has not heard of yet is none.
    await expect.poll(() => operator.call(routes.userCurrent, {}).then(({ id }) => id, codeOf), { timeout: 10_000 }).toBe('olga');
    await operator.call(routes.requestCancel, { params: { id: request?.id ?? '' } });
    expect(await cancelled).toMatchObject({ code: 'COMMAND_CANCELLED', message: expect.stringContaining('(olga)') as string, facts: { by: 'olga', who, fate: 'unknown' } });
    const command = { location: 'berlin', result: 'COMMAND_CANCELLED', requestId: request?.id, cancelledBy: { user: 'olga', who } };
    await expect.poll(() => recordOf(at[entry], 'command'), { timeout: 10_000 }).toMatchObject(command);
    const cancel = { what: 'DELETE /api/engine/v2/requests/:id', params: { id: request?.id }, who, user: 'olga', location: 'berlin', result: 'ok' };
    await expect.poll(() => recordOf(at[where], 'audit'), { timeout: 10_000 }).toMatchObject(cancel);
  }
}, 60_000);

it('terms that are negotiated anew are no alarm for clients, at any server', async () => {
  const berlin = await socketAt(world.federation.edge('berlin')?.origin ?? '');
  const sockets = [berlin, await socketAt(world.federation.master.origin), await socketAt(world.federation.edge('lisbon')?.origin ?? '')];
  for (const socket of sockets) {
    socket.send({ id: 1, cmd: 'bind', ...variable });
    await socket.find(({ type }) => type === 'notify', 'the value');
  }
  for (const paused of [true, false]) {
    await world.client.call(paused ? routes.pause : routes.resume, { params: { id: 'berlin' }, body: { dry_run: false } });
    await expect.poll(async () => (await world.atEdge('berlin')).paused, { timeout: 10_000 }).toBe(paused);
  }
  await settled(world, 'berlin');
  for (const socket of sockets) {
    await socket.alive();
    expect(socket.frames.filter((frame) => typeof frame === 'object' && frame['type'] === 'staleness')).toEqual([]);
  }
}, 60_000);

it('an edge that does not hear the master says so to clients of other locations, until it hears it again', async () => {
  const socket = await socketAt(world.federation.edge('lisbon')?.origin ?? '');
  socket.send({ id: 1, cmd: 'bind', ...variable });
  await socket.find(({ type }) => type === 'notify', 'the value');
  world.federation.edge('lisbon')?.relay.set('cut');
  expect(await socket.find(({ type }) => type === 'staleness', 'word that the value stands still')).toMatchObject({ location: 'berlin', stale: true });
  world.federation.edge('lisbon')?.relay.set('open');
  await socket.find(({ type, stale }) => type === 'staleness' && stale === false, 'word that it does no more');
  await settled(world, 'lisbon');
}, 60_000);

it('a cut in the middle of a command is told with its fate; each edge goes on with its own; bindings catch up', async () => {
  const abort = new AbortController();
  const seen: { value: unknown }[] = [];
  void collect(await atLisbon.stream(routes.watch, { params: { ...display, key: 'power' } }, { signal: abort.signal }), seen);
  await expect.poll(() => seen.map(({ value }) => value), { timeout: 10_000 }).toEqual([true]);

  const atMaster = await socketAt(world.federation.master.origin);
  atMaster.send({ id: 1, cmd: 'bind', ...variable });
  await atMaster.find(({ type }) => type === 'notify', 'the value');
  const there = await socketAt(world.federation.edge('lisbon')?.origin ?? '');
  there.send({ id: 1, cmd: 'bind', ...variable });
  await there.find(({ type }) => type === 'notify', 'the value');

  const lost = run(atLisbon, 'slow', [25_000]).catch((error: unknown) => error);
  await expect.poll(async () => (await inFlight(atBerlin)).length, { timeout: 10_000 }).toBe(1);
  cutLine('cut');
  expect(await lost).toMatchObject({ code: 'LINK_LOST', facts: { fate: 'unknown' } });
  expect(await atMaster.find(({ type }) => type === 'staleness', 'word that the value stands still')).toMatchObject({ location: 'berlin', stale: true });
  // The other edge hears the master, which does not hear this one.
  expect(await there.find(({ type }) => type === 'staleness', 'the same there')).toMatchObject({ location: 'berlin', stale: true });
  for (const client of [world.client, atLisbon]) {
    const { headers } = await client.request(routes.variable, { params: { ...display, key: 'power' } });
    expect(Number(headers['x-holdfast-status-age'])).toBeGreaterThan(0);
  }
  expect(await command(atLisbon, 'lisbon')).toBe('hello');
  expect((await run(atBerlin, 'power', [false])).body).toBe(false);
  expect(await atBerlin.call(routes.variable, { params: { ...display, key: 'power' } })).toBe(false);
  const socket = await socketAt(world.federation.edge('berlin')?.origin ?? '');
  socket.send({ id: 1, cmd: 'bind', ...variable });
  await socket.find(({ type, value }) => type === 'notify' && value === false, 'the value');
  socket.send({ id: 2, cmd: 'debug', ...variable, name: 'debug' });
  await socket.find(({ id }) => id === 2, 'an answer');
  await confuseDevices(world);
  expect(await socket.find(({ type }) => type === 'debug', 'a line')).toMatchObject({ mod: 'mod-berlin-1', node: 'berlin' });
  expect(seen.map(({ value }) => value)).toEqual([true]);

  cutLine('open');
  for (const socket of [atMaster, there]) await socket.find(({ type, stale }) => type === 'staleness' && stale === false, 'word that it does no more');
  expect(await atMaster.find(({ reason }) => reason === 'reached-again', 'the way back')).toMatchObject({ type: 'redirect', sys: 'sys-berlin' });
  await expect.poll(() => seen.map(({ value }) => value), { timeout: 30_000 }).toEqual([true, false]);
  expect((await run(atLisbon, 'power', [true])).body).toBe(true);
  await expect.poll(() => seen.map(({ value }) => value), { timeout: 10_000 }).toEqual([true, false, true]);
  abort.abort();
}, 90_000);

it('a bearer token of the master is good at an edge, without a line as well; what is under way for it is answered when it is revoked', async () => {
  const berlin = world.federation.edge('berlin')?.origin ?? '';
  const { id, token } = await world.client.call(routes.tokenIssue, { body: { user: 'olga', role: 'operator', expires_in: 600 } });
  const bearer = { authorization: `Bearer ${token}` };
  const whoAsks = async (): Promise<unknown> => {
    const response = await fetch(`${berlin}/api/engine/v2/users/current`, { headers: bearer });
    const body: unknown = await response.json();
    return [response.status, typeof body === 'object' && body !== null && 'id' in body ? body.id : null];
  };
  await expect.poll(whoAsks, { timeout: 10_000 }).toEqual([200, 'olga']);
  cutLine('cut');
  await expect.poll(async () => (await world.atEdge('berlin')).link.state, { timeout: 10_000 }).not.toBe('up');
  expect(await whoAsks()).toEqual([200, 'olga']);
  const socket = await SocketClient.open(`${berlin}/api/engine/v2/systems/control`, bearer);
  scope.defer('socket of olga', () => socket.close());
  socket.send({ id: 1, cmd: 'exec', ...variable, name: 'echo', args: ['alone'] });
  expect(await socket.find((frame) => frame['id'] === 1, 'an answer')).toMatchObject({ type: 'success', value: 'alone', served_by: 'berlin' });

  await world.client.call(routes.tokenRevoke, { params: { id } });
  // Nobody has told the edge yet.
  expect(await whoAsks()).toEqual([200, 'olga']);
  socket.send({ id: 2, cmd: 'exec', ...variable, name: 'slow', args: [20_000] });
  await expect.poll(async () => (await inFlight(atBerlin)).length, { timeout: 10_000 }).toBe(1);
  cutLine('open');
  expect(await socket.find((frame) => frame['id'] === 2, 'an answer')).toMatchObject({ type: 'error', error: { code: 'CANCELLED' } });
  expect(await socket.untilClosed()).toEqual({ code: 1008, reason: 'key-revoked' });
  expect(await whoAsks()).toEqual([401, null]);
}, 90_000);
