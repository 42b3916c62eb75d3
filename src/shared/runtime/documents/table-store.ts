import type { AnyDocument, DocumentKind, DocumentOf, ModuleDocument, SystemDocument } from '../../model/documents.ts';
import type { Change, CommitListener, DocumentStore, FeedEntry, FeedHead, FeedPage, Stored, Version } from '../../ports/document-store.ts';
import type { CommitDraft, DocumentTable } from './document-table.ts';

/** A document store with all of its documents in memory: reads are answered from there, how a change is committed is up to each. */
export abstract class TableStore implements DocumentStore {
  protected readonly table: DocumentTable;
  protected readonly listeners = new Set<CommitListener>();

  constructor(table: DocumentTable) {
    this.table = table;
  }

  /** All or nothing: what `plan` throws changes nothing. Tells the listeners. */
  protected abstract commit<T>(plan: (draft: CommitDraft) => T): Promise<T>;
  abstract close(): Promise<void>;

  async get(id: string): Promise<Stored | null> {
    return this.table.get(id);
  }

  async list<K extends DocumentKind>(kind: K, options: { after?: string; limit: number }): Promise<Stored<DocumentOf<K>>[]> {
    return this.table.list(kind, options);
  }

  async systemsOf(location: string | null): Promise<SystemDocument[]> {
    return this.table.inLocation('sys', location);
  }

  async modulesOf(location: string | null): Promise<ModuleDocument[]> {
    return this.table.inLocation('mod', location);
  }

  async head(): Promise<FeedHead> {
    return this.table.head;
  }

  async changesSince(cursor: FeedHead, limit: number): Promise<FeedPage> {
    return this.table.changesSince(cursor, limit);
  }

  async cursor(): Promise<FeedHead | null> {
    return this.table.cursor;
  }

  onChange(listener: CommitListener): () => void {
    // Wrapped: the same function may listen twice.
    const entry: CommitListener = (head, touched) => listener(head, touched);
    this.listeners.add(entry);
    return () => this.listeners.delete(entry);
  }

  apply(changes: Change[]): Promise<Version[]> {
    return this.commit((draft) => draft.apply(changes));
  }

  applyFeed(entries: FeedEntry[], cursor: FeedHead): Promise<void> {
    return this.commit((draft) => draft.applyFeed(entries, cursor));
  }

  replaceAll(documents: AnyDocument[], cursor: FeedHead): Promise<void> {
    return this.commit((draft) => draft.replaceAll(documents, cursor));
  }
}
