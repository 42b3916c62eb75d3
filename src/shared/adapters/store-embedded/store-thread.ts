import { z } from 'zod';
import { openDatabase } from '../sqlite/open.ts';
import { serveEngine } from '../sqlite/serve.ts';
import { storeEngine } from './engine.ts';
import { storeFile } from './file-kind.ts';

/** Entry of the thread that owns the file of the embedded store. */

const optionsSchema = z.strictObject({ tombstones: z.int().min(1), maxPages: z.int().min(1).nullable() });
export type StoreThreadOptions = z.output<typeof optionsSchema>;

serveEngine((path, options) => {
  const { tombstones, maxPages } = optionsSchema.parse(options);
  const db = openDatabase(path, storeFile, { maxPages });
  return { db, engine: storeEngine(db, { tombstones }) };
});
