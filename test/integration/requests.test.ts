import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { type Client, HoldfastError, routes } from '../../src/client-sdk/index.ts';
import type { DeviceLogLine } from '../../src/drivers/mock/device-program.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { readLines } from '../support/device-world.ts';
import { settled, startFederation, type TestFederation } from '../support/federation.ts';

/** Real processes: what is asked of the modules of a location, from both of its servers, and who notices at the devices. */

const DEVICES = 20;
/** It takes its time to start, and every hundredth fails. */
const SLOW = `
import { defineDriver, z } from 'holdfast/driver';
export default defineDriver({
  name: 'slow',
  role: 'logic',
  settings: z.strictObject({}),
  setup: async (ctx) => {
    await new Promise((done) => setTimeout(done, 1_500));
    if (ctx.id.endsWith('99')) throw new Error('one of them');
    return {};
  },
});
`;
const scope = new Scope();
let world: TestFederation;
let atBerlin: Client;
let atLisbon: Client;
beforeAll(async () => {
  // Long enough that nobody takes over while a link is cut.
  const drivers = mkdtempSync(join(tmpdir(), 'holdfast-drivers-'));
  scope.defer('drivers', () => rmSync(drivers, { recursive: true }));
  writeFileSync(join(drivers, 'slow.ts'), SLOW);
  world = await startFederation(scope, { timeoutSeconds: 120, devicesPerSite: DEVICES, environment: { HOLDFAST_DRIVERS: drivers } });
  atBerlin = world.federation.client(world.federation.edge('berlin')?.origin);
  atLisbon = world.federation.client(world.federation.edge('lisbon')?.origin);
  scope.defer('clients', () => void [atBerlin.close(), atLisbon.close()]);
}, 120_000);
afterAll(() => scope.close());

const id = (device: number) => `mod-berlin-${device}`;
const of = (device: number) => ({ params: { id: id(device) } });
/** Connections that the devices of Berlin have seen, by device. */
function connections(): number[] {
  const counts = Array.from({ length: DEVICES }, () => 0);
  for (const { device, event } of readLines<DeviceLogLine>(join(world.federation.dataDir, 'devices-berlin.jsonl'))) {
    if (event === 'open') counts[device] = (counts[device] ?? 0) + 1;
  }
  return counts;
}
const newSince = (before: number[]) => Object.fromEntries(connections().flatMap((count, device) => (count === before[device] ? [] : [[device + 1, count - (before[device] ?? 0)]])));
const works = (device: number, client = world.client) =>
  client.call(routes.moduleExec, { params: { id: id(device), method: 'echo' }, body: [device] }, { timeoutMs: 10_000 }).catch((error: unknown) => (error instanceof HoldfastError ? error.code : String(error)));
const until = (what: () => Promise<unknown>, value: unknown) => expect.poll(what, { timeout: 20_000, interval: 50 }).toEqual(value);
const converged = async (client: Client) => (await client.call(routes.eventList, { query: { kind: 'driver', limit: 500 } })).events.filter(({ event }) => event === 'modules-converged');

/** The same with the location held by the edge and by the master. */
async function changesReachTheirModulesOnly(retries: number): Promise<void> {
  const before = connections();
  const { port } = await world.client.call(routes.moduleShow, of(20));
  const { port: own } = await world.client.call(routes.moduleShow, of(3));
  await world.client.call(routes.moduleUpdate, { params: { id: id(2) }, body: { ip: 'localhost' } });
  // Also the device behind the new port sees somebody new.
  await world.client.call(routes.moduleUpdate, { params: { id: id(3) }, body: { port } });
  await world.client.call(routes.settingsUpdate, { params: { id: id(4) }, body: { settings_string: JSON.stringify({ retries }) } });
  await until(async () => newSince(before), { 2: 1, 4: 1, 20: 1 });
  for (const device of [2, 3, 4]) await until(() => works(device), device);
  await world.client.call(routes.moduleUpdate, { params: { id: id(2) }, body: { ip: '127.0.0.1' } });
  await world.client.call(routes.moduleUpdate, { params: { id: id(3) }, body: { port: own } });
  await until(async () => newSince(before), { 2: 2, 3: 1, 4: 1, 20: 1 });
}

it('a change of address, port or settings reaches exactly its modules: no other device sees a new connection', { timeout: 90_000 }, async () => {
  await settled(world, 'berlin');
  await settled(world, 'lisbon');
  const known = (await converged(atBerlin)).length;
  await changesReachTheirModulesOnly(2);
  const said = (await converged(atBerlin)).slice(known);
  expect(said.flatMap(({ modules }) => modules)).toEqual(expect.arrayContaining([id(2), id(3), id(4)]));
  expect(said.flatMap(({ modules }) => modules)).not.toContain(id(5));
});

it('systems and modules are started and stopped from both servers of a location, but those that are left alone', { timeout: 90_000 }, async () => {
  await world.client.call(routes.moduleUpdate, { params: { id: id(5) }, body: { ignore_startstop: true } });
  await until(async () => (await atBerlin.call(routes.moduleShow, of(5))).ignore_startstop, true);
  const before = connections();
  // At the edge it goes over the link, because documents belong to the master.
  expect(await atBerlin.call(routes.systemStop, { params: { id: 'sys-berlin' } })).toEqual({ id: 'sys-berlin', changed: DEVICES - 1, modules: DEVICES - 1 });
  await until(() => works(1), 'MODULE_NOT_RUNNING');
  expect(await works(5)).toBe(5);
  expect(await world.client.call(routes.edgeStart, { params: { id: 'berlin' }, body: { dry_run: true } })).toMatchObject({ changed: DEVICES - 1 });
  expect(await world.client.call(routes.edgeStart, { params: { id: 'berlin' } })).toMatchObject({ changed: DEVICES - 1 });
  await until(() => works(1, atBerlin), 1);
  await until(async () => Object.keys(newSince(before)).length, DEVICES - 1);
  expect(newSince(before)[5]).toBeUndefined();
  expect(await atBerlin.call(routes.moduleStop, of(6))).toMatchObject({ changed: 1 });
  await until(() => works(6), 'MODULE_NOT_RUNNING');
  expect(await atBerlin.call(routes.moduleStart, of(6))).toMatchObject({ changed: 1 });
  await until(() => works(6), 6);
  await expect(atLisbon.call(routes.systemStop, { params: { id: 'sys-berlin' } })).rejects.toMatchObject({ code: 'MASTER_ONLY' });
  await atBerlin.call(routes.takeover, { params: { id: 'berlin' }, body: { dry_run: true } });
  // Who asked is written down at both.
  const audited = async (what: string) =>
    (await world.client.call(routes.eventList, { query: { kind: 'audit', location: 'berlin', limit: 500 } })).events.filter((event) => event['what'] === what);
  const who = expect.stringMatching(/^key-/) as string;
  expect(await audited('wanted')).toMatchObject(Array.from({ length: 3 }, () => ({ who, result: 'ok' })));
  expect(await audited('order')).toMatchObject([{ who, via: 'berlin', method: 'takeover', dryRun: true, result: 'ok' }]);
});

it('a module is unloaded and loaded, and a system is read anew, also from another location', { timeout: 90_000 }, async () => {
  const before = connections();
  expect(await atLisbon.call(routes.moduleUnload, of(7))).toEqual({ id: id(7), location: 'berlin', served_by: 'berlin' });
  expect(await works(7)).toBe('MODULE_NOT_RUNNING');
  expect(await atBerlin.call(routes.moduleVariable, { params: { id: id(7), key: 'problem' } })).toContain('unloaded');
  // A change of another module does not bring it back; a start does, though its document has not changed.
  await world.client.call(routes.moduleUpdate, { params: { id: id(8) }, body: { ip: 'localhost' } });
  await until(async () => newSince(before), { 8: 1 });
  expect(await world.client.call(routes.moduleStart, of(7))).toMatchObject({ changed: 0 });
  await until(() => works(7), 7);
  await world.client.call(routes.moduleUnload, of(7));
  expect(await atLisbon.call(routes.moduleLoad, of(7))).toMatchObject({ id: id(7), served_by: 'berlin' });
  await until(() => works(7), 7);
  await until(async () => newSince(before), { 7: 2, 8: 1 });
  const expired = await atLisbon.call(routes.systemExpire, { params: { id: 'sys-berlin' } });
  expect([expired.nodes, expired.failures]).toEqual([['lisbon', world.federation.master.id, 'berlin'], []]);
  expect(expired.modules.slice(0, 2)).toEqual([{ name: 'Display', index: 1, id: id(1) }, { name: 'Display', index: 2, id: id(4) }]);
});

it('an edge that was away converges when it returns: exactly the devices of what changed see new connections, and the event names them', { timeout: 90_000 }, async () => {
  const before = connections();
  const known = (await converged(atBerlin)).length;
  const edge = world.federation.edge('berlin');
  edge?.relay.set('cut');
  await world.until('berlin', { link: { state: 'down' } });
  await world.client.call(routes.settingsUpdate, { params: { id: id(9) }, body: { settings_string: '{"retries":1}' } });
  await world.client.call(routes.moduleUpdate, { params: { id: id(10) }, body: { ip: 'localhost' } });
  await world.client.call(routes.moduleStop, of(11));
  // Asked twice, it is not done twice.
  await world.client.call(routes.moduleStart, of(12));
  expect(await works(11, atBerlin)).toBe(11);
  edge?.relay.set('open');
  await until(() => works(11, atBerlin), 'MODULE_NOT_RUNNING');
  await until(async () => newSince(before), { 9: 1, 10: 1 });
  // Told once all of them were tried, which is after the first connection.
  await until(async () => (await converged(atBerlin)).length, known + 1);
  const said = (await converged(atBerlin)).slice(known);
  expect(said).toMatchObject([{ location: 'berlin', started: 0, stopped: 1, restarted: 2, updated: 0 }]);
  expect(z.array(z.string()).parse(said[0]?.['modules']).toSorted()).toEqual([id(10), id(11), id(9)]);
});

it('a start of thousands shows how far it has come, also at the other server, and an operator ends one that comes with a takeover', { timeout: 120_000 }, async () => {
  const hosts = availableParallelism();
  // Far more than all hosts have in hand at a time: a slow machine must not be done before the operator is.
  const count = hosts * limits.modulesBatch * limits.modulesBatches + 2_500;
  const slow = Array.from({ length: count }, (_, at) => `  - {id: slow-${at}, name: Slow, driver_id: driver-slow, edge_control_id: berlin, running: false}`);
  const text = `drivers: [{id: driver-slow, name: Slow, builtin: slow, role: logic}]\nmodules:\n${slow.join('\n')}\n`;
  await world.client.call(routes.apply, { body: { text, dry_run: false } }, { timeoutMs: 30_000 });
  expect(await world.client.call(routes.edgeStart, { params: { id: 'berlin' } }, { timeoutMs: 30_000 })).toMatchObject({ modules: count + DEVICES - 1 });
  const progress = async () => (await world.location('berlin')).progress;
  const started = await vi.waitFor(
    async () => {
      const now = await progress();
      if (now === null || now.done === 0 || now.failing === 0) throw new Error(JSON.stringify(now));
      return now;
    },
    { timeout: 30_000, interval: 20 },
  );
  expect(started).toMatchObject({ action: 'start' });
  const under = (await world.client.call(routes.requestList, {})).find(({ id }) => id === 'modules-berlin');
  expect(under).toMatchObject({ location: 'berlin', method: 'start', at: 'berlin', left: null, module: expect.stringMatching(/^\d+\/\d+ modules, \d+ failing$/) });

  const taken = world.client.call(routes.takeover, { params: { id: 'berlin' } }, { timeoutMs: 60_000 });
  // All of them in one go: the master has the documents. Before that the edge shows how far its stop is, which nobody can end.
  const atMaster = async (): Promise<boolean> => {
    const now = await progress();
    return now !== null && now.action === 'start' && now.total > count;
  };
  await expect.poll(atMaster, { timeout: 30_000, interval: 20 }).toBe(true);
  await world.client.call(routes.requestCancel, { params: { id: 'modules-berlin' } });
  // It controls the location all the same: what did not start says why.
  expect((await taken).after).toMatchObject({ holder: 'master', progress: null });
  const { modules } = await world.location('berlin');
  expect([modules.running + modules.failing, modules.failing >= 400]).toEqual([modules.total, true]);
  expect(await works(1)).toBe(1);
  const { events } = await world.client.call(routes.eventList, { query: { kind: 'driver', limit: 500 } });
  expect(events.filter(({ event }) => event === 'modules-cancelled')).toMatchObject([{ location: 'berlin', action: 'start', who: expect.any(String) }]);
  await world.client.call(routes.edgeStop, { params: { id: 'berlin' } }, { timeoutMs: 30_000 });
  await until(async () => (await world.location('berlin')).modules.running, 1);
  await world.client.call(routes.systemStart, { params: { id: 'sys-berlin' } });
  await until(() => works(1), 1);
});

it('the same while the master controls the location', { timeout: 120_000 }, async () => {
  await world.until('berlin', { holder: 'master' });
  await changesReachTheirModulesOnly(3);
  expect(await atBerlin.call(routes.systemStop, { params: { id: 'sys-berlin' } })).toMatchObject({ modules: DEVICES - 1 });
  await until(() => works(1), 'MODULE_NOT_RUNNING');
  expect(await works(5)).toBe(5);
  await world.client.call(routes.systemStart, { params: { id: 'sys-berlin' } });
  await until(() => works(1), 1);
  expect(await atBerlin.call(routes.moduleUnload, of(1))).toMatchObject({ served_by: world.federation.master.id });
  expect(await works(1)).toBe('MODULE_NOT_RUNNING');
  expect(await atBerlin.call(routes.moduleLoad, of(1))).toMatchObject({ served_by: world.federation.master.id });
  await until(() => works(1), 1);
});
