import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Version } from '../../src/shared/ports/document-store.ts';
import { addressOf, holdfastNode, openOn } from '../support/couchbase/couchbase-world.ts';
import type { DataNode } from '../support/couchbase/data-node.ts';
import { eventually } from '../support/couchbase/eventually.ts';
import { type RemoteStore, StoreProcess } from '../support/couchbase/store-process.ts';
import { moduleDocument } from '../support/sample-documents.ts';
import { seededRandom } from '../support/seeded-random.ts';

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

const COLLECTIONS = ['holdfast.documents', 'holdfast.indexes', 'holdfast-private.log'] as const;
const draw = seededRandom(11);

/** What differs arrives in random order; no more than `limit` of it. */
function replicate(limit = Infinity, keep: (id: string) => boolean = () => true): void {
  const changes = COLLECTIONS.flatMap((name) => {
    const [from, to] = [centre.collection(name), site.collection(name)];
    const put = from.ids().filter((id) => JSON.stringify(from.read(id)) !== JSON.stringify(to.read(id)));
    const gone = to.ids().filter((id) => from.read(id) === null);
    return [...put.map((id) => ({ id, run: () => to.write(id, from.read(id)) })), ...gone.map((id) => ({ id, run: () => to.drop(id) }))];
  });
  const wanted = changes.filter(({ id }) => keep(id)).map((change) => ({ ...change, place: draw() }));
  for (const { run } of wanted.toSorted((a, b) => a.place - b.place).slice(0, limit)) run();
}

const follow = (): Promise<RemoteStore> => sdk.open({ address: addressOf(site), password: 'pw-holdfast', owner: 'edge', follow: true });
const state = async (store: RemoteStore): Promise<string> => JSON.stringify([await store.list('mod', { limit: 1_000 }), await store.head()]);
const written = async (number: number): Promise<void> =>
  eventually('documents are written', () => (centre.collection('holdfast-private.log').read('head') as { written: number }).written >= number);

describe('a copy that replication fills', () => {
  it('is read once everything has arrived, and says the same as the original, versions too', async () => {
    const master = await openOn(sdk, centre);
    for (let i = 0; i < 10; i += 1) await master.apply(Array.from({ length: 5 }, (_, j) => ({ op: 'put', document: moduleDocument(`mod-${i}-${j}`), expect: null })));
    await written(10);
    const opening = follow();
    let opened = false;
    void opening.then(() => (opened = true));
    replicate(20);
    await eventually('it says what it waits for', () => sdk.log.some(({ facts }) => facts['problem'] === 'replication has not brought everything yet'));
    expect(opened).toBe(false);
    while (!opened) {
      replicate(10);
      await eventually('the next ones', () => true);
    }
    replicate();
    const edge = await opening;
    await eventually('the same', async () => (await state(edge)) === (await state(master)));
  });

  it('follows commits in their order, however they arrive', async () => {
    const master = await openOn(sdk, centre);
    await master.apply([{ op: 'put', document: moduleDocument('mod-1'), expect: null }]);
    await written(1);
    replicate();
    const edge = await follow();
    const seen: number[] = [];
    edge.onChange(({ sequence }) => seen.push(sequence));
    let [version] = await master.apply([{ op: 'put', document: moduleDocument('mod-2'), expect: null }]);
    for (let port = 1; port <= 8; port += 1) [version] = await master.apply([{ op: 'put', document: moduleDocument('mod-2', { port }), expect: version as Version }]);
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
    await master.apply([{ op: 'put', document: moduleDocument('mod-1'), expect: null }]);
    await written(1);
    replicate();
    const before = COLLECTIONS.map((name) => site.collection(name).ids());
    const edge = await follow();
    await expect(edge.apply([{ op: 'put', document: moduleDocument('mod-2'), expect: null }])).rejects.toMatchObject({ code: 'MASTER_ONLY' });
    await edge.close();
    expect(COLLECTIONS.map((name) => site.collection(name).ids())).toEqual(before);
  });

  it('says how old it is when nothing arrives any more', async () => {
    const master = await openOn(sdk, centre);
    await eventually('a sign of life', () => centre.collection('holdfast-private.log').read('beat') !== null);
    replicate();
    const edge = await follow();
    expect((await edge.contact()).inTouch).toBe(true);
    await eventually('it is old', async () => (await edge.contact()).ageMs > 10_000, 20_000);
    replicate();
    await eventually('it is fresh', async () => (await edge.contact()).inTouch);
    await master.close();
  });
});
