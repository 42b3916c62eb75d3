import type { AnyDocument, DocumentKind, DocumentOf, ModuleDocument, SystemDocument } from '../../model/documents.ts';
import { limits } from '../../model/limits.ts';
import type { Change, CommitListener, DocumentStore, FeedEntry, FeedHead, FeedPage, Stored, Version } from '../../ports/document-store.ts';
import { type CommitDraft, DocumentTable } from '../../runtime/document-table.ts';

export interface MemoryStoreOptions {
  /** Names the feed; give each history its own. */
  generation?: string;
  /** Removals that the feed remembers. */
  tombstones?: number;
}

/** The document store without a disk, for the simulator and for tests. Closing loses nothing: the next node goes on. */
export function createMemoryStore(options: MemoryStoreOptions = {}): DocumentStore {
  return new MemoryStore(new DocumentTable(options.generation ?? 'memory', options.tombstones ?? limits.storeTombstones));
}

class MemoryStore implements DocumentStore {
  readonly #table: DocumentTable;
  readonly #listeners = new Set<CommitListener>();

  constructor(table: DocumentTable) {
    this.#table = table;
  }

  async get(id: string): Promise<Stored | null> {
    return this.#table.get(id);
  }

  async list<K extends DocumentKind>(kind: K, options: { after?: string; limit: number }): Promise<Stored<DocumentOf<K>>[]> {
    return this.#table.list(kind, options);
  }

  async apply(changes: Change[]): Promise<Version[]> {
    return this.#commit((draft) => draft.apply(changes));
  }

  async systemsOf(location: string | null): Promise<SystemDocument[]> {
    return this.#table.inLocation('sys', location);
  }

  async modulesOf(location: string | null): Promise<ModuleDocument[]> {
    return this.#table.inLocation('mod', location);
  }

  async head(): Promise<FeedHead> {
    return this.#table.head;
  }

  async changesSince(cursor: FeedHead, limit: number): Promise<FeedPage> {
    return this.#table.changesSince(cursor, limit);
  }

  onChange(listener: CommitListener): () => void {
    const entry: CommitListener = (head, touched) => listener(head, touched);
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  async applyFeed(entries: FeedEntry[], cursor: FeedHead): Promise<void> {
    this.#commit((draft) => draft.applyFeed(entries, cursor));
  }

  async replaceAll(documents: AnyDocument[], cursor: FeedHead): Promise<void> {
    this.#commit((draft) => draft.replaceAll(documents, cursor));
  }

  async cursor(): Promise<FeedHead | null> {
    return this.#table.cursor;
  }

  async close(): Promise<void> {
    this.#listeners.clear();
  }

  /** All or nothing; then tells the listeners. */
  #commit<T>(work: (draft: CommitDraft) => T): T {
    const draft = this.#table.draft();
    const result = work(draft);
    const touched = this.#table.commit(draft.commit);
    if (touched.size > 0) for (const listener of this.#listeners) listener(this.#table.head, touched);
    return result;
  }
}
