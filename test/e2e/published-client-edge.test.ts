import { afterAll, beforeAll, expect, it } from 'vitest';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { startFederation, type TestFederation } from '../support/federation.ts';
import { confuseDevices, normalSession, power } from '../support/published-client.ts';
import { importPublishedClient } from '../support/browser.ts';

/** The published client, unmodified, against an edge: a real process that drives its devices. */

const scope = new Scope();
let world: TestFederation;
beforeAll(async () => {
  world = await startFederation(scope, { timeoutSeconds: 15 });
}, 180_000);
afterAll(async () => {
  await scope.close();
});

it('lists, pages, shows, binds and executes through an edge', async () => {
  await normalSession({ origin: world.federation.edge('berlin')?.origin ?? '', apiKey: world.federation.apiKey });
});

it('sees the log lines of a driver that runs there, by name and by module id', async () => {
  const client = await importPublishedClient(world.federation.apiKey);
  const lines: string[] = [];
  client.debug_events.subscribe(({ mod_id, message }) => void lines.push(`${mod_id}: ${message}`));
  await client.debug({ ...power, name: 'debug' });
  await client.debug({ ...power, mod: 'mod-berlin-2', name: 'debug' });
  await confuseDevices(world);
  const line = (module: string): string => `${module}: not understood: event 9-nonsense 1`;
  await expect.poll(() => lines.toSorted()).toEqual([line('mod-berlin-1'), line('mod-berlin-2')]);
  await client.ignore({ ...power, name: 'debug' });
  await confuseDevices(world);
  await expect.poll(() => lines.length).toBe(3);
  expect(lines.at(-1)).toBe(line('mod-berlin-2'));
});
