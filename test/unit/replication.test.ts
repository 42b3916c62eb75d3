import { describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../src/shared/adapters/store-memory/memory-store.ts';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { type AnyDocument, documentKinds } from '../../src/shared/model/documents.ts';
import type { DocumentStore } from '../../src/shared/ports/document-store.ts';
import { Directory } from '../../src/shared/runtime/documents/directory.ts';
import { FeedSource, ReplicaFeed } from '../../src/shared/runtime/documents/replication.ts';
import { SimRandom } from '../../src/sim/random.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { later } from '../support/link-pipe.ts';
import { createMemoryLog } from '../support/memory-log.ts';
import { edgeDocument, moduleDocument, systemDocument } from '../support/sample-documents.ts';

type Ask = (kind: 'replicate.pull' | 'replicate.snapshot', body: Json) => Promise<Json>;

async function directoryOf(store: DocumentStore): Promise<Directory> {
  const directory = new Directory(store);
  await directory.open();
  return directory;
}
const feeds = new WeakMap<DocumentStore, FeedSource>();
async function feedOf(store: DocumentStore): Promise<FeedSource> {
  const feed = feeds.get(store) ?? new FeedSource({ location: 'edge-1', store, directory: await directoryOf(store) });
  feeds.set(store, feed);
  return feed;
}

/** A master's store and an edge's, joined by what `ask` lets through. */
async function createReplication(source = createMemoryStore({ generation: 'first' })) {
  const replica = createMemoryStore({ generation: 'replica' });
  const clock = new FakeClock();
  const log = createMemoryLog();
  const asked: string[] = [];
  const ask: Ask = async (kind, body) => (await feedOf(world.source)).serve(kind, body);
  const world = { source, replica, clock, log, asked, ask, pull: () => Promise.resolve(), wake: () => {} };
  const { signal } = new AbortController();
  const request: Ask = (kind, body) => {
    asked.push(kind);
    return world.ask(kind, body);
  };
  const feed = new ReplicaFeed({ location: 'edge-1', clock, random: new SimRandom('1'), log, metrics: createPromMetrics(), store: replica, directory: await directoryOf(replica), request });
  world.wake = () => feed.wake(signal);
  world.pull = async () => {
    feed.wake(signal);
    // Memory only: every answer is there within a few turns.
    for (let turn = 0; turn < 50; turn += 1) await clock.advance(0);
  };
  return world;
}

const put = async (store: DocumentStore, ...documents: AnyDocument[]): Promise<void> => {
  for (const document of documents) {
    const known = await store.get(document.id);
    await store.apply([{ op: 'put', document, expect: known?.version ?? null }]);
  }
};
const remove = async (store: DocumentStore, id: string): Promise<void> => {
  const known = await store.get(id);
  if (known !== null) await store.apply([{ op: 'remove', id, expect: known.version }]);
};
const contents = async (store: DocumentStore): Promise<AnyDocument[]> => {
  const lists = await Promise.all(documentKinds.map((kind) => store.list(kind, { limit: 10_000 })));
  return lists.flat().map(({ document }) => document);
};
const modules = (count: number): AnyDocument[] => Array.from({ length: count }, (_, i) => moduleDocument(`mod-${i}`, { notes: 'x'.repeat(500) }));
const badEntry = { sequence: 99, id: 'edge-1', kind: 'edge', document: { id: 'edge-1' } };
const badPage = { head: { generation: 'first', sequence: 99 }, tooOld: false, entries: [badEntry] };
const lost = new HoldfastError('LINK_LOST', { fate: 'unknown' });

describe('replication to an edge', () => {
  it('gives a fresh replica everything, in pages, then only what is new', async () => {
    const world = await createReplication();
    await put(world.source, edgeDocument('edge-1'), systemDocument('sys-1'), ...modules(1_200));
    await world.pull();
    expect(await contents(world.replica)).toEqual(await contents(world.source));
    expect(await world.replica.cursor()).toEqual(await world.source.head());
    expect(world.asked.filter((kind) => kind === 'replicate.snapshot').length).toBeGreaterThan(8);
    world.asked.length = 0;
    await put(world.source, moduleDocument('mod-7', { notes: 'new' }), moduleDocument('mod-new'));
    await remove(world.source, 'mod-8');
    await world.pull();
    expect(await contents(world.replica)).toEqual(await contents(world.source));
    expect(await world.replica.get('mod-8')).toBeNull();
    expect(new Set(world.asked)).toEqual(new Set(['replicate.pull']));
  });

  it.each(['another generation', 'a cursor that is too old'])('takes a snapshot again for %s', async (why) => {
    const world = await createReplication(createMemoryStore({ generation: 'first', tombstones: 1 }));
    await put(world.source, edgeDocument('edge-1'), ...modules(3));
    await world.pull();
    if (why === 'another generation') {
      world.source = createMemoryStore({ generation: 'second' });
      await put(world.source, edgeDocument('edge-1', { name: 'restored' }));
    } else for (let i = 0; i < 3; i += 1) await remove(world.source, `mod-${i}`);
    world.asked.length = 0;
    await world.pull();
    expect(world.asked).toContain('replicate.snapshot');
    expect(await contents(world.replica)).toEqual(await contents(world.source));
    expect(await world.replica.cursor()).toEqual(await world.source.head());
  });

  it('changes nothing when it is cut in the middle of a snapshot, and takes it at the next wake', async () => {
    const world = await createReplication();
    await put(world.source, edgeDocument('edge-1'), ...modules(500));
    const whole = world.ask;
    world.ask = (kind, body) => (world.asked.length > 2 ? Promise.reject(lost) : whole(kind, body));
    await world.pull();
    expect(await contents(world.replica)).toEqual([]);
    expect(await world.replica.cursor()).toBeNull();
    world.ask = whole;
    await world.pull();
    expect(await contents(world.replica)).toEqual(await contents(world.source));
  });

  it('tries again by itself when the store of the edge refused what came: nobody else knows', async () => {
    const world = await createReplication();
    await put(world.source, edgeDocument('edge-1'));
    await world.pull();
    await put(world.source, moduleDocument('mod-1'));
    const { applyFeed } = world.replica;
    world.replica.applyFeed = () => Promise.reject(new HoldfastError('STORE_UNREACHABLE', { path: 'replica', problem: 'it does not answer' }));
    for (let head = 0; head < 3; head += 1) await world.pull();
    world.replica.applyFeed = applyFeed.bind(world.replica);
    expect(await contents(world.replica)).not.toEqual(await contents(world.source));
    world.asked.length = 0;
    await world.clock.advance(10_000);
    expect(await contents(world.replica)).toEqual(await contents(world.source));
    expect(world.asked).toEqual(['replicate.pull', 'replicate.pull']);
  });

  it('misses no wake that comes while a request of the lost link is still under way', async () => {
    const world = await createReplication();
    await put(world.source, edgeDocument('edge-1'));
    const whole = world.ask;
    const hanging = later<Json>();
    world.ask = () => hanging.promise;
    await world.pull();
    world.ask = whole;
    world.wake();
    hanging.reject(lost);
    for (let turn = 0; turn < 10; turn += 1) await new FakeClock().advance(0);
    expect(await contents(world.replica)).toEqual(await contents(world.source));
  });

  it('sends pages of at most 64 KiB, and alone what is larger', async () => {
    const world = await createReplication();
    const sizes: number[] = [];
    const whole = world.ask;
    world.ask = async (kind, body) => {
      const answer = await whole(kind, body);
      sizes.push(Buffer.byteLength(JSON.stringify(answer)));
      return answer;
    };
    // Bytes, not characters.
    const wide = Array.from({ length: 300 }, (_, i) => moduleDocument(`mod-${i}`, { notes: 'ü'.repeat(300 + i) }));
    await put(world.source, edgeDocument('edge-1'), ...wide);
    await world.pull();
    await put(world.source, ...wide.map((module) => ({ ...module, port: 1, edge_control_id: 'edge-1' })));
    await world.pull();
    expect(Math.max(...sizes)).toBeLessThan(64 * 1024);
    expect(sizes.length).toBeGreaterThan(10);
    sizes.length = 0;
    const large = moduleDocument('mod-large', { edge_control_id: 'edge-1', settings: { blob: 'x'.repeat(200_000) } });
    await put(world.source, moduleDocument('mod-before'), large, moduleDocument('mod-after'));
    await world.pull();
    expect(sizes.filter((size) => size > 200_000)).toHaveLength(1);
    expect(await contents(world.replica)).toEqual(await contents(world.source));
  });

  it('takes a snapshot when what travels together is more than a frame can carry', async () => {
    const world = await createReplication();
    const listed = Array.from({ length: 9 }, (_, i) => moduleDocument(`mod-${i}`, { settings: { blob: 'x'.repeat(1_000_000) } }));
    await put(world.source, edgeDocument('edge-1'), ...listed);
    await world.pull();
    world.asked.length = 0;
    await put(world.source, systemDocument('sys-1', { edge_control_id: 'edge-1', modules: listed.map(({ id }) => id) }));
    await world.pull();
    expect(world.asked).toContain('replicate.snapshot');
    expect(await contents(world.replica)).toEqual(await contents(world.source));
  });

  it('starts a snapshot again when the generation changes between its pages: two histories are never mixed', async () => {
    const world = await createReplication();
    await put(world.source, edgeDocument('edge-1'), moduleDocument('mod-of-the-past'));
    const restored = createMemoryStore({ generation: 'second' });
    await put(restored, edgeDocument('edge-1', { name: 'restored' }), systemDocument('sys-1'));
    const whole = world.ask;
    world.ask = (kind, body) => {
      // Two pages of the first history are there.
      if (world.asked.length === 4) world.source = restored;
      return whole(kind, body);
    };
    const seen: AnyDocument[][] = [];
    world.replica.onChange(() => void contents(world.replica).then((documents) => seen.push(documents)));
    await world.pull();
    expect(await contents(world.replica)).toEqual(await contents(restored));
    expect(await world.replica.cursor()).toEqual(await restored.head());
    expect(new Set(seen.flat().map(({ id }) => id))).toEqual(new Set(['edge-1', 'sys-1']));
    expect(world.log.lines).toContainEqual({ level: 'warn', event: 'snapshot-restarted', facts: { from: 'first', to: 'second' } });
  });

  it('refuses a snapshot that never comes to an end', async () => {
    const world = await createReplication();
    world.ask = async () => ({ head: { generation: 'first', sequence: 9 }, documents: [], next: { kind: 'mod', after: 'mod-1' } });
    await world.pull();
    expect(world.asked).toHaveLength(2);
    expect(world.log.lines.at(-1)).toMatchObject({ level: 'warn', event: 'replication-failed' });
  });

  it.each([
    ['is no page', () => 'nonsense'],
    ['has a document that is not valid', () => badPage],
  ])('refuses an answer that %s, and changes nothing', async (_, answer) => {
    const world = await createReplication();
    await put(world.source, edgeDocument('edge-1'));
    await world.pull();
    const before = { documents: await contents(world.replica), cursor: await world.replica.cursor() };
    world.ask = async () => answer();
    await world.pull();
    expect({ documents: await contents(world.replica), cursor: await world.replica.cursor() }).toEqual(before);
    expect(world.log.lines.at(-1)).toMatchObject({ level: 'warn', event: 'replication-failed' });
  });

  it('refuses a question that is not one', async () => {
    await expect((await feedOf(createMemoryStore())).serve('replicate.pull', { sequence: -1 })).rejects.toMatchObject({ code: 'INPUT_INVALID' });
  });
});
