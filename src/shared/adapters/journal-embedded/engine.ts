import { HoldfastError } from '../../model/errors.ts';
import { assert } from '../../foundation/assert.ts';
import type { Database } from '../sqlite/sqlite.ts';
import {
  entryChecksum,
  historyChecksum,
  triggerChecksum,
  triggersTable,
  type EntryRow,
  type HistoryRow,
  type RecordRow,
  type TriggerRow,
} from './file-kind.ts';

export type JournalEngine = ReturnType<typeof journalEngine>;

/** The SQL of the journal. Writes run inside a transaction of the caller. */
export function journalEngine(db: Database, options: { historyEntries: number }) {
  db.exec(triggersTable);
  const load = db.prepare<EntryRow>('SELECT * FROM entries ORDER BY location');
  const find = db.prepare<EntryRow>('SELECT * FROM entries WHERE location = ?');
  // The last fence: whatever a caller believes, what is stored here never goes down.
  const write = db.prepare(
    `INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (location) DO UPDATE SET epoch_generation = excluded.epoch_generation, epoch_number = excluded.epoch_number,
       floor_generation = excluded.floor_generation, floor_number = excluded.floor_number,
       body = excluded.body, checksum = excluded.checksum
     WHERE (excluded.epoch_generation, excluded.epoch_number) >= (epoch_generation, epoch_number)
       AND (excluded.floor_generation, excluded.floor_number) >= (floor_generation, floor_number)`,
  );
  const newest = db.prepare<{ sequence: number }>(
    'SELECT coalesce(max(sequence), 0) AS sequence FROM history WHERE location = ?',
  );
  const record = db.prepare('INSERT INTO history VALUES (?, ?, ?, ?)');
  const forget = db.prepare('DELETE FROM history WHERE location = ? AND sequence <= ?');
  const history = db.prepare<HistoryRow>('SELECT * FROM history WHERE location = ? ORDER BY sequence DESC LIMIT ?');
  const alive = db.prepare('INSERT INTO alive VALUES (?, ?) ON CONFLICT (location) DO UPDATE SET wall_ms = excluded.wall_ms');
  const lastAlive = db.prepare<{ wall_ms: number }>('SELECT wall_ms FROM alive WHERE location = ?');
  const triggers = db.prepare<TriggerRow>('SELECT * FROM triggers WHERE location = ? ORDER BY instance');
  const remember = db.prepare('INSERT OR REPLACE INTO triggers VALUES (?, ?, ?, ?)');
  const forgetTrigger = db.prepare('DELETE FROM triggers WHERE location = ? AND instance = ?');

  return {
    reads: {
      load: () => load.all(),
      history: (location: string, limit: number) => history.all(location, limit),
      lastAlive: (location: string) => lastAlive.get(location)?.wall_ms ?? null,
      triggers: (location: string) => triggers.all(location),
    },
    writes: {
      write: (row: EntryRow): void => {
        const { location, epoch_generation, epoch_number, floor_generation, floor_number, body } = row;
        const changed = write.run(
          location, epoch_generation, epoch_number, floor_generation, floor_number, body, entryChecksum(row),
        );
        if (changed === 1) return;
        const stored = find.get(location);
        assert(stored !== undefined, 'only a stored entry can refuse another');
        const floor = `${stored.floor_generation}.${stored.floor_number}`;
        throw new HoldfastError('STALE_EPOCH', { location, epoch: `${epoch_generation}.${epoch_number}`, floor });
      },
      alive: (marks: [location: string, wallMs: number][]): void => {
        for (const [location, wallMs] of marks) alive.run(location, wallMs);
      },
      rememberTriggers: (location: string, rows: TriggerRow[], gone: readonly string[]): void => {
        for (const row of rows) remember.run(row.location, row.instance, row.body, triggerChecksum(row));
        for (const instance of gone) forgetTrigger.run(location, instance);
      },
      record: (records: RecordRow[]): void => {
        for (const { location, body } of records) {
          const sequence = (newest.get(location)?.sequence ?? 0) + 1;
          record.run(location, sequence, body, historyChecksum({ location, sequence, body }));
          forget.run(location, sequence - options.historyEntries);
        }
      },
    },
  };
}
