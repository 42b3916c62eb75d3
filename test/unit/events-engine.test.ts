import { join } from 'node:path';
import { expect, it } from 'vitest';
import { eventsEngine } from '../../src/shared/adapters/events-embedded/engine.ts';
import { eventsFile, type RunTuple } from '../../src/shared/adapters/events-embedded/file-kind.ts';
import { openDatabase } from '../../src/shared/adapters/sqlite/open.ts';
import { tempFolders } from '../support/temp-folder.ts';

const folder = tempFolders();

it('the file of the events does not grow without end while it is open: each kind loses its oldest', () => {
  const db = openDatabase(join(folder(), 'events.db'), eventsFile, { maxPages: null });
  const { writes, reads } = eventsEngine(db, { kept: { audit: 30 }, otherwise: 5 });
  writes.open();
  const kinds = ['audit', 'control', 'of a later version'];
  for (let from = 0; from < 3_000; from += 100) {
    const runs = Array.from({ length: 100 }, (_, i): RunTuple => [kinds[i % 3] ?? '', 1, from + i, '{}', 1]);
    db.transaction(() => writes.append(runs, []));
  }
  // The last 1,000 came after the last removal.
  const before = reads.all().filter(({ sequence }) => sequence < 2_000);
  expect(kinds.map((kind) => before.filter((row) => row.kind === kind).length)).toEqual([30, 5, 5]);
  expect(reads.forgotten().map(({ kind }) => kind).toSorted()).toEqual(kinds.toSorted());
  db.close();
});
