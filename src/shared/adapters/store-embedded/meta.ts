import { randomBytes } from 'node:crypto';
import type { FeedHead } from '../../ports/document-store.ts';
import { checksum, type Database } from '../sqlite/sqlite.ts';

export type Meta = ReturnType<typeof metaOf>;

/** What the store remembers besides documents. */
export function metaOf(db: Database) {
  const select = db.prepare<{ value: string }>('SELECT value FROM meta WHERE key = ?');
  const upsert = db.prepare('INSERT OR REPLACE INTO meta (key, value, checksum) VALUES (?, ?, ?)');
  const get = (key: string): string | null => select.get(key)?.value ?? null;
  const set = (key: string, value: string): void => {
    upsert.run(key, value, checksum(key, value));
  };

  return {
    generation: (): string | null => get('generation'),
    /** Starts a new history: cursors into the former one, and versions read from it, are void. */
    newGeneration: (): void => set('generation', randomBytes(8).toString('hex')),

    /** The feed is complete after this sequence only: older tombstones are gone. */
    prunedTo: (): number => Number(get('pruned_to') ?? 0),
    setPrunedTo: (sequence: number): void => set('pruned_to', String(sequence)),

    /** Where a replica stands in the feed of its master. */
    cursor: (): FeedHead | null => {
      const generation = get('cursor_generation');
      if (generation === null) return null;
      return { generation, sequence: Number(get('cursor_sequence') ?? 0), run: get('cursor_run') ?? undefined };
    },
    setCursor: ({ generation, sequence, run }: FeedHead): void => {
      set('cursor_generation', generation);
      set('cursor_sequence', String(sequence));
      if (run !== undefined) set('cursor_run', run);
    },

    runs: (): Run[] => runsIn(get('runs') ?? ''),
    addRun: (run: Run): void => set('runs', [...runsIn(get('runs') ?? ''), run].slice(-RUNS).map(({ id, from }) => `${id}:${from}`).join(' ')),
  };
}

/** One run of the program that wrote: its changes have sequences above `from`, up to where the next one began. */
export interface Run {
  id: string;
  from: number;
}

/** A replica that has not been heard since so many runs takes a snapshot. */
const RUNS = 500;

function runsIn(text: string): Run[] {
  const entries = text.split(' ').filter((entry) => entry !== '');
  return entries.map((entry) => ({ id: entry.slice(0, entry.indexOf(':')), from: Number(entry.slice(entry.indexOf(':') + 1)) }));
}
