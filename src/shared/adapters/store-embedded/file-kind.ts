import type { AnyDocument } from '../../model/documents.ts';
import type { Version } from '../../ports/document-store.ts';
import type { FileKind } from '../sqlite/open.ts';
import { checksum, type Database } from '../sqlite/sqlite.ts';

/** A document as the file has it. `body` is its JSON; null in a tombstone. */
export interface DocumentRow {
  id: string;
  kind: string;
  location: string | null;
  body: string | null;
}
export type SequencedRow = DocumentRow & { sequence: number };

/**
 * `sequence` is the feed: each change moves its document to the end, so the newest state of each is found in order.
 * `staged` holds a snapshot while it arrives.
 */
export const storeFile: FileKind = {
  applicationId: 0x48_46_53_54,
  version: 1,
  schema: `
    CREATE TABLE documents (
      id TEXT PRIMARY KEY NOT NULL,
      sequence INTEGER NOT NULL UNIQUE,
      kind TEXT NOT NULL,
      location TEXT,
      body TEXT,
      checksum INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX by_kind ON documents (kind, id) WHERE body IS NOT NULL;
    CREATE INDEX by_location ON documents (kind, location, id) WHERE body IS NOT NULL;
    CREATE INDEX tombstones ON documents (sequence) WHERE body IS NULL;
    CREATE TABLE staged (
      id TEXT PRIMARY KEY,
      kind TEXT NOT NULL,
      location TEXT,
      body TEXT NOT NULL,
      checksum INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL) STRICT, WITHOUT ROWID`,
  problems: (db) => [...rowProblems(db), ...metaProblems(db)],
};

/** Names the history too: after a restore, sequences come again. */
export const versionOf = (generation: string, sequence: number): Version =>
  `${generation.slice(0, 8)}-${sequence}` as Version;

export const documentChecksum = (row: DocumentRow): number => checksum(row.id, row.kind, row.location, row.body);

/** So many are named: a file that is damaged all over needs no longer list. */
export const PROBLEMS = 20;
const PAGE = 1_000;

/** Pages through the table: a file larger than memory can be checked. */
export function* allRows(db: Database): Generator<SequencedRow & { checksum: number }> {
  const page = db.prepare<SequencedRow & { checksum: number }>(
    `SELECT sequence, id, kind, location, body, checksum FROM documents
     WHERE sequence > ? ORDER BY sequence LIMIT ${PAGE}`,
  );
  for (let after = 0, rows = page.all(after); rows.length > 0; rows = page.all(after)) {
    yield* rows;
    after = rows.at(-1)?.sequence ?? after;
  }
}

function rowProblems(db: Database): string[] {
  const problems: string[] = [];
  for (const row of allRows(db)) {
    if (row.checksum !== documentChecksum(row)) problems.push(`document ${row.id}: its checksum is wrong`);
    if (problems.length >= PROBLEMS) break;
  }
  return problems;
}

function metaProblems(db: Database): string[] {
  return db
    .query<{ key: string; value: string; checksum: number }>('SELECT key, value, checksum FROM meta')
    .filter((row) => row.checksum !== checksum(row.key, row.value))
    .map((row) => `entry ${row.key}: its checksum is wrong`);
}

/** The location under which a document is looked up. */
export const locationOf = (document: AnyDocument): string | null =>
  'edge_control_id' in document ? document.edge_control_id : null;

export const toRow = (document: AnyDocument): DocumentRow & { body: string } => ({
  id: document.id,
  kind: document.type,
  location: locationOf(document),
  body: JSON.stringify(document),
});
