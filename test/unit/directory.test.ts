import { afterEach, describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../src/shared/adapters/store-memory/memory-store.ts';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { documentSchemas } from '../../src/shared/model/documents.ts';
import { CommandDesk } from '../../src/shared/runtime/commands/command-desk.ts';
import { Directory } from '../../src/shared/runtime/documents/directory.ts';
import { planApply, runApply } from '../../src/shared/runtime/site-files/site-plan.ts';
import { ModuleLines } from '../../src/shared/runtime/commands/module-lines.ts';
import { StatusBoard } from '../../src/shared/runtime/status/status-board.ts';
import { FakeClock } from '../support/fake-clock.ts';

let scope = new Scope();
afterEach(async () => {
  expect(await scope.close()).toEqual([]);
  scope = new Scope();
});

const site = `
zones:
  - {id: zone-floor, name: Floor, settings: {a: floor, b: floor, c: floor}}
  - {id: zone-house, name: House, settings: {a: house, b: house, c: house, d: house}}
drivers:
  - {id: driver-logic, name: Logic, builtin: logic, role: logic, settings: {a: driver, b: driver, c: driver, d: driver, e: driver}}
  - {id: driver-device, name: Device, builtin: mock, role: device, settings: {a: driver, e: driver}}
systems:
  - {id: sys-1, name: Room, zones: [zone-floor, zone-house], settings: {a: system, b: system}, modules: [mod-logic, mod-display, mod-other]}
modules:
  - {id: mod-logic, name: Room, driver_id: driver-logic, settings: {a: module}}
  - {id: mod-display, name: Display, driver_id: driver-device, settings: {a: module}}
  - {id: mod-other, name: Display, driver_id: driver-device}
`;

async function setUp() {
  const store = createMemoryStore();
  await runApply(await planApply(site, store), store);
  const directory = new Directory(store);
  scope.defer('directory', await directory.open());
  const change = async (document: Record<string, unknown>): Promise<void> => {
    const changed = new Promise<void>((done) => {
      const stop = directory.onChange(() => {
        stop();
        done();
      });
    });
    const type = String(document['type']) as keyof typeof documentSchemas;
    const stored = await store.get(String(document['id']));
    const next = documentSchemas[type].parse({ ...stored?.document, ...document });
    await store.apply([{ op: 'put', document: next, expect: stored?.version ?? null }]);
    await changed;
  };
  const specs = () => Object.fromEntries(directory.modulesOf('master').map((spec) => [spec.id, spec]));
  return { store, directory, change, specs };
}

it('a system is of its own location and of those of its modules, and of the master when there are none', async () => {
  const { directory, change } = await setUp();
  expect(directory.locationsOfSystem('sys-none')).toEqual([]);
  expect(directory.locationsOfSystem('sys-1')).toEqual(['master']);
  await change({ id: 'mod-display', type: 'mod', edge_control_id: 'berlin' });
  expect(directory.locationsOfSystem('sys-1')).toEqual(['master', 'berlin']);
  await change({ id: 'sys-1', type: 'sys', edge_control_id: 'lisbon' });
  expect(directory.locationsOfSystem('sys-1')).toEqual(['lisbon', 'berlin']);
  await change({ id: 'sys-1', type: 'sys', edge_control_id: null, modules: ['mod-display'] });
  expect(directory.locationsOfSystem('sys-1')).toEqual(['berlin']);
  await change({ id: 'sys-1', type: 'sys', modules: [] });
  expect(directory.locationsOfSystem('sys-1')).toEqual(['master']);
});

describe('settings, first hit wins', () => {
  it('module, system, zones in the order of the list, driver for logic; module and driver for devices', async () => {
    const { specs } = await setUp();
    expect(specs()['mod-logic']?.settings).toEqual({ a: 'module', b: 'system', c: 'floor', d: 'house', e: 'driver' });
    expect(specs()['mod-display']?.settings).toEqual({ a: 'module', e: 'driver' });
  });

  it.each([
    [{ id: 'zone-house', type: 'zone', name: 'House', settings: { d: 'new' } }, ['mod-logic']],
    [{ id: 'zone-house', type: 'zone', name: 'House', settings: { a: 'hidden', d: 'house' } }, []],
    [{ id: 'sys-1', type: 'sys', settings: { a: 'system', b: 'new' } }, ['mod-logic']],
    [{ id: 'sys-1', type: 'sys', zones: ['zone-house', 'zone-floor'] }, ['mod-logic']],
    [{ id: 'sys-1', type: 'sys', modules: ['mod-other', 'mod-display', 'mod-logic'] }, []],
    [{ id: 'driver-device', type: 'driver', settings: { a: 'new', e: 'driver' } }, ['mod-other']],
    [{ id: 'mod-display', type: 'mod', settings: { a: 'new' } }, ['mod-display']],
  ])('a change of %j concerns exactly %j', async (document, concerned) => {
    const { change, specs } = await setUp();
    const before = specs();
    await change(document);
    const after = specs();
    const differ = Object.keys(before).filter((id) => JSON.stringify(before[id]) !== JSON.stringify(after[id]));
    expect(differ).toEqual(concerned);
  });
});

describe('the code of a driver', () => {
  it('is that of every driver that names it, and of the locations with modules of those', async () => {
    const { directory, change } = await setUp();
    await change({ id: 'driver-second', type: 'driver', name: 'The same', builtin: 'mock', role: 'device' });
    await change({ id: 'mod-far', type: 'mod', name: 'Far', driver_id: 'driver-second', edge_control_id: 'edge-1' });
    for (const id of ['driver-device', 'driver-second']) expect(directory.driver(id)).toEqual({ code: 'mock', locations: ['edge-1', 'master'] });
    expect(directory.codeOf('mod-far')).toEqual({ location: 'edge-1', module: 'mod-far', driver: 'mock' });
    expect(() => directory.driver('driver-none')).toThrow('driver-none');
    expect(() => directory.codeOf('mod-none')).toThrow('mod-none');
  });
});

describe('what was looked up once', () => {
  it('follows the names and the order of the modules of a system', async () => {
    const { directory, change } = await setUp();
    const found = () => [1, 2].map((index) => directory.resolve('sys-1', 'Display', index).module);
    expect(found()).toEqual(['mod-display', 'mod-other']);
    await change({ id: 'sys-1', type: 'sys', modules: ['mod-other', 'mod-logic', 'mod-display'] });
    expect(found()).toEqual(['mod-other', 'mod-display']);
    await change({ id: 'mod-display', type: 'mod', name: 'Screen' });
    expect([directory.count('sys-1', 'Display'), directory.resolve('sys-1', 'Screen', 1).module]).toEqual([1, 'mod-display']);
  });

  it('follows which modules are wanted to run, and where', async () => {
    const { directory, change } = await setUp();
    const counted = () => ['master', 'berlin'].map((location) => directory.countModulesOf(location));
    expect(counted()).toEqual([3, 0]);
    await change({ id: 'mod-display', type: 'mod', running: false });
    expect(counted()).toEqual([2, 0]);
    await change({ id: 'mod-other', type: 'mod', edge_control_id: 'berlin' });
    expect(counted()).toEqual([1, 1]);
  });
});

describe('a logic module', () => {
  it('is bound to the system that lists it, devices to none', async () => {
    const { specs } = await setUp();
    expect([specs()['mod-logic']?.systems, specs()['mod-display']?.systems]).toEqual([['sys-1'], []]);
  });

  it('of two systems is refused where it is applied; of a store that has it all the same, it knows both', async () => {
    const { store, change, specs } = await setUp();
    const { errors } = await planApply('systems: [{id: sys-2, name: Room 2, modules: [mod-logic, mod-display]}]', store);
    expect(errors.map(({ path, problem }) => `${path}: ${problem}`)).toEqual([
      'systems[0].modules[0]: logic module "mod-logic" is listed by sys-2 and by sys-1; it belongs to one system',
    ]);
    await change({ id: 'sys-2', type: 'sys', name: 'Room 2', modules: ['mod-logic'] });
    expect(specs()['mod-logic']?.systems).toEqual(['sys-1', 'sys-2']);
  });
});

describe('a subscription of a logic module', () => {
  const follow = async () => {
    const parts = await setUp();
    const board = new StatusBoard(createPromMetrics());
    const nothing = (): never => expect.fail('not part of this test');
    const desk = new CommandDesk({
      nodeId: 'n',
      clock: new FakeClock(),
      random: { next: nothing, hex: nothing, bytes: nothing } as never,
      metrics: createPromMetrics(),
      deviceLink: { onProgress: () => () => undefined, onEdited: () => () => undefined } as never,
      directory: parts.directory,
      board,
      lines: new ModuleLines({ nodeId: 'n', clock: new FakeClock(), deviceLink: {} as never, peerOf: () => null, isElsewhere: () => false }),
      callTrigger: nothing,
      route: nothing,
      onControlChange: nothing,
    });
    const seen: Json[] = [];
    const set = (module: string, value: Json) => board.set({ location: 'master', module, key: 'power', value, epoch: { generation: 0, number: 1 } });
    set('mod-display', 'display');
    set('mod-other', 'other');
    return { ...parts, desk, seen, set };
  };

  it('survives re-ordering, absence and replacement of modules', async () => {
    const { desk, seen, set, change } = await follow();
    scope.defer('follow', desk.follow({ system: 'sys-1', module: 'Display', index: 2, key: 'power' }, ({ value }) => void seen.push(value)));
    const list = (...modules: string[]) => change({ id: 'sys-1', type: 'sys', modules });
    expect(seen).toEqual(['other']);
    await list('mod-other', 'mod-display');
    set('mod-other', 'not this one');
    await list('mod-other');
    set('mod-display', 'absent');
    expect(seen).toEqual(['other', 'display']);
    await list('mod-logic', 'mod-display', 'mod-other');
    set('mod-other', 'again');
    expect(seen).toEqual(['other', 'display', 'not this one', 'again']);
  });

  it('may be of a module, and a system, that is not there yet', async () => {
    const { desk, seen, change } = await follow();
    scope.defer('follow', desk.follow({ system: 'sys-2', module: 'Display', index: 1, key: 'power' }, ({ value }) => void seen.push(value)));
    expect(() => desk.watch({ system: 'sys-2', module: 'Display', index: 1, key: null }, () => undefined)).toThrow(/no system sys-2/);
    await change({ id: 'sys-2', type: 'sys', name: 'Later', modules: ['mod-display'] });
    expect(seen).toEqual(['display']);
  });
});
