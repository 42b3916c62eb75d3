import { expect, it } from 'vitest';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { StatusBoard } from '../../src/shared/runtime/status-board.ts';

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
