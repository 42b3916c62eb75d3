import { type EventKind, eventsKept } from '../../model/events.ts';
import type { EventPosition, EventStore, KeptEvent } from '../../ports/event-log.ts';
import type { Random } from '../../ports/random.ts';

export interface MemoryEventsOptions {
  random: Random;
  /** How many events of a kind are kept. */
  kept?: (kind: EventKind) => number;
}

/** Events in memory: for tests, and for a node whose disk does not take them. `load` again is what a restart would find. */
export function createMemoryEvents({ random, kept = eventsKept }: MemoryEventsOptions): EventStore {
  const log = random.hex(4);
  const stored = new Map<EventKind, KeptEvent[]>();
  const gone = new Map<EventKind, EventPosition>();
  let epoch = 0;
  return {
    load: async () => {
      epoch += 1;
      const events = [...stored.values()].flat().sort((a, b) => a.epoch - b.epoch || a.sequence - b.sequence);
      return { log, epoch, events: structuredClone(events), forgotten: new Map(gone) };
    },
    append: async (events, forgotten) => {
      for (const [kind, position] of forgotten) gone.set(kind, position);
      for (const event of events) {
        const shelf = stored.get(event.kind) ?? [];
        stored.set(event.kind, shelf);
        shelf.push(structuredClone(event));
        const over = shelf.length > kept(event.kind) ? shelf.shift() : undefined;
        if (over !== undefined) gone.set(event.kind, { epoch: over.epoch, sequence: over.sequence });
      }
    },
    close: async () => undefined,
  };
}
