import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import type { ModuleLogLine } from '../../src/shared/ports/device-link.ts';
import { type Resident, Town } from './support/town.ts';

const sites = { a: { timeout: 60 }, b: { timeout: 60 } };
const display = (location: string) => ({ system: `sys-${location}`, module: 'Display', index: 1 });
const never = new AbortController().signal;

function nodeOf({ seat }: Resident) {
  if (seat.node === null) throw new RangeError(`${seat.id} does not run`);
  return seat.node;
}

function bind(at: Resident, location: string): { values: Json[]; stop: () => void } {
  const values: Json[] = [];
  return { values, stop: nodeOf(at).desk.bind({ ...display(location), key: 'value' }, (value) => void values.push(value), () => undefined) };
}

describe('from an edge, through the master, to another edge', () => {
  it('a command runs there, under the name of its user and its request, and says who served it', async () => {
    const t = await Town.settled(sites);
    const request = { ...display('b'), method: 'set', args: [7], user: 'anna', requestId: 'panel-1', timeoutMs: 5_000 };
    const answer = nodeOf(t.edge('a')).desk.exec(request, never);
    await t.until(() => nodeOf(t.edge('b')).desk.requests().length === 1, '1s');
    const facts = { id: 'panel-1', user: 'anna', location: 'b', method: 'set', entry: 'a' };
    expect(nodeOf(t.edge('a')).desk.requests()).toMatchObject([{ ...facts, via: null, at: 'master' }]);
    expect(nodeOf(t.master).desk.requests()).toMatchObject([{ ...facts, via: 'a', at: 'b' }]);
    expect(nodeOf(t.edge('b')).desk.requests()).toMatchObject([{ ...facts, via: 'master', at: 'b' }]);
    await t.run('1s');
    expect(await answer).toEqual({ value: 7, servedBy: 'b' });
    for (const at of [t.edge('a'), t.master, t.edge('b')]) expect(nodeOf(at).desk.requests()).toEqual([]);
    const status = t.edge('a').value('b');
    await t.run('1s');
    expect(await status).toBe(7);
  });

  it('runs at the master while that holds the location', async () => {
    const t = await Town.settled(sites);
    t.order('b', 'takeover');
    await t.until(() => t.writers('b').includes('master'), '10s');
    await t.run('3s');
    const answer = nodeOf(t.edge('a')).desk.exec({ ...display('b'), method: 'set', args: [8], user: 'anna', timeoutMs: 5_000 }, never);
    await t.run('1s');
    expect(await answer).toEqual({ value: 8, servedBy: t.master.seat.id });
  });

  it('runs at the master for a user of the very edge that let go by order and heard nothing since', async () => {
    const t = await Town.settled(sites);
    t.order('b', 'takeover');
    await t.until(() => t.writers('b').includes('master'), '10s');
    await t.run('3s');
    const answer = nodeOf(t.edge('b')).desk.exec({ ...display('b'), method: 'set', args: [9], user: 'anna', timeoutMs: 5_000 }, never);
    await t.run('1s');
    expect(await answer).toEqual({ value: 9, servedBy: t.master.seat.id });
    const order = nodeOf(t.edge('b')).order({ location: 'b', kind: 'handback', by: 'anna', requestId: 'r', dryRun: false }, never);
    await t.until(() => t.writers('b').includes('edge'), '10s');
    await t.run('3s');
    expect((await order).after.holder).toBe('edge');
  });

  it('is cancelled wherever it has got to, and its caller is told', async () => {
    const t = await Town.settled(sites);
    for (const device of t.world.devices.of('b')) Object.assign(device, { answerMs: 4_000 });
    const cancelled = t.set('b', 1, t.edge('a'));
    await t.until(() => nodeOf(t.edge('b')).desk.requests().length === 1, '1s');
    const [request] = nodeOf(t.master).desk.requests();
    expect(await nodeOf(t.master).desk.cancelRequest(request?.id ?? '', { user: 'anna' })).toMatchObject({ user: 'test', method: 'set' });
    await t.until(() => nodeOf(t.edge('b')).desk.requests().length === 0, '1s');
    await t.run('1s');
    expect(cancelled.ended).toBe('COMMAND_CANCELLED unknown');
    // Where it ran, too, the log says who it was.
    const served = t.world.trace.last(1_000).filter((line) => / b +command-served /.test(line));
    expect(served.at(-1)).toMatch(/result=COMMAND_CANCELLED .*cancelledBy=.*anna/);
    await expect(nodeOf(t.master).desk.cancelRequest('nothing', { user: 'anna' })).rejects.toThrow('There is no request nothing');
  });

  it('says what became of it when the second link is lost: nothing is run twice', async () => {
    const t = await Town.settled(sites);
    for (const device of t.world.devices.of('b')) Object.assign(device, { answerMs: 4_000 });
    const lost = t.set('b', 1, t.edge('a'), 60_000);
    await t.until(() => nodeOf(t.edge('b')).desk.requests().length === 1, '1s');
    t.link('b').cut();
    await t.run('20s');
    expect(lost.ended).toBe('LINK_LOST unknown');
    const refused = t.set('b', 2, t.edge('a'), 20_000);
    await t.run('6s');
    expect(refused.ended).toMatch(/^(CONTROL_CHANGING|LINK_DOWN|NO_HOLDER)$/);
  });

  it('works on its own location while there is no link, and says so of others', async () => {
    const t = await Town.settled(sites);
    t.link('a').cut();
    await t.run('5s');
    const own = t.set('a', 3, t.edge('a'));
    const other = t.set('b', 3, t.edge('a'));
    await t.run('1s');
    expect([own.ended, other.ended]).toEqual(['ok 3', 'LINK_DOWN']);
  });
});

describe('a binding at an edge to a module of another', () => {
  it('has its value at once, then each change, until nobody is bound', async () => {
    const t = await Town.settled(sites);
    t.set('b', 1);
    await t.run('1s');
    const bound = bind(t.edge('a'), 'b');
    expect(bound.values).toEqual([]);
    await t.run('1s');
    expect(bound.values).toEqual([1]);
    t.set('b', 2);
    await t.run('1s');
    expect(bound.values).toEqual([1, 2]);
    const second = bind(t.edge('a'), 'b');
    expect(second.values).toEqual([2]);
    second.stop();
    bound.stop();
    await t.run('1s');
    t.set('b', 3);
    await t.run('1s');
    expect(bound.values).toEqual([1, 2]);
    expect(nodeOf(t.edge('a')).desk.knownStatus('mod-b-1').values).toEqual({});
  });

  it('goes on after a cut of either link, with the newest value', async () => {
    const t = await Town.settled(sites);
    t.set('b', 1);
    await t.run('1s');
    const bound = bind(t.edge('a'), 'b');
    await t.run('1s');
    t.link('a').cut();
    await t.run('25s');
    t.set('b', 2);
    await t.run('1s');
    expect(bound.values).toEqual([1]);
    t.link('a').heal();
    await t.until(() => bound.values.length > 1, '15s');
    expect(bound.values).toEqual([1, 2]);
    t.set('b', 3);
    await t.run('1s');
    expect(bound.values).toEqual([1, 2, 3]);
  });

  it('goes on when control of the module moves', async () => {
    const t = await Town.settled(sites);
    const bound = bind(t.edge('a'), 'b');
    await t.run('1s');
    t.order('b', 'takeover');
    await t.until(() => t.writers('b').includes('master'), '10s');
    await t.run('3s');
    t.set('b', 9);
    await t.run('1s');
    expect(bound.values.at(-1)).toBe(9);
  });
});

it('log lines come from whoever drives, to every node that asks, until it stops', async () => {
  const t = await Town.settled(sites);
  const listeners = new Set<(line: ModuleLogLine) => void>();
  Object.assign(t.edge('b').seat.hands ?? {}, { onLog: (listener: (line: ModuleLogLine) => void) => (listeners.add(listener), () => listeners.delete(listener)) });
  const lines: string[] = [];
  const debug = (at: Resident, name: string) => nodeOf(at).desk.debug(display('b'), ({ message, node }) => void lines.push(`${name}: ${message} of ${node}`));
  const say = (message: string): void => {
    for (const listener of listeners) listener({ location: 'b', module: 'mod-b-1', level: 'info', message });
  };
  // Who was answered misses nothing: the driver speaks in the very moment of the answer.
  const asked = [debug(t.edge('a'), 'a'), debug(t.master, 'master')];
  let answers = 0;
  for (const answer of asked) void answer.then(() => (answers += 1) === 2 && say('hello'));
  await t.run('1s');
  const [first, second] = [await asked[0], await asked[1]];
  expect(lines.toSorted()).toEqual(['a: hello of b', 'master: hello of b']);
  second?.stop();
  first?.stop();
  await t.run('1s');
  expect(listeners.size).toBe(0);
});

it('who asks for log lines of a module whose server cannot be asked is answered all the same: at once when the link is known to be down, else in time', async () => {
  const t = await Town.settled(sites);
  const debug = (index: number) => {
    const asked = { isAnswered: false };
    void nodeOf(t.edge('a')).desk.debug({ ...display('b'), index }, () => undefined).then(() => (asked.isAnswered = true));
    return asked;
  };
  t.edge('b').pause();
  const held = debug(1);
  await t.run('1s');
  expect(held.isAnswered).toBe(false);
  await t.run('1500ms');
  expect(held.isAnswered).toBe(true);
  t.edge('b').resume();
  t.master.crash();
  await t.run('10s');
  const alone = debug(2);
  await t.run('10ms');
  expect(alone.isAnswered).toBe(true);
});

it('what is not there is refused by the edge that was asked', async () => {
  const t = await Town.settled({ a: { timeout: 60 } });
  const command = { ...display('z'), method: 'set', args: [1], user: 'anna', timeoutMs: 1_000 };
  await expect(nodeOf(t.edge('a')).desk.exec(command, never)).rejects.toBeInstanceOf(HoldfastError);
});
