import { createMemoryJournal, type MemoryJournal } from '../../../src/shared/adapters/store-memory/memory-journal.ts';
import { HoldfastError } from '../../../src/shared/model/errors.ts';
import type { Clock } from '../../../src/shared/ports/clock.ts';
import type { JournalEntry } from '../../../src/shared/ports/control-journal.ts';

/** The disk under a control journal: it may be slow or fail, and can be put back to what it was. */
export class Disk {
  delayMs = 0;
  fails = false;
  readonly #clock: Clock;
  #journal: MemoryJournal;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#journal = this.#create();
  }

  get journal(): MemoryJournal {
    return this.#journal;
  }

  async entry(location: string): Promise<JournalEntry | null> {
    return (await this.#journal.load()).find((entry) => entry.location === location) ?? null;
  }

  /** Writes under way are lost. */
  crash(): void {
    this.#journal.crash();
  }

  /** What `holdfast restore` leaves: the entries of the backup in the next generation, held by nobody. */
  async restore(backup: readonly JournalEntry[]): Promise<void> {
    this.#journal = this.#create();
    const writes = backup.map((entry) => {
      const generation = entry.floor.generation + 1;
      const number = Math.max(entry.epoch.number, entry.floor.number);
      const raised = { epoch: { generation, number: entry.epoch.number }, floor: { generation, number } };
      return this.#journal.write({ ...entry, ...raised, holder: 'none', reason: 'restored' });
    });
    await Promise.all(writes);
  }

  #create(): MemoryJournal {
    return createMemoryJournal({
      clock: this.#clock,
      delayMs: () => this.delayMs,
      fail: () => (this.fails ? new HoldfastError('STORE_FAILED', { path: 'journal', problem: 'no space left on device' }) : null),
    });
  }
}
