import { checksum, type Database } from '../sqlite/sqlite.ts';
import type { EventRow, EventTuple, PositionRow } from './file-kind.ts';

export type EventsEngine = ReturnType<typeof eventsEngine>;

export interface OpenedRow {
  log: string;
  epoch: number;
}

/** Old events are removed when so many new ones have come: finding them means to read the file. */
const TRIM_EVERY = 10_000;

/** The SQL of the events. `kept`: how many of each kind; `otherwise`: of a kind that is not among them. */
export function eventsEngine(db: Database, { kept, otherwise }: { kept: Readonly<Record<string, number>>; otherwise: number }) {
  const raise = db.prepare('UPDATE opened SET epoch = epoch + 1');
  const opened = db.prepare<OpenedRow>('SELECT log, epoch FROM opened');
  const insert = db.prepare('INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?)');
  const all = db.prepare<EventRow>('SELECT kind, epoch, sequence, body FROM events ORDER BY epoch, sequence');
  const kinds = db.prepare<{ kind: string }>('SELECT DISTINCT kind FROM events');
  const newestOver = db.prepare<PositionRow>(
    'SELECT kind, epoch, sequence FROM events WHERE kind = ? ORDER BY epoch DESC, sequence DESC LIMIT 1 OFFSET ?',
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
      append: (events: EventTuple[], gone: PositionRow[]): void => {
        for (const event of events) insert.run(...event, checksum(...event));
        for (const { kind, epoch, sequence } of gone) forget.run(kind, epoch, sequence);
        untrimmed += events.length;
        if (untrimmed < TRIM_EVERY) return;
        trim();
        untrimmed = 0;
      },
    },
  };
}
