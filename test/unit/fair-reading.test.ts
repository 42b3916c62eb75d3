import { describe, expect, it } from 'vitest';
import { FairReading } from '../../src/shared/api/fair-reading.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** Clients whose messages take `tookMs` each, at once or once they have been waited for. */
function world({ tookMs, waits = false }: { tookMs: number; waits?: boolean }) {
  const clock = new FakeClock();
  const done: string[] = [];
  const ends: (() => void)[] = [];
  const reading = new FairReading(clock, (callback) => ends.push(callback));
  const client = (name: string, groupOf: (() => unknown) | null = null) => {
    const source = { paused: false, pause: () => (source.paused = true), resume: () => (source.paused = false) };
    const lane = reading.lane(source, groupOf);
    const work = async (text: string): Promise<void> => {
      if (waits) await Promise.resolve();
      clock.work(tookMs);
      done.push(text);
    };
    const says = (...words: string[]): void => words.forEach((word) => lane.take(() => void work(`${name}${word}`)));
    return { source, says, finish: lane.finish };
  };
  /** Everything else of this turn is done. How many messages that were waiting were done then. */
  const endTurn = async (): Promise<number> => {
    const before = done.length;
    for (const end of ends.splice(0)) end();
    await new Promise((resolve) => setImmediate(resolve));
    return done.length - before;
  };
  return { client, done, endTurn, ends, arrived: () => reading.arrived() };
}

describe('reading from clients in turns', () => {
  it('does at once what a few of them say, and lets nobody wait', async () => {
    const { client, done, endTurn, ends } = world({ tookMs: 0 });
    const [a, b] = [client('a'), client('b')];
    for (let turn = 0; turn < 3; turn += 1) {
      a.says('1', '2');
      b.says('1');
      expect([done.splice(0), a.source.paused]).toEqual([['a1', 'a2', 'b1'], false]);
      expect(await endTurn()).toBe(0);
    }
    expect(ends).toEqual([]);
  });

  it('once the time of a turn is over, those who say more wait, and come one after the other in the next', async () => {
    const { client, done, endTurn, ends } = world({ tookMs: limits.clientTurnMs / 3 });
    const [a, b, c] = [client('a'), client('b'), client('c')];
    a.says('1', '2', '3', '4', '5', '6');
    b.says('1', '2');
    expect([done.splice(0), a.source.paused, b.source.paused, c.source.paused]).toEqual([['a1', 'a2', 'a3'], true, true, false]);
    await endTurn();
    expect([done.splice(0), a.source.paused, b.source.paused]).toEqual([['a4', 'b1', 'a5'], true, true]);
    // Who is not waiting has a share of the turn too; who is waiting comes in order.
    c.says('1');
    b.says('3');
    expect(done.splice(0)).toEqual(['c1']);
    await endTurn();
    expect([done.splice(0), a.source.paused, b.source.paused]).toEqual([['b2', 'a6', 'b3'], false, false]);
    expect(ends).toEqual([]);
  });

  it('does so many at once at most: what they begin takes time later', () => {
    const { client, done } = world({ tookMs: 0 });
    const a = client('a');
    a.says(...Array.from({ length: limits.clientTurnMessages + 5 }, (_, n) => String(n)));
    expect([done.length, a.source.paused]).toEqual([limits.clientTurnMessages, true]);
  });

  it('does at once what waits of a client that is about to go', async () => {
    const { client, done, endTurn } = world({ tookMs: limits.clientTurnMs });
    const [a, b] = [client('a'), client('b')];
    a.says('1', '2', '3');
    b.says('1');
    expect(done.splice(0)).toEqual(['a1']);
    a.finish();
    expect(done.splice(0)).toEqual(['a2', 'a3']);
    await endTurn();
    expect([done.splice(0), a.source.paused]).toEqual([['b1'], false]);
  });

  it('of those that belong together comes one, and then one of the next, however many they are', async () => {
    const { client, done, endTurn } = world({ tookMs: limits.clientTurnMs / 4 });
    let group = 'many';
    const many = Array.from({ length: 5 }, (_, n) => client(`m${n}`, () => (n === 4 ? group : 'many')));
    const one = client('one');
    for (const member of many) member.says('a', 'b');
    one.says('a', 'b', 'c');
    expect(done.splice(0)).toEqual(['m0a', 'm0b', 'm1a', 'm1b']);
    await endTurn();
    expect(done.splice(0)).toEqual(['m2a', 'onea', 'm3a', 'oneb']);
    // It belongs to them no more.
    group = 'alone';
    await endTurn();
    expect(done.splice(0)).toEqual(['m4a', 'onec', 'm2b', 'm4b']);
  });

  it('makes a turn short in which somebody came, for others may wait to be let in: one message of each', async () => {
    const { client, done, endTurn, ends, arrived } = world({ tookMs: 0 });
    const [a, b] = [client('a'), client('b')];
    arrived();
    a.says('1', '2', '3');
    b.says('1');
    expect(done).toEqual([]);
    await endTurn();
    expect(done.splice(0)).toEqual(['a1', 'b1']);
    // Nobody came in this one.
    await endTurn();
    expect(done.splice(0)).toEqual(['a2', 'a3']);
    a.says('4');
    expect(done.splice(0)).toEqual(['a4']);
    expect(await endTurn()).toBe(0);
    expect(ends).toEqual([]);
  });

  it('counts the time of what a message began', async () => {
    const { client, endTurn } = world({ tookMs: limits.clientTurnMs, waits: true });
    const a = client('a');
    a.says(...Array.from({ length: limits.clientTurnMessages + 9 }, (_, n) => String(n)));
    await endTurn();
    // The one under way, and one that had begun before its time was known.
    expect(await endTurn()).toBeLessThanOrEqual(2);
    expect(a.source.paused).toBe(true);
  });
});
