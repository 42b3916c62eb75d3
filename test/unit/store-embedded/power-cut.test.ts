import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openDatabase } from '../../../src/shared/adapters/sqlite/open.ts';
import { storeFile } from '../../../src/shared/adapters/store-embedded/file-kind.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { tempFolders } from '../../support/temp-folder.ts';
import { contents, copyFile, withStoreFile, writeModules } from './store-files.ts';

const folder = tempFolders();
const CHECKPOINTED = 150;
const WRITTEN = 300;

interface Disk {
  path: string;
  database: Buffer;
  log: Buffer;
  all: string[];
}

/** The bytes on the disk of a store that has 150 documents in its file and 150 more in its log only. */
function storeWithLog(path: string): Disk {
  withStoreFile(join(path, 'original.db'), (db) => writeModules(db, 1, CHECKPOINTED));
  const db = openDatabase(join(path, 'original.db'), storeFile);
  writeModules(db, CHECKPOINTED + 1, WRITTEN);
  copyFile(join(path, 'original.db'), join(path, 'cut.db'));
  copyFile(join(path, 'original.db-wal'), join(path, 'cut.db-wal'));
  db.close();
  const cut = join(path, 'cut.db');
  return { path: cut, database: readFileSync(cut), log: readFileSync(`${cut}-wal`), all: contents(join(path, 'original.db')) };
}

function contentsWith({ path }: Disk, database: Buffer, log: Buffer): string[] {
  rmSync(path, { force: true });
  writeFileSync(path, database);
  writeFileSync(`${path}-wal`, log);
  return contents(path);
}

/** Random offsets, and those around the borders of frames, in rising order. */
function offsets(length: number): number[] {
  const random = seededRandom(7);
  const anywhere = Array.from({ length: 80 }, () => Math.floor(random() * length));
  const frame = 24 + 4_096;
  const borders = Array.from({ length: 8 }, (_, i) => 32 + frame * i * 11).flatMap((border) => [border - 1, border, border + 1]);
  return [0, 1, 31, 32, ...anywhere, ...borders, length].filter((offset) => offset <= length).sort((a, b) => a - b);
}

describe('embedded store: power cut', () => {
  it('leaves a readable store that has lost only the last writes, wherever the log ends', () => {
    const disk = storeWithLog(folder());
    const counts = offsets(disk.log.length).map((offset) => {
      const found = contentsWith(disk, disk.database, disk.log.subarray(0, offset));
      expect(found).toEqual(disk.all.slice(0, found.length));
      return found.length;
    });
    expect(Math.min(...counts)).toBe(CHECKPOINTED);
    expect(counts.at(-1)).toBe(WRITTEN);
    expect(counts).toEqual([...counts].sort((a, b) => a - b));
  });

  it('leaves a readable store when the tail of the log is garbage', () => {
    const disk = storeWithLog(folder());
    const random = seededRandom(11);
    for (const offset of offsets(disk.log.length).slice(0, 60)) {
      const garbage = Buffer.from(Array.from({ length: 5_000 }, () => Math.floor(random() * 256)));
      const found = contentsWith(disk, disk.database, Buffer.concat([disk.log.subarray(0, offset), garbage]));
      expect(found.length).toBeGreaterThanOrEqual(CHECKPOINTED);
      expect(found).toEqual(disk.all.slice(0, found.length));
    }
  });

  it('loses nothing in the middle of moving the log into the file', () => {
    const disk = storeWithLog(folder());
    contentsWith(disk, disk.database, disk.log);
    // `contents` closed the store, which moved everything.
    const moved = readFileSync(disk.path);
    const random = seededRandom(13);
    for (let i = 0; i < 40; i += 1) {
      const offset = Math.floor(random() * moved.length);
      const torn = Buffer.concat([moved.subarray(0, offset), disk.database.subarray(offset)]);
      expect(contentsWith(disk, torn, disk.log)).toEqual(disk.all);
    }
  });

  it('does not mind a file that was being created', () => {
    const path = join(folder(), 'store.db');
    writeFileSync(`${path}.0badcafe.new`, 'SQLite form');
    expect(contents(path)).toEqual([]);
  });
});
