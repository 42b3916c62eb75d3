import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { type EmbeddedStore, openEmbeddedStore } from '../../../src/shared/adapters/store-embedded/embedded-store.ts';
import type { FeedHead } from '../../../src/shared/ports/document-store.ts';
import { moduleDocument } from '../../support/sample-documents.ts';
import { silentLog } from '../../support/silent-log.ts';
import { tempFolders } from '../../support/temp-folder.ts';

/** The file of a master is put back from an older copy, as with the snapshot of a virtual machine: nobody tells the store. */

const folder = tempFolders();
let store: EmbeddedStore;
afterEach(() => store.close());

const open = async (path: string): Promise<void> => {
  store = await openEmbeddedStore({ path, log: silentLog });
};
let lastId = 0;
async function write(count: number): Promise<FeedHead> {
  for (let i = 0; i < count; i += 1) await store.apply([{ op: 'put', document: moduleDocument(`mod-${(lastId += 1)}`), expect: null }]);
  return store.head();
}
const isTooOld = async (cursor: FeedHead): Promise<boolean> => (await store.changesSince(cursor, 10)).tooOld;

it('a replica that was ahead of it takes a snapshot, also when the file has been written past the place where the replica is', async () => {
  const path = join(folder(), 'documents.db');
  const copy = `${path}.copy`;
  await open(path);
  const early = await write(3);
  await store.close();
  copyFileSync(path, copy);
  await open(path);
  const ahead = await write(5);
  await store.close();

  for (const name of [path, `${path}-wal`, `${path}-shm`]) rmSync(name, { force: true });
  copyFileSync(copy, path);
  await open(path);
  expect([await isTooOld(early), await isTooOld(ahead)]).toEqual([false, true]);
  await write(9);
  expect([await isTooOld(early), await isTooOld(ahead)]).toEqual([false, true]);
  expect(await isTooOld(await store.head())).toBe(false);
});

it('so does one that was ahead within the run in which the copy was made', async () => {
  const path = join(folder(), 'documents.db');
  const copy = `${path}.copy`;
  await open(path);
  const early = await write(3);
  await store.backup(copy);
  const ahead = await write(5);
  await store.close();

  for (const name of [path, `${path}-wal`, `${path}-shm`]) rmSync(name, { force: true });
  copyFileSync(copy, path);
  await open(path);
  await write(9);
  expect([await isTooOld(early), await isTooOld(ahead)]).toEqual([false, true]);
});

it('a restart voids no place', async () => {
  const path = join(folder(), 'documents.db');
  await open(path);
  const before = await write(3);
  for (let run = 0; run < 3; run += 1) {
    await store.close();
    await open(path);
    if (run > 0) await write(2);
    expect(await isTooOld(before)).toBe(false);
  }
  expect((await store.changesSince(before, 10)).entries).toHaveLength(4);
});

it('a replica of a file that names no run keeps none of another file: it would take snapshots without end', async () => {
  const path = join(folder(), 'replica.db');
  await open(path);
  const kept = async (cursor: FeedHead): Promise<FeedHead | null> => {
    await store.replaceAll([], cursor);
    await store.close();
    await open(path);
    return store.cursor();
  };
  expect(await kept({ generation: 'a', sequence: 5, run: 'r1' })).toEqual({ generation: 'a', sequence: 5, run: 'r1' });
  expect(await kept({ generation: 'b', sequence: 2 })).toEqual({ generation: 'b', sequence: 2, run: undefined });
});
