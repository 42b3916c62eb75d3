import { describe, expect, it } from 'vitest';
import { createMemoryJournal } from '../../../src/shared/adapters/store-memory/memory-journal.ts';
import { HoldfastError } from '../../../src/shared/model/errors.ts';
import { journalEntry } from '../../contracts/control-journal.contract.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function settledFlag(promise: Promise<unknown>): { settled: boolean } {
  const flag = { settled: false };
  promise.then(
    () => (flag.settled = true),
    () => (flag.settled = true),
  );
  return flag;
}

const entry = (number: number) => journalEntry('edge-1', { epoch: { generation: 0, number } });

describe('memory journal', () => {
  it('takes as long as the disk is told to', async () => {
    const clock = new FakeClock();
    const journal = createMemoryJournal({ clock, delayMs: () => 2_000 });
    const write = settledFlag(journal.write(entry(2)));
    await clock.advance(1_999);
    expect(write.settled).toBe(false);
    expect(await journal.load()).toEqual([]);
    await clock.advance(1);
    expect(write.settled).toBe(true);
    expect(await journal.load()).toEqual([entry(2)]);
  });

  it('finishes writes in order, also when the later one is faster', async () => {
    const clock = new FakeClock();
    const delays = [500, 1];
    const journal = createMemoryJournal({ clock, delayMs: () => delays.shift() ?? 0 });
    void journal.write(entry(2));
    const second = settledFlag(journal.write(entry(4)));
    await clock.advance(499);
    expect(second.settled).toBe(false);
    await clock.advance(1);
    expect(second.settled).toBe(true);
    expect(await journal.load()).toEqual([entry(4)]);
  });

  it('loses in a crash what was not resolved, and never settles it', async () => {
    const clock = new FakeClock();
    const journal = createMemoryJournal({ clock, delayMs: () => 10 });
    void journal.write(entry(2));
    await clock.advance(10);
    const lost = settledFlag(journal.write(entry(4)));
    journal.crash();
    await clock.advance(1_000);
    expect(lost.settled).toBe(false);
    expect(await journal.load()).toEqual([entry(2)]);
    await journal.close();
  });

  it('can keep in a crash a write that nobody was told of', async () => {
    const clock = new FakeClock();
    const journal = createMemoryJournal({ clock, delayMs: () => 10 });
    void journal.write(entry(2));
    void journal.write(entry(4));
    journal.crash(1);
    expect(await journal.load()).toEqual([entry(2)]);
  });

  it('serves the next node after a crash, whatever timers the former one left', async () => {
    const clock = new FakeClock();
    const journal = createMemoryJournal({ clock, delayMs: () => 10 });
    void journal.write(entry(2));
    await clock.advance(5);
    journal.crash();
    const next = settledFlag(journal.write(entry(6)));
    await clock.advance(9);
    expect(next.settled).toBe(false);
    await clock.advance(1);
    expect(next.settled).toBe(true);
    expect(await journal.load()).toEqual([entry(6)]);
  });

  it('fails as told, and then has stored nothing', async () => {
    const clock = new FakeClock();
    let full = true;
    const journal = createMemoryJournal({ clock, fail: () => (full ? new HoldfastError('STORE_FULL', { path: 'disk' }) : null) });
    const refused = expect(journal.write(entry(2))).rejects.toMatchObject({ code: 'STORE_FULL' });
    await clock.advance(0);
    await refused;
    expect(await journal.load()).toEqual([]);
    full = false;
    const stored = journal.write(entry(2));
    await clock.advance(0);
    await stored;
    expect(await journal.load()).toEqual([entry(2)]);
  });
});
