import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Database } from '../../../src/shared/adapters/sqlite/sqlite.ts';
import { openEmbeddedJournal } from '../../../src/shared/adapters/journal-embedded/embedded-journal.ts';
import { openEmbeddedStore } from '../../../src/shared/adapters/store-embedded/embedded-store.ts';
import { HoldfastError } from '../../../src/shared/model/errors.ts';
import { journalEntry } from '../../contracts/control-journal.contract.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { silentLog } from '../../support/silent-log.ts';
import { tempFolders } from '../../support/temp-folder.ts';
import { contents, withStoreFile, writeModules } from './store-files.ts';

const folder = tempFolders();
const open = (path: string) => openEmbeddedStore({ path, log: silentLog });

function storeOnDisk(modules = 200): string {
  const path = join(folder(), 'store.db');
  withStoreFile(path, (db) => writeModules(db, 1, modules));
  return path;
}

function codeOf(work: () => unknown): string {
  try {
    work();
    return 'none';
  } catch (error) {
    if (error instanceof HoldfastError) return error.code;
    throw error;
  }
}

describe('embedded store: damaged file', () => {
  it('refuses a cut file and says what to do', async () => {
    const path = storeOnDisk();
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.subarray(0, bytes.length - 5_000));
    await expect(open(path)).rejects.toMatchObject({
      code: 'STORE_DAMAGED',
      facts: { path },
      help: expect.stringContaining('holdfast restore') as string,
    });
  });

  it('refuses a file cut anywhere, also to nothing', () => {
    const path = storeOnDisk();
    const bytes = readFileSync(path);
    for (const length of [0, 1, 15, 16, 99, 100, 4_095, 4_096, 4_097, 8_192, 20_000, bytes.length - 1]) {
      writeFileSync(path, bytes.subarray(0, length));
      expect([length, codeOf(() => contents(path))]).toEqual([length, 'STORE_DAMAGED']);
    }
  });

  it('never hands out wrong data: a flipped bit is refused or did not matter', () => {
    const path = storeOnDisk();
    const bytes = readFileSync(path);
    const all = contents(path);
    const random = seededRandom(3);
    let refused = 0;
    for (let i = 0; i < 300; i += 1) {
      // Every third hit goes to the first page, where the header and the schema are.
      const offset = Math.floor(random() * (i % 3 === 0 ? 4_096 : bytes.length));
      const flipped = Buffer.from(bytes);
      flipped.writeUInt8(flipped.readUInt8(offset) ^ (1 << Math.floor(random() * 8)), offset);
      writeFileSync(path, flipped);
      rmSync(`${path}-wal`, { force: true });
      const code = codeOf(() => expect(contents(path)).toEqual(all));
      expect([offset, ['none', 'STORE_DAMAGED', 'STORE_FAILED'].includes(code)]).toEqual([offset, true]);
      if (code !== 'none') refused += 1;
    }
    expect(refused).toBeGreaterThan(100);
  });

  it('refuses a changed letter inside a document', async () => {
    const path = storeOnDisk();
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.toString('latin1').replaceAll('driver-mock', 'driver-mocc'), 'latin1');
    await expect(open(path)).rejects.toMatchObject({ code: 'STORE_DAMAGED', facts: { problem: expect.stringContaining('checksum') as string } });
  });

  it('refuses what is no store: another database, a text, a journal', async () => {
    const path = join(folder(), 'store.db');
    writeFileSync(path, 'not a database, but long enough to look at: '.repeat(200));
    await expect(open(path)).rejects.toMatchObject({ code: 'STORE_DAMAGED' });
    rmSync(path);
    const other = new Database(path);
    other.exec('CREATE TABLE documents (id TEXT)');
    other.close();
    await expect(open(path)).rejects.toMatchObject({ code: 'STORE_DAMAGED' });
    rmSync(path);
    const journal = await openEmbeddedJournal({ path, log: silentLog });
    await journal.close();
    await expect(open(path)).rejects.toMatchObject({ code: 'STORE_DAMAGED' });
  });

  it('refuses the format of a newer version without calling it damage', async () => {
    const path = storeOnDisk(1);
    const db = new Database(path);
    db.exec('PRAGMA user_version = 2');
    db.close();
    await expect(open(path)).rejects.toMatchObject({ code: 'STORE_FAILED', facts: { problem: expect.stringContaining('format 2') as string } });
  });

  it('refuses to start empty where the file is gone but its log is there', async () => {
    const path = join(folder(), 'store.db');
    writeFileSync(`${path}-wal`, 'log');
    await expect(open(path)).rejects.toMatchObject({ code: 'STORE_DAMAGED', facts: { problem: expect.stringContaining('store.db-wal') as string } });
    expect(existsSync(path)).toBe(false);
  });

  it('says that a folder which cannot be made is a failure, not damage', async () => {
    const path = join(folder(), 'file');
    writeFileSync(path, '');
    await expect(open(join(path, 'store.db'))).rejects.toMatchObject({ code: 'STORE_FAILED' });
  });
});

describe('embedded journal: damaged file', () => {
  it('refuses a changed reason, and a file that was cut to nothing', async () => {
    const path = join(folder(), 'control.db');
    const journal = await openEmbeddedJournal({ path, log: silentLog });
    await journal.write(journalEntry('edge-1', { reason: 'timeout' }));
    await journal.close();
    const bytes = readFileSync(path);
    bytes.write('timeouT', bytes.indexOf('timeout'));
    writeFileSync(path, bytes);
    await expect(openEmbeddedJournal({ path, log: silentLog })).rejects.toMatchObject({ code: 'STORE_DAMAGED' });
    writeFileSync(path, '');
    await expect(openEmbeddedJournal({ path, log: silentLog })).rejects.toMatchObject({ code: 'STORE_DAMAGED' });
  });
});
