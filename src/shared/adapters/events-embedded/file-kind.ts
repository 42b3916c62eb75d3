import type { FileKind } from '../sqlite/open.ts';
import { checksum, type Database } from '../sqlite/sqlite.ts';

/** `log` is drawn with the file, so that a place in it cannot be taken for one in another. */
export const eventsFile: FileKind = {
  applicationId: 0x48_46_45_56,
  version: 1,
  schema: `
    CREATE TABLE opened (log TEXT NOT NULL, epoch INTEGER NOT NULL) STRICT;
    INSERT INTO opened VALUES (lower(hex(randomblob(4))), 0);
    CREATE TABLE events (
      kind TEXT NOT NULL,
      epoch INTEGER NOT NULL,
      sequence INTEGER NOT NULL,
      body TEXT NOT NULL,
      checksum INTEGER NOT NULL,
      PRIMARY KEY (kind, epoch, sequence)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE forgotten (
      kind TEXT PRIMARY KEY,
      epoch INTEGER NOT NULL,
      sequence INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID`,
  problems: eventProblems,
};

export interface PositionRow {
  kind: string;
  epoch: number;
  sequence: number;
}
export interface EventRow extends PositionRow {
  body: string;
}

/** Kind, epoch, sequence, body: an event on its way to the thread, which costs half of what an object with names does. */
export type EventTuple = [kind: string, epoch: number, sequence: number, body: string];

function eventProblems(db: Database): string[] {
  const rows = db.query<EventRow & { checksum: number }>('SELECT * FROM events');
  const wrong = rows.filter((row) => row.checksum !== checksum(row.kind, row.epoch, row.sequence, row.body));
  return wrong.map(({ epoch, sequence }) => `event ${epoch}.${sequence}: it is not as it was written`);
}
