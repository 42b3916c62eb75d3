import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { assemble, type ServerParts } from '../../src/assemble.ts';
import { createClient, routes } from '../../src/client-sdk/index.ts';
import { dataFiles } from '../../src/data-files.ts';
import { createSystemClock } from '../../src/shared/adapters/clock/system-clock.ts';
import { openCredentials } from '../../src/shared/adapters/credentials-embedded/credentials.ts';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import { createSystemRandom } from '../../src/shared/adapters/random/system-random.ts';
import { createMemoryEvents } from '../../src/shared/adapters/store-memory/memory-events.ts';
import { createMemoryJournal } from '../../src/shared/adapters/store-memory/memory-journal.ts';
import { createMemoryStore } from '../../src/shared/adapters/store-memory/memory-store.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { parseConfig } from '../../src/shared/model/config.ts';
import { noSettingsKeys } from '../../src/shared/ports/settings-keys.ts';
import { openEventLog } from '../../src/shared/runtime/events/event-log.ts';
import { setUp as setUpHosts } from '../support/fake-hosts.ts';
import { later } from '../support/link-pipe.ts';
import { silentLog } from '../support/silent-log.ts';
import { tempFolders } from '../support/temp-folder.ts';
import { testScope } from '../support/test-scope.ts';

const folder = tempFolders();
const scope = testScope();

/** A master whose store can hold its change feed back, and its journal what it remembers; and a client of its API. */
async function startMaster() {
  const data = folder();
  const feed = { asked: 0, held: Promise.resolve() };
  const memory = createMemoryStore();
  const changesSince = memory.changesSince.bind(memory);
  const store = Object.assign(memory, {
    changesSince: async (...asked: Parameters<typeof memory.changesSince>) => {
      feed.asked += 1;
      await feed.held;
      return changesSince(...asked);
    },
    backup: async () => undefined,
    staleMs: () => null,
  });
  const clock = createSystemClock();
  const past = { asked: [] as string[], held: Promise.resolve() };
  const remembered = createMemoryJournal({ clock, delayMs: () => 0 });
  const history = remembered.history.bind(remembered);
  const journal = Object.assign(remembered, {
    history: async (...asked: Parameters<typeof history>) => {
      past.asked.push(asked[0]);
      await past.held;
      return history(...asked);
    },
  });
  const [random, metrics] = [createSystemRandom(), createPromMetrics()];
  const credentials = await openCredentials({ path: dataFiles(data).credentials });
  scope().defer('credentials', () => credentials.close());
  const events = await openEventLog({ store: createMemoryEvents({ random }), clock, log: silentLog, metrics });
  scope().defer('events', () => events.close());
  const parts: ServerParts = {
    clock, random, metrics, store, credentials, events, journal,
    log: silentLog,
    settingsKeys: noSettingsKeys,
    webhooks: { post: async () => 204 },
    workingCopy: null,
    createDeviceLink: () => setUpHosts().link,
  };
  const env = { HOLDFAST_ROLE: 'master', HOLDFAST_DATA: data, HOLDFAST_HTTP: '127.0.0.1:0', HOLDFAST_LINK: '127.0.0.1:0' };
  const { node, origin } = await assemble(parseConfig(env, { cores: 1, hostname: 'master' }), parts, { scope: scope(), signal: new AbortController().signal });
  const client = createClient({ origin, apiKey: readFileSync(dataFiles(data).adminKey, 'utf8').trim() });
  scope().defer('client', async () => client.close());
  return { node, client, feed, past };
}

it('a change of documents over REST is answered when commands find it, and not before', async () => {
  const { node, client, feed } = await startMaster();
  const released = later<void>();
  feed.held = released.promise;
  const asked = feed.asked;
  const answers: string[] = [];
  const text = 'drivers: [{id: driver-1, name: D, builtin: mock}]\nmodules: [{id: mod-1, name: M, driver_id: driver-1, ip: 192.0.2.7, port: 1, running: false}]';
  const applied = client.call(routes.apply, { body: { text, dry_run: false } }).then(() => answers.push('applied'));
  await expect.poll(() => feed.asked, { interval: 1 }).toBeGreaterThan(asked);
  // It is stored. Who asks for something else is answered, for an answer to the change would have come before.
  for (let round = 0; round < 3; round += 1) await client.call(routes.export, {});
  expect(answers).toEqual([]);
  expect(() => node.desk.locationOf('mod-1')).toThrow(/mod-1/);
  released.resolve();
  await applied;
  expect(node.desk.locationOf('mod-1')).toBe('master');
});

it('a location that is applied is there when the answer comes, once, with what was applied last', async () => {
  const { node, client, past } = await startMaster();
  const released = later<void>();
  past.held = released.promise;
  const rome = (policy: string) => `edges: [{ id: rome, name: Rome, policy: ${policy}, failover: true, timeout: 6, window_start: 0 4 * * *, timezone: Europe/Rome }]`;
  const answers: string[] = [];
  const apply = (policy: string) => client.call(routes.apply, { body: { text: rome(policy), dry_run: false } }).then(() => answers.push(policy));
  const applied = [apply('available')];
  await expect.poll(() => past.asked, { interval: 1 }).toEqual(['rome']);
  const stored = async () => (await client.call(routes.export, {})).text;
  applied.push(apply('exclusive'));
  await expect.poll(stored, { interval: 1 }).toContain('exclusive');
  expect(answers).toEqual([]);
  expect(node.location('rome')).toBe(null);
  released.resolve();
  await Promise.all(applied);
  expect([past.asked, node.location('rome')?.policy]).toEqual([['rome'], 'exclusive']);
});

it('a location whose past cannot be read is made at the next change of its document, and keeps no other one waiting', async () => {
  const { node, client, past } = await startMaster();
  const edge = (id: string, timeout = 6) => `edges: [{ id: ${id}, name: ${id}, failover: true, timeout: ${timeout}, window_start: 0 4 * * *, timezone: Europe/Rome }]`;
  const apply = (text: string) => client.call(routes.apply, { body: { text, dry_run: false } });
  past.held = Promise.reject(new HoldfastError('STORE_FAILED', { path: 'control.db', problem: 'it is torn' }));
  past.held.catch(() => undefined);
  await apply(edge('rome'));
  const notMade = { id: 'rome', holder: 'none', state: 'not-made', reason: 'location-not-made', link: { state: 'down' } };
  expect(await client.call(routes.edgeShow, { params: { id: 'rome' } })).toMatchObject(notMade);
  expect(await client.call(routes.edgeList, {})).toMatchObject([notMade]);
  const order = { params: { id: 'rome' }, body: { dry_run: false } };
  await expect(client.call(routes.takeover, order)).rejects.toMatchObject({ code: 'ORDER_REFUSED', facts: { reason: 'location-not-made' } });
  await expect(client.call(routes.windowOpen, { ...order, body: { ...order.body, seconds: 60 } })).rejects.toMatchObject({ code: 'ORDER_REFUSED' });
  past.held = Promise.resolve();
  await apply(edge('oslo'));
  const made = (): [string, boolean][] => node.locations().map(({ id, state }) => [id, state !== 'not-made']);
  expect(made()).toEqual([['oslo', true], ['rome', false]]);
  await apply(edge('rome', 8));
  expect(made()).toEqual([['oslo', true], ['rome', true]]);
});
