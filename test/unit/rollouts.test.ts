import { describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../src/shared/adapters/store-memory/memory-store.ts';
import { Rollouts, type RolloutsOptions } from '../../src/master/rollouts.ts';
import { healthOf, worseModules } from '../../src/master/rollout-health.ts';
import { documentSchemas } from '../../src/shared/model/documents.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import type { CommitReport, RepositoryOrder } from '../../src/shared/runtime/driver-code/driver-repository.ts';
import type { Rollout } from '../../src/shared/runtime/node.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { createMemoryLog } from '../support/memory-log.ts';

const never = new AbortController().signal;
const OLD = 'a'.repeat(40);
const NEW = 'b'.repeat(40);

interface Edge {
  linked: boolean;
  commit: CommitReport;
  /** What becomes of a commit that it is to take; null: all is well. */
  refuses: string | null;
  modules: Record<string, { connected?: boolean; problem?: string }>;
}

/** A master with edges that take their wanted commit at once, as the document says. */
async function setUp(ids = ['one', 'two', 'three']) {
  const clock = new FakeClock();
  const store = createMemoryStore();
  const log = createMemoryLog();
  const kept = new Map<string, string>();
  const edges = new Map<string, Edge>();
  for (const id of ids) {
    await store.apply([{ op: 'put', document: documentSchemas.edge.parse({ id, type: 'edge', name: id, commit: OLD }), expect: null }]);
    const commit = { wanted: OLD, actual: OLD, busy: false, problem: null };
    edges.set(id, { linked: true, commit, refuses: null, modules: { [`mod-${id}`]: { connected: true } } });
  }
  const edge = (id: string): Edge => edges.get(id) ?? expect.fail(`there is no edge ${id}`);
  const wanted = async (id: string): Promise<string | null> => {
    const document = (await store.get(id))?.document;
    return document?.type === 'edge' ? document.commit : null;
  };
  store.onChange(() => {
    for (const id of ids) {
      void wanted(id).then((commit) => {
        const { linked, refuses } = edge(id);
        if (linked) edge(id).commit = { wanted: commit, actual: commit === NEW && refuses !== null ? OLD : commit, busy: false, problem: commit === NEW ? refuses : null };
      });
    }
  });
  const master = { commit: OLD as string | null, orders: [] as RepositoryOrder[] };
  const repository: RolloutsOptions['repository'] = {
    get report() {
      return { wanted: null, actual: master.commit, busy: false, problem: null };
    },
    resolve: async (revision: string) => {
      if (revision !== 'main') throw new HoldfastError('COMMIT_UNKNOWN', { commit: revision });
      return NEW;
    },
    request: async (order: RepositoryOrder) => {
      master.orders.push(order);
      const from = master.commit;
      master.commit = order.commit;
      const status = { remote: '', branch: null, commit: master.commit, dirty: [], dirtyCount: 0, fetchedMs: null, wanted: null, problem: null };
      return { status, from, modules: [] };
    },
  };
  const open = async (): Promise<Rollouts> => {
    const rollouts = new Rollouts({
      clock,
      random: { next: () => 0, hex: () => '0001' },
      log,
      store,
      credentials: { get: (key) => kept.get(key) ?? null, set: async (key, value) => void kept.set(key, value) },
      repository,
      locations: () => ids,
      edge: (id) => edge(id),
      health: (id) => (id === 'master' ? new Map() : healthOf(Object.keys(edge(id).modules), (module) => edge(id).modules[module] ?? {})),
    });
    await rollouts.open();
    return rollouts;
  };
  const rollouts = await open();
  const start = (more: Partial<Parameters<Rollouts['start']>[0]> = {}) =>
    rollouts.start({ commit: 'main', locations: [], canaries: 1, dryRun: false, by: 'ada', ...more }, never);
  const newest = (): Rollout => rollouts.list()[0] ?? expect.fail('there is no roll-out');
  /** Lets time pass until it has ended. */
  const end = async (): Promise<Rollout> => {
    for (let i = 0; i < 2_000 && newest().state === 'running'; i += 1) await clock.advance(200);
    return newest();
  };
  const states = ({ steps }: Rollout): string[] => steps.map(({ location, canary, state }) => `${location}${canary ? '*' : ''} ${state}`);
  return { clock, log, store, edge, wanted, master, rollouts, start, newest, end, states, open };
}

describe('a roll-out', () => {
  it('goes from location to location, canaries first and the master last, and waits until all is well for a while', async () => {
    const { start, end, states, wanted, master, clock, newest } = await setUp();
    expect(states(await start())).toEqual(['one* waiting', 'two waiting', 'three waiting', 'master waiting']);
    await clock.advance(2_000);
    expect([states(newest()).slice(0, 2), await wanted('one'), await wanted('two')]).toEqual([['one* rolling', 'two waiting'], NEW, OLD]);
    const ended = await end();
    expect([ended.state, states(ended)]).toEqual(['done', ['one* done', 'two done', 'three done', 'master done']]);
    expect([await wanted('one'), await wanted('three'), master.commit]).toEqual([NEW, NEW, NEW]);
  });

  it('that a canary does not take goes back, and nobody else ever sees it', async () => {
    const { start, end, edge, wanted, states } = await setUp();
    edge('one').refuses = 'lamp.ts:2:1: Unexpected';
    await start();
    const ended = await end();
    expect([ended.state, ended.problem]).toEqual(['failed', expect.stringContaining('one: lamp.ts:2:1: Unexpected')]);
    expect(states(ended)).toEqual(['one* rolled-back', 'two waiting', 'three waiting', 'master waiting']);
    expect([await wanted('one'), await wanted('two'), ended.steps[0]?.problem]).toEqual([OLD, OLD, 'lamp.ts:2:1: Unexpected']);
  });

  it('under which a module falls ill later goes back everywhere, also where it went well', async () => {
    const { start, end, edge, wanted, states, clock, newest } = await setUp();
    edge('three').linked = false;
    // Ill before: proves nothing.
    edge('one').modules['mod-old'] = { connected: false, problem: 'no power' };
    await start({ locations: ['one', 'three', 'two'] });
    expect(states(newest()).map((text) => text.split(' ')[0])).toEqual(['one*', 'two', 'three']);
    while (states(newest())[1] !== 'two rolling') await clock.advance(200);
    edge('two').modules['mod-two'] = { connected: false };
    const ended = await end();
    expect([ended.state, ended.problem]).toEqual(['failed', expect.stringContaining('two: mod-two is not connected any more')]);
    expect(states(ended)).toEqual(['one* rolled-back', 'two rolled-back', 'three waiting']);
    expect([await wanted('one'), await wanted('two'), await wanted('three')]).toEqual([OLD, OLD, OLD]);
  });

  it('forgives a module that is away for some seconds', async () => {
    const { start, end, edge, clock } = await setUp(['one']);
    await start({ locations: ['one'] });
    await clock.advance(2_000);
    edge('one').modules['mod-one'] = { connected: false };
    await clock.advance(4_000);
    edge('one').modules['mod-one'] = { connected: true };
    expect((await end()).state).toBe('done');
  });

  it('leaves the commit for an edge that is away', async () => {
    const { start, end, edge, wanted, states } = await setUp(['one', 'two']);
    edge('one').linked = false;
    await start({ locations: ['one', 'two'] });
    const ended = await end();
    expect([ended.state, states(ended), await wanted('one')]).toEqual(['done', ['two* done', 'one away'], NEW]);
  });

  it('is one at a time, can be planned, and cancelled', async () => {
    const { start, rollouts, wanted, clock, states, end } = await setUp();
    expect(await start({ dryRun: true })).toMatchObject({ state: 'planned' });
    await expect(start({ commit: 'nothing' })).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN' });
    await expect(start({ locations: ['rome'] })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(rollouts.list()).toEqual([]);
    const { id } = await start();
    await expect(start()).rejects.toMatchObject({ code: 'ROLLOUT_REFUSED' });
    await clock.advance(1_000);
    const cancelling = rollouts.cancel(id);
    await clock.advance(1_000);
    const cancelled = await cancelling;
    expect([cancelled.state, states(cancelled)[0], await wanted('one')]).toEqual(['cancelled', 'one* rolled-back', OLD]);
    await expect(rollouts.cancel(id)).rejects.toMatchObject({ code: 'ROLLOUT_REFUSED' });
    await start();
    expect((await end()).state).toBe('done');
  });

  it('is marked when the master stops in the middle, and says what to do', async () => {
    const { start, rollouts, clock, open, wanted } = await setUp();
    await start();
    await clock.advance(1_000);
    const closed = rollouts.close();
    await clock.advance(1_000);
    await closed;
    const [rollout] = (await open()).list();
    expect(rollout).toMatchObject({ state: 'interrupted', problem: expect.stringContaining(`while it was at one: deploy ${NEW.slice(0, 12)} again`) });
    expect(await wanted('one')).toBe(NEW);
  });
});

it('only what was well can be worse', () => {
  const before = healthOf(['a', 'b', 'c', 'd'], (id) => ({ a: { connected: true }, b: { connected: false }, c: { problem: 'ill' }, d: {} })[id] ?? {});
  const now = healthOf(['a', 'b', 'c', 'd', 'e'], (id) => ({ a: { connected: false }, b: { connected: false }, c: { problem: 'worse' }, d: { problem: 'new' }, e: { problem: 'x' } })[id] ?? {});
  expect(worseModules(before, now)).toEqual(['a is not connected any more', 'd: new']);
});
