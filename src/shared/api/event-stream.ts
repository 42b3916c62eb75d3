import type { EventCursor, EventEntry, EventFilter, EventLog, EventStart } from '../ports/event-log.ts';
import type { EventView } from '../client-api/event-schemas.ts';
import type { ServerEvent, StreamSource } from './reply.ts';

const PAGE = 100;

export const formatCursor = ({ log, epoch, sequence }: EventCursor): string => `${log}.${epoch}.${sequence}`;

/** An event as clients read it: its facts beside what every event has. */
export function eventViewOf({ epoch, sequence, wallMs, kind, event, location, who, facts }: EventEntry, log: string): EventView {
  return { ...facts, id: formatCursor({ log, epoch, sequence }), kind, event, time: Math.round(wallMs) / 1_000, location, who };
}

/**
 * Reads the event log at the pace of one reader. Nothing is kept for it but a page: one that is slower than the log
 * forgets is told how many it missed, as is one that comes back too late.
 */
export class EventStream implements StreamSource {
  readonly #log: EventLog;
  readonly #filter: EventFilter;
  readonly #stop: () => void;
  #from: EventStart;
  #page: EventEntry[] = [];
  #begun = false;
  #closed = false;
  #wake: () => void = () => undefined;

  constructor(log: EventLog, filter: EventFilter, from: EventStart) {
    this.#log = log;
    this.#filter = filter;
    this.#from = from ?? log.newest;
    this.#stop = log.onEvent(filter.kinds, () => this.#wake());
  }

  get closed(): boolean {
    return this.#closed;
  }

  take(): ServerEvent | undefined {
    if (this.#page.length === 0) {
      const { events, next, missing } = this.#log.read(this.#from, this.#filter, PAGE);
      this.#from = next;
      this.#page = events;
      // A reader that is cut off before the first event comes back to here.
      if (!this.#begun && events.length === 0 && missing === 0) {
        this.#begun = true;
        return { id: formatCursor(next) };
      }
      // With nothing after a gap, the next turn says the place: else each return would be told the same gap.
      this.#begun = missing === 0 || events.length > 0;
      if (missing !== 0) return { event: 'gap', data: { kind: 'gap', missing } };
    }
    const entry = this.#page.shift();
    if (entry === undefined) return undefined;
    const view = eventViewOf(entry, this.#log.newest.log);
    return { event: entry.kind, id: view.id, data: view };
  }

  listen(wake: () => void): void {
    this.#wake = wake;
    wake();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stop();
    this.#wake();
  }
}
