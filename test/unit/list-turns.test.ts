import { describe, expect, it } from 'vitest';
import { ListTurns } from '../../src/shared/api/list-turns.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { FakeClock } from '../support/fake-clock.ts';

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function world() {
  const clock = new FakeClock();
  const ends: (() => void)[] = [];
  const turns = new ListTurns(clock, (callback) => ends.push(callback));
  const begun: string[] = [];
  const under = new Map<string, () => void>();
  const ask = (name: string, caller: string, signal = new AbortController().signal): Promise<void> =>
    turns.begin(caller, signal).then((ended) => {
      begun.push(name);
      under.set(name, ended);
    });
  /** It is answered, and the turn of the event loop is over. */
  const answer = async (name: string): Promise<void> => {
    under.get(name)?.();
    for (const end of ends.splice(0)) end();
    await settled();
  };
  return { clock, ends, begun, under, ask, answer };
}

describe('lists in turns', () => {
  it('begin at once while few are under way; the others wait, those of each caller after the other', async () => {
    const { begun, ask, answer } = world();
    const all = ['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1'];
    for (const name of all) void ask(name, name.slice(0, 1));
    await settled();
    expect(begun).toEqual(['a1', 'a2']);
    for (const name of all) await answer(begun.includes(name) ? name : (begun.at(-1) ?? ''));
    expect(begun).toEqual(['a1', 'a2', 'a3', 'b1', 'c1', 'a4', 'b2']);
  });

  it('begin only when the answer before them has had its turn to be written', async () => {
    const { ends, begun, under, ask } = world();
    for (let n = 1; n <= limits.listsAtOnce + 1; n += 1) void ask(`a${n}`, 'a');
    await settled();
    under.get('a1')?.();
    await settled();
    expect(begun).toHaveLength(limits.listsAtOnce);
    for (const end of ends.splice(0)) end();
    await settled();
    expect(begun).toHaveLength(limits.listsAtOnce + 1);
  });

  it('whoever leaves has no turn any more, and takes none from others', async () => {
    const { begun, ask, answer, clock } = world();
    void ask('a1', 'a');
    void ask('a2', 'a');
    const leaving = new AbortController();
    const left = ask('a3', 'a', leaving.signal);
    void ask('a4', 'a');
    leaving.abort();
    const cancelled = { code: 'CANCELLED', facts: { fate: 'not-sent' } };
    await expect(left).rejects.toMatchObject(cancelled);
    await expect(ask('a5', 'a', leaving.signal)).rejects.toMatchObject(cancelled);
    await answer('a1');
    expect(begun).toEqual(['a1', 'a2', 'a4']);
    await answer('a2');
    await answer('a4');
    expect(clock.pendingTimers).toBe(0);
    // All places are free again.
    void ask('b1', 'b');
    void ask('b2', 'b');
    await settled();
    expect(begun).toEqual(['a1', 'a2', 'a4', 'b1', 'b2']);
  });

  it('whoever waits too long is refused', async () => {
    const { begun, ask, answer, clock } = world();
    for (let n = 1; n <= limits.listsAtOnce; n += 1) void ask(`a${n}`, 'a');
    const refused = expect(ask('late', 'b')).rejects.toMatchObject({ code: 'RATE_LIMITED' });
    await clock.advance(limits.listWaitMs);
    await refused;
    void ask('next', 'b');
    await answer('a1');
    expect(begun).toEqual(['a1', 'a2', 'next']);
  });
});
