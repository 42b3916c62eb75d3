import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { routes } from '../../src/client-sdk/index.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { startFederation, type TestFederation } from '../support/federation.ts';

/** Real processes: what fires at the edge, and what the master makes of it when that is killed. */

const SECRET = 'a-secret-of-its-own';
const scope = new Scope();
const posts: { trigger: string; occurrence: string; epoch: string; values: Record<string, unknown> }[] = [];
let world: TestFederation;

beforeAll(async () => {
  const receiver = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (part: string) => (text += part));
    request.on('end', () => {
      posts.push(JSON.parse(text) as (typeof posts)[number]);
      response.writeHead(204).end();
    });
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => void receiver.once('listening', resolve));
  scope.defer('receiver', () => void receiver.close());
  world = await startFederation(scope, { sites: [{ id: 'berlin', name: 'Berlin', policy: 'available', timezone: 'UTC' }] });
  await apply((receiver.address() as AddressInfo).port);
}, 60_000);
afterAll(() => scope.close());

async function apply(port: number): Promise<void> {
  const { parse, stringify } = await import('yaml');
  const { text } = await world.client.call(routes.export, {});
  const documents = parse(text) as { systems: Record<string, unknown>[] };
  for (const system of documents.systems) system['triggers'] = ['trig-level', 'trig-hook'];
  const webhooks = [{ url: `http://127.0.0.1:${port}/hook` }];
  const comparisons = [{ left: { mod: 'Display_1', status: 'level' }, operator: 'greater_than', right: 80 }];
  const functions = [{ mod: 'Lights_1', method: 'set', args: ['alarm', true] }];
  const triggers = [
    { id: 'trig-level', name: 'Level', conditions: { comparisons }, actions: { functions, webhooks } },
    { id: 'trig-hook', name: 'Hook', enable_webhook: true, webhook_secret: SECRET, actions: { webhooks } },
  ];
  await world.client.call(routes.apply, { body: { text: stringify({ ...documents, triggers }), dry_run: false } });
}

const setLevel = (level: number) =>
  world.client.call(routes.exec, { params: { id: 'sys-berlin', module: 'Display_1', method: 'set' }, body: ['level', level] }, { timeoutMs: 15_000 });
const of = (trigger: string) => posts.filter((post) => post.trigger === trigger).map(({ occurrence }) => occurrence);
const callHook = (origin: string, secret: string | null) =>
  fetch(`${origin}/api/engine/v2/webhook/trig-hook~sys-berlin/notify`, { method: 'POST', ...(secret === null ? {} : { headers: { 'x-webhook-secret': secret } }) });

it('fires at the edge, which runs its actions; the master knows, and does not fire again when the edge is killed', async () => {
  const edge = world.federation.client(world.federation.edge('berlin')?.origin);
  scope.defer('client of berlin', () => edge.close());
  // Documents travel.
  await vi.waitFor(async () => expect(await edge.call(routes.triggerInstances, { query: {} })).toHaveLength(2), 20_000);
  await setLevel(10);
  await setLevel(90);
  await vi.waitFor(() => expect(of('trig-level')).toEqual(['rise-1']), 10_000);
  expect(posts[0]?.values).toEqual({ 'Display_1.level': 90 });
  const alarm = { params: { id: 'sys-berlin', module: 'Lights_1', key: 'alarm' } };
  await vi.waitFor(async () => expect(await world.client.call(routes.variable, alarm)).toBe(true), 10_000);
  const known = async () => (await world.client.call(routes.triggerInstances, { query: {} })).find(({ trigger_id }) => trigger_id === 'trig-level');
  await vi.waitFor(async () => expect(await known()).toMatchObject({ state: 'met', served_by: 'edge', occurrence: 'rise-1' }), 10_000);

  world.federation.edge('berlin')?.process.signal('SIGKILL');
  await world.until('berlin', { holder: 'master', state: 'holding' }, 30_000);
  await setLevel(95);
  await setLevel(10);
  await setLevel(91);
  // 95 was no new rise; 91 was, and under the epoch of the master.
  await vi.waitFor(() => expect(of('trig-level')).toEqual(['rise-1', 'rise-2']), 10_000);
  const epochs = posts.filter(({ trigger }) => trigger === 'trig-level').map(({ epoch }) => epoch);
  expect(Number(epochs.at(-1)?.split('.')[1]) % 2).toBe(1);

  await world.federation.restartEdge('berlin');
  await world.until('berlin', { holder: 'master', state: 'waiting-window' }, 30_000);
  await world.client.call(routes.handback, { params: { id: 'berlin' }, body: {} });
  await world.until('berlin', { holder: 'edge', state: 'standby' }, 30_000);
  await setLevel(92);
  await setLevel(10);
  await setLevel(93);
  await vi.waitFor(() => expect(of('trig-level')).toEqual(['rise-1', 'rise-2', 'rise-3']), 10_000);
});

it('a webhook is taken by whichever server is called, with its secret only', async () => {
  const edge = world.federation.edge('berlin')?.origin ?? '';
  for (const origin of [world.federation.master.origin, edge]) {
    expect([(await callHook(origin, null)).status, (await callHook(origin, 'a-wrong-secret-indeed')).status]).toEqual([403, 403]);
  }
  expect(of('trig-hook')).toEqual([]);
  for (const origin of [world.federation.master.origin, edge]) {
    const answer = await callHook(origin, SECRET);
    expect([answer.status, await answer.json()]).toMatchObject([202, { result: 'fires' }]);
  }
  await vi.waitFor(() => expect(of('trig-hook')).toHaveLength(2), 10_000);
  const events = await world.federation.client(edge).call(routes.eventList, { query: { kind: 'trigger' } });
  expect(events.events.filter(({ event }) => event === 'trigger-fired').length).toBeGreaterThanOrEqual(2);
});
