import { afterEach, describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../src/shared/adapters/store-memory/memory-store.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { DeviceLink, ReloadOrder } from '../../src/shared/ports/device-link.ts';
import { Directory } from '../../src/shared/runtime/documents/directory.ts';
import { DriverReload } from '../../src/shared/runtime/driver-code/driver-reload.ts';
import { Proxy } from '../../src/shared/runtime/commands/proxy.ts';
import { planApply, runApply } from '../../src/shared/runtime/site-files/site-plan.ts';
import { FakeClock } from '../support/fake-clock.ts';

let scope = new Scope();
afterEach(async () => {
  expect(await scope.close()).toEqual([]);
  scope = new Scope();
});

const never = new AbortController().signal;
const site = `
edges: [{id: berlin, name: Berlin}]
drivers: [{id: driver-lamp, name: Lamp, builtin: lamp, role: device}, {id: driver-idle, name: Idle, builtin: idle, role: device}]
modules:
  - {id: mod-own, name: Lamp, driver_id: driver-lamp, ip: 192.0.2.1, port: 1}
  - {id: mod-berlin, name: Lamp, driver_id: driver-lamp, edge_control_id: berlin, ip: 192.0.2.2, port: 1}
`;

/** A master that drives its own module, and asks the edge of berlin. `edge` is what that answers. */
async function createMaster(edge: () => Promise<Json>) {
  const store = createMemoryStore();
  await runApply(await planApply(site, store), store);
  const directory = new Directory(store);
  scope.defer('directory', await directory.open());
  const clock = new FakeClock();
  const asked: { kind: string; body: Json; timeoutMs: number }[] = [];
  const world = { problem: null as string | null, refusal: null as HoldfastError | null };
  const reload = async ({ module }: ReloadOrder) => {
    if (world.refusal !== null) throw world.refusal;
    return [{ module: module ?? 'mod-own', problem: world.problem, pausedMs: 1 }];
  };
  const proxy = new Proxy({
    nodeId: 'master-1',
    clock,
    // Of the hands only what a reload needs.
    deviceLink: { reload } as unknown as DeviceLink,
    callTrigger: () => 'unused',
    route: (location) =>
      location === 'berlin'
        ? { via: 'peer', peer: 'berlin', request: (kind, body, { timeoutMs }) => (asked.push({ kind, body, timeoutMs }), edge()) }
        : { via: 'here', epoch: { generation: 0, number: 1 } },
    onControlChange: () => () => undefined,
  });
  const drivers = new DriverReload({ nodeId: 'master-1', clock, random: { next: () => 0, hex: () => 'r-1' }, directory, proxy });
  return { drivers, asked, world };
}

const fine = async (): Promise<Json> => ({ modules: [{ module: 'mod-berlin', problem: null, pausedMs: 2 }], servedBy: 'berlin' });
const asAnna = { user: 'anna', who: 'key-anna', requestId: 'r-7' };

describe('a reload of a driver', () => {
  it('goes wherever its modules are controlled, for the user who asked, or to one location', async () => {
    const { drivers, asked } = await createMaster(fine);
    expect(drivers.locationsOf('driver-lamp')).toEqual(['berlin', 'master']);
    expect(await drivers.reload({ driver: 'driver-lamp', location: null, ...asAnna }, never)).toEqual({
      failures: [],
      modules: [
        { module: 'mod-berlin', location: 'berlin', problem: null, pausedMs: 2, servedBy: 'berlin' },
        { module: 'mod-own', location: 'master', problem: null, pausedMs: 1, servedBy: 'master-1' },
      ],
    });
    const body = { location: 'berlin', driver: 'lamp', module: null, live: null, entry: 'master-1', ...asAnna };
    expect(asked).toEqual([{ kind: 'reload', body, timeoutMs: limits.reloadMs }]);
    const { modules } = await drivers.reload({ driver: 'driver-lamp', location: 'master', user: 'anna' }, never);
    expect([modules.map(({ module }) => module), asked.length]).toEqual([['mod-own'], 1]);
    expect(await drivers.reload({ driver: 'driver-idle', location: null, user: 'anna' }, never)).toEqual({ modules: [], failures: [] });
    await expect(drivers.reload({ driver: 'driver-none', location: null, user: 'anna' }, never)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('names the locations that could not be reached, and fails with the reason when there was no other', async () => {
    const { drivers, world } = await createMaster(() => Promise.reject(new HoldfastError('LINK_DOWN', { peer: 'berlin' })));
    const answer = await drivers.reload({ driver: 'driver-lamp', location: null, user: 'anna' }, never);
    expect(answer).toMatchObject({ modules: [{ module: 'mod-own' }], failures: [{ location: 'berlin', error: { code: 'LINK_DOWN' } }] });
    await expect(drivers.reload({ driver: 'driver-lamp', location: 'berlin', user: 'anna' }, never)).rejects.toMatchObject({ code: 'LINK_DOWN' });
    world.refusal = new HoldfastError('DRIVER_INVALID', { place: 'lamp.ts:1:1', problem: 'no' });
    await expect(drivers.reload({ driver: 'driver-lamp', location: 'master', user: 'anna' }, never)).rejects.toBe(world.refusal);
  });

  it('of one module loads that one, or says why it does not run', async () => {
    const { drivers, world, asked } = await createMaster(async () => ({ modules: [], servedBy: 'berlin' }));
    expect(await drivers.load({ module: 'mod-own', user: 'anna' }, never)).toMatchObject({ module: 'mod-own', servedBy: 'master-1' });
    world.problem = 'boom';
    await expect(drivers.load({ module: 'mod-own', user: 'anna' }, never)).rejects.toMatchObject({ code: 'DRIVER_FAILED', facts: { problem: 'boom' } });
    await expect(drivers.load({ module: 'mod-berlin', user: 'anna' }, never)).rejects.toMatchObject({ code: 'MODULE_NOT_RUNNING' });
    expect(asked).toMatchObject([{ body: { driver: 'lamp', module: 'mod-berlin' } }]);
  });
});
