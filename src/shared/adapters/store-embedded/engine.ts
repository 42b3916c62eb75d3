import { randomBytes } from 'node:crypto';
import { HoldfastError } from '../../model/errors.ts';
import type { FeedHead, Version } from '../../ports/document-store.ts';
import { damage } from '../sqlite/open.ts';
import type { Database } from '../sqlite/sqlite.ts';
import { backup } from './backup.ts';
import { documentChecksum, storeFile, versionOf, type DocumentRow, type SequencedRow } from './file-kind.ts';
import { metaOf, type Meta } from './meta.ts';

/** A change with the version that it requires; null: the document must not exist. A removal keeps the stored kind. */
export type RowChange = DocumentRow & { expect: string | null };
export type FeedRow = SequencedRow;
export interface RowPage {
  tooOld: boolean;
  head: number;
  run: string | undefined;
  rows: FeedRow[];
}

export type StoreEngine = ReturnType<typeof storeEngine>;

/**
 * The SQL of the store. Writes run inside a transaction of the caller. Nothing is remembered outside the database, so
 * a rolled back write leaves no trace.
 */
export function storeEngine(db: Database, options: { tombstones: number }) {
  const meta = metaOf(db);
  // Only where there is something to do: a node must be able to start on a full disk.
  if (db.query('SELECT 1 FROM staged LIMIT 1').length > 0) db.exec('DELETE FROM staged');
  if (meta.generation() === null) db.transaction(meta.newGeneration);
  const generation = meta.generation() ?? '';
  const run = randomBytes(4).toString('hex');
  const rows = rowStatements(db);
  const feed = feedStatements(db, meta, options.tombstones);

  function applyOne(change: RowChange, sequence: number): Version {
    const { id, expect } = change;
    const found = rows.find(id);
    const actual = found === null || found.body === null ? null : versionOf(generation, found.sequence);
    if (actual !== expect) throw new HoldfastError('VERSION_CONFLICT', { id, expected: expect, actual });
    const kind = change.body === null && found !== null ? found.kind : change.kind;
    rows.put({ ...change, kind }, sequence);
    return versionOf(generation, sequence);
  }

  function apply(changes: RowChange[]): { versions: Version[]; head: number } {
    const before = feed.head();
    // Not at the start: a node must be able to start on a full disk, and who writes nothing changes no history.
    if (feed.run() !== run) meta.addRun({ id: run, from: before });
    const versions = changes.map((change, i) => applyOne(change, before + 1 + i));
    feed.prune(changes.filter((change) => change.body === null).length);
    return { versions, head: before + changes.length };
  }

  function applyFeed(entries: FeedRow[], cursor: FeedHead): number {
    const stored = meta.cursor();
    if (stored !== null && stored.generation !== cursor.generation) {
      throw new HoldfastError('INPUT_INVALID', { field: 'cursor', problem: 'is of another generation; take a snapshot' });
    }
    const done = stored?.sequence ?? 0;
    const changed = entries.filter((entry) => entry.sequence > done && rows.differs(entry));
    rows.putAll(changed, feed.head() + 1);
    meta.setCursor({ ...cursor, sequence: Math.max(done, cursor.sequence) });
    feed.prune(changed.filter((entry) => entry.body === null).length);
    return feed.head();
  }

  /** Documents that the snapshot does not change keep their version, so that nothing restarts because of it. */
  function replaceByStaged(cursor: FeedHead): number {
    feed.takeStaged();
    const gone = feed.missingInStaged();
    rows.putAll(gone, feed.head() + 1);
    db.exec('DELETE FROM staged');
    meta.setCursor(cursor);
    feed.prune(gone.length);
    return feed.head();
  }

  return {
    reads: {
      opened: () => ({ generation, head: feed.head() }),
      get: rows.live,
      list: rows.list,
      inLocation: rows.inLocation,
      head: () => ({ sequence: feed.head(), run: feed.run() }),
      changesSince: (cursor: FeedHead, limit: number): RowPage => feed.page(cursor, generation, limit),
      cursor: meta.cursor,
      backup: (toFile: string) => backup(db, toFile),
      damage: () => damage(db, storeFile),
      /** Tombstones too. */
      rowsAfter: feed.rowsAfter,
    },
    writes: { apply, applyFeed, stage: rows.stage, replaceByStaged },
  };
}

function rowStatements(db: Database) {
  const find = db.prepare<Pick<SequencedRow, 'sequence' | 'kind' | 'body'>>(
    'SELECT sequence, kind, body FROM documents WHERE id = ?',
  );
  const live = db.prepare<SequencedRow & { checksum: number }>(
    'SELECT sequence, id, kind, location, body, checksum FROM documents WHERE id = ? AND body IS NOT NULL',
  );
  const list = db.prepare<SequencedRow>(
    `SELECT sequence, id, kind, location, body FROM documents
     WHERE body IS NOT NULL AND kind = ? AND id > ? ORDER BY id LIMIT ?`,
  );
  const inLocation = db.prepare<SequencedRow>(
    `SELECT sequence, id, kind, location, body FROM documents
     WHERE body IS NOT NULL AND kind = ? AND location IS ? ORDER BY id`,
  );
  const put = db.prepare(
    `INSERT INTO documents (sequence, id, kind, location, body, checksum) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, kind = excluded.kind, location = excluded.location,
       body = excluded.body, checksum = excluded.checksum`,
  );
  const stage = db.prepare('INSERT OR REPLACE INTO staged (id, kind, location, body, checksum) VALUES (?, ?, ?, ?, ?)');

  /** Files the row under its new sequence. A tombstone is in no location. */
  function file(row: DocumentRow, sequence: number): void {
    const filed = row.body === null ? { ...row, location: null } : row;
    put.run(sequence, filed.id, filed.kind, filed.location, filed.body, documentChecksum(filed));
  }

  return {
    find: (id: string) => find.get(id) ?? null,
    live: (id: string): SequencedRow | null => {
      const row = live.get(id);
      if (row === undefined) return null;
      if (row.checksum === documentChecksum(row)) return row;
      throw new HoldfastError('STORE_DAMAGED', { path: db.path, problem: `document ${id}: its checksum is wrong` });
    },
    list: (kind: string, after: string, limit: number) => list.all(kind, after, limit),
    inLocation: (kind: string, location: string | null) => inLocation.all(kind, location),
    put: file,
    putAll: (changed: DocumentRow[], from: number) => changed.forEach((row, i) => file(row, from + i)),
    differs: (row: DocumentRow): boolean => (find.get(row.id)?.body ?? null) !== row.body,
    /** Part of a snapshot; `first`: what an earlier one left is of no use. */
    stage: (documents: DocumentRow[], first: boolean): void => {
      if (first) db.exec('DELETE FROM staged');
      for (const row of documents) stage.run(row.id, row.kind, row.location, row.body, documentChecksum(row));
    },
  };
}

function feedStatements(db: Database, meta: Meta, keep: number) {
  const last = db.prepare<{ sequence: number }>('SELECT coalesce(max(sequence), 0) AS sequence FROM documents');
  const after = db.prepare<FeedRow>(
    'SELECT sequence, id, kind, location, body FROM documents WHERE sequence > ? ORDER BY sequence LIMIT ?',
  );
  const take = db.prepare(
    `INSERT INTO documents (sequence, id, kind, location, body, checksum)
       SELECT ? + row_number() OVER (ORDER BY s.id), s.id, s.kind, s.location, s.body, s.checksum
       FROM staged s LEFT JOIN documents d ON d.id = s.id WHERE d.body IS NOT s.body
     ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, kind = excluded.kind, location = excluded.location,
       body = excluded.body, checksum = excluded.checksum`,
  );
  const missing = db.prepare<DocumentRow>(
    `SELECT id, kind, NULL AS location, NULL AS body FROM documents
     WHERE body IS NOT NULL AND id NOT IN (SELECT id FROM staged) ORDER BY id`,
  );
  const surplus = db.prepare<{ sequence: number }>(
    'SELECT sequence FROM documents WHERE body IS NULL ORDER BY sequence DESC LIMIT 1 OFFSET ?',
  );
  const drop = db.prepare('DELETE FROM documents WHERE body IS NULL AND sequence <= ?');

  // The newest row is never pruned, so its sequence is never given twice.
  const head = (): number => last.get()?.sequence ?? 0;
  // Looking for surplus tombstones costs a walk over all of them, so it is done now and then.
  const every = Math.max(1, Math.floor(keep / 10));
  let removals = 0;
  const run = (): string | undefined => meta.runs().at(-1)?.id;

  /** The last sequence of a run. One that this file never saw was written after the copy was made from which it was put back. */
  function endOf(id: string | undefined, now: number): number {
    if (id === undefined) return now;
    const runs = meta.runs();
    const index = runs.findIndex((known) => known.id === id);
    return index === -1 ? -1 : (runs[index + 1]?.from ?? now);
  }

  return {
    head,
    run,
    page: (cursor: FeedHead, generation: string, limit: number): RowPage => {
      const now = head();
      const tooOld = cursor.generation !== generation || cursor.sequence < meta.prunedTo() || cursor.sequence > endOf(cursor.run, now);
      return { tooOld, head: now, run: run(), rows: tooOld ? [] : after.all(cursor.sequence, limit) };
    },
    rowsAfter: (sequence: number, limit: number) => after.all(sequence, limit),
    takeStaged: () => take.run(head()),
    missingInStaged: () => missing.all(),
    prune: (removed: number) => {
      removals += removed;
      if (removals < every) return;
      removals = 0;
      const oldest = surplus.get(keep);
      if (oldest === undefined) return;
      drop.run(oldest.sequence);
      meta.setPrunedTo(oldest.sequence);
    },
  };
}
