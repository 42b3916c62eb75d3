import { execFile } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { openEmbeddedStore, type EmbeddedStore } from '../../../src/shared/adapters/store-embedded/embedded-store.ts';
import { moduleDocument } from '../../support/sample-documents.ts';
import { silentLog } from '../../support/silent-log.ts';
import { tempFolders } from '../../support/temp-folder.ts';

const folder = tempFolders();
const run = promisify(execFile);
const open = (path: string): Promise<EmbeddedStore> => openEmbeddedStore({ path, log: silentLog });

async function openInAnotherProcess(path: string): Promise<unknown> {
  const { stdout } = await run(process.execPath, [join(import.meta.dirname, 'children/open.mjs'), path]);
  return JSON.parse(stdout);
}

describe('embedded store: one process at a time', () => {
  it('refuses a second process, and says which path and what to do', async () => {
    const path = join(folder(), 'store.db');
    const store = await open(path);
    expect(await openInAnotherProcess(path)).toMatchObject({
      code: 'STORE_BUSY',
      facts: { path },
      help: expect.stringContaining('Stop the other process') as string,
    });
    await store.close();
    expect(await openInAnotherProcess(path)).toEqual({ opened: true });
  });

  it('refuses to be opened twice in one process', async () => {
    const path = join(folder(), 'store.db');
    const store = await open(path);
    await expect(open(path)).rejects.toMatchObject({ code: 'STORE_BUSY' });
    await store.close();
    const again = await open(path);
    await again.close();
  });

  it('lets one of several that start at the same moment on an empty folder win', async () => {
    const path = join(folder(), 'store.db');
    const results = await Promise.allSettled([open(path), open(path), open(path)]);
    const opened = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(opened).toHaveLength(1);
    await Promise.all(opened.map((store) => store.close()));
  });

  it('leaves one file that only its owner can read', async () => {
    const path = join(folder(), 'data', 'store.db');
    const store = await open(path);
    await store.apply([{ op: 'put', document: moduleDocument('mod-1'), expect: null }]);
    await store.close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(path, '..')).mode & 0o777).toBe(0o700);
    expect(readFileSync(path).subarray(0, 15).toString()).toBe('SQLite format 3');
    expect(() => statSync(`${path}-wal`)).toThrow('ENOENT');
  });

  it('answers what was asked before it was closed, and refuses what comes after', async () => {
    const store = await open(join(folder(), 'store.db'));
    const before = store.apply([{ op: 'put', document: moduleDocument('mod-1'), expect: null }]);
    const closing = store.close();
    await expect(store.get('mod-1')).rejects.toMatchObject({ code: 'STORE_FAILED', facts: { problem: 'it is closed' } });
    await expect(before).resolves.toHaveLength(1);
    await closing;
    await store.close();
  });

  it('keeps the event loop turning while it works', async () => {
    const store = await open(join(folder(), 'store.db'));
    await store.replaceAll(Array.from({ length: 10_000 }, (_, i) => moduleDocument(`mod-${i}`)), { generation: 'g', sequence: 1 });
    let turns = 0;
    let working = true;
    const turn = (): void => {
      turns += 1;
      if (working) setImmediate(turn);
    };
    turn();
    expect(await store.verify()).toEqual([]);
    working = false;
    // On the loop itself the work would let it turn once or twice.
    expect(turns).toBeGreaterThan(100);
    await store.close();
  });

  it('stores what many callers write at one moment in one transaction', async () => {
    const bytesFor = async (write: (store: EmbeddedStore, id: string) => Promise<unknown>): Promise<number> => {
      const path = join(folder(), 'store.db');
      const store = await open(path);
      const writes = Array.from({ length: 100 }, (_, i) => `mod-${i}`).map((id) => write(store, id));
      await Promise.all(writes);
      const { size } = statSync(`${path}-wal`);
      await store.close();
      return size;
    };
    const put = (store: EmbeddedStore, id: string) => store.apply([{ op: 'put', document: moduleDocument(id), expect: null }]);
    let before: Promise<unknown> = Promise.resolve();
    const oneByOne = await bytesFor((store, id) => (before = before.then(() => put(store, id))));
    const together = await bytesFor(put);
    // Each transaction writes every page that it touches again.
    expect(together * 5).toBeLessThan(oneByOne);
  });

  it('refuses calls that pile up beyond the limit, and serves the others', async () => {
    const store = await open(join(folder(), 'store.db'));
    const results = await Promise.allSettled(Array.from({ length: 10_001 }, () => store.get('mod-1')));
    const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    expect(refused).toHaveLength(1);
    expect(refused[0]).toMatchObject({ code: 'STORE_OVERLOADED' });
    expect(await store.get('mod-1')).toBeNull();
    await store.close();
  });

  it('opens 10,000 modules again and finds them by their edge', async () => {
    const path = join(folder(), 'store.db');
    const modules = Array.from({ length: 10_000 }, (_, i) => moduleDocument(`mod-${i}`, { edge_control_id: `edge-${i % 4}` }));
    const first = await open(path);
    await first.replaceAll(modules, { generation: 'g', sequence: 1 });
    await first.close();
    const second = await open(path);
    expect(await second.modulesOf('edge-3')).toHaveLength(2_500);
    await second.close();
  });
});
