import { z } from 'zod';
import { openDatabase } from '../sqlite/open.ts';
import { serveEngine } from '../sqlite/serve.ts';
import { eventsEngine } from './engine.ts';
import { eventsFile } from './file-kind.ts';

/** Entry of the thread that owns the file of the events. */

const optionsSchema = z.strictObject({
  kept: z.record(z.string(), z.int().min(1)),
  otherwise: z.int().min(1),
  maxPages: z.int().min(1).nullable(),
});
export type EventsThreadOptions = z.output<typeof optionsSchema>;

serveEngine((path, options) => {
  const { kept, otherwise, maxPages } = optionsSchema.parse(options);
  const db = openDatabase(path, eventsFile, { maxPages });
  // A power cut may take the last events: what is for people must not make the disk sync, which the journal waits for.
  db.exec('PRAGMA synchronous = NORMAL');
  return { db, engine: eventsEngine(db, { kept, otherwise }) };
});
