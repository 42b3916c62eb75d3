import { constants, setPriority } from 'node:os';
import { openDatabase } from '../sqlite/open.ts';
import { serveEngine } from '../sqlite/serve.ts';
import { eventsEngine } from './engine.ts';
import { eventsFile } from './file-kind.ts';

/** Entry of the thread that owns the file of the events. */

// Commands go before the record of those that have run. On Linux alone 0 is the thread and not its process.
if (process.platform === 'linux') setPriority(0, constants.priority.PRIORITY_BELOW_NORMAL);

export type EventsThreadOptions = { kept: Record<string, number>; otherwise: number; maxPages: number | null };

serveEngine((path, { kept, otherwise, maxPages }: EventsThreadOptions) => {
  const db = openDatabase(path, eventsFile, { maxPages });
  // A power cut may take the last events: what is for people must not make the disk sync, which the journal waits for.
  db.exec('PRAGMA synchronous = NORMAL');
  return { db, engine: eventsEngine(db, { kept, otherwise }) };
});
