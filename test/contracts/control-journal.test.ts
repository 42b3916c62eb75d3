import { setImmediate as nextTurn } from 'node:timers/promises';
import { join } from 'node:path';
import { openEmbeddedJournal } from '../../src/shared/adapters/journal-embedded/embedded-journal.ts';
import { createMemoryJournal } from '../../src/shared/adapters/store-memory/memory-journal.ts';
import { createAlarm } from '../../src/shared/foundation/alarm.ts';
import type { Clock } from '../../src/shared/ports/clock.ts';
import { silentLog } from '../support/silent-log.ts';
import { tempFolders } from '../support/temp-folder.ts';
import { controlJournalContract } from './control-journal.contract.ts';

const folder = tempFolders();
const historyEntries = 5;

/** The disk answers in the next turn. */
const eagerClock: Clock = {
  monotonicMs: () => 0,
  wallMs: () => 0,
  after: (_, callback) => {
    const immediate = setImmediate(callback);
    return { cancel: () => clearImmediate(immediate) };
  },
  alarm: (callback) => createAlarm(eagerClock, callback),
  sleep: async () => nextTurn(),
};

controlJournalContract('memory', async () => {
  const journal = createMemoryJournal({ clock: eagerClock, historyEntries });
  const reopen = async () => {
    await journal.close();
    return journal;
  };
  return { journal, reopen, close: () => journal.close() };
});

controlJournalContract('embedded', async () => {
  const open = () => openEmbeddedJournal({ path: join(path, 'control.db'), log: silentLog, historyEntries });
  const path = folder();
  const first = await open();
  let journal = first;
  const reopen = async () => {
    await journal.close();
    journal = await open();
    return journal;
  };
  return { journal: first, reopen, close: () => journal.close() };
});
