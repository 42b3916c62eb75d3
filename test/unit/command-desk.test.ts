import { expect, it } from 'vitest';
import { createMemoryStore } from '../../src/shared/adapters/store-memory/memory-store.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { Canceller, type CancelSignal } from '../../src/shared/foundation/cancel.ts';
import { commandCancelled } from '../../src/shared/link/cancelled-by.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { documentSchemas } from '../../src/shared/model/documents.ts';
import type { DeviceLink, ModuleLogLine } from '../../src/shared/ports/device-link.ts';
import type { Metrics } from '../../src/shared/ports/metrics.ts';
import { CommandDesk } from '../../src/shared/runtime/commands/command-desk.ts';
import type { Route } from '../../src/shared/runtime/commands/proxy.ts';
import { Directory } from '../../src/shared/runtime/documents/directory.ts';
import { ModuleLines } from '../../src/shared/runtime/commands/module-lines.ts';
import { StatusBoard } from '../../src/shared/runtime/status/status-board.ts';
import { FakeClock } from '../support/fake-clock.ts';

const metrics: Metrics = { add: () => undefined, set: () => undefined, read: () => 0 };
const unused = (): never => {
  throw new Error('not part of this test');
};
const epoch = (number: number) => ({ generation: 0, number });

async function makeDesk(now: { route?: Route; exec?: DeviceLink['exec'] } = {}) {
  const store = createMemoryStore();
  await store.apply([{ op: 'put', expect: null, document: documentSchemas.driver.parse({ id: 'drv', type: 'driver', name: 'Mock', builtin: 'mock' }) }]);
  await store.apply([{ op: 'put', expect: null, document: documentSchemas.sys.parse({ id: 'sys', type: 'sys', name: 'Room', edge_control_id: 'berlin', modules: ['mod-1'] }) }]);
  const addModule = async (id: string, name: string, location = 'berlin', running = true) => {
    const document = documentSchemas.mod.parse({ id, type: 'mod', driver_id: 'drv', name, edge_control_id: location, running });
    await store.apply([{ op: 'put', expect: (await store.get(id))?.version ?? null, document }]);
  };
  const directory = new Directory(store);
  await directory.open();
  const board = new StatusBoard(metrics);
  const listeners = new Set<(line: ModuleLogLine) => void>();
  const deviceLink: DeviceLink = {
    prepare: unused,
    manage: () => Promise.resolve([]),
    onProgress: () => () => undefined, onEdited: () => () => undefined,
    start: unused,
    closeGate: unused,
    restamp: unused,
    setLease: unused,
    stop: unused,
    exec: now.exec ?? unused,
    functions: unused,
    reload: unused,
    serveSystems: unused,
    onStatus: unused,
    onLog: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    writes: unused,
    close: unused,
  };
  const desk = new CommandDesk({
    nodeId: 'node',
    clock: new FakeClock(),
    random: { next: unused, hex: () => 'r-1' },
    metrics,
    deviceLink,
    directory,
    board,
    lines: new ModuleLines({ nodeId: 'node', clock: new FakeClock(), deviceLink, peerOf: () => null, isElsewhere: () => false }),
    callTrigger: unused,
    route: () => now.route ?? unused(),
    onControlChange: () => () => undefined,
  });
  const say = (module: string, message: string): void => {
    for (const listener of listeners) listener({ location: 'berlin', module, level: 'info', message });
  };
  const set = (number: number, module: string, key: string, value: Json): boolean =>
    board.set({ location: 'berlin', module, key, value, epoch: epoch(number) }) !== null;
  return { desk, board, addModule, say, set, listeners };
}
const whenAborted = (signal: CancelSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(new HoldfastError('CANCELLED', { fate: 'unknown' }))));
const power = { system: 'sys', module: 'Display', index: 1, key: 'power' };

it('a binding waits for its module, tells null of what was never set, and each change once', async () => {
  const { desk, addModule, set } = await makeDesk();
  const seen: Json[] = [];
  const stop = desk.bind(power, (value) => void seen.push(value));
  expect(seen).toEqual([]);
  await addModule('mod-1', 'Display');
  await expect.poll(() => seen).toEqual([null]);
  set(2, 'mod-1', 'power', true);
  set(2, 'mod-1', 'power', true);
  set(2, 'mod-1', 'volume', 3);
  set(2, 'mod-2', 'power', 'of another module');
  expect(seen).toEqual([null, true]);
  stop();
  set(2, 'mod-1', 'power', false);
  expect(seen).toEqual([null, true]);
});

it('a binding outlives moves of control: the old value stays until the new holder reports another', async () => {
  const { desk, board, addModule, set } = await makeDesk();
  await addModule('mod-1', 'Display');
  const seen: Json[] = [];
  await expect.poll(() => {
    try {
      desk.status(power);
      return true;
    } catch {
      return false;
    }
  }).toBe(true);
  desk.bind(power, (value) => void seen.push(value));
  set(2, 'mod-1', 'power', 1);
  board.adopt('berlin', epoch(3), null);
  set(2, 'mod-1', 'power', 'too late');
  set(3, 'mod-1', 'power', 1);
  set(3, 'mod-1', 'power', 2);
  expect(seen).toEqual([null, 1, 2]);
});

it('a binding tells where its module belongs: that of its system while there is none, and a move before the values of the other place', async () => {
  const { desk, board, addModule } = await makeDesk();
  const seen: Json[] = [];
  board.set({ location: 'lisbon', module: 'mod-1', key: 'power', value: 'there', epoch: epoch(2) });
  desk.bind(power, (value) => void seen.push(value), (location) => void (seen.at(-1) !== location && seen.push(location)));
  expect(seen).toEqual(['berlin']);
  await addModule('mod-1', 'Display');
  await expect.poll(() => seen).toEqual(['berlin', null]);
  await addModule('mod-1', 'Display', 'lisbon');
  await expect.poll(() => seen.slice(-2)).toEqual(['lisbon', 'there']);
});

it('a system that does not exist is refused', async () => {
  const { desk } = await makeDesk();
  expect(() => desk.bind({ ...power, system: 'nowhere' }, unused)).toThrow('There is no system nowhere');
});

it('log lines of a module, named as in a system or by its id, until it is stopped', async () => {
  const { desk, addModule, say, listeners } = await makeDesk();
  await expect(desk.debug(power, unused)).rejects.toThrow('There is no module Display');
  await addModule('mod-1', 'Display');
  const lines: string[] = [];
  await expect.poll(() => desk.debug({ ...power, module: 'mod-1' }, ({ message }) => void lines.push(`by id: ${message}`)).catch(() => null)).toMatchObject({ module: 'mod-1', driver: 'Mock' });
  const named = await desk.debug(power, ({ level, message }) => void lines.push(`${level}: ${message}`));
  say('mod-1', 'hello');
  say('mod-2', 'of another module');
  named.stop();
  say('mod-1', 'again');
  expect(lines).toEqual(['by id: hello', 'info: hello', 'by id: again']);
  expect(listeners.size).toBe(1);
});

const ways: [string, Route][] = [
  ['runs here', { via: 'here', epoch: epoch(1) }],
  ['runs at the other end of a link', { via: 'peer', peer: 'berlin', request: (_, __, { signal }) => whenAborted(signal) }],
  ['waits for control', { via: 'wait' }],
];

it.each(ways)('a command that %s lets nobody wait who gave up, and is forgotten', async (_, route) => {
  const { desk, addModule } = await makeDesk({ route, exec: (__, signal) => whenAborted(signal) });
  await addModule('mod-1', 'Display');
  await expect.poll(() => desk.count('sys', 'Display')).toBe(1);
  const abort = new Canceller();
  const answer = desk.exec({ system: 'sys', module: 'Display', index: 1, method: 'on', args: [], user: 'ada', timeoutMs: 60_000 }, abort.signal);
  answer.catch(() => undefined);
  await Promise.resolve();
  expect(desk.requests()).toHaveLength(1);
  abort.abort();
  await expect(answer).rejects.toMatchObject({ code: 'CANCELLED' });
  expect(desk.requests()).toEqual([]);
});

it.each(ways)('a command that %s says to its caller which operator cancelled it, and its fate', async (_, route) => {
  const { desk, addModule } = await makeDesk({ route, exec: (__, signal) => whenAborted(signal) });
  await addModule('mod-1', 'Display');
  await expect.poll(() => desk.count('sys', 'Display')).toBe(1);
  const call = { system: 'sys', module: 'Display', index: 1, method: 'on', args: [], user: 'ada', requestId: 'r', timeoutMs: 60_000 };
  const answer = desk.exec(call, new Canceller().signal);
  answer.catch(() => undefined);
  await Promise.resolve();
  await desk.cancelRequest('r', { user: 'bob', who: 'token-bob' });
  await desk.cancelRequest('r', { user: 'eve', who: 'token-eve' }).catch(() => undefined);
  const facts = { by: 'bob', who: 'token-bob', fate: route.via === 'wait' ? 'not-sent' : 'unknown' };
  await expect(answer).rejects.toMatchObject({ code: 'COMMAND_CANCELLED', facts });
});

it.each(ways)('a command that %s says so too, and who it was, when an operator cancelled it at a node before', async (_, route) => {
  const { desk, addModule } = await makeDesk({ route, exec: (__, signal) => whenAborted(signal) });
  await addModule('mod-1', 'Display');
  await expect.poll(() => desk.count('sys', 'Display')).toBe(1);
  const call = { id: 'mod-1', method: 'on', args: [], user: 'ada', timeoutMs: 60_000 };
  const abort = new Canceller();
  const answer = desk.execModule(call, abort.signal);
  answer.catch(() => undefined);
  await Promise.resolve();
  abort.abort(commandCancelled({ user: 'bob', who: 'token-bob' }));
  await expect(answer).rejects.toMatchObject({ code: 'COMMAND_CANCELLED', facts: { by: 'bob', who: 'token-bob' } });
});

it('who cancels a start of modules at the other end of a link is told there, with their credential', async () => {
  const sent: [kind: string, body: Json][] = [];
  const request = async (kind: string, body: Json): Promise<Json> => (sent.push([kind, body]), { modules: [], servedBy: 'berlin' });
  const { desk } = await makeDesk({ route: { via: 'peer', peer: 'berlin', request } });
  desk.underWay.hear('berlin', { progress: { action: 'start', done: 1, total: 9, failing: 0, age: 5 }, edited: {} });
  expect(await desk.cancelRequest('modules-berlin', { user: 'bob', who: 'token-bob' })).toMatchObject({ at: 'berlin', method: 'start' });
  expect(sent).toEqual([['modules', { location: 'berlin', action: 'cancel', modules: [], user: 'bob', who: 'token-bob', entry: 'node', requestId: 'r-1' }]]);
});

it('of two commands that bear one id at once, the second is told the one under which it runs', async () => {
  const { desk, addModule } = await makeDesk({ route: { via: 'here', epoch: epoch(1) }, exec: (_, signal) => whenAborted(signal) });
  await addModule('mod-1', 'Display');
  await expect.poll(() => desk.count('sys', 'Display')).toBe(1);
  const abort = new Canceller();
  const told: string[] = [];
  const call = { method: 'on', args: [], user: 'ada', requestId: 'r', renamed: (id: string) => void told.push(id), timeoutMs: 60_000 };
  const first = desk.execModule({ id: 'mod-1', ...call }, abort.signal);
  expect(told).toEqual([]);
  const second = desk.exec({ system: 'sys', module: 'Display', index: 1, ...call }, abort.signal);
  expect([told, desk.requests().map(({ id }) => id)]).toEqual([['r-1'], ['r', 'r-1']]);
  abort.abort();
  expect((await Promise.allSettled([first, second])).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
});

it('a command to a module that an operator stopped says so, and how to start it; of one that just does not run it says what its driver host says', async () => {
  const exec = () => Promise.reject(new HoldfastError('MODULE_NOT_RUNNING', { module: 'mod-1', reason: 'it was not started here' }));
  const { desk, addModule } = await makeDesk({ route: { via: 'here', epoch: epoch(1) }, exec });
  const reason = () => desk.execModule({ id: 'mod-1', method: 'on', args: [], user: 'ada', timeoutMs: 1_000 }, new Canceller().signal).catch((error: HoldfastError) => error.facts['reason']);
  await addModule('mod-1', 'Display');
  await expect.poll(reason).toBe('it was not started here');
  await addModule('mod-1', 'Display', 'berlin', false);
  await expect.poll(reason).toBe('an operator stopped it; `holdfast module start mod-1` starts it');
});

it('a command that goes over a link takes along whose credential it was, where that is known', async () => {
  const bodies: Json[] = [];
  const request = async (_: string, body: Json): Promise<Json> => (bodies.push(body), { value: null, servedBy: 'berlin' });
  const { desk, addModule } = await makeDesk({ route: { via: 'peer', peer: 'berlin', request } });
  await addModule('mod-1', 'Display');
  const { signal } = new Canceller();
  const command = { id: 'mod-1', method: 'on', args: [], user: 'ada', requestId: 'r', timeoutMs: 1_000 };
  await expect.poll(() => desk.execModule(command, signal).catch(() => null)).not.toBe(null);
  await desk.execModule({ ...command, who: 'key-ada' }, signal);
  const body = { location: 'berlin', module: 'mod-1', method: 'on', args: [], user: 'ada', entry: 'node', requestId: 'r' };
  expect(bodies.slice(-2)).toEqual([body, { ...body, who: 'key-ada' }]);
});
