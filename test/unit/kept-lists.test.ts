import { expect, it } from 'vitest';
import { KeptLists } from '../../src/shared/api/kept-lists.ts';
import { createMemoryStore } from '../../src/shared/adapters/store-memory/memory-store.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { systemDocument } from '../support/sample-documents.ts';

function world() {
  const clock = new FakeClock();
  const store = createMemoryStore();
  const state = { reads: 0, fails: false };
  const read = store.list.bind(store);
  store.list = (kind, options) => {
    state.reads += 1;
    return state.fails ? Promise.reject(new HoldfastError('STORE_FAILED', { path: 'x', problem: 'broken' })) : read(kind, options);
  };
  const lists = new KeptLists(store, clock);
  const ids = async (): Promise<string[]> => (await lists.all('sys')).map(({ document }) => document.id);
  const add = (id: string) => store.apply([{ op: 'put', document: systemDocument(id), expect: null }]);
  return { clock, lists, ids, add, state };
}

it('documents are read once for those who ask for them, also at the same time', async () => {
  const { ids, add, state } = world();
  await add('sys-1');
  expect(await Promise.all([ids(), ids()])).toEqual([['sys-1'], ['sys-1']]);
  expect(await ids()).toEqual(['sys-1']);
  expect(state.reads).toBe(1);
});

it('whoever wrote finds it at once', async () => {
  const { ids, add } = world();
  const before = ids();
  await add('sys-1');
  expect(await ids()).toEqual(['sys-1']);
  expect(await before).toEqual([]);
});

it('they are not kept for long, nor when reading failed, nor after the end', async () => {
  const { clock, lists, ids, add, state } = world();
  await ids();
  await clock.advance(limits.listKeptMs);
  await ids();
  expect(state.reads).toBe(2);
  await add('sys-1');
  state.fails = true;
  await expect(ids()).rejects.toMatchObject({ code: 'STORE_FAILED' });
  state.fails = false;
  expect(await ids()).toEqual(['sys-1']);
  lists.close();
  expect(clock.pendingTimers).toBe(0);
  await add('sys-2');
  expect(await ids()).toEqual(['sys-1', 'sys-2']);
});
