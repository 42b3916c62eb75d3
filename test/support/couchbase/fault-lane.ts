import { expect } from 'vitest';
import { HoldfastError } from '../../../src/shared/model/errors.ts';
import type { ModuleDocument } from '../../../src/shared/model/documents.ts';
import type { Change, Version } from '../../../src/shared/ports/document-store.ts';
import { moduleDocument } from '../sample-documents.ts';
import { seededRandom } from '../seeded-random.ts';
import { holdfastNode, openOn } from './couchbase-world.ts';
import { type Fault, faults, type Seen } from './data-node.ts';
import { eventually } from './eventually.ts';
import type { RemoteStore, StoreProcess } from './store-process.ts';

/** What must be there: by id, its document and version. A refused write leaves it as it is, an uncertain one gives two. */
type Truth = ReadonlyMap<string, { document: ModuleDocument; version: Version | null }>;

export interface LaneReport {
  steps: number;
  faults: Map<Fault, number>;
  uncertain: number;
  refused: number;
}

const IDS = ['mod-0', 'mod-1', 'mod-2', 'mod-3', 'mod-4', 'mod-5', 'mod-6', 'mod-7', 'mod-8', 'mod-9'] as const;
const LOCATIONS = ['edge-1', 'edge-2', null] as const;

/** Two nodes write to one database that fails at random, and after each step the contract is checked against a simple model. */
export async function runLane(seed: number, steps: number, processes: readonly [StoreProcess, StoreProcess]): Promise<LaneReport> {
  const draw = seededRandom(seed);
  const pick = <T>(items: readonly [T, ...T[]]): T => items[Math.floor(draw() * items.length)] ?? items[0];
  const node = holdfastNode();
  await node.start();
  const stores = [await openOn(processes[0], node, { keepCommits: 20 }), await openOn(processes[1], node, { keepCommits: 20 })] as const;
  const report: LaneReport = { steps: 0, faults: new Map(), uncertain: 0, refused: 0 };
  let truth: Truth = new Map();

  node.fault = (seen) => {
    if (draw() >= chanceOf(seen)) return null;
    const fault = drawFault(seen, draw);
    report.faults.set(fault, (report.faults.get(fault) ?? 0) + 1);
    return fault;
  };

  const change = (id: string, store: Map<string, Version>): Change => {
    const expect = store.get(id);
    if (expect === undefined) return { op: 'put', document: made(id), expect: null };
    return draw() < 0.25 ? { op: 'remove', id, expect } : { op: 'put', document: made(id), expect };
  };
  const made = (id: string): ModuleDocument => moduleDocument(id, { port: Math.floor(draw() * 60_000), edge_control_id: pick(LOCATIONS) });

  for (; report.steps < steps; report.steps += 1) {
    const store = pick(stores);
    await eventually('in touch', async () => (await store.contact()).inTouch);
    const known = new Map((await store.list('mod', { limit: 100 })).map(({ document, version }) => [document.id, version]));
    const ids = [...new Set(Array.from({ length: 1 + Math.floor(draw() * 3) }, () => pick(IDS)))];
    const changes = ids.map((id) => change(id, known));
    truth = await step(store, changes, truth, report);
  }

  // Healed, everybody agrees: both nodes, one that starts now, the documents and the indexes.
  node.fault = () => null;
  const wanted = [...truth].map(([, { document }]) => document).toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const late = await openOn(processes[0], node);
  for (const store of [...stores, late]) await eventually('all read the same', async () => same((await store.list('mod', { limit: 100 })).map(({ document }) => document), wanted));
  const versions = await Promise.all([...stores, late].map(async (store) => (await store.list('mod', { limit: 100 })).map(({ version }) => version)));
  expect(versions[1]).toEqual(versions[0]);
  expect(versions[2]).toEqual(versions[0]);
  await eventually('documents are written', () => same(node.collection('holdfast.documents').ids().toSorted(), wanted.map(({ id }) => id)));
  await eventually('indexes are written', () => same(indexed(node), wanted.map(({ id, edge_control_id }) => `${edge_control_id ?? ''} ${id}`).toSorted()));
  for (const store of [...stores, late]) await store.close();
  await node.stop();
  expect(node.unknown).toEqual([]);
  return report;
}

/** Lost ones cost a timeout, so they are rarer; those who ask for news all the time are disturbed less. */
function chanceOf({ collection, id, opcode }: Seen): number {
  if (collection !== 'holdfast-private.log') return 0.05;
  return opcode === 0x00 && (id === 'head' || id.startsWith('commit-')) ? 0.01 : 0.2;
}

function drawFault({ durable }: Seen, draw: () => number): Fault {
  const possible = faults.filter((fault) => durable || !fault.startsWith('ambiguous'));
  const fault = possible[Math.floor(draw() * possible.length)] ?? 'busy';
  return fault.startsWith('lose') && draw() < 0.9 ? 'cut-after' : fault;
}

async function step(store: RemoteStore, changes: Change[], truth: Truth, report: LaneReport): Promise<Truth> {
  try {
    const versions = await store.apply(changes);
    expect(stale(changes, truth), 'a stale write was taken').toEqual([]);
    return after(changes, truth, versions);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    if (error.code === 'VERSION_CONFLICT') {
      const { id } = error.facts;
      expect(stale(changes, truth), `${JSON.stringify(id)} was refused`).toContain(id);
      return truth;
    }
    report.refused += 1;
    if (error.code === 'STORE_UNREACHABLE' || error.code === 'STORE_OVERLOADED') return truth;
    expect(error.code).toBe('STORE_UNCERTAIN');
    report.uncertain += 1;
    return settle(store, truth, after(changes, truth, null));
  }
}

const idOf = (change: Change): string => (change.op === 'put' ? change.document.id : change.id);
/** Where the version is not known, after an uncertain write, it is not judged. */
const stale = (changes: Change[], truth: Truth): string[] =>
  changes.filter((change) => truth.get(idOf(change))?.version !== null && (truth.get(idOf(change))?.version ?? null) !== change.expect).map(idOf);

function after(changes: Change[], truth: Truth, versions: Version[] | null): Truth {
  const next = new Map(truth);
  for (const [i, change] of changes.entries()) {
    if (change.op === 'remove') next.delete(change.id);
    else if (change.document.type === 'mod') next.set(change.document.id, { document: change.document, version: versions?.[i] ?? null });
  }
  return next;
}

/** All of it, or nothing. */
async function settle(store: RemoteStore, before: Truth, done: Truth): Promise<Truth> {
  await eventually('in touch again', async () => (await store.contact()).inTouch);
  // A write makes sure that it knows what was before.
  await eventually('a mark is stored', () =>
    store.apply([{ op: 'put', document: moduleDocument('mod-0'), expect: 'none' as Version }]).then(
      () => true,
      (error: { code?: string }) => error.code === 'VERSION_CONFLICT',
    ),
  );
  const found = await store.list('mod', { limit: 100 });
  const there = new Map(found.map(({ document, version }) => [document.id, { document, version }]));
  const isSame = (truth: Truth): boolean => truth.size === there.size && [...truth].every(([id, { document }]) => same(there.get(id)?.document, document));
  expect(isSame(before) || isSame(done), 'an uncertain write was done in part').toBe(true);
  return there;
}

function indexed(node: ReturnType<typeof holdfastNode>): string[] {
  const indexes = node.collection('holdfast.indexes');
  return indexes
    .ids()
    .filter((key) => key !== 'idx')
    .flatMap((key) => {
      const { ids } = indexes.read(key) as { ids: Record<string, number> };
      const location = /^idx-(.*)-mod-\d+$/.exec(key)?.[1] ?? '';
      return Object.keys(ids).map((id) => `${location} ${id}`);
    })
    .toSorted();
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
