import { describe, expect, it } from 'vitest';
import type { Json } from '../../src/shared/foundation/json.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { triggerSchema } from '../../src/shared/model/trigger.ts';
import { type Resident, Town } from './support/town.ts';

/** Whole federations in simulated time: what fires where, and that it fires once. */

const HOOK = { url: 'https://hooks.example.org/a' };
const sites = { a: { timeout: 10 } };
const START = Date.UTC(2025, 2, 3);

function nodeOf({ seat }: Resident) {
  if (seat.node === null) throw new RangeError(`${seat.id} does not run`);
  return seat.node;
}

/** A trigger in the system of a site, with a webhook as evidence; the documents travel. */
async function addTrigger(t: Town, site: string, fields: object): Promise<void> {
  const { store } = t.master.seat;
  const system = await store.get(`sys-${site}`);
  if (system?.document.type !== 'sys') throw new RangeError(`${site} has no system`);
  const actions = { webhooks: [HOOK] };
  const document = triggerSchema.parse({ id: 'trig', type: 'trigger', name: 'Trigger', actions, ...fields });
  await store.apply([
    { op: 'put', document, expect: null },
    { op: 'put', document: { ...system.document, triggers: ['trig'] }, expect: system.version },
  ]);
  await t.run('2s');
}

const occurrences = ({ seat }: Resident): string[] => seat.posts.map((body) => (JSON.parse(body) as { occurrence: string }).occurrence);
const lines = (t: Town, event: string): string[] => t.world.trace.last(100_000).filter((line) => line.includes(event));

/** The display reports a value, as when somebody uses its buttons. */
function report(at: Resident, site: string, value: Json): void {
  const { node, hands } = at.seat;
  const epoch = hands?.writesUnder(site);
  if (node === null || hands === null || epoch === null || epoch === undefined) throw new RangeError(`${at.seat.id} does not drive ${site}`);
  hands.say({ location: site, module: `mod-${site}-1`, key: 'level', value, epoch });
}

const high = { comparisons: [{ left: { mod: 'Display_1', status: 'level' }, operator: 'greater_than', right: 80 }] };
/** Due that many seconds after the simulation began, by each clock within 5 s. */
const dueAt = (seconds: number) => ({ time_dependents: [{ type: 'at', time: START / 1_000 + seconds }] });

describe('a condition on a status value', () => {
  it('fires at the edge; when that dies the master takes over and does not repeat it', async () => {
    const t = await Town.settled(sites);
    await addTrigger(t, 'a', { conditions: high, actions: { functions: [{ mod: 'Display_1', method: 'set', args: [7] }], webhooks: [HOOK] } });
    report(t.edge('a'), 'a', 90);
    await t.run('1s');
    expect(occurrences(t.edge('a'))).toEqual(['rise-1']);
    expect(await t.master.value('a')).toBe(7);
    t.edge('a').powerCut();
    await t.until(() => t.writers('a').includes('master'), '30s');
    await t.run('3s');
    report(t.master, 'a', 90);
    report(t.master, 'a', 95);
    await t.run('1s');
    expect(occurrences(t.master)).toEqual([]);
    report(t.master, 'a', 10);
    report(t.master, 'a', 90);
    await t.run('1s');
    expect(occurrences(t.master)).toEqual(['rise-2']);
    t.edge('a').boot();
    await t.run('10s');
    t.order('a', 'handback');
    await t.until(() => t.writers('a').includes('edge'), '20s');
    await t.run('3s');
    report(t.edge('a'), 'a', 91);
    report(t.edge('a'), 'a', 20);
    report(t.edge('a'), 'a', 99);
    await t.run('1s');
    expect(occurrences(t.edge('a'))).toEqual(['rise-1', 'rise-3']);
    expect(lines(t, 'trigger-double')).toEqual([]);
  });

  it('is not repeated by an edge that restarts, with nobody to tell it', async () => {
    const t = await Town.settled(sites);
    await addTrigger(t, 'a', { conditions: high });
    report(t.edge('a'), 'a', 90);
    await t.run('1s');
    t.edge('a').powerCut();
    t.link('a').cut();
    await t.run('1s');
    t.edge('a').boot();
    await t.until(() => t.writers('a').includes('edge'), '30s');
    await t.run('3s');
    report(t.edge('a'), 'a', 90);
    await t.run('1s');
    expect(occurrences(t.edge('a'))).toEqual(['rise-1']);
  });

  it('that fires on both sides of a cut is found and reported when the line heals, once', async () => {
    const t = await Town.settled(sites);
    await addTrigger(t, 'a', { conditions: high });
    t.link('a').cut();
    await t.until(() => t.writers('a').length === 2, '40s');
    await t.run('3s');
    for (const side of [t.edge('a'), t.master]) report(side, 'a', 90);
    await t.run('2s');
    expect([occurrences(t.edge('a')), occurrences(t.master)]).toEqual([['rise-1'], ['rise-1']]);
    expect(lines(t, 'trigger-double')).toEqual([]);
    t.link('a').heal();
    await t.until(() => t.writers('a').length === 1 && t.master.view('a')?.link === 'up', '20s');
    await t.run('5s');
    expect(lines(t, 'trigger-double')).toHaveLength(1);
    expect(lines(t, 'trigger-double')[0]).toContain('rise-1');
    for (const at of [t.edge('a'), t.master]) expect(nodeOf(at).triggers()[0]?.memory?.firings).toHaveLength(2);
    t.link('a').cut();
    await t.run('4s');
    t.link('a').heal();
    await t.run('20s');
    expect(lines(t, 'trigger-double')).toHaveLength(1);
  });
});

describe('a time', () => {
  it('fires once where control is, and nowhere else', async () => {
    const t = await Town.settled(sites);
    await addTrigger(t, 'a', { conditions: dueAt(60) });
    await t.run('90s');
    expect([occurrences(t.edge('a')), occurrences(t.master)]).toEqual([[`time-${START / 1_000 + 60}`], []]);
  });

  it('that is due while control moves fires once, late, at the next holder', async () => {
    const t = await Town.settled(sites);
    await addTrigger(t, 'a', { conditions: dueAt(60) });
    await t.run(`${50_000 - t.world.timeline.nowMs}ms`);
    t.edge('a').powerCut();
    // Nobody drives from 50 s on; the clocks are within 5 s of 60 s when the master still waits.
    await t.until(() => t.writers('a').includes('master'), '40s');
    await t.run('10s');
    expect(occurrences(t.master)).toEqual([`time-${START / 1_000 + 60}`]);
    t.edge('a').boot();
    await t.run('10s');
    t.order('a', 'handback');
    await t.until(() => t.writers('a').includes('edge'), '20s');
    await t.run('10s');
    expect([occurrences(t.edge('a')), occurrences(t.master)]).toEqual([[], [`time-${START / 1_000 + 60}`]]);
  });

  it('that fired at the edge is not fired again by the master, whose clock is behind', async () => {
    const t = await Town.settled(sites);
    await addTrigger(t, 'a', { conditions: dueAt(60) });
    await t.until(() => occurrences(t.edge('a')).length > 0, '90s');
    await t.run('100ms');
    t.master.seat.machine.jumpWall(-30_000);
    t.edge('a').powerCut();
    await t.until(() => t.writers('a').includes('master'), '40s');
    await t.run('60s');
    expect(occurrences(t.master)).toEqual([]);
  });
});

it('what a frozen edge under a lease had due is not acted on when it thaws', async () => {
  const t = await Town.settled({ a: { timeout: 10, policy: 'exclusive' } });
  await addTrigger(t, 'a', { conditions: dueAt(60) });
  await t.run(`${45_000 - t.world.timeline.nowMs}ms`);
  t.edge('a').pause();
  await t.until(() => t.writers('a').includes('master'), '60s');
  await t.run('30s');
  t.edge('a').resume();
  await t.run('20s');
  expect([occurrences(t.edge('a')), occurrences(t.master)]).toEqual([[], [`time-${START / 1_000 + 60}`]]);
});

it('a webhook that is called at the master fires at the edge that drives, the same call once, and waits for no action', async () => {
  const t = await Town.settled({ ...sites, b: { timeout: 60 } });
  await addTrigger(t, 'a', { enable_webhook: true, webhook_secret: 'a-secret-of-its-own' });
  const never = new AbortController().signal;
  const answers: string[] = [];
  const call = (name: string): void => void nodeOf(t.master).desk.callTrigger('trig~sys-a', name, never).then((answer) => answers.push(answer));
  for (const name of ['first', 'second', 'first']) call(name);
  await t.until(() => answers.length === 3, '1s');
  expect(answers.toSorted()).toEqual(['called-before', 'fires', 'fires']);
  await t.run('1s');
  expect([occurrences(t.edge('a')), occurrences(t.master), occurrences(t.edge('b'))]).toEqual([['call-first', 'call-second'], [], []]);
  // The documents say where it is; another edge has neither secret nor actions.
  const stored = await t.edge('b').seat.store.get('trig');
  expect(stored?.document).toMatchObject({ webhook_secret: '', actions: { functions: [], webhooks: [] } });
});

it('what cannot be recorded is not done, and said', async () => {
  const t = await Town.settled(sites);
  await addTrigger(t, 'a', { conditions: high });
  t.edge('a').disk.full = true;
  report(t.edge('a'), 'a', 90);
  await t.run('2s');
  expect(occurrences(t.edge('a'))).toEqual([]);
  expect(lines(t, 'trigger-failed')).not.toEqual([]);
  t.edge('a').disk.full = false;
  report(t.edge('a'), 'a', 10);
  report(t.edge('a'), 'a', 90);
  await t.run('2s');
  expect(occurrences(t.edge('a'))).toEqual(['rise-2']);
});

it('a trigger that is changed or taken away while its location is driven follows at once', async () => {
  const t = await Town.settled(sites);
  await addTrigger(t, 'a', { conditions: high });
  report(t.edge('a'), 'a', 50);
  const { store } = t.master.seat;
  const lower = async (right: number): Promise<void> => {
    const stored = await store.get('trig');
    if (stored?.document.type !== 'trigger') throw new RangeError('it is gone');
    const [comparison] = stored.document.conditions.comparisons;
    if (comparison === undefined) throw new RangeError('it compares nothing');
    const conditions = { ...stored.document.conditions, comparisons: [{ ...comparison, right }] };
    await store.apply([{ op: 'put', document: { ...stored.document, conditions }, expect: stored.version }]);
    await t.run('2s');
  };
  await lower(20);
  expect(occurrences(t.edge('a'))).toEqual([]);
  report(t.edge('a'), 'a', 10);
  report(t.edge('a'), 'a', 30);
  await t.run('1s');
  expect(occurrences(t.edge('a'))).toEqual(['rise-1']);
  const system = await store.get('sys-a');
  if (system?.document.type !== 'sys') throw new RangeError('it is gone');
  await store.apply([{ op: 'put', document: { ...system.document, triggers: [] }, expect: system.version }]);
  await t.run('2s');
  report(t.edge('a'), 'a', 10);
  report(t.edge('a'), 'a', 30);
  await t.run('1s');
  expect(occurrences(t.edge('a'))).toEqual(['rise-1']);
  expect(nodeOf(t.master).triggers()).toEqual([]);
});

it('a trigger that fires again and again is stopped for a while, and that is said once', async () => {
  const t = await Town.settled(sites);
  await addTrigger(t, 'a', { conditions: high });
  for (let i = 0; i < limits.triggerFiringsPerMinute + 10; i += 1) {
    report(t.edge('a'), 'a', 10);
    report(t.edge('a'), 'a', 90);
  }
  await t.run('2s');
  expect(occurrences(t.edge('a'))).toHaveLength(limits.triggerFiringsPerMinute);
  expect(lines(t, 'trigger-failed')).toHaveLength(1);
  await t.run('30s');
  report(t.edge('a'), 'a', 10);
  report(t.edge('a'), 'a', 90);
  await t.run('1s');
  expect(occurrences(t.edge('a'))).toHaveLength(limits.triggerFiringsPerMinute + 1);
});
