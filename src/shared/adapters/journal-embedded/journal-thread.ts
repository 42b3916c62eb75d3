import { z } from 'zod';
import { openDatabase } from '../sqlite/open.ts';
import { serveEngine } from '../sqlite/serve.ts';
import { journalEngine } from './engine.ts';
import { journalFile } from './file-kind.ts';

/** Entry of the thread that owns the file of the control journal. */

const optionsSchema = z.strictObject({ historyEntries: z.int().min(1), maxPages: z.int().min(1).nullable() });
export type JournalThreadOptions = z.output<typeof optionsSchema>;

serveEngine((path, options) => {
  const { historyEntries, maxPages } = optionsSchema.parse(options);
  const db = openDatabase(path, journalFile, { maxPages });
  return { db, engine: journalEngine(db, { historyEntries }) };
});
