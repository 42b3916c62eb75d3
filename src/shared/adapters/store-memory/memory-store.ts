import { assert } from '../../foundation/assert.ts';
import { jsonEqual } from '../../foundation/json.ts';
import type { AnyDocument, DocumentKind, DocumentOf, ModuleDocument, SystemDocument } from '../../model/documents.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Change, CommitListener, DocumentStore, FeedEntry, FeedHead, FeedPage, Stored, Version } from '../../ports/document-store.ts';

export interface MemoryStoreOptions {
  /** Names the feed; give each history its own. */
  generation?: string;
  /** Removals that the feed remembers. */
  tombstones?: number;
}

/** The document store without a disk, for the simulator and for tests. Closing loses nothing: the next node goes on. */
export function createMemoryStore(options: MemoryStoreOptions = {}): DocumentStore {
  return new MemoryStore(options.generation ?? 'memory', options.tombstones ?? limits.storeTombstones);
}

class MemoryStore implements DocumentStore {
  readonly #generation: string;
  readonly #tombstones: number;
  readonly #listeners = new Set<CommitListener>();
  /** In the order of the feed: a change moves its entry to the end. */
  #feed = new Map<string, FeedEntry>();
  #sequence = 0;
  #prunedTo = 0;
  #cursor: FeedHead | null = null;

  constructor(generation: string, tombstones: number) {
    this.#generation = generation;
    this.#tombstones = tombstones;
  }

  async get(id: string): Promise<Stored | null> {
    const entry = this.#feed.get(id);
    return entry === undefined || entry.document === null ? null : this.#stored(entry.document, entry.sequence);
  }

  async list<K extends DocumentKind>(kind: K, options: { after?: string; limit: number }): Promise<Stored<DocumentOf<K>>[]> {
    const { after = '', limit } = options;
    return this.#live(kind)
      .filter((entry) => entry.id > after)
      .slice(0, limit)
      .map((entry) => this.#stored(entry.document, entry.sequence));
  }

  async apply(changes: Change[]): Promise<Version[]> {
    return this.#atomically(() => changes.map((change) => this.#applyOne(change)));
  }

  async systemsOf(location: string | null): Promise<SystemDocument[]> {
    return this.#inLocation('sys', location);
  }

  async modulesOf(location: string | null): Promise<ModuleDocument[]> {
    return this.#inLocation('mod', location);
  }

  async head(): Promise<FeedHead> {
    return this.#head();
  }

  async changesSince(cursor: FeedHead, limit: number): Promise<FeedPage> {
    const head = this.#head();
    const known = cursor.sequence >= this.#prunedTo && cursor.sequence <= head.sequence;
    const tooOld = cursor.generation !== head.generation || !known;
    if (tooOld) return { ...head, entries: [], tooOld };
    const entries = [...this.#feed.values()].filter((entry) => entry.sequence > cursor.sequence).slice(0, limit);
    const sequence = entries.length === limit ? (entries.at(-1)?.sequence ?? head.sequence) : head.sequence;
    return { generation: head.generation, sequence, entries: structuredClone(entries), tooOld };
  }

  onChange(listener: CommitListener): () => void {
    const entry: CommitListener = (head, touched) => listener(head, touched);
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  async applyFeed(entries: FeedEntry[], cursor: FeedHead): Promise<void> {
    this.#atomically(() => {
      const stored = this.#cursor;
      if (stored !== null && stored.generation !== cursor.generation) {
        throw new HoldfastError('INPUT_INVALID', { field: 'cursor', problem: 'is of another generation; take a snapshot' });
      }
      const done = stored?.sequence ?? 0;
      for (const entry of entries) if (entry.sequence > done) this.#replicate(entry.id, entry.kind, entry.document);
      this.#cursor = { generation: cursor.generation, sequence: Math.max(done, cursor.sequence) };
    });
  }

  async replaceAll(documents: AnyDocument[], cursor: FeedHead): Promise<void> {
    this.#atomically(() => {
      const kept = new Set(documents.map((document) => document.id));
      const gone = [...this.#feed.values()].filter((entry) => !kept.has(entry.id));
      for (const document of documents) this.#replicate(document.id, document.type, document);
      for (const { id, kind } of gone) this.#replicate(id, kind, null);
      this.#cursor = { ...cursor };
    });
  }

  async cursor(): Promise<FeedHead | null> {
    return this.#cursor === null ? null : { ...this.#cursor };
  }

  async close(): Promise<void> {
    this.#listeners.clear();
  }

  #applyOne(change: Change): Version {
    const id = change.op === 'put' ? change.document.id : change.id;
    const found = this.#feed.get(id);
    const actual = found === undefined || found.document === null ? null : this.#version(found.sequence);
    if (actual !== change.expect) throw new HoldfastError('VERSION_CONFLICT', { id, expected: change.expect, actual });
    if (change.op === 'put') return this.#put(id, change.document.type, change.document);
    assert(found !== undefined, 'what has a version exists');
    return this.#put(id, found.kind, null);
  }

  /** What is there already keeps its version, so that nothing restarts because of it. */
  #replicate(id: string, kind: DocumentKind, document: AnyDocument | null): void {
    if (!jsonEqual(this.#feed.get(id)?.document ?? null, document)) this.#put(id, kind, document);
  }

  #put(id: string, kind: DocumentKind, document: AnyDocument | null): Version {
    this.#sequence += 1;
    this.#feed.delete(id);
    // Copied in and out: what is stored never changes with the caller's object.
    this.#feed.set(id, { sequence: this.#sequence, id, kind, document: structuredClone(document) });
    return this.#version(this.#sequence);
  }

  /** All or nothing; then tells the listeners. */
  #atomically<T>(work: () => T): T {
    const before = { feed: new Map(this.#feed), sequence: this.#sequence, cursor: this.#cursor };
    let result: T;
    try {
      result = work();
    } catch (error) {
      this.#feed = before.feed;
      this.#sequence = before.sequence;
      this.#cursor = before.cursor;
      throw error;
    }
    this.#prune();
    if (this.#sequence === before.sequence) return result;
    const touched = new Set([...this.#feed.values()].filter(({ sequence }) => sequence > before.sequence).map(({ id }) => id));
    for (const listener of this.#listeners) listener(this.#head(), touched);
    return result;
  }

  #prune(): void {
    const removed = [...this.#feed.values()].filter((entry) => entry.document === null);
    for (const { id, sequence } of removed.slice(0, Math.max(0, removed.length - this.#tombstones))) {
      this.#feed.delete(id);
      this.#prunedTo = sequence;
    }
  }

  #live<K extends DocumentKind>(kind: K): { id: string; sequence: number; document: DocumentOf<K> }[] {
    const isOfKind = (document: AnyDocument | null): document is DocumentOf<K> => document?.type === kind;
    return [...this.#feed.values()]
      .flatMap(({ id, sequence, document }) => (isOfKind(document) ? [{ id, sequence, document }] : []))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  #inLocation<K extends 'sys' | 'mod'>(kind: K, location: string | null): DocumentOf<K>[] {
    const documents = this.#live(kind).map((entry) => entry.document);
    const isHere = (document: AnyDocument): boolean => 'edge_control_id' in document && document.edge_control_id === location;
    return structuredClone(documents.filter(isHere));
  }

  #stored<D extends AnyDocument>(document: D, sequence: number): Stored<D> {
    return { document: structuredClone(document), version: this.#version(sequence) };
  }

  #version(sequence: number): Version {
    return `${this.#generation}-${sequence}` as Version;
  }

  #head(): FeedHead {
    return { generation: this.#generation, sequence: this.#sequence };
  }
}
