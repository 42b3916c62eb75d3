import { assert } from '../../foundation/assert.ts';
import { formatEpoch, isOlder } from '../../control/epoch.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ControlJournal, HistoryEntry, JournalEntry } from '../../ports/control-journal.ts';

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
  entry: JournalEntry;
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
    this.#last = new Promise((resolve, reject) => {
      this.#writes.push({ entry: structuredClone(entry), failure: this.#fail(), resolve, reject });
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
    for (const { entry, failure } of this.#writes.slice(0, survivors)) {
      if (failure === null && this.#refusal(entry) === null) this.#entries.set(entry.location, entry);
    }
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
    const refusal = write.failure ?? this.#refusal(write.entry);
    if (refusal !== null) return write.reject(refusal);
    this.#entries.set(write.entry.location, write.entry);
    write.resolve();
  }

  #refusal({ location, epoch, floor }: JournalEntry): HoldfastError | null {
    const stored = this.#entries.get(location);
    if (stored === undefined || !(isOlder(epoch, stored.epoch) || isOlder(floor, stored.floor))) return null;
    return new HoldfastError('STALE_EPOCH', { location, epoch: formatEpoch(epoch), floor: formatEpoch(stored.floor) });
  }
}
