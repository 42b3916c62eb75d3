import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openEmbeddedEvents } from '../../src/shared/adapters/events-embedded/embedded-events.ts';
import { createMemoryEvents } from '../../src/shared/adapters/store-memory/memory-events.ts';
import { createMemoryLog } from '../support/memory-log.ts';
import { silentLog } from '../support/silent-log.ts';
import { tempFolders } from '../support/temp-folder.ts';
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
    const niceOf = (thread: string): number => Number(readFileSync(`/proc/self/task/${thread}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')[16]);
    const low = (): number => readdirSync('/proc/self/task').filter((thread) => niceOf(thread) === 10).length;
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
