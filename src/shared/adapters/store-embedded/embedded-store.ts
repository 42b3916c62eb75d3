import { setImmediate as nextTurn } from 'node:timers/promises';
import { assert } from '../../foundation/assert.ts';
import type { AnyDocument, DocumentKind, DocumentOf } from '../../model/documents.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Change, CommitListener, DocumentStore, FeedEntry, FeedHead, FeedPage, Stored, Version } from '../../ports/document-store.ts';
import type { Log } from '../../ports/log.ts';
import { SqlThread, threadEntry } from '../sqlite/sql-thread.ts';
import type { FeedRow, RowChange, StoreEngine } from './engine.ts';
import { toRow, versionOf, type DocumentRow, type SequencedRow } from './file-kind.ts';
import { documentProblems, isKind, parseDocument } from './parse.ts';
import type { StoreThreadOptions } from './store-thread.ts';

export interface EmbeddedStoreOptions {
  path: string;
  log: Log;
  /** Removals that the feed remembers; a replica further behind takes a snapshot. */
  tombstones?: number;
  /** Largest size of the file in pages of 4 KiB; a write beyond it is refused with STORE_FULL. */
  maxPages?: number;
}

export interface EmbeddedStore extends DocumentStore {
  readonly path: string;
  /** Generation of this store's own feed. */
  readonly generation: string;
  /** Writes a consistent copy while the store is in use. Refuses to overwrite. */
  backup(toFile: string): Promise<void>;
  /** Everything that is wrong with the file; empty when sound. */
  verify(): Promise<string[]>;
}

/**
 * Opens the store for this process alone, and makes it if it is not there.
 *
 * Throws STORE_BUSY when another process has it, STORE_DAMAGED, STORE_FULL, STORE_FAILED.
 */
export async function openEmbeddedStore(options: EmbeddedStoreOptions): Promise<EmbeddedStore> {
  const { path, log } = options;
  const threadOptions: StoreThreadOptions = {
    tombstones: options.tombstones ?? limits.storeTombstones,
    maxPages: options.maxPages ?? null,
  };
  const thread = await SqlThread.start<StoreEngine>(path, threadEntry(import.meta.url, 'store-thread'), threadOptions);
  const opened = await thread.read('opened');
  log.info('store.opened', { path, generation: opened.generation, sequence: opened.head });
  return new SqliteStore(path, opened, thread, log);
}

/** Documents parsed, or prepared for the thread, before others get their turn of the event loop. */
const SLICE = 500;

class SqliteStore implements EmbeddedStore {
  readonly path: string;
  readonly generation: string;
  readonly #thread: SqlThread<StoreEngine>;
  readonly #log: Log;
  readonly #listeners = new Set<CommitListener>();
  #announced: number;
  /** Of commits that the listeners are about to hear of; null: any. */
  #touched: Set<string> | null = new Set();
  #replacing = false;

  constructor(path: string, opened: { generation: string; head: number }, thread: SqlThread<StoreEngine>, log: Log) {
    this.path = path;
    this.generation = opened.generation;
    this.#announced = opened.head;
    this.#thread = thread;
    this.#log = log;
  }

  async get(id: string): Promise<Stored | null> {
    const row = await this.#thread.read('get', id);
    return row === null ? null : this.#stored(row);
  }

  async list<K extends DocumentKind>(kind: K, options: { after?: string; limit: number }): Promise<Stored<DocumentOf<K>>[]> {
    const rows = await this.#thread.read('list', kind, options.after ?? '', options.limit);
    // The rows were selected by this very kind.
    return inSlices(rows, (row) => this.#stored(row) as Stored<DocumentOf<K>>);
  }

  async apply(changes: Change[]): Promise<Version[]> {
    const { versions, head } = await this.#thread.write('apply', changes.map(toRowChange));
    this.#announce(head, changes.map((change) => (change.op === 'put' ? change.document.id : change.id)));
    return versions;
  }

  async systemsOf(location: string | null): Promise<DocumentOf<'sys'>[]> {
    return this.#inLocation('sys', location);
  }

  async modulesOf(location: string | null): Promise<DocumentOf<'mod'>[]> {
    return this.#inLocation('mod', location);
  }

  async head(): Promise<FeedHead> {
    return { generation: this.generation, ...(await this.#thread.read('head')) };
  }

  async changesSince(cursor: FeedHead, limit: number): Promise<FeedPage> {
    const { tooOld, head, run, rows } = await this.#thread.read('changesSince', cursor, limit);
    const entries = await inSlices(rows, (row) => this.#feedEntry(row));
    const sequence = entries.length === limit ? (entries.at(-1)?.sequence ?? head) : head;
    return { generation: this.generation, sequence, run, entries, tooOld };
  }

  onChange(listener: CommitListener): () => void {
    // Wrapped: the same function may listen twice.
    const entry: CommitListener = (head, touched) => listener(head, touched);
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  async applyFeed(entries: FeedEntry[], cursor: FeedHead): Promise<void> {
    const sequence = await this.#thread.write('applyFeed', entries.map(toFeedRow), cursor);
    this.#announce(sequence, entries.map(({ id }) => id));
  }

  async replaceAll(documents: AnyDocument[], cursor: FeedHead): Promise<void> {
    assert(!this.#replacing, 'a store has one replicator');
    this.#replacing = true;
    try {
      // The snapshot is staged in pieces, and takes effect in one transaction.
      for (let start = 0; start === 0 || start < documents.length; start += SLICE) {
        await this.#thread.write('stage', documents.slice(start, start + SLICE).map(toRow), start === 0);
      }
      this.#announce(await this.#thread.write('replaceByStaged', cursor), null);
    } finally {
      this.#replacing = false;
    }
  }

  cursor(): Promise<FeedHead | null> {
    return this.#thread.read('cursor');
  }

  backup(toFile: string): Promise<void> {
    return this.#thread.read('backup', toFile);
  }

  async verify(): Promise<string[]> {
    const problems = await this.#thread.read('damage');
    for (let rows = await this.#rowsAfter(0); rows.length > 0; rows = await this.#rowsAfter(rows.at(-1)?.sequence ?? 0)) {
      problems.push(...documentProblems(rows));
    }
    return problems;
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    await this.#thread.close();
  }

  #rowsAfter(sequence: number): Promise<FeedRow[]> {
    return this.#thread.read('rowsAfter', sequence, SLICE);
  }

  async #inLocation<K extends DocumentKind>(kind: K, location: string | null): Promise<DocumentOf<K>[]> {
    const rows = await this.#thread.read('inLocation', kind, location);
    // The rows were selected by this very kind.
    return inSlices(rows, (row) => this.#document(row) as DocumentOf<K>);
  }

  #stored(row: SequencedRow): Stored {
    return { document: this.#document(row), version: versionOf(this.generation, row.sequence) };
  }

  #document(row: DocumentRow): AnyDocument {
    const parsed = parseDocument(row.kind, row.body ?? '');
    if ('document' in parsed) return parsed.document;
    throw this.#damaged(row.id, parsed.problem);
  }

  #damaged(id: string, problem: string): HoldfastError {
    return new HoldfastError('STORE_DAMAGED', { path: this.path, problem: `document ${id}: ${problem}` });
  }

  #feedEntry(row: FeedRow): FeedEntry {
    const { sequence, id, kind } = row;
    if (!isKind(kind)) throw this.#damaged(id, `its type ${kind} is unknown`);
    return { sequence, id, kind, document: row.body === null ? null : this.#document(row) };
  }

  /**
   * Several callers share a transaction, and each brings the head that it saw: all of them are told as one, after the
   * turn of the last and before the first goes on.
   */
  #announce(sequence: number, touched: readonly string[] | null): void {
    if (touched === null) this.#touched = null;
    for (const id of touched ?? []) this.#touched?.add(id);
    queueMicrotask(() => this.#tell(sequence));
  }

  #tell(sequence: number): void {
    if (sequence <= this.#announced) return;
    const touched = this.#touched;
    this.#announced = sequence;
    this.#touched = new Set();
    for (const listener of this.#listeners) {
      try {
        listener({ generation: this.generation, sequence }, touched);
      } catch (error) {
        // The change is stored: its author must not be told otherwise.
        this.#log.error('store.listener-failed', { error });
      }
    }
  }
}

function toRowChange(change: Change): RowChange {
  if (change.op === 'put') return { ...toRow(change.document), expect: change.expect };
  return { id: change.id, kind: '', location: null, body: null, expect: change.expect };
}

function toFeedRow({ sequence, id, kind, document }: FeedEntry): FeedRow {
  return document === null ? { sequence, id, kind, location: null, body: null } : { sequence, ...toRow(document) };
}

/** Maps many items without holding the event loop. */
async function inSlices<T, R>(items: readonly T[], convert: (item: T) => R): Promise<R[]> {
  const results: R[] = [];
  for (const [i, item] of items.entries()) {
    if (i > 0 && i % SLICE === 0) await nextTurn();
    results.push(convert(item));
  }
  return results;
}
