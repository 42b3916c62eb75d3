import { execFileSync } from 'node:child_process';
import { openDatabase } from '../../../src/shared/adapters/sqlite/open.ts';
import type { Database } from '../../../src/shared/adapters/sqlite/sqlite.ts';
import { allRows, storeFile, toRow } from '../../../src/shared/adapters/store-embedded/file-kind.ts';
import { storeEngine } from '../../../src/shared/adapters/store-embedded/engine.ts';
import { moduleDocument } from '../../support/sample-documents.ts';

/** The store without its thread: many files can be opened quickly. */

export function withStoreFile<T>(path: string, work: (db: Database) => T): T {
  const db = openDatabase(path, storeFile);
  try {
    return work(db);
  } finally {
    db.close();
  }
}

/** One transaction each, so that sequence and number of the module are the same. */
export function writeModules(db: Database, from: number, to: number): void {
  const { writes } = storeEngine(db, { tombstones: 100 });
  for (let i = from; i <= to; i += 1) {
    const row = toRow(moduleDocument(`mod-${i}`, { port: i, edge_control_id: 'edge-1', notes: 'n'.repeat((i * 37) % 500) }));
    db.transaction(() => writes.apply([{ ...row, expect: null }]));
  }
}

/** Ids and bodies in the order of the feed. */
export function contents(path: string): string[] {
  return withStoreFile(path, (db) => Array.from(allRows(db), (row) => `${row.sequence} ${row.id} ${row.body}`));
}

/** Copied by another process: to open and close the file in this one would drop SQLite's lock on it. */
export function copyFile(from: string, to: string): void {
  execFileSync('cp', [from, to]);
}
