import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createSystemClock, monotonicMs } from '../../src/shared/adapters/clock/system-clock.ts';
import { createSystemRandom } from '../../src/shared/adapters/random/system-random.ts';
import { createMemoryStore } from '../../src/shared/adapters/store-memory/memory-store.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { CommandDesk } from '../../src/shared/runtime/commands/command-desk.ts';
import { Directory } from '../../src/shared/runtime/documents/directory.ts';
import { planApply, runApply } from '../../src/shared/runtime/site-files/site-plan.ts';
import { ModuleLines } from '../../src/shared/runtime/commands/module-lines.ts';
import { StatusBoard } from '../../src/shared/runtime/status/status-board.ts';
import { epoch, moduleSpec, never, startDevices, startHands, waitFor } from '../support/device-world.ts';
import { tempFolders } from '../support/temp-folder.ts';
import { testScope } from '../support/test-scope.ts';

const folder = tempFolders();
const scope = testScope();

/** The hands of a node with two hosts, its documents and its desk: what a node is of, without control. */
async function startRoom() {
  const devices = await startDevices(scope(), folder(), { ports: 2 });
  const hands = startHands(scope(), { hosts: 2, drivers: { driversModule: resolve('test/support/logic-drivers.mjs') } });
  const store = createMemoryStore();
  const apply = async (text: string) => runApply(await planApply(text, store), store);
  const list = (...modules: string[]) => `systems: [{id: sys-1, name: Room, modules: [${modules.join(', ')}]}]`;
  await apply(`
drivers:
  - {id: driver-logic, name: D, builtin: director, role: logic}
  - {id: driver-aide, name: A, builtin: aide, role: service}
  - {id: driver-mock, name: M, builtin: mock, role: device}
${list('mod-room', 'mod-aide', 'mod-1', 'mod-2')}
modules:
  - {id: mod-room, name: Room, driver_id: driver-logic}
  - {id: mod-aide, name: Aide, driver_id: driver-aide}
  - {id: mod-1, name: Display, driver_id: driver-mock, ip: 127.0.0.1, port: ${devices.ports[0]}}
  - {id: mod-2, name: Display, driver_id: driver-mock, ip: 127.0.0.1, port: ${devices.ports[1]}}
`);
  const directory = new Directory(store);
  scope().defer('directory', await directory.open());
  const board = new StatusBoard(hands.metrics);
  hands.link.onStatus((value) => board.set(value));
  const desk = new CommandDesk({
    nodeId: 'node-1',
    clock: createSystemClock(),
    random: createSystemRandom(),
    metrics: hands.metrics,
    deviceLink: hands.link,
    directory,
    board,
    lines: new ModuleLines({ nodeId: 'node-1', clock: createSystemClock(), deviceLink: hands.link, peerOf: () => null, isElsewhere: () => false }),
    callTrigger: () => 'fires',
    route: () => ({ via: 'here', epoch }),
    onControlChange: () => () => undefined,
  });
  hands.link.serveSystems(desk);
  const start = () => hands.link.start({ location: 'master', epoch, modules: directory.modulesOf('master'), handover: {} }, never());
  expect(await start()).toEqual({ started: 4, failed: [] });
  const exec = async (module: string, method: string, args: Json[] = [], timeoutMs = 5_000): Promise<Json> =>
    (await desk.exec({ system: 'sys-1', module, index: 1, method, args, user: 'ada', timeoutMs }, never())).value;
  return { devices, hands, desk, apply, list, exec, start };
}

describe('a logic module', () => {
  it('reaches modules in another host process: calls, status, names, for the user who asked', async () => {
    const { exec, hands, devices } = await startRoom();
    const [own, other] = [await exec('Room', 'pid'), await exec('Room', 'exec', ['Aide_1', 'pid', []])];
    expect(typeof own === 'number' && typeof other === 'number' && own !== other).toBe(true);
    expect(await exec('Room', 'exec', ['Aide_1', 'who', []])).toBe('ada');
    expect(await exec('Room', 'names', ['Display'])).toEqual(['Display_1', 'Display_2']);
    expect(await exec('Room', 'exec', ['Display_2', 'power', [true]])).toBe(true);
    await waitFor('the status', () => hands.status.get('mod-2.power') === true);
    expect(await exec('Room', 'status', ['Display_2', 'power'])).toBe(true);
    expect(devices.log().filter(({ event, device }) => event === 'data' && device === 1).map(({ data }) => data)).toContain('power on\n');
    await expect(exec('Room', 'exec', ['Display_3', 'power', [true]])).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(exec('Room', 'exec', ['Display_1', 'fail', []])).rejects.toMatchObject({ code: 'DEVICE_REFUSED' });
  });

  it('keeps its subscription while modules are re-ordered, absent and replaced', async () => {
    const { exec, hands, apply, list } = await startRoom();
    const seen = () => hands.status.get('mod-room.seen');
    await exec('Room', 'exec', ['Display_1', 'power', [true]]);
    await waitFor('the first value', () => seen() === true);
    await exec('Room', 'exec', ['Display_2', 'power', [false]]);
    await apply(list('mod-room', 'mod-aide', 'mod-2', 'mod-1'));
    await waitFor('the value of the other', () => seen() === false);
    await apply(list('mod-room', 'mod-aide'));
    await apply(list('mod-room', 'mod-aide', 'mod-1'));
    await waitFor('the value of the one that came back', () => seen() === true);
  });

  it('does not hang when it calls itself in a circle, nor longer than its deadline when nobody answers', async () => {
    const { exec } = await startRoom();
    await expect(exec('Room', 'circle', [], 4_000)).rejects.toMatchObject({ code: 'QUEUE_FULL' });
    const fromMs = monotonicMs();
    await expect(exec('Room', 'exec', ['Aide_1', 'never', []], 500)).rejects.toMatchObject({ code: 'DEADLINE' });
    expect(monotonicMs() - fromMs).toBeLessThan(2_500);
    expect(await exec('Room', 'who')).toBe('ada');
  });

  it('may not act on its system once its node has lost control', async () => {
    const { exec, hands } = await startRoom();
    const answers: unknown[] = [];
    hands.link.onLog(({ message }) => void answers.push(message));
    await exec('Room', 'execLater', ['Aide_1', 'pid']);
    hands.link.closeGate('master');
    await waitFor('the refusal', () => answers.length > 0);
    expect(answers[0]).toMatch(/GATE_CLOSED|STALE_EPOCH/);
  });

  it('lists its methods over the pipe; one that does not run has none', async () => {
    const { desk, hands } = await startRoom();
    const functions = await desk.functions({ system: 'sys-1', module: 'Room', index: 1 });
    expect(functions['exec']).toMatchObject({ arity: 3, order: ['name', 'what', 'args'], params: { name: { type: 'string' } } });
    expect((await hands.link.functions('master', 'mod-1'))['power']).toEqual({ arity: 1, order: ['on'], params: { on: { type: 'boolean' } } });
    await expect(hands.link.functions('master', 'mod-9')).rejects.toMatchObject({ code: 'MODULE_NOT_RUNNING' });
  });

  it('that two systems list does not start, and says which', async () => {
    const hands = startHands(scope(), { drivers: { driversModule: resolve('test/support/logic-drivers.mjs') } });
    const modules = [moduleSpec('mod-room', 0, { driver: 'director', role: 'logic', systems: ['sys-1', 'sys-2'] })];
    const { failed } = await hands.link.start({ location: 'hq', epoch, modules, handover: {} }, never());
    expect(failed).toEqual([{ module: 'mod-room', problem: 'system: sys-1 and sys-2 list it; a logic module belongs to one system' }]);
  });
});

describe('drivers of one\'s own', () => {
  const good = (answer: string): string => `import { defineDriver, z } from 'holdfast/driver';
export default defineDriver({ name: 'good', role: 'logic', settings: z.object({ level: z.int() }), setup: () => ({ answer: (): string => '${answer}' }) });
`;

  it('are compiled when loaded; a broken one names file, line and reason, and others are untouched', async () => {
    const home = folder();
    mkdirSync(join(home, 'good'));
    writeFileSync(join(home, 'good', 'driver.ts'), good('here'));
    writeFileSync(join(home, 'broken.ts'), 'const a: number = 1;\nconst b = ;\n');
    writeFileSync(join(home, 'thrower.js'), '\n\nthrow new Error("no licence");\n');
    writeFileSync(join(home, 'other.ts'), good('x'));
    writeFileSync(join(home, 'nothing.ts'), 'export default 1;\n');
    const hands = startHands(scope(), { drivers: { driversFolder: home } });
    const spec = (driver: string, settings = {}) => moduleSpec(`mod-${driver}`, 0, { driver, role: 'logic', settings });
    const modules = [spec('good', { level: 1 }), ...['broken', 'thrower', 'other', 'nothing', 'absent'].map((name) => spec(name))];
    const start = () => hands.link.start({ location: 'hq', epoch, modules, handover: {} }, never());
    const report = await start();
    const problems = Object.fromEntries(report.failed.map(({ module, problem }) => [module, problem.replaceAll(`${home}/`, '')]));
    expect(problems).toEqual({
      'mod-broken': 'broken.ts:2:11: Unexpected ";"',
      'mod-thrower': expect.stringMatching(/^thrower\.js:3:\d+: no licence$/),
      'mod-other': 'other.ts: it calls itself "good"; its name must be "other", like its file or folder',
      'mod-nothing': 'nothing.ts: its default export must be what defineDriver returned',
      'mod-absent': 'There is no driver absent',
    });
    const call = { location: 'hq', module: 'mod-good', method: 'answer', args: [], epoch, deadlineMs: monotonicMs() + 5_000, requestId: 'r', user: 'ada' };
    expect(await hands.link.exec(call, never())).toBe('here');
  });

  it('have their settings checked, and the problem of the module names the field', async () => {
    const home = folder();
    writeFileSync(join(home, 'good.ts'), good('here'));
    const hands = startHands(scope(), { drivers: { driversFolder: home } });
    const modules = [moduleSpec('mod-good', 0, { driver: 'good', role: 'logic', settings: { level: 'high' } })];
    const { failed } = await hands.link.start({ location: 'hq', epoch, modules, handover: {} }, never());
    expect(failed[0]?.problem).toMatch(/^settings\.level: /);
  });
});
