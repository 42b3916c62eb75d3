import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EventKind } from '../../src/shared/model/events.ts';
import type { EventBody, EventStore, KeptEvent } from '../../src/shared/ports/event-log.ts';

export interface EventsUnderTest {
  store: EventStore;
  /** Closes the store and opens it again, as the next process would. */
  reopen(): Promise<EventStore>;
  close(): Promise<void>;
}

export function eventEntry(sequence: number, { kind = 'link', epoch = 1, ...said }: Partial<Pick<KeptEvent, 'kind' | 'epoch'> & EventBody> = {}): KeptEvent {
  const facts = { peer: 'edge-1', reason: 'silent' };
  const body = { wallMs: 1_000 + sequence, event: 'link-down', location: 'edge-1', who: null, facts, ...said };
  return { kind, epoch, sequence, location: body.location, wallMs: body.wallMs, body: JSON.stringify(body) };
}

/** What every store of events must do. Five of each kind are kept. */
export function eventStoreContract(name: string, make: () => Promise<EventsUnderTest>): void {
  describe(`event store: ${name}`, () => {
    let made: EventsUnderTest;
    beforeEach(async () => {
      made = await make();
    });
    afterEach(() => made.close());
    const none = new Map<EventKind, { epoch: number; sequence: number }>();
    const sequences = (events: readonly KeptEvent[]): number[] => events.map(({ sequence }) => sequence);

    it('begins empty, in the first epoch of a log that has a name', async () => {
      expect(await made.store.load()).toEqual({ log: expect.stringMatching(/^[0-9a-f]{8}$/) as string, epoch: 1, events: [], forgotten: none });
    });

    it('gives back what was appended, in order, under the same name and the next epoch', async () => {
      const { log } = await made.store.load();
      const written = [eventEntry(1), eventEntry(2, { kind: 'audit', who: 'key-1', facts: { params: { id: 'é"x' }, status: 200 } }), eventEntry(3)];
      await made.store.append(written.slice(0, 2), none);
      await made.store.append(written.slice(2), none);
      const again = await made.reopen();
      expect(await again.load()).toEqual({ log, epoch: 2, events: written, forgotten: none });
    });

    it('keeps the newest of each kind, and says where the others end', async () => {
      await made.store.load();
      const links = Array.from({ length: 7 }, (_, index) => eventEntry(index + 2));
      await made.store.append([eventEntry(1, { kind: 'control' }), ...links], none);
      const { events, forgotten } = await (await made.reopen()).load();
      expect(sequences(events)).toEqual([1, 4, 5, 6, 7, 8]);
      expect(forgotten).toEqual(new Map([['link', { epoch: 1, sequence: 3 }]]));
    });

    it('keeps no more when many came at a time', async () => {
      await made.store.load();
      for (const first of [1, 4, 7]) await made.store.append([0, 1, 2].map((i) => eventEntry(first + i)), none);
      const { events, forgotten } = await (await made.reopen()).load();
      expect(sequences(events)).toEqual([5, 6, 7, 8, 9]);
      expect(forgotten).toEqual(new Map([['link', { epoch: 1, sequence: 4 }]]));
    });

    it('remembers what was lost on the way', async () => {
      await made.store.load();
      await made.store.append([eventEntry(9)], new Map([['audit', { epoch: 1, sequence: 8 }]]));
      expect((await (await made.reopen()).load()).forgotten).toEqual(new Map([['audit', { epoch: 1, sequence: 8 }]]));
    });

    it('keeps apart what two epochs have written under one sequence', async () => {
      await made.store.load();
      await made.store.append([eventEntry(1)], none);
      const again = await made.reopen();
      await again.load();
      await again.append([eventEntry(1, { epoch: 2 })], none);
      const { events } = await (await made.reopen()).load();
      expect(events.map(({ epoch, sequence }) => [epoch, sequence])).toEqual([[1, 1], [2, 1]]);
    });
  });
}
