import type { JsonObject } from '../foundation/json.ts';
import type { EventKind } from '../model/events.ts';

/** A place in the log of one node. Sequences grow over its whole life; the epoch rises each time that it is opened. */
export interface EventPosition {
  epoch: number;
  sequence: number;
}

/** A place in any log: `log` is drawn when a node makes its file, so that the place of another node, or of a file that is gone, is known for one. */
export interface EventCursor extends EventPosition {
  log: string;
}

export interface NewEvent {
  kind: EventKind;
  /** A stable word of `eventTable`. */
  event: string;
  location: string | null;
  who: string | null;
  facts: JsonObject;
}

export interface EventEntry extends NewEvent, EventPosition {
  wallMs: number;
}

/** What an event says, beside its place. */
export interface EventBody extends Omit<NewEvent, 'kind'> {
  wallMs: number;
}

/** An event as it is kept: what is looked for by, and its body as JSON text. Thousands are, and the garbage collector looks at each object of them. */
export interface KeptEvent extends EventPosition, Pick<EventEntry, 'kind' | 'location' | 'wallMs'> {
  body: string;
}

export interface EventFilter {
  kinds: readonly EventKind[];
  /** null: all of them. */
  location: string | null;
}

export interface EventPage {
  /** Oldest first. */
  events: EventEntry[];
  /** Where the next page begins. */
  next: EventCursor;
  /** Events of all kinds that came after the cursor and are not kept any more; null: the cursor is of another log, so nobody knows. */
  missing: number | null;
}

/** Where reading begins: after an event, at a time (unix milliseconds), or `null`: the newest. */
export type EventStart = EventCursor | { wallMs: number } | null;

/** What happened at this node, for people and programs that watch it. Nothing that decides ever waits for it. */
export interface EventLog {
  /** The end of the log. */
  readonly newest: EventCursor;
  record(event: NewEvent): void;
  /** At most `limit` events that are kept. */
  read(from: EventStart, filter: EventFilter, limit: number): EventPage;
  /** Calls back soon after new events of these kinds. Returns the way to stop. */
  onEvent(kinds: readonly EventKind[], listener: () => void): () => void;
  /** Stores what waits. */
  close(): Promise<void>;
}

/** The newest event of each kind that is not kept any more. */
export type Forgotten = ReadonlyMap<EventKind, EventPosition>;

export interface StoredEvents {
  log: string;
  /** Of this opening: higher than that of every event. */
  epoch: number;
  /** Oldest first. */
  events: KeptEvent[];
  forgotten: Forgotten;
}

/** What events survive a restart in: the newest of each kind (`eventsKept`). */
export interface EventStore {
  /** Once, before anything is appended. Throws STORE_FULL, STORE_FAILED. */
  load(): Promise<StoredEvents>;
  /** Later than all before. `forgotten`: events that were lost on the way. Throws STORE_FULL, STORE_FAILED, and then has kept nothing. */
  append(events: readonly KeptEvent[], forgotten: Forgotten): Promise<void>;
  close(): Promise<void>;
}
