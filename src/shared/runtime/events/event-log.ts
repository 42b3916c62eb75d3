import { BoundedQueue } from '../../foundation/bounded-queue.ts';
import type { EventKind } from '../../model/events.ts';
import { eventsKept, kindNames } from '../../model/events.ts';
import { limits } from '../../model/limits.ts';
import type { Clock, Timer } from '../../ports/clock.ts';
import type {
  EventBody,
  EventCursor,
  EventEntry,
  EventFilter,
  EventLog,
  EventPage,
  EventPosition,
  EventStart,
  EventStore,
  KeptEvent,
  NewEvent,
  StoredEvents,
} from '../../ports/event-log.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';

export interface EventLogOptions {
  store: EventStore;
  clock: Clock;
  /** For what goes wrong here; a log that records events would do so again and again. */
  log: Log;
  metrics: Metrics;
  /** How many events of a kind are kept. */
  kept?: (kind: EventKind) => number;
}

/** Events gather this long, so that a burst costs one write. */
const GATHER_MS = 100;
const BATCH = 500;
/** When the disk is full: how long until it is tried again. */
const RETRY_MS = 5_000;

/** Opens the event log of a node. Throws what `load` of the store throws. */
export async function openEventLog(options: EventLogOptions): Promise<EventLog> {
  const { store } = options;
  try {
    return new NodeEventLog(options, await store.load());
  } catch (error) {
    await store.close();
    throw error;
  }
}

type Entries = BoundedQueue<KeptEvent>;

interface Shelf {
  /** Oldest first. */
  entries: Entries;
  /** The newest that is gone; null: none is. */
  forgotten: EventPosition | null;
}

/**
 * The newest events of each kind in memory, so that whoever asks never waits for a disk and misses nothing between
 * reading and following; written behind to a store. Without space there, events are lost at the next restart: no more.
 */
class NodeEventLog implements EventLog {
  readonly #options: EventLogOptions;
  readonly #log: string;
  readonly #epoch: number;
  /** Sequence of the first event of this epoch, had there been one at once. */
  readonly #first: number;
  readonly #kept: (kind: EventKind) => number;
  readonly #shelves = new Map<EventKind, Shelf>();
  readonly #listeners = new Map<EventKind, Set<() => void>>();
  readonly #awake = new Set<EventKind>();
  #sequence: number;
  #pending: KeptEvent[] = [];
  #lost = new Map<EventKind, EventPosition>();
  #gathering: Timer | null = null;
  #flushed: Promise<void> = Promise.resolve();
  #failing = false;
  #closed = false;

  constructor(options: EventLogOptions, { log, epoch, events, forgotten }: StoredEvents) {
    this.#options = options;
    this.#log = log;
    this.#epoch = epoch;
    this.#kept = options.kept ?? eventsKept;
    for (const kind of kindNames) {
      this.#shelves.set(kind, { entries: new BoundedQueue(this.#kept(kind)), forgotten: forgotten.get(kind) ?? null });
      this.#listeners.set(kind, new Set());
    }
    for (const entry of events) this.#keep(entry);
    const ends = [...forgotten.values(), ...events].map(({ sequence }) => sequence);
    this.#sequence = ends.reduce((highest, sequence) => Math.max(highest, sequence), 0);
    this.#first = this.#sequence + 1;
  }

  get newest(): EventCursor {
    return { log: this.#log, epoch: this.#epoch, sequence: this.#sequence };
  }

  record({ kind, event, location, who, facts }: NewEvent): void {
    const { clock, metrics } = this.#options;
    this.#sequence += 1;
    const wallMs = clock.wallMs();
    const body: EventBody = { event, location, who, facts, wallMs };
    const entry = { kind, epoch: this.#epoch, sequence: this.#sequence, location, wallMs, body: JSON.stringify(body) };
    metrics.add('holdfast_events_total', { kind });
    this.#keep(entry);
    this.#pending.push(entry);
    this.#loseOverflow();
    this.#gather(this.#failing ? RETRY_MS : GATHER_MS);
    this.#wake(kind);
  }

  read(from: EventStart, { kinds, location }: EventFilter, limit: number): EventPage {
    const shelves = kinds.flatMap((kind) => this.#shelves.get(kind) ?? []);
    const matching = ({ location: found }: KeptEvent): boolean => location === null || found === location;
    if (from === null) {
      const newest = merge(shelves.map(({ entries }) => lastOf(entries, matching, limit)));
      return { events: newest.slice(-limit).map(entryOf), next: this.newest, missing: 0 };
    }
    const after = 'wallMs' in from ? null : this.#isForeign(from) ? START : from;
    const beginOf = (entries: Entries): number => {
      if ('wallMs' in from) return indexOf(entries, (entry) => entry.wallMs >= from.wallMs);
      return after === null ? 0 : firstAfter(entries, after);
    };
    const found = merge(shelves.map(({ entries }) => firstOf(entries, { from: beginOf(entries), matching, limit }))).slice(0, limit);
    const last = found.at(-1);
    // Everything up to the end was looked at, whether or not it matched.
    const next = found.length < limit || last === undefined ? this.newest : { log: this.#log, epoch: last.epoch, sequence: last.sequence };
    return { events: found.map(entryOf), next, missing: 'wallMs' in from ? 0 : this.#missing(from, shelves) };
  }

  onEvent(kinds: readonly EventKind[], listener: () => void): () => void {
    for (const kind of kinds) this.#listeners.get(kind)?.add(listener);
    return () => {
      for (const kind of kinds) this.#listeners.get(kind)?.delete(listener);
    };
  }

  async close(): Promise<void> {
    this.#gathering?.cancel();
    this.#gathering = null;
    this.#closed = true;
    await this.#flush();
    await this.#options.store.close();
  }

  /** Not within the step that recorded it, and once for a burst: readers write to their sockets. */
  #wake(kind: EventKind): void {
    if (this.#listeners.get(kind)?.size === 0) return;
    const scheduled = this.#awake.size > 0;
    this.#awake.add(kind);
    if (scheduled) return;
    queueMicrotask(() => {
      const kinds = [...this.#awake];
      this.#awake.clear();
      const listeners = new Set(kinds.flatMap((awake) => [...(this.#listeners.get(awake) ?? [])]));
      for (const listener of listeners) listener();
    });
  }

  /** Of another log, or of a future that this one never had: it was put back from an older copy. */
  #isForeign(from: EventCursor): boolean {
    return from.log !== this.#log || compare(from, this.newest) > 0;
  }

  /** Only what was asked for makes a gap; how large it is, is known of all kinds together. */
  #missing(from: EventCursor, shelves: readonly Shelf[]): number | null {
    if (this.#isForeign(from)) return null;
    if (!shelves.some(({ forgotten }) => forgotten !== null && compare(forgotten, from) > 0)) return 0;
    // What a crash took before it was stored has left its sequence to the next epoch.
    const sequence = from.epoch < this.#epoch ? Math.min(from.sequence, this.#first - 1) : from.sequence;
    const kept = [...this.#shelves.values()].reduce((sum, { entries }) => sum + entries.size - firstAfter(entries, from), 0);
    return Math.max(1, this.#sequence - sequence - kept);
  }

  #keep(entry: KeptEvent): void {
    const shelf = this.#shelves.get(entry.kind);
    if (shelf === undefined) return;
    if (shelf.entries.push(entry)) return;
    shelf.forgotten = shelf.entries.shift() ?? null;
    shelf.entries.push(entry);
  }

  #gather(delayMs: number): void {
    if (this.#closed) return;
    this.#gathering ??= this.#options.clock.after(delayMs, () => {
      this.#gathering = null;
      void this.#flush();
    });
  }

  /** One at a time: what waits is taken off only when it is stored. */
  #flush(): Promise<void> {
    this.#flushed = this.#flushed.then(() => this.#store());
    return this.#flushed;
  }

  async #store(): Promise<void> {
    const { store, log } = this.#options;
    try {
      while (this.#pending.length > 0) {
        const batch = this.#pending.splice(0, BATCH);
        const lost = this.#lost;
        this.#lost = new Map();
        try {
          await store.append(batch, lost);
        } catch (error) {
          this.#pending.unshift(...batch);
          this.#lost = new Map([...lost, ...this.#lost]);
          this.#loseOverflow();
          throw error;
        }
      }
      this.#failing = false;
    } catch (error) {
      // Events are for people: the next one tries again, and nothing waits for it.
      if (!this.#failing) log.warn('events-not-stored', { error });
      this.#failing = true;
      this.#gather(RETRY_MS);
    }
  }

  /** Too many wait for the disk: the oldest will not survive a restart. */
  #loseOverflow(): void {
    const over = this.#pending.length - limits.eventsPending;
    if (over <= 0) return;
    for (const { kind, epoch, sequence } of this.#pending.splice(0, over)) this.#lost.set(kind, { epoch, sequence });
    this.#options.metrics.add('holdfast_events_lost_total', {}, over);
  }
}

const START: EventPosition = { epoch: 0, sequence: 0 };

/** The body was written here, or was checked when it was loaded. */
const entryOf = ({ kind, epoch, sequence, body }: KeptEvent): EventEntry => ({ kind, epoch, sequence, ...(JSON.parse(body) as EventBody) });

const compare = (a: EventPosition, b: EventPosition): number => a.epoch - b.epoch || a.sequence - b.sequence;

const merge = (lists: KeptEvent[][]): KeptEvent[] => lists.flat().sort(compare);

function indexOf(entries: Entries, matching: (entry: KeptEvent) => boolean): number {
  let index = 0;
  for (let entry = entries.at(0); entry !== undefined && !matching(entry); entry = entries.at(index)) index += 1;
  return index;
}

/** Index of the first entry after a position, by halving. */
function firstAfter(entries: Entries, position: EventPosition): number {
  let low = 0;
  let high = entries.size;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = entries.at(middle);
    if (entry !== undefined && compare(entry, position) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

interface Search {
  from: number;
  matching: (entry: KeptEvent) => boolean;
  limit: number;
}

function firstOf(entries: Entries, { from, matching, limit }: Search): KeptEvent[] {
  const found: KeptEvent[] = [];
  for (let index = from; index < entries.size && found.length < limit; index += 1) {
    const entry = entries.at(index);
    if (entry !== undefined && matching(entry)) found.push(entry);
  }
  return found;
}

function lastOf(entries: Entries, matching: (entry: KeptEvent) => boolean, limit: number): KeptEvent[] {
  const found: KeptEvent[] = [];
  for (let index = entries.size - 1; index >= 0 && found.length < limit; index -= 1) {
    const entry = entries.at(index);
    if (entry !== undefined && matching(entry)) found.push(entry);
  }
  return found;
}
