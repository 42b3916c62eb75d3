import { describe, expect, it } from 'vitest';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { StatusBoard } from '../../src/shared/runtime/status/status-board.ts';
import { StatusRoom } from '../../src/shared/runtime/status/status-room.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { createMemoryLog } from '../support/memory-log.ts';

const setUp = () => {
  const board = new StatusBoard(createPromMetrics());
  const set = (value: Json, number = 1) => board.set({ location: 'a', module: 'm', key: 'k', value, epoch: { generation: 3, number } });
  return { board, set };
};

it('what was read of a variable stays as it was when that changes', () => {
  const { board, set } = setUp();
  set('off');
  const [told] = board.valuesOf('a', 'm');
  const before = structuredClone(told);
  set('on', 2);
  expect(told).toEqual(before);
  const now = { value: 'on', epoch: { generation: 3, number: 2 }, revision: [3, 2, 2] };
  expect(board.valuesOf('a', 'm')).toEqual([{ location: 'a', module: 'm', key: 'k', ...now }]);
});

it('a value keeps when it was reported, also under the epoch that adopts it', () => {
  const { board, set } = setUp();
  set('off');
  board.adopt('a', { generation: 3, number: 4 }, null);
  expect(board.valuesOf('a', 'm')).toMatchObject([{ value: 'off', epoch: { generation: 3, number: 4 }, revision: [3, 1, 1] }]);
  expect(board.value('a', 'm', 'k')).toMatchObject({ value: 'off', revision: [3, 1, 1] });
});

it('modules fail that say a problem and no connection, of those that are wanted', () => {
  const { board } = setUp();
  const say = (module: string, key: string, value: Json) => board.set({ location: 'a', module, key, value, epoch: { generation: 3, number: 1 } });
  const wanted = (module: string): boolean => module !== 'removed';
  say('fine', 'connected', true);
  say('fine', 'problem', null);
  say('away', 'connected', false);
  // It runs on, and shows for a while what its driver did wrong.
  say('faulty', 'connected', true);
  say('faulty', 'problem', 'it reports too much');
  expect(board.failing('a', wanted)).toBe(0);
  for (const module of ['logic', 'down', 'removed']) say(module, 'problem', 'There is no driver pjlink');
  say('down', 'connected', false);
  expect([board.failing('a', wanted), board.failing('b', wanted)]).toEqual([2, 0]);
});

it('what is older than an epoch that was heard is refused, until this node drives: then what its devices report counts', () => {
  const { board, set } = setUp();
  set('theirs', 5);
  expect(set('late', 4)).toBeNull();
  // The epoch of the other node could not be stored here: the claim is below it.
  board.adopt('a', { generation: 3, number: 4 }, null);
  expect(set('ours', 4)).toMatchObject({ value: 'ours' });
  expect(board.value('a', 'm', 'k')).toMatchObject({ value: 'ours' });
  expect(set('late', 3)).toBeNull();
});

describe('what an edge invents', () => {
  const withStrangers = () => {
    const clock = new FakeClock();
    const log = createMemoryLog();
    const metrics = createPromMetrics();
    const named = new Set(['m']);
    const room = new StatusRoom({ clock, log, metrics, isNamed: (location, module) => location === 'a' && named.has(module) });
    const board = new StatusBoard(metrics, room);
    let report = 0;
    const hear = (module: string, key: string, value: Json = 'x', location = 'a', number = 2) =>
      board.hear({ location, module, key, value, epoch: { generation: 0, number }, revision: [0, number, (report += 1)] });
    const dropped = (reason: string, location = 'a') => metrics.read('holdfast_status_dropped_total', { location, reason });
    const hearLong = (key: string, length: number, location = 'a') =>
      board.hear({ location, module: 'm', key, value: length, epoch: { generation: 0, number: 2 }, revision: [0, 2, (report += 1)] }, length);
    return { clock, log, named, room, board, hear, hearLong, dropped };
  };
  const long = 'x'.repeat(limits.strangersBytes / 4);

  it('of modules that no document names so much is kept at each location, and those that a document names lose nothing', async () => {
    const { clock, log, board, hear, dropped } = withStrangers();
    for (const module of ['n-1', 'n-2', 'n-3', 'n-4', 'n-5']) hear(module, 'k', long);
    expect(board.values('a').map(({ module }) => module)).toEqual(['n-1', 'n-2', 'n-3']);
    expect(dropped('unknown-module')).toBe(2);
    expect([hear('m', 'k', `${long}${long}`), hear('m', 'k', 1), hear('n-1', 'k', 'short'), hear('n-9', 'k', long, 'b')]).toEqual([true, true, true, true]);
    const said = { level: 'warn', event: 'status-dropped', facts: { location: 'a', module: 'n-4', reason: 'unknown-module' } };
    expect(log.lines).toEqual([said]);
    await clock.advance(limits.proofFailureWindowMs);
    for (let i = 0; i < 3; i += 1) hear('n-7', 'k', `${long}${long}`);
    expect(log.lines).toHaveLength(2);
  });

  it('short values count with what an entry takes, and one that grows with what it grows', () => {
    const { board, hear, dropped } = withStrangers();
    for (let i = 0; i < 50_000; i += 1) hear(`n-${i}`, 'k');
    expect(board.values('a').length).toBeLessThan(limits.strangersBytes / 500);
    expect(dropped('unknown-module')).toBe(50_000 - board.values('a').length);
    expect([hear('n-0', 'k', long), hear('n-0', 'k', 'y')]).toEqual([false, true]);
    expect(board.value('a', 'n-0', 'k')?.value).toBe('y');
  });

  it('documents that come later give their modules all the room there is, and what was kept of them stays', () => {
    const { board, named, room, hear } = withStrangers();
    for (const module of ['n-1', 'n-2', 'n-3']) hear(module, 'k', long);
    expect(hear('n-1', 'l', long)).toBe(false);
    named.add('n-1');
    room.documentsChanged();
    expect([hear('n-1', 'l', `${long}${long}`), hear('n-4', 'k', long), hear('n-5', 'k', long)]).toEqual([true, true, false]);
    expect(board.valuesOf('a', 'n-1').map(({ key, value }) => [key, value === long])).toEqual([['k', true], ['l', false]]);
  });

  it('of one module as many variables are kept as a driver may have; what it says again stays, of an earlier start the oldest goes', () => {
    const { board, hear, dropped } = withStrangers();
    for (let i = 0; i < limits.statusKeys; i += 1) hear('m', `before-${i}`);
    // Its driver starts again, and has other names.
    for (const key of ['connected', 'problem', 'before-0']) hear('m', key, null, 'a', 4);
    for (let i = 1; i < limits.statusKeys; i += 1) hear('m', `now-${i}`, i, 'a', 4);
    const kept = board.valuesOf('a', 'm').map(({ key }) => key);
    expect([kept.length, kept.filter((key) => key.startsWith('now-')).length]).toEqual([limits.statusKeys + 2, limits.statusKeys - 1]);
    expect(kept).toEqual(expect.arrayContaining(['connected', 'problem', 'before-0']));
    expect(dropped('too-many-variables')).toBe(limits.statusKeys - 1);
  });

  it('a module that no document names and that has ever other variables makes room with those that go', () => {
    const { hear, dropped } = withStrangers();
    for (let i = 0; i < limits.strangersBytes / 500; i += 1) hear('n-1', `k-${i}`);
    expect(dropped('too-many-variables')).toBeGreaterThan(0);
    expect([dropped('unknown-module'), hear('n-2', 'k', long)]).toEqual([0, true]);
  });

  it('long values are kept up to a limit at each location; what gets shorter makes room, and short ones are always kept', () => {
    const { log, hearLong, dropped } = withStrangers();
    const quarter = limits.longStatusBytes / 4;
    expect(['k-1', 'k-2', 'k-3', 'k-4', 'k-5'].map((key) => hearLong(key, quarter))).toEqual([true, true, true, true, false]);
    expect([hearLong('k-6', 500), hearLong('k-1', quarter), hearLong('k-1', quarter + 1), hearLong('k-5', quarter, 'b')]).toEqual([true, true, false, true]);
    expect([hearLong('k-2', 9), hearLong('k-5', quarter), hearLong('k-6', quarter)]).toEqual([true, true, false]);
    expect([dropped('too-long-values'), log.lines.map(({ facts }) => facts)]).toEqual([3, [{ location: 'a', module: 'm', reason: 'too-long-values' }]]);
  });
});
