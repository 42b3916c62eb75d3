import { checksum, type Database } from '../sqlite/sqlite.ts';
import type { PositionRow, RunRow, RunTuple } from './file-kind.ts';

export type EventsEngine = ReturnType<typeof eventsEngine>;

export interface OpenedRow {
  log: string;
  epoch: number;
}

/** Old events are removed when so many new ones have come. To find them costs a look at the others of their kind, to leave them makes the next start longer. */
const TRIM_EVERY = 2_000;

/** The SQL of the events. `kept`: how many of each kind, and less than a run more; `otherwise`: of a kind that is not among them. */
export function eventsEngine(db: Database, { kept, otherwise }: { kept: Readonly<Record<string, number>>; otherwise: number }) {
  const raise = db.prepare('UPDATE opened SET epoch = epoch + 1');
  const opened = db.prepare<OpenedRow>('SELECT log, epoch FROM opened');
  const insert = db.prepare('INSERT OR REPLACE INTO events (kind, epoch, sequence, body, count, checksum) VALUES (?, ?, ?, ?, ?, ?)');
  const all = db.prepare<RunRow>('SELECT kind, epoch, sequence, body FROM events ORDER BY epoch, sequence');
  // From each kind to the next by the key: DISTINCT reads the whole file.
  const kinds = db.prepare<{ kind: string }>(
    `WITH RECURSIVE found (kind) AS (
       SELECT min(kind) FROM events UNION ALL SELECT (SELECT min(kind) FROM events WHERE kind > found.kind) FROM found WHERE kind IS NOT NULL
     ) SELECT kind FROM found WHERE kind IS NOT NULL`,
  );
  // The last event of the newest run before which there are enough newer ones.
  const newestOver = db.prepare<PositionRow>(
    `SELECT kind, epoch, sequence + count - 1 AS sequence FROM (
       SELECT kind, epoch, sequence, count, sum(count) OVER (ORDER BY epoch DESC, sequence DESC) - count AS newer FROM events WHERE kind = ?
     ) WHERE newer >= ? ORDER BY epoch DESC, sequence DESC LIMIT 1`,
  );
  const remove = db.prepare('DELETE FROM events WHERE kind = ? AND (epoch, sequence) <= (?, ?)');
  const forgotten = db.prepare<PositionRow>('SELECT kind, epoch, sequence FROM forgotten');
  const forget = db.prepare(
    `INSERT INTO forgotten VALUES (?, ?, ?) ON CONFLICT (kind) DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence
     WHERE (excluded.epoch, excluded.sequence) > (epoch, sequence)`,
  );
  let untrimmed = 0;

  const trim = (): void => {
    for (const { kind } of kinds.all()) {
      const over = newestOver.get(kind, kept[kind] ?? otherwise);
      if (over === undefined) continue;
      forget.run(kind, over.epoch, over.sequence);
      remove.run(kind, over.epoch, over.sequence);
    }
  };

  return {
    reads: {
      all: () => all.all(),
      forgotten: () => forgotten.all(),
    },
    writes: {
      /** A new epoch, before anything else. */
      open: (): OpenedRow | undefined => {
        raise.run();
        trim();
        return opened.get();
      },
      append: (runs: RunTuple[], gone: PositionRow[]): void => {
        for (const [kind, epoch, sequence, body, count] of runs) {
          insert.run(kind, epoch, sequence, body, count, checksum(kind, epoch, sequence, body));
          untrimmed += count;
        }
        for (const { kind, epoch, sequence } of gone) forget.run(kind, epoch, sequence);
        if (untrimmed < TRIM_EVERY) return;
        trim();
        untrimmed = 0;
      },
    },
  };
}
