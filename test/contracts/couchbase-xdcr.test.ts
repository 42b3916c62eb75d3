import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { StoreInspection } from '../../src/shared/adapters/store-couchbase/inspect-store.ts';
import { indexKey } from '../../src/shared/adapters/store-couchbase/layout.ts';
import type { ModuleDocument } from '../../src/shared/model/documents.ts';
import type { Change, Version } from '../../src/shared/ports/document-store.ts';
import { addressOf, holdfastNode, openOn } from '../support/couchbase/couchbase-world.ts';
import type { DataNode } from '../support/couchbase/data-node.ts';
import { eventually } from '../support/couchbase/eventually.ts';
import { replicate as play, REPLICATED } from '../support/couchbase/replication.ts';
import { type RemoteOptions, type RemoteStore, StoreProcess } from '../support/couchbase/store-process.ts';
import { moduleDocument } from '../support/sample-documents.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { tempFolders } from '../support/temp-folder.ts';

/** An edge that reads a copy of the database: replication is played by the test, one document at a time, in any order. */
const sdk = new StoreProcess();
let centre: DataNode;
let site: DataNode;
beforeEach(async () => {
  [centre, site] = [holdfastNode(), holdfastNode()];
  await centre.start();
  await site.start();
});
afterEach(async () => {
  await sdk.closeStores();
  for (const node of [centre, site]) await node.stop();
  expect([...centre.unknown, ...site.unknown]).toEqual([]);
});
afterAll(() => sdk.close());

const folder = tempFolders();
const generation = (): string => (centre.collection('holdfast-private.log').read('head') as { generation: string }).generation;
const draw = seededRandom(11);

const replicate = (limit?: number, keep?: (id: string) => boolean): void => play({ from: centre, to: site, draw }, limit, keep);
const berlin = { role: 'edge', location: 'berlin' } as const;
const follow = (options: Partial<RemoteOptions> = {}): Promise<RemoteStore> => openOn(sdk, site, { owner: berlin, replicated: true, ...options });
const put = (id: string, fields: Partial<ModuleDocument> = {}): Change => ({ op: 'put', document: moduleDocument(id, fields), expect: null });
const state = async (store: RemoteStore): Promise<string> => JSON.stringify([await store.list('mod', { limit: 1_000 }), await store.head()]);
const written = async (number: number): Promise<void> =>
  eventually('documents are written', () => (centre.collection('holdfast-private.log').read('head') as { written: number }).written >= number);

describe('a copy that replication fills', () => {
  it('is read once everything has arrived, and says the same as the original, versions too', async () => {
    const master = await openOn(sdk, centre);
    for (let i = 0; i < 10; i += 1) await master.apply(Array.from({ length: 5 }, (_, j) => put(`mod-${i}-${j}`)));
    await written(10);
    const opening = follow();
    let opened = false;
    void opening.then(() => (opened = true));
    replicate(20);
    await eventually('it says what it waits for', () => sdk.log.some(({ facts }) => String(facts['problem']).startsWith('replication has not brought everything yet')));
    expect(opened).toBe(false);
    await eventually('it opens', () => {
      replicate(10);
      return opened;
    });
    const edge = await opening;
    replicate();
    await eventually('the same', async () => (await state(edge)) === (await state(master)));
  });

  it('follows commits in their order, however they arrive', async () => {
    const master = await openOn(sdk, centre);
    await master.apply([put('mod-1')]);
    await written(1);
    replicate();
    const edge = await follow();
    const seen: number[] = [];
    edge.onChange(({ sequence }) => seen.push(sequence));
    let [version] = await master.apply([put('mod-2')]);
    for (let port = 1; port <= 8; port += 1) [version] = await master.apply([{ op: 'put', document: moduleDocument('mod-2', { port }), expect: version ?? null }]);
    await master.apply([{ op: 'remove', id: 'mod-1', expect: (await master.get('mod-1'))?.version as Version }]);
    await written(11);
    // The head and the last commit are there first, the second last.
    replicate(Infinity, (id) => id === 'head' || id.endsWith('-11'));
    replicate(Infinity, (id) => !/-[23]$/.test(id));
    expect(await edge.get('mod-2')).toBeNull();
    replicate();
    await eventually('the same', async () => (await state(edge)) === (await state(master)));
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(seen.at(-1)).toBe((await master.head()).sequence);
  });

  it('takes no changes, and writes nothing', async () => {
    const master = await openOn(sdk, centre);
    await master.apply([put('mod-1')]);
    await written(1);
    replicate();
    const before = REPLICATED.map((name) => site.collection(name).ids());
    const edge = await follow();
    await expect(edge.apply([put('mod-2')])).rejects.toMatchObject({ code: 'MASTER_ONLY' });
    await edge.close();
    expect(REPLICATED.map((name) => site.collection(name).ids())).toEqual(before);
  });

  it('waits for every part of a commit of thousands of documents, also at a start', async () => {
    const master = await openOn(sdk, centre);
    await master.apply([put('mod-a')]);
    await written(1);
    replicate();
    const edge = await follow();
    await master.apply(Array.from({ length: 2_500 }, (_, i) => put(`mod-${i}`)));
    await written(2);
    replicate(Infinity, (id) => !/^part-.*-1$/.test(id));
    const from = sdk.log.length;
    const late = follow();
    await eventually('the second waits', () => sdk.log.slice(from).some(({ event }) => event === 'store.waiting'));
    expect([await edge.get('mod-0'), (await edge.contact()).inTouch]).toEqual([null, true]);
    expect(sdk.log.slice(from).filter(({ event }) => event === 'store.refused' || event === 'store.lost')).toEqual([]);
    replicate();
    await eventually('the first has it', async () => (await edge.get('mod-2499')) !== null);
    await eventually('the second too', async () => (await (await late).get('mod-2499')) !== null);
    expect(await edge.head()).toEqual(await master.head());
  });

  it('does without the commits that are forgotten, once every document is as new as its index', async () => {
    const master = await openOn(sdk, centre, { keepCommits: 3 });
    for (let i = 0; i < 12; i += 1) {
      await master.apply([put(`mod-${i}`)]);
      await written(i + 1);
    }
    await eventually('some are forgotten', () => centre.collection('holdfast-private.log').read(`commit-${generation()}-1`) === null);
    for (const missing of ['idx', indexKey({ kind: 'mod', location: null }, 'mod-0'), 'mod-0', `commit-${generation()}-12`]) {
      const from = sdk.log.length;
      replicate(Infinity, (id) => id !== missing);
      const opening = follow();
      await eventually(`it waits for ${missing}`, () => sdk.log.slice(from).some(({ event }) => event === 'store.waiting'));
      replicate();
      await (await opening).close();
      for (const name of REPLICATED) for (const id of site.collection(name).ids()) site.collection(name).drop(id);
    }
    replicate();
    const edge = await follow();
    await eventually('the same', async () => (await state(edge)) === (await state(master)));
  });

  it('takes up another history after a restore at the master', async () => {
    const master = await openOn(sdk, centre);
    await master.apply([put('mod-1')]);
    await written(1);
    replicate();
    const edge = await follow();
    await master.close();
    for (const name of REPLICATED) for (const id of centre.collection(name).ids()) centre.collection(name).drop(id);
    const restored = await openOn(sdk, centre);
    await restored.apply([put('mod-2')]);
    await written(1);
    await eventually('the same', async () => {
      replicate(1);
      return (await state(edge)) === (await state(restored));
    });
    await eventually('it is fresh', async () => {
      replicate();
      return (await edge.contact()).inTouch;
    });
  });

  it('starts from its copy on the disk while the database of the site is away', async () => {
    const master = await openOn(sdk, centre);
    await master.apply([put('mod-1', { edge_control_id: 'edge-1' })]);
    await written(1);
    replicate();
    const copyPath = join(folder(), 'copy.db');
    await (await follow({ copyPath })).close();
    await site.stop();
    const edge = await follow({ copyPath });
    expect((await edge.modulesOf('edge-1')).map(({ id }) => id)).toEqual(['mod-1']);
    expect((await edge.contact()).inTouch).toBe(false);
    await master.apply([put('mod-2')]);
    await written(2);
    await site.start();
    replicate();
    await eventually('it follows', async () => (await edge.get('mod-2')) !== null);
    await eventually('it is fresh', async () => {
      replicate();
      return (await edge.contact()).inTouch;
    });
  });

  it('is refused where an edge has written before', async () => {
    await (await openOn(sdk, site, { owner: berlin })).close();
    await expect(follow({ setUpMs: 0 })).rejects.toMatchObject({ code: 'STORE_REFUSED', facts: { problem: expect.stringContaining('written by an edge') } });
  });

  it('says how old it is when nothing arrives any more', async () => {
    await openOn(sdk, centre);
    const beat = (): string => JSON.stringify(centre.collection('holdfast-private.log').read('beat'));
    await eventually('a heartbeat', () => beat() !== 'null');
    replicate();
    const edge = await follow({ beatLostMs: 300 });
    await eventually('it is old', async () => !(await edge.contact()).inTouch);
    expect((await edge.contact()).ageMs).toBeGreaterThan(300);
    const before = beat();
    await eventually('the next heartbeat', () => beat() !== before);
    replicate();
    await eventually('it is fresh', async () => (await edge.contact()).inTouch);
  });
});

describe('the doctor at a copy', () => {
  const inspect = (beatLostMs: number): Promise<StoreInspection> => sdk.inspect({ address: addressOf(site), password: 'pw-holdfast', replicated: true, beatLostMs });
  const ids = (): string[][] => REPLICATED.map((name) => site.collection(name).ids());

  it('finds nothing wrong where heartbeats arrive, and writes nothing', async () => {
    await openOn(sdk, centre);
    await eventually('a heartbeat', () => centre.collection('holdfast-private.log').read('beat') !== null);
    replicate();
    const before = ids();
    const inspecting = inspect(20_000);
    let done = false;
    void inspecting.then(() => (done = true));
    await eventually('it is done', () => {
      replicate();
      return done;
    });
    expect(await inspecting).toEqual({ trouble: null, problem: '', index: null });
    expect(ids()).toEqual(before);
  });

  it('names one to which nothing is replicated, never was, and one that an edge has written', async () => {
    expect(await inspect(0)).toMatchObject({ trouble: 'replication', problem: 'nothing was ever replicated to it' });
    await openOn(sdk, centre);
    await eventually('a heartbeat', () => centre.collection('holdfast-private.log').read('beat') !== null);
    replicate();
    expect(await inspect(300)).toMatchObject({ trouble: 'replication', problem: expect.stringMatching(/any more: the last heartbeat of the master is of 2\d{3}-/) });
    await sdk.closeStores();
    site.collection('holdfast-private.log').write('head', { ...(site.collection('holdfast-private.log').read('head') as object), owner: 'edge' });
    expect(await inspect(0)).toMatchObject({ trouble: 'scope' });
  });
});
