import { openDatabase } from '../sqlite/open.ts';
import { serveEngine } from '../sqlite/serve.ts';
import { storeEngine } from './engine.ts';
import { storeFile } from './file-kind.ts';

/** Entry of the thread that owns the file of the embedded store. */

export type StoreThreadOptions = { tombstones: number; maxPages: number | null };

serveEngine((path, { tombstones, maxPages }: StoreThreadOptions) => {
  const db = openDatabase(path, storeFile, { maxPages });
  return { db, engine: storeEngine(db, { tombstones }) };
});
