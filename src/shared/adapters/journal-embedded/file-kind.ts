import { z } from 'zod';
import { epochSchema, termsSchema, type Holder } from '../../model/control.ts';
import type { HistoryEntry, JournalEntry } from '../../ports/control-journal.ts';
import type { FileKind } from '../sqlite/open.ts';
import { memorySchema, type TriggerMemory } from '../../triggers/memory.ts';
import { checksum, type Database } from '../sqlite/sqlite.ts';

/** Came after the first files had been made: whoever opens one makes it where it is missing, and no file has to be converted. */
export const triggersTable = `
    CREATE TABLE IF NOT EXISTS triggers (
      location TEXT NOT NULL,
      instance TEXT NOT NULL,
      body TEXT NOT NULL,
      checksum INTEGER NOT NULL,
      PRIMARY KEY (location, instance)
    ) STRICT, WITHOUT ROWID`;

/** Epochs are columns so that SQL itself refuses to lower them; `body` is the rest as JSON. */
export const journalFile: FileKind = {
  applicationId: 0x48_46_43_4a,
  version: 1,
  schema: `
    CREATE TABLE entries (
      location TEXT PRIMARY KEY,
      epoch_generation INTEGER NOT NULL,
      epoch_number INTEGER NOT NULL,
      floor_generation INTEGER NOT NULL,
      floor_number INTEGER NOT NULL,
      body TEXT NOT NULL,
      checksum INTEGER NOT NULL,
      CHECK ((floor_generation, floor_number) >= (epoch_generation, epoch_number))
    ) STRICT;
    CREATE TABLE history (
      location TEXT NOT NULL,
      sequence INTEGER NOT NULL,
      body TEXT NOT NULL,
      checksum INTEGER NOT NULL,
      PRIMARY KEY (location, sequence)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE alive (
      location TEXT PRIMARY KEY,
      wall_ms REAL NOT NULL
    ) STRICT, WITHOUT ROWID;
    ${triggersTable}`,
  problems: journalProblems,
};

export interface EntryRow {
  location: string;
  epoch_generation: number;
  epoch_number: number;
  floor_generation: number;
  floor_number: number;
  body: string;
}
export interface HistoryRow {
  location: string;
  sequence: number;
  body: string;
}
export interface TriggerRow {
  location: string;
  instance: string;
  body: string;
}
/** A history entry that is not numbered yet. */
export type RecordRow = Omit<HistoryRow, 'sequence'>;
export type Recorded = Omit<HistoryEntry, 'sequence'>;

export const entryChecksum = (row: EntryRow): number =>
  checksum(row.location, row.epoch_generation, row.epoch_number, row.floor_generation, row.floor_number, row.body);
export const historyChecksum = (row: HistoryRow): number => checksum(row.location, row.sequence, row.body);
export const triggerChecksum = (row: TriggerRow): number => checksum(row.location, row.instance, row.body);

const holderSchema: z.ZodType<Holder> = z.enum(['edge', 'master', 'none']);
const entryBodySchema = z.strictObject({
  holder: holderSchema,
  reason: z.string(),
  sinceMs: z.number(),
  terms: termsSchema,
});
const historyBodySchema = z.strictObject({
  wallMs: z.number(),
  holder: holderSchema,
  state: z.string(),
  reason: z.string(),
  epoch: epochSchema,
  dualControl: z.strictObject({ epochs: z.string(), ms: z.number() }).exactOptional(),
});

export function toEntryRow({ location, epoch, floor, ...body }: JournalEntry): EntryRow {
  return {
    location,
    epoch_generation: epoch.generation,
    epoch_number: epoch.number,
    floor_generation: floor.generation,
    floor_number: floor.number,
    body: JSON.stringify(body),
  };
}

export const toRecordRow = ({ location, ...body }: Recorded): RecordRow => ({ location, body: JSON.stringify(body) });

/** Throws what zod or JSON throws; rows on disk are checked when the file is opened. */
export function toEntry(row: EntryRow): JournalEntry {
  return {
    location: row.location,
    epoch: { generation: row.epoch_generation, number: row.epoch_number },
    floor: { generation: row.floor_generation, number: row.floor_number },
    ...entryBodySchema.parse(JSON.parse(row.body)),
  };
}

export function toHistoryEntry(row: HistoryRow): HistoryEntry {
  return { location: row.location, sequence: row.sequence, ...historyBodySchema.parse(JSON.parse(row.body)) };
}

export const toTriggerRow = (location: string, memory: TriggerMemory): TriggerRow => ({ location, instance: memory.instance, body: JSON.stringify(memory) });
export const toMemory = (row: TriggerRow): TriggerMemory => memorySchema.parse(JSON.parse(row.body));

function journalProblems(db: Database): string[] {
  const entries = db.query<EntryRow & { checksum: number }>('SELECT * FROM entries');
  const history = db.query<HistoryRow & { checksum: number }>('SELECT * FROM history');
  // A file of before has none, and may be looked at where it cannot be changed.
  const hasTriggers = db.query("SELECT 1 FROM sqlite_schema WHERE name = 'triggers'").length > 0;
  const triggers = hasTriggers ? db.query<TriggerRow & { checksum: number }>('SELECT * FROM triggers') : [];
  return [
    ...triggers
      .filter((row) => row.checksum !== triggerChecksum(row) || !parses(() => toMemory(row)))
      .map((row) => `trigger ${row.instance}`),
    ...entries
      .filter((row) => row.checksum !== entryChecksum(row) || !parses(() => toEntry(row)))
      .map((row) => `entry of ${row.location}`),
    ...history
      .filter((row) => row.checksum !== historyChecksum(row) || !parses(() => toHistoryEntry(row)))
      .map((row) => `history of ${row.location}, ${row.sequence}`),
  ].map((what) => `${what}: it is not as it was written`);
}

function parses(work: () => unknown): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}
