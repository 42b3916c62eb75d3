import { assert } from '../../foundation/assert.ts';
import { isOlder } from '../../control/epoch.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { ControlJournal, HistoryEntry, JournalEntry } from '../../ports/control-journal.ts';
import type { Log } from '../../ports/log.ts';
import type { TriggerMemory } from '../../triggers/memory.ts';
import { SqlThread, threadEntry } from '../sqlite/sql-thread.ts';
import type { JournalEngine } from './engine.ts';
import { toEntry, toEntryRow, toHistoryEntry, toMemory, toRecordRow, toTriggerRow, type Recorded, type RecordRow } from './file-kind.ts';
import type { JournalThreadOptions } from './journal-thread.ts';

export interface EmbeddedJournalOptions {
  path: string;
  log: Log;
  /** History kept per location. */
  historyEntries?: number;
  /** Largest size of the file in pages of 4 KiB; a write beyond it is refused with STORE_FULL. */
  maxPages?: number;
}

/**
 * Opens the control journal for this process alone, and makes it if it is not there.
 *
 * Throws STORE_BUSY when another process has it, STORE_DAMAGED, STORE_FULL, STORE_FAILED.
 */
export async function openEmbeddedJournal(options: EmbeddedJournalOptions): Promise<ControlJournal> {
  const { path, log } = options;
  const threadOptions: JournalThreadOptions = {
    historyEntries: options.historyEntries ?? limits.historyEntries,
    maxPages: options.maxPages ?? null,
  };
  const entry = threadEntry(import.meta.url, 'journal-thread');
  const thread = await SqlThread.start<JournalEngine>(path, entry, threadOptions);
  log.info('journal.opened', { path });
  return new SqliteJournal(path, thread, log);
}

/** History gathers this long, so that a burst costs one sync of the disk. */
const GATHER_MS = 100;
const RECORD_BATCH = 500;

class SqliteJournal implements ControlJournal {
  readonly #path: string;
  readonly #thread: SqlThread<JournalEngine>;
  readonly #log: Log;
  #pending: RecordRow[] = [];
  readonly #alive = new Map<string, number>();
  #dropped = 0;
  #gathering: NodeJS.Timeout | null = null;
  #flushed: Promise<void> = Promise.resolve();

  constructor(path: string, thread: SqlThread<JournalEngine>, log: Log) {
    this.#path = path;
    this.#thread = thread;
    this.#log = log;
  }

  async load(): Promise<JournalEntry[]> {
    const rows = await this.#thread.read('load');
    return this.#parsed(() => rows.map(toEntry));
  }

  async write(entry: JournalEntry): Promise<void> {
    assert(!isOlder(entry.floor, entry.epoch), 'the floor of a location is never below its epoch');
    await this.#thread.write('write', toEntryRow(entry));
  }

  record(entry: Recorded): void {
    if (this.#pending.length >= limits.journalPending) {
      this.#dropped += 1;
      return;
    }
    this.#pending.push(toRecordRow(entry));
    this.#gather();
  }

  alive(location: string, wallMs: number): void {
    this.#alive.set(location, wallMs);
    this.#gather();
  }

  lastAlive(location: string): Promise<number | null> {
    return this.#thread.read('lastAlive', location);
  }

  async rememberTriggers(location: string, memories: readonly TriggerMemory[], forget: readonly string[]): Promise<void> {
    await this.#thread.write('rememberTriggers', location, memories.map((memory) => toTriggerRow(location, memory)), forget);
  }

  async triggers(location: string): Promise<TriggerMemory[]> {
    const rows = await this.#thread.read('triggers', location);
    return this.#parsed(() => rows.map(toMemory));
  }

  #gather(): void {
    this.#gathering ??= setTimeout(() => {
      this.#gathering = null;
      void this.#flush();
    }, GATHER_MS);
  }

  async history(location: string, limit: number): Promise<HistoryEntry[]> {
    await this.#flush();
    const rows = await this.#thread.read('history', location, limit);
    return this.#parsed(() => rows.map(toHistoryEntry));
  }

  async close(): Promise<void> {
    if (this.#gathering !== null) clearTimeout(this.#gathering);
    await this.#flush();
    await this.#thread.close();
  }

  /** One at a time: what waits is taken off only when it is stored. */
  #flush(): Promise<void> {
    this.#flushed = this.#flushed.then(() => this.#store());
    return this.#flushed;
  }

  async #store(): Promise<void> {
    try {
      const marks = [...this.#alive];
      this.#alive.clear();
      if (marks.length > 0) await this.#thread.write('alive', marks);
      while (this.#pending.length > 0) {
        const batch = this.#pending.slice(0, RECORD_BATCH);
        await this.#thread.write('record', batch);
        this.#pending.splice(0, batch.length);
      }
      if (this.#dropped > 0) this.#log.warn('journal.history-dropped', { count: this.#dropped });
      this.#dropped = 0;
    } catch (error) {
      // History is for people: the next entry tries again, and no decision waits for it.
      this.#log.warn('journal.history-waits', { entries: this.#pending.length, error });
    }
  }

  #parsed<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      throw new HoldfastError('STORE_DAMAGED', { path: this.#path, problem }, { cause: error });
    }
  }
}
