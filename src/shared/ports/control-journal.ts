import type { Epoch, Holder, Terms } from '../model/control.ts';
import type { TriggerMemory } from '../triggers/memory.ts';

/** What a node must remember of a location over a crash. Section 1 of docs/control.md, "control journal". */
export interface JournalEntry {
  location: string;
  /** Epoch that this node took last for itself. */
  epoch: Epoch;
  /** Highest epoch heard of. Never below `epoch`, never lowered. */
  floor: Epoch;
  holder: Holder;
  reason: string;
  /** Unix milliseconds of the last change of holder, for display. */
  sinceMs: number;
  terms: Terms;
}

export interface HistoryEntry {
  /** Grows by one per location. */
  sequence: number;
  location: string;
  wallMs: number;
  holder: Holder;
  state: string;
  reason: string;
  epoch: Epoch;
  /** Both sides held: for how long, and under which epochs (`edge/master`). */
  dualControl?: { epochs: string; ms: number };
}

/** Always node-local, never the database: an outage there must not move control. */
export interface ControlJournal {
  load(): Promise<JournalEntry[]>;
  /** Durable (fsync) when resolved. Refuses to lower `floor` or `epoch`: that is the last fence. Throws STORE_FULL, STORE_FAILED. */
  write(entry: JournalEntry): Promise<void>;
  /** Location history; written behind, never awaited by a decision. Keeps the newest `historyEntries`. */
  record(entry: Omit<HistoryEntry, 'sequence'>): void;
  history(location: string, limit: number): Promise<HistoryEntry[]>;
  /** This node drives the location: after a crash, how long it did. Written behind; of each location the newest is kept. */
  alive(location: string, wallMs: number): void;
  lastAlive(location: string): Promise<number | null>;
  /** Durable (fsync) when resolved, all or nothing: each replaces what was known of its instance. Throws STORE_FULL, STORE_FAILED. */
  rememberTriggers(location: string, memories: readonly TriggerMemory[], forget: readonly string[]): Promise<void>;
  triggers(location: string): Promise<TriggerMemory[]>;
  close(): Promise<void>;
}
