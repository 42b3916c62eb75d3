import type { AnyDocument, DocumentKind, DocumentOf, ModuleDocument, SystemDocument } from '../model/documents.ts';

/** Version of a stored document: opaque, compared as text, different after each write. */
export type Version = string & { readonly brand: 'Version' };

export interface Stored<D extends AnyDocument = AnyDocument> {
  document: D;
  version: Version;
}

/** `expect: null` means that the document must not exist yet. Versions are required: there is no blind write. */
export type Change =
  | { op: 'put'; document: AnyDocument; expect: Version | null }
  | { op: 'remove'; id: string; expect: Version };

export interface FeedEntry {
  sequence: number;
  id: string;
  kind: DocumentKind;
  /** null: removed. */
  document: AnyDocument | null;
}

export interface FeedHead {
  /** Changes when history was rewritten (a restore): cursors of another generation are void. */
  generation: string;
  sequence: number;
  /** The run of the writing program that the sequence is of: a file that was put back from an older copy counts on under another one. */
  run?: string | undefined;
}

/** `sequence` is where the next page starts: pass the page on as the cursor. It is the head once all was given. */
export interface FeedPage extends FeedHead {
  entries: FeedEntry[];
  /** The cursor is of another generation or too old: take a snapshot. */
  tooOld: boolean;
}

/** `touched`: ids of the documents that the commit may have changed; null: any of them. */
export type CommitListener = (head: FeedHead, touched: ReadonlySet<string> | null) => void;

export interface DocumentStore {
  get(id: string): Promise<Stored | null>;
  /** Ids are in byte order; `after` is the last id of the page before. */
  list<K extends DocumentKind>(kind: K, options: { after?: string; limit: number }): Promise<Stored<DocumentOf<K>>[]>;
  /** All or nothing, durable when resolved. Throws VERSION_CONFLICT, STORE_FULL, STORE_FAILED; nothing has changed then. */
  apply(changes: Change[]): Promise<Version[]>;
  /** Systems whose `edge_control_id` is this location (null: none). */
  systemsOf(location: string | null): Promise<SystemDocument[]>;
  /** Modules whose `edge_control_id` is this location (null: none). */
  modulesOf(location: string | null): Promise<ModuleDocument[]>;

  head(): Promise<FeedHead>;
  /** Entries after `sequence`, the newest state of each document only, in order. */
  changesSince(cursor: FeedHead, limit: number): Promise<FeedPage>;
  /** Called after each commit, before those who wrote go on. Returns the way to stop. */
  onChange(listener: CommitListener): () => void;

  /** Replica side: entries and cursor in one transaction. Entries at or below the stored cursor are skipped. */
  applyFeed(entries: FeedEntry[], cursor: FeedHead): Promise<void>;
  /** Replica side: replaces everything by a snapshot in one transaction. */
  replaceAll(documents: AnyDocument[], cursor: FeedHead): Promise<void>;
  /** Replica side: what was applied last; null on a fresh replica. */
  cursor(): Promise<FeedHead | null>;

  close(): Promise<void>;
}
