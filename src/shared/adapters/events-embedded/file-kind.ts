import { z } from 'zod';
import type { JsonObject } from '../../foundation/json.ts';
import { type EventKind, eventKinds } from '../../model/events.ts';
import type { EventEntry } from '../../ports/event-log.ts';
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

export const eventChecksum = ({ kind, epoch, sequence, body }: EventRow): number => checksum(kind, epoch, sequence, body);

const bodySchema = z.strictObject({
  wallMs: z.number(),
  event: z.string(),
  location: z.string().nullable(),
  who: z.string().nullable(),
  facts: z.custom<JsonObject>((value) => typeof value === 'object' && value !== null),
});

export function toEventRow({ kind, epoch, sequence, ...body }: EventEntry): EventRow {
  return { kind, epoch, sequence, body: JSON.stringify(body) };
}

/** A kind that this version does not know is left where it is. */
export const isKnownKind = (kind: string): kind is EventKind => Object.hasOwn(eventKinds, kind);

/** Throws what zod or JSON throws; rows on disk are checked when the file is opened. */
export const toEntry = ({ epoch, sequence, body }: EventRow, kind: EventKind): EventEntry => ({
  kind,
  epoch,
  sequence,
  ...bodySchema.parse(JSON.parse(body)),
});

function eventProblems(db: Database): string[] {
  const rows = db.query<EventRow & { checksum: number }>('SELECT * FROM events');
  const wrong = rows.filter((row) => row.checksum !== eventChecksum(row));
  return wrong.map(({ epoch, sequence }) => `event ${epoch}.${sequence}: it is not as it was written`);
}
