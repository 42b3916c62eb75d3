import { existsSync, writeFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openEmbeddedEvents } from '../../src/shared/adapters/events-embedded/embedded-events.ts';
import { eventsFile } from '../../src/shared/adapters/events-embedded/file-kind.ts';
import { checksum, Database } from '../../src/shared/adapters/sqlite/sqlite.ts';
import { createMemoryEvents } from '../../src/shared/adapters/store-memory/memory-events.ts';
import { createMemoryLog } from '../support/memory-log.ts';
import { silentLog } from '../support/silent-log.ts';
import { tempFolders } from '../support/temp-folder.ts';
import { lowThreadsOf } from '../support/processes.ts';
import { eventEntry, eventStoreContract } from './event-store.contract.ts';

const folder = tempFolders();
const kept = (): number => 5;

eventStoreContract('memory', async () => {
  const store = createMemoryEvents({ random: { next: () => 0.5, hex: (bytes) => 'ab'.repeat(bytes) }, kept });
  return { store, reopen: async () => store, close: () => store.close() };
});

eventStoreContract('embedded', async () => {
  const path = join(folder(), 'events.db');
  const open = () => openEmbeddedEvents({ path, log: silentLog, kept });
  const first = await open();
  let store = first;
  const reopen = async () => {
    await store.close();
    store = await open();
    return store;
  };
  return { store: first, reopen, close: () => store.close() };
});

describe('the file of the events', () => {
  it.runIf(process.platform === 'linux')('is written by a thread that lets all others go first', async () => {
    const low = (): number => lowThreadsOf(process.pid);
    const before = low();
    const store = await openEmbeddedEvents({ path: join(folder(), 'events.db'), log: silentLog });
    expect(low()).toBe(before + 1);
    expect(getPriority()).toBe(0);
    await store.close();
  });

  it('is put aside when it is damaged, and a new log begins', async () => {
    const path = join(folder(), 'events.db');
    writeFileSync(path, 'this is no database, whatever its name says '.repeat(100));
    const log = createMemoryLog();
    const store = await openEmbeddedEvents({ path, log });
    expect(await store.load()).toMatchObject({ epoch: 1, events: [] });
    expect(log.lines.map(({ event }) => event)).toEqual(['events-put-aside']);
    expect(existsSync(`${path}.damaged`)).toBe(true);
    await store.close();
  });

  it('of version 1, which had a row for each event, is taken over', async () => {
    const path = join(folder(), 'events.db');
    const { body } = eventEntry(7);
    const db = new Database(path);
    db.exec(`
      CREATE TABLE opened (log TEXT NOT NULL, epoch INTEGER NOT NULL) STRICT;
      INSERT INTO opened VALUES ('0123abcd', 3);
      CREATE TABLE events (
        kind TEXT NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, body TEXT NOT NULL, checksum INTEGER NOT NULL,
        PRIMARY KEY (kind, epoch, sequence)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE forgotten (kind TEXT PRIMARY KEY, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL) STRICT, WITHOUT ROWID;
      PRAGMA application_id = ${eventsFile.applicationId}; PRAGMA user_version = 1`);
    db.prepare('INSERT INTO events VALUES (?, ?, ?, ?, ?)').run('link', 1, 7, body, checksum('link', 1, 7, body));
    db.close();
    const store = await openEmbeddedEvents({ path, log: silentLog });
    expect(await store.load()).toEqual({ log: '0123abcd', epoch: 4, events: [eventEntry(7)], forgotten: new Map() });
    await store.append([eventEntry(8, { epoch: 4 }), eventEntry(9, { epoch: 4 })], new Map());
    await store.close();
    const again = await openEmbeddedEvents({ path, log: silentLog });
    expect((await again.load()).events.map(({ sequence }) => sequence)).toEqual([7, 8, 9]);
    await again.close();
  });

  it('has one row for events of one kind that follow each other', async () => {
    const path = join(folder(), 'events.db');
    const store = await openEmbeddedEvents({ path, log: silentLog });
    await store.load();
    await store.append([1, 2, 3, 5].map((sequence) => eventEntry(sequence)), new Map());
    await store.append([eventEntry(6, { kind: 'audit' }), eventEntry(7)], new Map());
    await store.close();
    const db = new Database(path);
    const rows = db.query<{ kind: string; sequence: number; count: number }>('SELECT kind, sequence, count FROM events ORDER BY sequence');
    db.close();
    expect(rows.map(({ kind, sequence, count }) => [kind, sequence, count])).toEqual([['link', 1, 3], ['link', 5, 1], ['audit', 6, 1], ['link', 7, 1]]);
  });

  it('refuses what does not fit, keeps what it has, and takes more once there is space', async () => {
    const path = join(folder(), 'events.db');
    const small = await openEmbeddedEvents({ path, log: silentLog, maxPages: 12 });
    await small.load();
    await small.append([eventEntry(1)], new Map());
    const large = eventEntry(2, { facts: { text: 'x'.repeat(200_000) } });
    await expect(small.append([large], new Map())).rejects.toMatchObject({ code: 'STORE_FULL' });
    await small.close();
    const store = await openEmbeddedEvents({ path, log: silentLog });
    await store.load();
    await store.append([large], new Map());
    await store.close();
    const again = await openEmbeddedEvents({ path, log: silentLog });
    expect((await again.load()).events.map(({ sequence }) => sequence)).toEqual([1, 2]);
    await again.close();
  });

  it('belongs to one process', async () => {
    const path = join(folder(), 'events.db');
    const first = await openEmbeddedEvents({ path, log: silentLog });
    await expect(openEmbeddedEvents({ path, log: silentLog })).rejects.toMatchObject({ code: 'STORE_BUSY' });
    await first.close();
  });
});
