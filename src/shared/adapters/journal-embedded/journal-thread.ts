import { openDatabase } from '../sqlite/open.ts';
import { serveEngine } from '../sqlite/serve.ts';
import { journalEngine } from './engine.ts';
import { journalFile } from './file-kind.ts';

/** Entry of the thread that owns the file of the control journal. */

export type JournalThreadOptions = { historyEntries: number; maxPages: number | null };

serveEngine((path, { historyEntries, maxPages }: JournalThreadOptions) => {
  const db = openDatabase(path, journalFile, { maxPages });
  return { db, engine: journalEngine(db, { historyEntries }) };
});
