import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { restoreStore, verifyStore } from '../../../src/shared/adapters/store-embedded/restore.ts';
import { openEmbeddedStore, type EmbeddedStore } from '../../../src/shared/adapters/store-embedded/embedded-store.ts';
import { Database } from '../../../src/shared/adapters/sqlite/sqlite.ts';
import type { Change } from '../../../src/shared/ports/document-store.ts';
import { moduleDocument } from '../../support/sample-documents.ts';
import { silentLog } from '../../support/silent-log.ts';
import { tempFolders } from '../../support/temp-folder.ts';
import { mountTinyDisk } from '../../support/tiny-disk.ts';
import { contents, copyFile } from './store-files.ts';

const folder = tempFolders();
const open = (path: string): Promise<EmbeddedStore> => openEmbeddedStore({ path, log: silentLog });
const put = (i: number): Change => ({ op: 'put', document: moduleDocument(`mod-${i}`, { port: i }), expect: null });

/** A store with 50 modules, and a backup of it taken then. */
async function storeWithBackup(): Promise<{ path: string; backup: string; store: EmbeddedStore }> {
  const base = folder();
  const [path, backup] = [join(base, 'store.db'), join(base, 'backup.db')];
  const store = await open(path);
  for (let i = 1; i <= 50; i += 1) await store.apply([put(i)]);
  await store.backup(backup);
  return { path, backup, store };
}

describe('embedded store: backup', () => {
  it('is one consistent state, taken while the store is written', async () => {
    const base = folder();
    const store = await open(join(base, 'store.db'));
    const writes = Array.from({ length: 300 }, (_, i) => store.apply([put(2 * i), put(2 * i + 1)]));
    const backups = [0, 1, 2].map(async (i) => {
      await writes[i * 100];
      await store.backup(join(base, `backup-${i}.db`));
    });
    await Promise.all([...writes, ...backups]);
    await store.close();
    for (const i of [0, 1, 2]) {
      expect(verifyStore(join(base, `backup-${i}.db`))).toEqual([]);
      // Pairs were written together.
      expect(contents(join(base, `backup-${i}.db`)).length % 2).toBe(0);
    }
  });

  it('never overwrites a file, and only its owner can read it', async () => {
    const { backup, store } = await storeWithBackup();
    const before = readFileSync(backup);
    await expect(store.backup(backup)).rejects.toMatchObject({ code: 'INPUT_INVALID', facts: { field: 'file' } });
    expect(readFileSync(backup).equals(before)).toBe(true);
    expect(statSync(backup).mode & 0o777).toBe(0o600);
    await store.close();
  });
});

describe('embedded store: verify', () => {
  it('finds nothing wrong in a sound store, open or closed', async () => {
    const { path, backup, store } = await storeWithBackup();
    expect(await store.verify()).toEqual([]);
    await store.close();
    expect(verifyStore(path)).toEqual([]);
    expect(verifyStore(backup)).toEqual([]);
  });

  it('names a document that no schema accepts, and one that is filed wrongly', async () => {
    const { path, store } = await storeWithBackup();
    await store.close();
    const db = new Database(path);
    db.exec(`UPDATE documents SET body = replace(body, '"port":7,', '"port":"seven",') WHERE id = 'mod-7'`);
    db.exec(`UPDATE documents SET location = 'edge-9' WHERE id = 'mod-9'`);
    db.close();
    const problems = verifyStore(path).join('\n');
    expect(problems).toContain('mod-7: its checksum is wrong');
    expect(problems).toContain('mod-7: port: ');
    expect(problems).toContain('mod-9: it is filed under location edge-9');
  });

  it('says what is wrong with a file that is no store, or not there', () => {
    const path = join(folder(), 'store.db');
    expect(verifyStore(path)).toEqual([`there is no file ${path}`]);
    writeFileSync(path, '');
    expect(verifyStore(path)).toEqual(['the file is empty']);
    writeFileSync(path, 'text '.repeat(1_000));
    expect(verifyStore(path)).toEqual(['file is not a database']);
  });

  it('refuses a store that is in use', async () => {
    const { path, store } = await storeWithBackup();
    expect(() => verifyStore(path)).toThrow(expect.objectContaining({ code: 'STORE_BUSY' }) as Error);
    await store.close();
  });

  it('reads a backup on a read-only disk', async () => {
    const { backup, store } = await storeWithBackup();
    await store.close();
    const disk = mountTinyDisk(1024 * 1024);
    if (disk === null) return;
    copyFile(backup, join(disk.folder, 'backup.db'));
    disk.makeReadOnly();
    const target = join(folder(), 'store.db');
    expect(verifyStore(join(disk.folder, 'backup.db'))).toEqual([]);
    restoreStore(join(disk.folder, 'backup.db'), target);
    disk.unmount();
    expect(contents(target)).toHaveLength(50);
  });
});

describe('embedded store: restore', () => {
  it('brings back the documents under a new generation, in which older versions are void', async () => {
    const { path, backup, store } = await storeWithBackup();
    const { generation } = store;
    for (let i = 51; i <= 60; i += 1) await store.apply([put(i)]);
    const late = await store.get('mod-50');
    if (late === null) throw new Error('it was written');
    const cursor = await store.head();
    await store.close();

    restoreStore(backup, path);
    const restored = await open(path);
    expect(restored.generation).not.toBe(generation);
    expect(await restored.list('mod', { limit: 100 })).toHaveLength(50);
    expect((await restored.changesSince(cursor, 10)).tooOld).toBe(true);
    expect((await restored.changesSince({ generation, sequence: 50 }, 10)).tooOld).toBe(true);
    const stale = restored.apply([{ op: 'remove', id: 'mod-50', expect: late.version }]);
    await expect(stale).rejects.toMatchObject({ code: 'VERSION_CONFLICT' });
    await restored.close();
    expect(existsSync(`${path}.restore`)).toBe(false);
  });

  it('refuses while the store is in use, and changes nothing', async () => {
    const { path, backup, store } = await storeWithBackup();
    await store.apply([put(51)]);
    expect(() => restoreStore(backup, path)).toThrow(expect.objectContaining({ code: 'STORE_BUSY', facts: { path } }) as Error);
    expect(await store.get('mod-51')).not.toBeNull();
    await store.apply([put(52)]);
    await store.close();
    expect(contents(path)).toHaveLength(52);
  });

  it('refuses a damaged backup, and leaves the store alone', async () => {
    const { path, backup, store } = await storeWithBackup();
    await store.close();
    const before = contents(path);
    const bytes = readFileSync(backup);
    writeFileSync(backup, bytes.subarray(0, bytes.length - 4_096));
    expect(() => restoreStore(backup, path)).toThrow(expect.objectContaining({ code: 'STORE_DAMAGED' }) as Error);
    expect(() => restoreStore(join(folder(), 'none.db'), path)).toThrow(expect.objectContaining({ code: 'STORE_DAMAGED' }) as Error);
    expect(contents(path)).toEqual(before);
  });

  it('replaces a damaged store, and one that is not there', async () => {
    const { path, backup, store } = await storeWithBackup();
    await store.close();
    const before = contents(path);
    writeFileSync(path, readFileSync(path).subarray(0, 5_000));
    writeFileSync(`${path}-wal`, 'an old log');
    restoreStore(backup, path);
    expect(contents(path)).toEqual(before);
    rmSync(path);
    restoreStore(backup, join(folder(), 'new', 'store.db'));
    restoreStore(backup, path);
    expect(contents(path)).toEqual(before);
  });

  it('never mixes the log of the former store, or what an earlier attempt left, into the restored one', async () => {
    const { path, backup, store } = await storeWithBackup();
    for (let i = 51; i <= 80; i += 1) await store.apply([put(i)]);
    const crashed = join(folder(), 'store.db');
    copyFile(path, crashed);
    copyFile(`${path}-wal`, `${crashed}-wal`);
    copyFile(path, `${crashed}.restore`);
    copyFile(`${path}-wal`, `${crashed}.restore-wal`);
    const log = readFileSync(`${crashed}-wal`);
    await store.close();
    const expected = contents(backup);
    restoreStore(backup, crashed);
    expect(contents(crashed)).toEqual(expected);

    // The file is gone, but its log would fit the restored one.
    const gone = join(folder(), 'store.db');
    writeFileSync(`${gone}-wal`, log);
    restoreStore(backup, gone);
    expect(contents(gone)).toEqual(expected);
  });
});
