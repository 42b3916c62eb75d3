import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openDatabase } from '../../../src/shared/adapters/sqlite/open.ts';
import { EdgeNode } from '../../../src/edge/edge-node.ts';
import { createPromMetrics } from '../../../src/shared/adapters/metrics/prom-metrics.ts';
import { createSystemRandom } from '../../../src/shared/adapters/random/system-random.ts';
import type { Database } from '../../../src/shared/adapters/sqlite/sqlite.ts';
import { openEmbeddedStore } from '../../../src/shared/adapters/store-embedded/embedded-store.ts';
import { storeEngine } from '../../../src/shared/adapters/store-embedded/engine.ts';
import { allRows, storeFile, toRow } from '../../../src/shared/adapters/store-embedded/file-kind.ts';
import { createMemoryJournal } from '../../../src/shared/adapters/store-memory/memory-journal.ts';
import { HoldfastError } from '../../../src/shared/model/errors.ts';
import type { DeviceLink } from '../../../src/shared/ports/device-link.ts';
import type { DocumentStore, FeedHead } from '../../../src/shared/ports/document-store.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { later } from '../../support/link-pipe.ts';
import { edgeDocument, moduleDocument } from '../../support/sample-documents.ts';
import { silentLog } from '../../support/silent-log.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { tempFolders } from '../../support/temp-folder.ts';
import { contents, copyFile, withStoreFile, writeModules } from './store-files.ts';

const folder = tempFolders();
const CHECKPOINTED = 150;
const WRITTEN = 300;

interface Disk {
  path: string;
  database: Buffer;
  log: Buffer;
  all: string[];
}

/** The bytes on the disk of a store that has 150 documents in its file and 150 more in its log only. */
function storeWithLog(path: string): Disk {
  withStoreFile(join(path, 'original.db'), (db) => writeModules(db, 1, CHECKPOINTED));
  const db = openDatabase(join(path, 'original.db'), storeFile);
  writeModules(db, CHECKPOINTED + 1, WRITTEN);
  copyFile(join(path, 'original.db'), join(path, 'cut.db'));
  copyFile(join(path, 'original.db-wal'), join(path, 'cut.db-wal'));
  db.close();
  const cut = join(path, 'cut.db');
  return { path: cut, database: readFileSync(cut), log: readFileSync(`${cut}-wal`), all: contents(join(path, 'original.db')) };
}

/** Everything that a replica has, in a comparable form. */
const replicaState = (db: Database): string =>
  JSON.stringify([storeEngine(db, { tombstones: 100 }).reads.cursor(), Array.from(allRows(db), ({ id, body }) => [id, body])]);

/** A replica with a snapshot in its file, and in its log pages of the feed, another snapshot and a page more; and each state that it was in. */
function replicaWithLog(path: string): { disk: Disk; states: string[] } {
  const row = (i: number, port: number) => toRow(moduleDocument(`mod-${i}`, { port, edge_control_id: 'edge-1', notes: 'n'.repeat(400) }));
  const rows = (from: number, to: number, port: number) => Array.from({ length: to - from }, (_, i) => row(from + i, port));
  const states: string[] = [];
  const original = join(path, 'original.db');
  const snapshot = (db: Database, documents: ReturnType<typeof rows>, cursor: FeedHead): void => {
    const { writes } = storeEngine(db, { tombstones: 100 });
    db.transaction(() => writes.stage(documents, true));
    db.transaction(() => writes.replaceByStaged(cursor));
    states.push(replicaState(db));
  };
  const page = (db: Database, documents: ReturnType<typeof rows>, sequence: number): void => {
    const entries = documents.map((document, i) => ({ ...document, sequence: sequence - documents.length + 1 + i }));
    db.transaction(() => storeEngine(db, { tombstones: 100 }).writes.applyFeed(entries, { generation: 'master', sequence }));
    states.push(replicaState(db));
  };
  const located = { ...toRow(edgeDocument('edge-1')) };
  withStoreFile(original, (db) => snapshot(db, [located, ...rows(0, 30, 1)], { generation: 'master', sequence: 100 }));
  const db = openDatabase(original, storeFile);
  page(db, rows(0, 20, 2), 120);
  page(db, rows(20, 60, 2), 160);
  snapshot(db, [located, ...rows(10, 40, 3)], { generation: 'master', sequence: 200 });
  page(db, rows(10, 30, 4), 220);
  const cut = join(path, 'cut.db');
  copyFile(original, cut);
  copyFile(`${original}-wal`, `${cut}-wal`);
  db.close();
  return { disk: { path: cut, database: readFileSync(cut), log: readFileSync(`${cut}-wal`), all: [] }, states };
}

/** Ids of the modules that an edge starts from this store when no master can be reached. */
async function modulesStartedFrom(store: DocumentStore): Promise<string[]> {
  const clock = new FakeClock();
  const started = later<string[]>();
  const nothing = (): void => undefined;
  const deviceLink: DeviceLink = {
    prepare: () => undefined,
    manage: () => Promise.resolve([]),
    onProgress: () => () => undefined, onEdited: () => () => undefined,
    start: async ({ modules }) => {
      started.resolve(modules.map(({ id }) => id));
      return { started: modules.length, failed: [] };
    },
    stop: async () => ({ handover: {} }),
    exec: () => Promise.reject(new Error('not part of this test')),
    functions: () => Promise.reject(new Error('not part of this test')),
    reload: () => Promise.reject(new Error('not part of this test')),
    serveSystems: nothing,
    writes: async () => [],
    close: async () => undefined,
    closeGate: nothing,
    restamp: nothing,
    setLease: nothing,
    onStatus: () => nothing,
    onLog: () => nothing,
  };
  const journal = createMemoryJournal({ clock, delayMs: () => 0 });
  const dialler = { dial: () => Promise.reject(new HoldfastError('DIAL_FAILED', { address: 'master:1', problem: 'cut off' })) };
  const webhooks = { post: () => Promise.resolve(204) };
  const ports = { webhooks, clock, random: createSystemRandom(), log: silentLog, metrics: createPromMetrics(), journal, store, deviceLink, dialler, credentials: { get: () => null, set: async () => undefined } };
  const node = new EdgeNode(ports, { id: 'edge-1', addresses: ['master:1'] });
  await node.start();
  while (node.location('edge-1')?.holder !== 'edge') await clock.advance(100);
  const ids = await started.promise;
  await Promise.all([node.stop(), clock.advance(10_000)]);
  return ids;
}

function contentsWith({ path }: Disk, database: Buffer, log: Buffer): string[] {
  rmSync(path, { force: true });
  writeFileSync(path, database);
  writeFileSync(`${path}-wal`, log);
  return contents(path);
}

/** Random offsets, and those around the borders of frames, in rising order. */
function offsets(length: number): number[] {
  const random = seededRandom(7);
  const anywhere = Array.from({ length: 80 }, () => Math.floor(random() * length));
  const frame = 24 + 4_096;
  const borders = Array.from({ length: 8 }, (_, i) => 32 + frame * i * 11).flatMap((border) => [border - 1, border, border + 1]);
  return [0, 1, 31, 32, ...anywhere, ...borders, length].filter((offset) => offset <= length).sort((a, b) => a - b);
}

describe('embedded store: power cut', () => {
  it('leaves a readable store that has lost only the last writes, wherever the log ends', () => {
    const disk = storeWithLog(folder());
    const counts = offsets(disk.log.length).map((offset) => {
      const found = contentsWith(disk, disk.database, disk.log.subarray(0, offset));
      expect(found).toEqual(disk.all.slice(0, found.length));
      return found.length;
    });
    expect(Math.min(...counts)).toBe(CHECKPOINTED);
    expect(counts.at(-1)).toBe(WRITTEN);
    expect(counts).toEqual([...counts].sort((a, b) => a - b));
  });

  it('leaves a readable store when the tail of the log is garbage', () => {
    const disk = storeWithLog(folder());
    const random = seededRandom(11);
    for (const offset of offsets(disk.log.length).slice(0, 60)) {
      const garbage = Buffer.from(Array.from({ length: 5_000 }, () => Math.floor(random() * 256)));
      const found = contentsWith(disk, disk.database, Buffer.concat([disk.log.subarray(0, offset), garbage]));
      expect(found.length).toBeGreaterThanOrEqual(CHECKPOINTED);
      expect(found).toEqual(disk.all.slice(0, found.length));
    }
  });

  it('loses nothing in the middle of moving the log into the file', () => {
    const disk = storeWithLog(folder());
    contentsWith(disk, disk.database, disk.log);
    // `contents` closed the store, which moved everything.
    const moved = readFileSync(disk.path);
    const random = seededRandom(13);
    for (let i = 0; i < 40; i += 1) {
      const offset = Math.floor(random() * moved.length);
      const torn = Buffer.concat([moved.subarray(0, offset), disk.database.subarray(offset)]);
      expect(contentsWith(disk, torn, disk.log)).toEqual(disk.all);
    }
  });

  it('leaves a replica at one of the states that it was in, with the cursor of that state, wherever the log ends', () => {
    const { disk, states } = replicaWithLog(folder());
    const found = offsets(disk.log.length).map((offset) => {
      rmSync(disk.path, { force: true });
      writeFileSync(disk.path, disk.database);
      writeFileSync(`${disk.path}-wal`, disk.log.subarray(0, offset));
      return states.indexOf(withStoreFile(disk.path, replicaState));
    });
    expect(found).not.toContain(-1);
    expect([found.at(0), found.at(-1)]).toEqual([0, states.length - 1]);
    // Pages of the feed and the snapshot: each of them was met half written.
    expect(new Set(found).size).toBe(states.length);
  });

  it('leaves a replica from which an edge boots and drives its devices, wherever the log ends', async () => {
    const { disk } = replicaWithLog(folder());
    const some = offsets(disk.log.length).filter((_, i) => i % 40 === 0);
    for (const offset of [...some, disk.log.length]) {
      rmSync(disk.path, { force: true });
      writeFileSync(disk.path, disk.database);
      writeFileSync(`${disk.path}-wal`, disk.log.subarray(0, offset));
      const store = await openEmbeddedStore({ path: disk.path, log: silentLog });
      const wanted = (await store.modulesOf('edge-1')).map(({ id }) => id);
      expect(wanted.length).toBeGreaterThan(0);
      expect(await modulesStartedFrom(store)).toEqual(wanted);
      await store.close();
    }
  });

  it('does not mind a file that was being created', () => {
    const path = join(folder(), 'store.db');
    writeFileSync(`${path}.0badcafe.new`, 'SQLite form');
    expect(contents(path)).toEqual([]);
  });
});
