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
  let read: { text: string; runs: readonly Run[] } = { text: '', runs: [] };
  /** Asked for with each change: parsed anew only when the text is another one, also by a write that was rolled back. */
  const runs = (): readonly Run[] => {
    const text = get('runs') ?? '';
    if (text !== read.text) read = { text, runs: runsIn(text) };
    return read.runs;
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
      const run = get('cursor_run') ?? '';
      return { generation, sequence: Number(get('cursor_sequence') ?? 0), run: run === '' ? undefined : run };
    },
    setCursor: ({ generation, sequence, run }: FeedHead): void => {
      set('cursor_generation', generation);
      set('cursor_sequence', String(sequence));
      // Also none: with the run of another file beside it this place would be too old at once, and after each snapshot again.
      set('cursor_run', run ?? '');
    },

    runs,
    addRun: (run: Run): void => set('runs', [...runs(), run].slice(-RUNS).map(({ id, from }) => `${id}:${from}`).join(' ')),
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
