import type { FileKind } from '../sqlite/open.ts';
import { checksum, type Database } from '../sqlite/sqlite.ts';

/**
 * `log` is drawn with the file, so that a place in it cannot be taken for one in another. A row of `events` holds a run:
 * events of one kind whose sequences follow each other, the first of which is its `sequence`; `body` has a line for each.
 * `count` is before it, where it is read without the pages of a long body.
 */
export const eventsFile: FileKind = {
  applicationId: 0x48_46_45_56,
  version: 2,
  schema: `
    CREATE TABLE opened (log TEXT NOT NULL, epoch INTEGER NOT NULL) STRICT;
    INSERT INTO opened VALUES (lower(hex(randomblob(4))), 0);
    CREATE TABLE events (
      kind TEXT NOT NULL,
      epoch INTEGER NOT NULL,
      sequence INTEGER NOT NULL,
      count INTEGER NOT NULL,
      body TEXT NOT NULL,
      checksum INTEGER NOT NULL,
      PRIMARY KEY (kind, epoch, sequence)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE forgotten (
      kind TEXT PRIMARY KEY,
      epoch INTEGER NOT NULL,
      sequence INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID`,
  upgrades: { 1: 'ALTER TABLE events ADD COLUMN count INTEGER NOT NULL DEFAULT 1' },
  problems: eventProblems,
};

export interface PositionRow {
  kind: string;
  epoch: number;
  sequence: number;
}
export interface RunRow extends PositionRow {
  body: string;
}

/** Kind, epoch, sequence, body, count: a run on its way to the thread. */
export type RunTuple = [kind: string, epoch: number, sequence: number, body: string, count: number];

/** Between the bodies of a run: JSON text has no such character. */
export const SEPARATOR = '\n';

function eventProblems(db: Database): string[] {
  const rows = db.query<RunRow & { checksum: number }>('SELECT * FROM events');
  const wrong = rows.filter((row) => row.checksum !== checksum(row.kind, row.epoch, row.sequence, row.body));
  return wrong.map(({ epoch, sequence }) => `event ${epoch}.${sequence}: it is not as it was written`);
}
