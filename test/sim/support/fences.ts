import type { DeviceLink } from '../../../src/shared/ports/device-link.ts';
import type { Epoch } from '../../../src/shared/model/control.ts';
import type { JournalEntry } from '../../../src/shared/ports/control-journal.ts';
import { createMemoryJournal } from '../../../src/shared/adapters/store-memory/memory-journal.ts';
import { createMemoryStore } from '../../../src/shared/adapters/store-memory/memory-store.ts';
import { driverSchema } from '../../../src/shared/model/documents.ts';
import { World } from '../../../src/sim/world.ts';

/**
 * One situation for each fence of docs/control.md, section 6: something of an older epoch arrives where it has no
 * say any more. Each tells what went wrong, or null. The nodes do not send such things to each other, so that no seed can.
 */

const SECOND = 1_000;

/** One location; its edge holds it and its link is up. */
async function settled(): Promise<{ world: World; invoked: string[] }> {
  const invoked: string[] = [];
  const world = await World.create({ seed: 'fences', sites: { a: { failover: true } }, invoked: (args) => invoked.push(JSON.stringify(args)) });
  for (const seat of world.seats) world.boot(seat);
  await world.run(20 * SECOND, () => world.judge.settled('a'));
  await world.run(2 * SECOND);
  return { world, invoked };
}

/** A peer that is behind: what it sends in frames that match carries an epoch that is over. */
function fallBehind(world: World, frames: RegExp): void {
  world.site('a').line.rewrite = (text) => (frames.test(text) ? text.replace(/("(?:ep|epoch)":\{"generation":0,"number":)\d+/, '$11') : text);
}

function problemOf(world: World): string | null {
  try {
    world.judge.afterEvent();
    return null;
  } catch (error) {
    return String(error);
  }
}

/** A command for a display of the location, given to the master; how it ends. */
async function command(world: World, value: string): Promise<string> {
  let ended = 'nothing';
  const request = { system: 'sys-a', module: 'Display', index: 1, method: 'set', args: [value], user: 'test', timeoutMs: 5 * SECOND };
  world.masterNode()?.desk.exec(request, new AbortController().signal).then(
    () => (ended = 'ok'),
    (error: { code?: string }) => (ended = error.code ?? 'crash'),
  );
  await world.run(8 * SECOND);
  return ended;
}

/** Fence 1: a command of an older epoch comes over the link. */
export async function lateCommand(): Promise<string | null> {
  const { world, invoked } = await settled();
  fallBehind(world, /"t":"request".*"kind":"exec"/);
  const ended = await command(world, 'late');
  if (invoked.length > 0) return 'a command of an older epoch ran';
  return ended === 'STALE_EPOCH' ? null : `a command of an older epoch ended in ${ended}`;
}

/** Fence 1: an order of an older epoch comes over the link. */
export async function lateOrder(): Promise<string | null> {
  const { world } = await settled();
  fallBehind(world, /"t":"control.release"/);
  world.order('a', 'takeover');
  await world.run(SECOND);
  return world.judge.machines('a').edge?.state === 'holding' ? null : 'the edge obeyed an order of an older epoch';
}

/** Fence 2: a command that waited at the driver host while the epoch rose. */
export async function lateWrite(): Promise<string | null> {
  const { world, invoked } = await settled();
  const { seat } = world.site('a');
  const hands: DeviceLink | null = seat.hands;
  const call = { location: 'a', module: 'mod-a-1', method: 'set', args: ['late'], epoch: { generation: 0, number: 1 }, user: 'test', requestId: '' };
  hands?.exec({ ...call, deadlineMs: seat.machine.monotonicMs() + SECOND }, new AbortController().signal).catch(() => undefined);
  await world.run(2 * SECOND).catch(() => undefined);
  return problemOf(world) ?? (invoked.length > 0 ? 'a command of an older epoch ran' : null);
}

/** Fence 3: a value of an older epoch, over the link and from the own driver hosts. */
export async function lateStatus(): Promise<string | null> {
  const { world } = await settled();
  await command(world, 'first');
  fallBehind(world, /"t":"post".*"type":"status"/);
  await command(world, 'second');
  const seen = await world.masterNode()?.desk.statusOf({ system: 'sys-a', module: 'Display', index: 1 });
  return seen?.values['value'] === 'first' ? null : 'a value of an older epoch was shown';
}

const entry = (number: number): JournalEntry => {
  const epoch: Epoch = { generation: 0, number };
  const terms = { failover: true, policy: 'available' as const, timeoutMs: 1, paused: false };
  return { location: 'a', epoch, floor: epoch, holder: 'none', reason: 'test', terms, sinceMs: 0 };
};

/** Fence 4: two writes reach the journal in the wrong order. */
export async function reorderedJournal(): Promise<string | null> {
  const { world } = await settled();
  const journal = createMemoryJournal({ clock: world.master.machine.diskClock() });
  const ends: string[] = [];
  for (const number of [4, 3]) journal.write(entry(number)).then(() => ends.push('stored'), () => ends.push('refused'));
  await world.run(SECOND);
  const [stored] = await journal.load();
  return stored?.epoch.number === 4 && ends.join() === 'stored,refused' ? null : 'the journal went back to an older epoch';
}

/** Fence 4: two people change the same document, each on top of what both have read. */
export async function lostUpdate(): Promise<string | null> {
  const store = createMemoryStore();
  const document = (name: string) => driverSchema.parse({ id: 'driver-a', type: 'driver', name, builtin: 'mock' });
  await store.apply([{ op: 'put', document: document('first'), expect: null }]);
  const expect = (await store.get('driver-a'))?.version ?? null;
  await store.apply([{ op: 'put', document: document('second'), expect }]);
  const overwritten = await store.apply([{ op: 'put', document: document('third'), expect }]).then(() => true, () => false);
  return overwritten ? 'a change was lost' : null;
}
