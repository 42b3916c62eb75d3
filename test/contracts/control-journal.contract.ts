import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Epoch } from '../../src/shared/model/control.ts';
import type { TriggerMemory } from '../../src/shared/triggers/memory.ts';
import type { ControlJournal, HistoryEntry, JournalEntry } from '../../src/shared/ports/control-journal.ts';

export interface JournalUnderTest {
  journal: ControlJournal;
  /** Closes the journal and opens it again, as the next process would. */
  reopen(): Promise<ControlJournal>;
  close(): Promise<void>;
}

const epoch = (generation: number, number: number): Epoch => ({ generation, number });

export const journalEntry = (location: string, fields: Partial<JournalEntry> = {}): JournalEntry => ({
  location,
  epoch: epoch(0, 2),
  floor: fields.floor ?? fields.epoch ?? epoch(0, 2),
  holder: 'edge',
  reason: 'no-takeover-happened',
  sinceMs: 1_000,
  terms: { failover: true, policy: 'available', timeoutMs: 20_000, paused: false },
  ...fields,
});

const record = (location: string, wallMs: number): Omit<HistoryEntry, 'sequence'> => ({
  location,
  wallMs,
  holder: 'master',
  state: 'holding',
  reason: 'timeout',
  epoch: epoch(0, 3),
});

/** What every control journal must do. `historyEntries` is 5. */
export function controlJournalContract(name: string, make: () => Promise<JournalUnderTest>): void {
  describe(`control journal: ${name}`, () => {
    let made: JournalUnderTest;
    let journal: ControlJournal;
    beforeEach(async () => {
      made = await make();
      journal = made.journal;
    });
    afterEach(() => made.close());

    it('is empty at first', async () => {
      expect(await journal.load()).toEqual([]);
      expect(await journal.history('edge-1', 10)).toEqual([]);
    });

    it('remembers the last entry of each location over a restart', async () => {
      await journal.write(journalEntry('edge-2'));
      await journal.write(journalEntry('edge-1'));
      const last = journalEntry('edge-1', { epoch: epoch(0, 4), floor: epoch(0, 7), holder: 'none', reason: 'released' });
      await journal.write(last);
      journal = await made.reopen();
      expect(await journal.load()).toEqual([last, journalEntry('edge-2')]);
    });

    it.each([
      ['epoch', { epoch: epoch(1, 2), floor: epoch(1, 9) }],
      ['epoch of an older generation', { epoch: epoch(0, 100), floor: epoch(1, 9) }],
      ['floor', { epoch: epoch(1, 4), floor: epoch(1, 8) }],
      ['floor of an older generation', { epoch: epoch(1, 4), floor: epoch(1, 4) }],
    ])('refuses a lower %s and keeps what it has', async (_, fields) => {
      const stored = journalEntry('edge-1', { epoch: epoch(1, 4), floor: epoch(1, 9) });
      await journal.write(stored);
      await expect(journal.write(journalEntry('edge-1', fields))).rejects.toMatchObject({
        code: 'STALE_EPOCH',
        facts: { location: 'edge-1', floor: '1.9' },
      });
      expect(await journal.load()).toEqual([stored]);
    });

    it('refuses a lower epoch also after a restart', async () => {
      await journal.write(journalEntry('edge-1', { epoch: epoch(0, 6) }));
      journal = await made.reopen();
      await expect(journal.write(journalEntry('edge-1', { epoch: epoch(0, 4) }))).rejects.toMatchObject({ code: 'STALE_EPOCH' });
    });

    it('takes the same epoch again, and a higher generation with a lower number', async () => {
      await journal.write(journalEntry('edge-1', { epoch: epoch(0, 6) }));
      await journal.write(journalEntry('edge-1', { epoch: epoch(0, 6), holder: 'none' }));
      const next = journalEntry('edge-1', { epoch: epoch(1, 1) });
      await journal.write(next);
      expect(await journal.load()).toEqual([next]);
    });

    it('keeps the order of writes that were started at the same moment', async () => {
      const results = await Promise.allSettled([2, 6, 4, 8].map((number) => journal.write(journalEntry('edge-1', { epoch: epoch(0, number) }))));
      expect(results.map((result) => result.status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
      expect((await journal.load())[0]?.epoch).toEqual(epoch(0, 8));
    });

    it('gives the history newest first, numbered per location', async () => {
      for (const wallMs of [1, 2, 3]) journal.record(record('edge-1', wallMs));
      journal.record(record('edge-2', 9));
      expect(await journal.history('edge-1', 2)).toEqual([
        { ...record('edge-1', 3), sequence: 3 },
        { ...record('edge-1', 2), sequence: 2 },
      ]);
      expect(await journal.history('edge-2', 10)).toEqual([{ ...record('edge-2', 9), sequence: 1 }]);
    });

    it('keeps how long both sides held', async () => {
      const entry = { ...record('edge-1', 1), dualControl: { epochs: '0.2/0.3', ms: 4_200 } };
      journal.record(entry);
      journal = await made.reopen();
      expect(await journal.history('edge-1', 1)).toEqual([{ ...entry, sequence: 1 }]);
    });

    it('keeps when a location was last driven, the newest mark only', async () => {
      expect(await journal.lastAlive('edge-1')).toBeNull();
      journal.alive('edge-1', 1_000);
      journal.alive('edge-1', 2_000);
      journal = await made.reopen();
      expect(await journal.lastAlive('edge-1')).toBe(2_000);
      expect(await journal.lastAlive('edge-2')).toBeNull();
    });

    it('remembers each trigger of a location as it was last, over a restart, until it is forgotten', async () => {
      const memory = (instance: string, rises: number): TriggerMemory => {
        const firings = [{ occurrence: `rise-${rises}`, epoch: epoch(0, 2), wallMs: 1_000 }];
        return { instance, epoch: epoch(0, 2), revision: 3, timesUntilMs: 5, met: true, rises, count: rises, firings };
      };
      expect(await journal.triggers('edge-1')).toEqual([]);
      await journal.rememberTriggers('edge-1', [memory('b~sys', 1), memory('a~sys', 1)], []);
      await journal.rememberTriggers('edge-2', [memory('c~sys', 7)], []);
      await journal.rememberTriggers('edge-1', [memory('a~sys', 2)], []);
      journal = await made.reopen();
      expect(await journal.triggers('edge-1')).toEqual([memory('a~sys', 2), memory('b~sys', 1)]);
      await journal.rememberTriggers('edge-1', [], ['a~sys', 'c~sys']);
      expect(await journal.triggers('edge-1')).toEqual([memory('b~sys', 1)]);
      expect(await journal.triggers('edge-2')).toEqual([memory('c~sys', 7)]);
    });

    it('keeps the newest of a long history, over a restart too', async () => {
      for (let wallMs = 1; wallMs <= 8; wallMs += 1) journal.record(record('edge-1', wallMs));
      journal = await made.reopen();
      journal.record(record('edge-1', 9));
      const history = await journal.history('edge-1', 100);
      expect(history.map((entry) => entry.sequence)).toEqual([9, 8, 7, 6, 5]);
    });
  });
}
