import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { openEmbeddedJournal } from '../../../src/shared/adapters/journal-embedded/embedded-journal.ts';
import { openEmbeddedStore, type EmbeddedStore } from '../../../src/shared/adapters/store-embedded/embedded-store.ts';
import { HoldfastError } from '../../../src/shared/model/errors.ts';
import type { Change } from '../../../src/shared/ports/document-store.ts';
import { journalEntry } from '../../contracts/control-journal.contract.ts';
import { moduleDocument } from '../../support/sample-documents.ts';
import { silentLog } from '../../support/silent-log.ts';
import { tempFolders } from '../../support/temp-folder.ts';
import { mountTinyDisk } from '../../support/tiny-disk.ts';

const folder = tempFolders();
const put = (i: number, bytes = 5_000): Change => ({ op: 'put', document: moduleDocument(`mod-${i}`, { notes: 'n'.repeat(bytes) }), expect: null });

/** Writes until there is no more space; gives how many documents were stored. */
async function fillUp(store: EmbeddedStore, from = 0): Promise<number> {
  for (let i = from; i < from + 5_000; i += 1) {
    try {
      await store.apply([put(i)]);
    } catch (error) {
      expect(error).toBeInstanceOf(HoldfastError);
      expect(error).toMatchObject({ code: 'STORE_FULL', facts: { path: store.path } });
      return i;
    }
  }
  throw new Error('the disk never became full');
}

async function expectUnchanged(store: EmbeddedStore, documents: number): Promise<void> {
  expect((await store.head()).sequence).toBe(documents);
  expect(await store.get(`mod-${documents}`)).toBeNull();
  const listed = await store.list('mod', { limit: 10_000 });
  expect(listed).toHaveLength(documents);
  expect(await store.verify()).toEqual([]);
}

describe('embedded store: full disk', () => {
  const disks: { unmount(): void }[] = [];
  afterEach(() => disks.splice(0).forEach((disk) => disk.unmount()));

  /** A real file system of 1 MiB; where it cannot be mounted, a file that may not grow beyond that. */
  function fullDisk() {
    const disk = mountTinyDisk(1024 * 1024);
    if (disk === null) {
      const nothing = (): void => undefined;
      return { path: join(folder(), 'store.db'), maxPages: 200, fill: nothing, free: nothing };
    }
    disks.push(disk);
    return { path: join(disk.folder, 'store.db'), maxPages: 1_000_000, fill: disk.fill, free: disk.free };
  }

  it('refuses writes, changes nothing, and goes on when there is space again', async () => {
    const { path, maxPages, fill, free } = fullDisk();
    const store = await openEmbeddedStore({ path, log: silentLog, maxPages });
    await store.apply([put(0), put(1), put(2)]);
    fill();
    const stored = await fillUp(store, 3);
    await expectUnchanged(store, stored);
    const snapshot = store.replaceAll([moduleDocument('mod-x', { notes: 'n'.repeat(9_000) })], { generation: 'g', sequence: 1 });
    await expect(snapshot).rejects.toMatchObject({ code: 'STORE_FULL' });
    await expectUnchanged(store, stored);
    await store.close();

    const full = await openEmbeddedStore({ path, log: silentLog, maxPages });
    await expectUnchanged(full, stored);
    await full.close();

    free();
    const roomy = await openEmbeddedStore({ path, log: silentLog });
    await roomy.apply([put(stored, 100)]);
    expect((await roomy.head()).sequence).toBe(stored + 1);
    await roomy.close();
  });

  it('starts on a full disk, and writes again once there is space', async () => {
    const disk = mountTinyDisk(1024 * 1024);
    if (disk !== null) disks.push(disk);
    const path = join(disk?.folder ?? folder(), 'store.db');
    const first = await openEmbeddedStore({ path, log: silentLog });
    await first.apply([put(0)]);
    await first.close();
    disk?.fill();
    const second = await openEmbeddedStore({ path, log: silentLog, maxPages: 1 });
    await expect(second.apply([put(1)])).rejects.toMatchObject({ code: 'STORE_FULL' });
    await expectUnchanged(second, 1);
    disk?.free();
    await second.close();
    const third = await openEmbeddedStore({ path, log: silentLog });
    await third.apply([put(1)]);
    await expectUnchanged(third, 2);
    await third.close();
  });

  it('lets a small write through beside one that does not fit', async () => {
    const store = await openEmbeddedStore({ path: join(folder(), 'store.db'), log: silentLog, maxPages: 40 });
    const tooMuch = Array.from({ length: 100 }, (_, i) => put(i));
    const [large, small] = await Promise.allSettled([store.apply(tooMuch), store.apply([put(1_000, 10)])]);
    expect(large).toMatchObject({ status: 'rejected', reason: { code: 'STORE_FULL' } });
    expect(small.status).toBe('fulfilled');
    expect(await store.list('mod', { limit: 10 })).toHaveLength(1);
    await store.close();
  });

  it('leaves no half-written backup', async () => {
    const store = await openEmbeddedStore({ path: join(folder(), 'store.db'), log: silentLog });
    await store.apply(Array.from({ length: 100 }, (_, i) => put(i)));
    const disk = mountTinyDisk(64 * 1024);
    if (disk !== null) {
      disks.push(disk);
      await expect(store.backup(join(disk.folder, 'backup.db'))).rejects.toMatchObject({ code: 'STORE_FULL' });
      expect(readdirSync(disk.folder)).toEqual([]);
    }
    await expect(store.backup(join(folder(), 'no-such-folder', 'backup.db'))).rejects.toMatchObject({ code: 'STORE_FAILED' });
    await expectUnchanged(store, 100);
    await store.close();
  });
});

describe('embedded journal: full disk', () => {
  it('refuses writes and keeps what it has; history waits', async () => {
    const path = join(folder(), 'control.db');
    const journal = await openEmbeddedJournal({ path, log: silentLog, maxPages: 12 });
    let stored = 0;
    for (; stored < 1_000; stored += 1) {
      const result = await journal.write(journalEntry(`edge-${stored}`, { reason: 'r'.repeat(1_000) })).catch((error: unknown) => error);
      if (result === undefined) continue;
      expect(result).toMatchObject({ code: 'STORE_FULL', facts: { path } });
      break;
    }
    expect(stored).toBeGreaterThan(0);
    expect(await journal.load()).toHaveLength(stored);
    const { epoch, holder, location } = journalEntry('edge-0');
    for (let wallMs = 0; wallMs < 50; wallMs += 1) journal.record({ location, wallMs, holder, state: 'holding', reason: 'r'.repeat(500), epoch });
    expect(await journal.history('edge-0', 100)).toEqual([]);
    await journal.close();

    const roomy = await openEmbeddedJournal({ path, log: silentLog });
    expect(await roomy.load()).toHaveLength(stored);
    await roomy.write(journalEntry('edge-more'));
    await roomy.close();
  });
});
