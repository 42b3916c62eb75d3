import { describe, expect, it } from 'vitest';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import { createMemoryStore } from '../../src/shared/adapters/store-memory/memory-store.ts';
import { type AnyDocument, documentKinds, driverSchema, zoneSchema } from '../../src/shared/model/documents.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import type { DocumentStore } from '../../src/shared/ports/document-store.ts';
import { Directory } from '../../src/shared/runtime/documents/directory.ts';
import { FeedSource, ReplicaFeed } from '../../src/shared/runtime/documents/replication.ts';
import { SimRandom } from '../../src/sim/random.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { createMemoryLog } from '../support/memory-log.ts';
import { edgeDocument, moduleDocument, systemDocument } from '../support/sample-documents.ts';
import { seededRandom } from '../support/seeded-random.ts';

const EDGES = ['berlin', 'lisbon'];
const HISTORIES = 20;
const CHANGES = 80;

const contents = async (store: DocumentStore): Promise<AnyDocument[]> =>
  (await Promise.all(documentKinds.map((kind) => store.list(kind, { limit: 1_000 })))).flat().map(({ document }) => document);

/** What the edge should have, straight from the rule, without a thought for what changed. */
function expected(all: readonly AnyDocument[], edge: string): AnyDocument[] {
  const isAt = (document: AnyDocument): boolean => {
    if (document.type === 'sys') return document.edge_control_id === edge;
    if (document.type !== 'mod') return false;
    return (
      document.edge_control_id === edge ||
      (document.edge_control_id === null && all.some((other) => other.type === 'sys' && isAt(other) && other.modules.includes(document.id)))
    );
  };
  const known = (document: AnyDocument): boolean => {
    if (document.type === 'driver') return all.some((other) => other.type === 'mod' && isAt(other) && other.driver_id === document.id);
    if (document.type === 'zone') return all.some((other) => other.type === 'sys' && isAt(other) && other.zones.includes(document.id));
    return document.type === 'edge' || document.type === 'api_key' || isAt(document);
  };
  return all.map((document) => {
    if (known(document)) return document;
    return { ...document, settings: {}, ...(document.type === 'mod' ? { ip: '', port: 0, uri: '' } : {}) } as AnyDocument;
  });
}

function createDraws(seed: number) {
  const random = seededRandom(seed);
  const below = (end: number): number => Math.floor(random() * end);
  const one = <T>(items: readonly T[]): T => items.at(below(items.length))!;
  const some = <T>(items: readonly T[]): T[] => items.filter(() => random() < 0.4);
  const ids = (kind: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${kind}-${i}`);
  const location = (): string | null => one([...EDGES, null, null]);
  // Some are so large that a page holds only a few of them.
  const settings = () => ({ password: `p-${below(1_000_000)}`, more: 'x'.repeat(one([0, 100, 25_000])) });
  const document = (): AnyDocument => {
    switch (below(4)) {
      case 0: {
        const places = { edge_control_id: location(), zones: some(ids('zone', 3)), modules: some(ids('mod', 6)) };
        return systemDocument(one(ids('sys', 4)), { ...places, settings: settings() });
      }
      case 1: {
        const address = { ip: '192.0.2.1', port: below(100), uri: 'tcp://192.0.2.1' };
        return moduleDocument(one(ids('mod', 6)), { edge_control_id: location(), driver_id: one(ids('driver', 3)), ...address, settings: settings() });
      }
      case 2:
        return driverSchema.parse({ id: one(ids('driver', 3)), type: 'driver', name: 'd', builtin: 'mock', settings: settings() });
      default:
        return zoneSchema.parse({ id: one(ids('zone', 3)), type: 'zone', name: 'z', settings: settings() });
    }
  };
  return { random, below, one, document };
}

type Draws = ReturnType<typeof createDraws>;

async function change(store: DocumentStore, { random, document }: Draws): Promise<void> {
  const next = document();
  const known = await store.get(next.id);
  if (random() > 0.25) await store.apply([{ op: 'put', document: next, expect: known?.version ?? null }]);
  else if (known !== null) await store.apply([{ op: 'remove', id: next.id, expect: known.version }]);
}

/** One edge with its replica; a request may be lost, and the master's documents may change before its answer. */
async function createEdge(location: string, source: FeedSource, disturb: () => Promise<boolean>) {
  const store = createMemoryStore({ generation: `replica-${location}` });
  const directory = new Directory(store);
  await directory.open();
  const clock = new FakeClock();
  const state = { disturbed: true };
  const feed = new ReplicaFeed({
    location,
    clock,
    random: new SimRandom('1'),
    log: createMemoryLog(),
    metrics: createPromMetrics(),
    store,
    directory,
    request: async (kind, body) => {
      if (state.disturbed && (await disturb())) throw new HoldfastError('LINK_LOST', { fate: 'unknown' });
      const answer: unknown = JSON.parse(JSON.stringify(await source.serve(kind, body)));
      if (state.disturbed && (await disturb())) throw new HoldfastError('LINK_LOST', { fate: 'unknown' });
      return answer as never;
    },
  });
  const pull = async (): Promise<void> => {
    feed.wake(new AbortController().signal);
    for (let turn = 0; turn < 40; turn += 1) await clock.advance(0);
  };
  return { location, store, state, pull };
}

describe('the replica of an edge', () => {
  it('is what it may know of the master’s documents, after any changes, cuts and interleavings', async () => {
    let whole = 0;
    for (let seed = 1; seed <= HISTORIES; seed += 1) {
      const draws = createDraws(seed);
      const store = createMemoryStore({ generation: 'master', tombstones: draws.one([3, 1_000]) });
      const directory = new Directory(store);
      await directory.open();
      await store.apply(EDGES.map((id) => ({ op: 'put', document: edgeDocument(id), expect: null })));
      const disturb = async (): Promise<boolean> => {
        while (draws.random() < 0.3) await change(store, draws);
        return draws.random() < 0.1;
      };
      const edges = await Promise.all(EDGES.map((edge) => createEdge(edge, new FeedSource({ location: edge, store, directory }), disturb)));
      for (let i = 0; i < CHANGES; i += 1) {
        await change(store, draws);
        if (draws.random() < 0.3) await draws.one(edges).pull();
      }
      for (const edge of edges) {
        edge.state.disturbed = false;
        await edge.pull();
        const all = await contents(store);
        const wanted = expected(all, edge.location);
        expect(await contents(edge.store), `seed ${seed}, ${edge.location}`).toEqual(wanted);
        whole += wanted.filter((document, i) => document === all[i]).length;
      }
    }
    expect(whole).toBeGreaterThan(HISTORIES * EDGES.length);
  });
});
