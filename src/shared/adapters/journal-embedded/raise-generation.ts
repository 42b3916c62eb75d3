import { existsSync } from 'node:fs';
import { openDatabase } from '../sqlite/open.ts';
import { journalEngine } from './engine.ts';
import { journalFile, toEntry, toEntryRow, toRecordRow, type Recorded } from './file-kind.ts';
import { limits } from '../../model/limits.ts';
import type { JournalEntry } from '../../ports/control-journal.ts';

/**
 * After a restore nobody holds: every location gets the next generation, in which all that was promised before is
 * stale. No process may have the journal open. Returns how many locations there were; 0 where there is no journal.
 */
export function raiseGeneration(path: string, wallMs: number = Date.now()): number {
  if (!existsSync(path)) return 0;
  const db = openDatabase(path, journalFile);
  try {
    const { reads, writes } = journalEngine(db, { historyEntries: limits.historyEntries });
    return db.transaction(() => {
      const entries = reads.load().map(toEntry).map((entry) => raised(entry, wallMs));
      for (const entry of entries) writes.write(toEntryRow(entry));
      writes.record(entries.map((entry) => toRecordRow(historyOf(entry))));
      return entries.length;
    });
  } finally {
    db.close();
  }
}

const historyOf = ({ location, epoch, holder, reason, sinceMs }: JournalEntry): Recorded => ({
  location,
  wallMs: sinceMs,
  holder,
  state: 'standby',
  reason,
  epoch,
});

function raised(entry: JournalEntry, wallMs: number): JournalEntry {
  const generation = entry.floor.generation + 1;
  const { number } = entry.epoch;
  return {
    ...entry,
    epoch: { generation, number },
    // The floor may be of a newer generation than the epoch, with a smaller number.
    floor: { generation, number: Math.max(number, entry.floor.number) },
    holder: 'none',
    reason: 'restored',
    sinceMs: wallMs,
  };
}
