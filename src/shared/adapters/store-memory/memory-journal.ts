import { assert } from '../../foundation/assert.ts';
import { formatEpoch, isOlder } from '../../control/epoch.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ControlJournal, HistoryEntry, JournalEntry } from '../../ports/control-journal.ts';
import type { TriggerMemory } from '../../triggers/memory.ts';

export interface MemoryJournalOptions {
  clock: Clock;
  /** How long the disk takes for the next write. */
  delayMs?: () => number;
  /** The failure of the next write; null: it succeeds. */
  fail?: () => HoldfastError | null;
  historyEntries?: number;
}

export interface MemoryJournal extends ControlJournal {
  /**
   * The process or the power is gone. What is stored stays, for the next node to load. Writes that were not yet
   * resolved never settle; the first `survivors` of them had reached the disk all the same.
   */
  crash(survivors?: number): void;
}

interface Write {
  /** Reaches the disk; an error: it is refused. */
  store(): HoldfastError | null;
  failure: HoldfastError | null;
  resolve(): void;
  reject(error: HoldfastError): void;
}

/** A control journal on a simulated disk, which takes its time, fails, and forgets what was not synced. */
export function createMemoryJournal(options: MemoryJournalOptions): MemoryJournal {
  return new SimulatedJournal(options);
}

class SimulatedJournal implements MemoryJournal {
  readonly #clock: Clock;
  readonly #delayMs: () => number;
  readonly #fail: () => HoldfastError | null;
  readonly #historyEntries: number;
  readonly #entries = new Map<string, JournalEntry>();
  readonly #history = new Map<string, HistoryEntry[]>();
  readonly #alive = new Map<string, number>();
  readonly #triggers = new Map<string, Map<string, TriggerMemory>>();
  /** Oldest first: a disk syncs in order. */
  #writes: Write[] = [];
  #last: Promise<void> = Promise.resolve();
  #busyUntilMs = 0;
  #life = 0;

  constructor(options: MemoryJournalOptions) {
    this.#clock = options.clock;
    this.#delayMs = options.delayMs ?? (() => 0);
    this.#fail = options.fail ?? (() => null);
    this.#historyEntries = options.historyEntries ?? limits.historyEntries;
  }

  async load(): Promise<JournalEntry[]> {
    return structuredClone([...this.#entries.values()]).sort((a, b) => (a.location < b.location ? -1 : 1));
  }

  write(entry: JournalEntry): Promise<void> {
    assert(!isOlder(entry.floor, entry.epoch), 'the floor of a location is never below its epoch');
    const written = structuredClone(entry);
    return this.#write(() => {
      const refusal = this.#refusal(written);
      if (refusal === null) this.#entries.set(written.location, written);
      return refusal;
    });
  }

  rememberTriggers(location: string, memories: readonly TriggerMemory[], forget: readonly string[]): Promise<void> {
    const written = structuredClone(memories);
    return this.#write(() => {
      const known = this.#triggers.get(location) ?? new Map<string, TriggerMemory>();
      for (const memory of written) known.set(memory.instance, memory);
      for (const instance of forget) known.delete(instance);
      this.#triggers.set(location, known);
      return null;
    });
  }

  async triggers(location: string): Promise<TriggerMemory[]> {
    return structuredClone([...(this.#triggers.get(location)?.values() ?? [])]).sort((a, b) => (a.instance < b.instance ? -1 : 1));
  }

  #write(store: Write['store']): Promise<void> {
    this.#last = new Promise((resolve, reject) => {
      this.#writes.push({ store, failure: this.#fail(), resolve, reject });
      const nowMs = this.#clock.monotonicMs();
      this.#busyUntilMs = Math.max(this.#busyUntilMs, nowMs + this.#delayMs());
      const life = this.#life;
      this.#clock.after(this.#busyUntilMs - nowMs, () => {
        // A timer of before the crash says nothing about the writes of after it.
        if (life === this.#life) this.#finish(this.#writes.shift());
      });
    });
    return this.#last;
  }

  record(entry: Omit<HistoryEntry, 'sequence'>): void {
    const history = this.#history.get(entry.location) ?? [];
    history.push({ ...structuredClone(entry), sequence: (history.at(-1)?.sequence ?? 0) + 1 });
    if (history.length > this.#historyEntries) history.shift();
    this.#history.set(entry.location, history);
  }

  alive(location: string, wallMs: number): void {
    this.#alive.set(location, wallMs);
  }

  async lastAlive(location: string): Promise<number | null> {
    return this.#alive.get(location) ?? null;
  }

  async history(location: string, limit: number): Promise<HistoryEntry[]> {
    return structuredClone((this.#history.get(location) ?? []).toReversed().slice(0, limit));
  }

  crash(survivors = 0): void {
    for (const { store, failure } of this.#writes.slice(0, survivors)) if (failure === null) store();
    this.#writes = [];
    this.#last = Promise.resolve();
    this.#busyUntilMs = 0;
    this.#life += 1;
  }

  async close(): Promise<void> {
    // The disk works in order: with the last one, all are settled.
    await Promise.allSettled([this.#last]);
  }

  #finish(write: Write | undefined): void {
    assert(write !== undefined, 'each timer has its write');
    const refusal = write.failure ?? write.store();
    if (refusal === null) write.resolve();
    else write.reject(refusal);
  }

  #refusal({ location, epoch, floor }: JournalEntry): HoldfastError | null {
    const stored = this.#entries.get(location);
    if (stored === undefined || !(isOlder(epoch, stored.epoch) || isOlder(floor, stored.floor))) return null;
    return new HoldfastError('STALE_EPOCH', { location, epoch: formatEpoch(epoch), floor: formatEpoch(stored.floor) });
  }
}
