import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Client, HoldfastError, routes, type StreamEvent } from '../../src/client-sdk/index.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { command, settled, startFederation, type TestFederation } from '../support/federation.ts';

/** Real processes: a client of the edge `berlin` and the modules of the edge `lisbon`, through the master. */

const scope = new Scope();
let world: TestFederation;
let atBerlin: Client;
let atLisbon: Client;
beforeAll(async () => {
  // Long enough that nobody takes over while a link is cut.
  world = await startFederation(scope, { timeoutSeconds: 60 });
  atBerlin = world.federation.client(world.federation.edge('berlin')?.origin);
  atLisbon = world.federation.client(world.federation.edge('lisbon')?.origin);
  scope.defer('client of berlin', () => atBerlin.close());
  scope.defer('client of lisbon', () => atLisbon.close());
}, 120_000);
afterAll(() => scope.close());

const display = { id: 'sys-lisbon', module: 'Display_1' };
const run = (client: Client, method: string, body: (string | number | boolean)[], signal?: AbortSignal) =>
  client.request(routes.exec, { params: { ...display, method }, query: { timeout_ms: 30_000 }, body }, signal === undefined ? {} : { signal });
const inFlight = (client: Client) => client.call(routes.requestList, {});
const cutLine = (mode: 'cut' | 'open'): void => world.federation.edge('lisbon')?.relay.set(mode);
const codeOf = (error: unknown): string => (error instanceof HoldfastError ? error.code : String(error));

async function collect<T>(stream: AsyncIterable<StreamEvent<T>>, into: T[]): Promise<void> {
  try {
    for await (const event of stream) if (event.kind === 'event') into.push(event.data);
  } catch {
    // It ends with the test.
  }
}

it('commands, status and methods reach the other edge, and say who served them', async () => {
  await settled(world, 'berlin');
  await settled(world, 'lisbon');
  const answer = await run(atBerlin, 'power', [true]);
  expect([answer.body, answer.headers['x-holdfast-served-by']]).toEqual([true, 'lisbon']);
  expect(await atBerlin.call(routes.variable, { params: { ...display, key: 'power' } })).toBe(true);
  expect(await atBerlin.call(routes.moduleState, { params: { id: 'mod-lisbon-1' } })).toMatchObject({ connected: true, power: true });
  expect(await atBerlin.call(routes.functions, { params: display })).toMatchObject({ power: { arity: 1 }, slow: { arity: 1 } });
  expect(await world.client.call(routes.functions, { params: display })).toHaveProperty('echo');
}, 90_000);

it('a cancelled command is cancelled at the driver; its log lines come to whoever asked for them', async () => {
  const abort = new AbortController();
  const lines: { level: string; message: string; node: string }[] = [];
  void collect(await atBerlin.stream(routes.debug, { params: display }, { signal: abort.signal }), lines);

  const gone = new AbortController();
  const left = run(atBerlin, 'slow', [1_000], gone.signal).catch(codeOf);
  await expect.poll(async () => (await inFlight(atLisbon)).length, { timeout: 10_000 }).toBe(1);
  const [there] = await inFlight(world.client);
  expect(there).toMatchObject({ location: 'lisbon', module: 'mod-lisbon-1', method: 'slow', entry: 'berlin', via: 'berlin', at: 'lisbon' });
  gone.abort();
  await left;
  await expect.poll(async () => (await inFlight(atLisbon)).length, { timeout: 10_000 }).toBe(0);

  const cancelled = run(atBerlin, 'slow', [20_000]).catch(codeOf);
  await expect.poll(async () => (await inFlight(atLisbon)).length, { timeout: 10_000 }).toBe(1);
  const [request] = await inFlight(atLisbon);
  await world.client.call(routes.requestCancel, { params: { id: request?.id ?? '' } });
  expect(await cancelled).toBe('CANCELLED');
  // The device answers a command of which nobody wants to hear any more.
  await expect.poll(() => lines, { timeout: 15_000 }).toContainEqual(expect.objectContaining({ node: 'lisbon', message: expect.stringContaining('slow') }));
  abort.abort();
}, 60_000);

it('a cut in the middle of a command is told with its fate; each edge goes on with its own; bindings catch up', async () => {
  const abort = new AbortController();
  const seen: { value: unknown }[] = [];
  void collect(await atBerlin.stream(routes.watch, { params: { ...display, key: 'power' } }, { signal: abort.signal }), seen);
  await expect.poll(() => seen.map(({ value }) => value), { timeout: 10_000 }).toEqual([true]);

  const lost = run(atBerlin, 'slow', [25_000]).catch((error: unknown) => error);
  await expect.poll(async () => (await inFlight(atLisbon)).length, { timeout: 10_000 }).toBe(1);
  cutLine('cut');
  expect(await lost).toMatchObject({ code: 'LINK_LOST', facts: { fate: 'unknown' } });
  expect(await command(atBerlin, 'berlin')).toBe('hello');
  expect((await run(atLisbon, 'power', [false])).body).toBe(false);
  expect(seen.map(({ value }) => value)).toEqual([true]);

  cutLine('open');
  await expect.poll(() => seen.map(({ value }) => value), { timeout: 30_000 }).toEqual([true, false]);
  expect((await run(atBerlin, 'power', [true])).body).toBe(true);
  await expect.poll(() => seen.map(({ value }) => value), { timeout: 10_000 }).toEqual([true, false, true]);
  abort.abort();
}, 90_000);
