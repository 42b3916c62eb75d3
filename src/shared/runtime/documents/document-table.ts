import { assert } from '../../foundation/assert.ts';
import { jsonEqual } from '../../foundation/json.ts';
import type { AnyDocument, DocumentKind, DocumentOf } from '../../model/documents.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { Change, FeedEntry, FeedHead, FeedPage, Stored, Version } from '../../ports/document-store.ts';

/** Where a document is filed. */
export interface Place {
  kind: DocumentKind;
  location: string | null;
}

/** What a commit does to one document. */
export interface TableChange {
  id: string;
  kind: DocumentKind;
  /** null: removed. */
  document: AnyDocument | null;
  /** Where it was before; null: it was not there. */
  was: Place | null;
}

/** All or nothing. Its changes get the sequences after `after`, in order. */
export interface Commit {
  after: number;
  changes: TableChange[];
  /** Of a replica: what it has applied with this commit. */
  cursor: FeedHead | null;
}

/** `body`: its JSON, which nobody can change by accident; null: removed. */
export interface TableRow extends Place {
  id: string;
  sequence: number;
  body: string | null;
}

export interface TableState extends FeedHead {
  rows: Iterable<TableRow>;
  /** Removals up to here are forgotten. */
  prunedTo: number;
  cursor: FeedHead | null;
}

/** The location under which a document is looked up. */
export const placeOf = (document: AnyDocument): Place => ({
  kind: document.type,
  location: 'edge_control_id' in document ? document.edge_control_id : null,
});

/** As in the table; `document` is one that a schema has accepted. */
export const rowOf = (document: AnyDocument, sequence: number): TableRow => ({
  id: document.id,
  sequence,
  ...placeOf(document),
  body: JSON.stringify(document),
});

/**
 * Documents in memory with versions, look-ups and the change feed of a store. Given the same commits in the same order,
 * every table says the same: also its versions and sequences.
 */
export class DocumentTable {
  readonly #tombstones: number;
  #generation = '';
  #sequence = 0;
  #prunedTo = 0;
  #cursor: FeedHead | null = null;
  #rows = new Map<string, TableRow>();
  /** The feed: a document that changed stands at its end, and what it left behind is skipped. */
  #order: { id: string; sequence: number }[] = [];
  /** Of what was removed, the oldest first. The same. */
  #removed: { id: string; sequence: number }[] = [];
  /** Ids of a kind in byte order, until one comes or goes. */
  #sorted = new Map<DocumentKind, string[]>();

  constructor(generation: string, tombstones: number) {
    this.#generation = generation;
    this.#tombstones = tombstones;
  }

  /** Replaces everything. */
  load({ generation, sequence, prunedTo, cursor, rows }: TableState): void {
    this.#generation = generation;
    this.#sequence = sequence;
    this.#prunedTo = prunedTo;
    this.#cursor = cursor;
    this.#rows = new Map([...rows].map((row) => [row.id, row]));
    this.#order = [...this.#rows.values()].map(({ id, sequence: at }) => ({ id, sequence: at })).sort((a, b) => a.sequence - b.sequence);
    this.#removed = this.#order.filter(({ id }) => this.#rows.get(id)?.body === null);
    this.#sorted.clear();
  }

  get head(): FeedHead {
    return { generation: this.#generation, sequence: this.#sequence };
  }

  get cursor(): FeedHead | null {
    return this.#cursor === null ? null : { ...this.#cursor };
  }

  row(id: string): TableRow | null {
    return this.#rows.get(id) ?? null;
  }

  rows(): Iterable<TableRow> {
    return this.#rows.values();
  }

  *documents(): Iterable<AnyDocument> {
    for (const { body } of this.#rows.values()) if (body !== null) yield parse(body);
  }

  get(id: string): Stored | null {
    const row = this.#rows.get(id);
    return row === undefined || row.body === null ? null : this.#stored(row, row.body);
  }

  list<K extends DocumentKind>(kind: K, { after = '', limit }: { after?: string; limit: number }): Stored<DocumentOf<K>>[] {
    const ids = this.#idsOf(kind);
    const start = firstAbove(ids.length, (i) => (ids[i] ?? '') > after);
    return ids.slice(start, start + limit).flatMap((id) => {
      const row = this.#rows.get(id);
      // Found by this very kind.
      return row === undefined || row.body === null ? [] : [this.#stored(row, row.body) as Stored<DocumentOf<K>>];
    });
  }

  inLocation<K extends 'sys' | 'mod'>(kind: K, location: string | null): DocumentOf<K>[] {
    return this.#idsOf(kind).flatMap((id) => {
      const row = this.#rows.get(id);
      return row === undefined || row.body === null || row.location !== location ? [] : [parse(row.body) as DocumentOf<K>];
    });
  }

  changesSince(cursor: FeedHead, limit: number): FeedPage {
    const head = this.head;
    const tooOld = cursor.generation !== head.generation || cursor.sequence < this.#prunedTo || cursor.sequence > head.sequence;
    if (tooOld) return { ...head, entries: [], tooOld };
    const entries: FeedEntry[] = [];
    const first = firstAbove(this.#order.length, (at) => (this.#order[at]?.sequence ?? 0) > cursor.sequence);
    for (let i = first; i < this.#order.length && entries.length < limit; i += 1) {
      const { id = '', sequence = 0 } = this.#order[i] ?? {};
      const row = this.#rows.get(id);
      if (row?.sequence === sequence) entries.push({ sequence, id, kind: row.kind, document: row.body === null ? null : parse(row.body) });
    }
    const sequence = entries.length === limit ? (entries.at(-1)?.sequence ?? head.sequence) : head.sequence;
    return { generation: head.generation, sequence, entries, tooOld };
  }

  versionOf(sequence: number): Version {
    return `${this.#generation}-${sequence}` as Version;
  }

  draft(): CommitDraft {
    return new CommitDraft(this);
  }

  /** What is newer here already stays: a commit may be seen again. Returns the ids that it changed. */
  commit({ after, changes, cursor }: Commit): Set<string> {
    const touched = new Set<string>();
    for (const [i, { id, kind, document }] of changes.entries()) {
      const sequence = after + 1 + i;
      if ((this.#rows.get(id)?.sequence ?? 0) >= sequence) continue;
      this.#put(document === null ? { id, sequence, kind, location: null, body: null } : rowOf(document, sequence));
      touched.add(id);
    }
    this.#sequence = Math.max(this.#sequence, after + changes.length);
    if (cursor !== null) this.#cursor = { ...cursor };
    this.#prune();
    return touched;
  }

  #put(row: TableRow): void {
    const { id, sequence, kind, body } = row;
    const before = this.#rows.get(id);
    if (before?.kind !== kind || (before.body === null) !== (body === null)) {
      this.#sorted.delete(kind);
      if (before !== undefined) this.#sorted.delete(before.kind);
    }
    this.#rows.set(id, row);
    this.#order.push({ id, sequence });
    if (body === null) this.#removed.push({ id, sequence });
    if (this.#order.length > 2 * this.#rows.size + 1_000) this.#order = this.#order.filter((at) => this.#rows.get(at.id)?.sequence === at.sequence);
  }

  #prune(): void {
    if (this.#removed.length <= this.#tombstones) return;
    this.#removed = this.#removed.filter(({ id, sequence }) => this.#rows.get(id)?.sequence === sequence);
    const surplus = this.#removed.splice(0, Math.max(0, this.#removed.length - this.#tombstones));
    for (const { id } of surplus) this.#rows.delete(id);
    this.#prunedTo = Math.max(this.#prunedTo, surplus.at(-1)?.sequence ?? 0);
  }

  #idsOf(kind: DocumentKind): string[] {
    let ids = this.#sorted.get(kind);
    if (ids === undefined) {
      ids = [...this.#rows.values()].filter((row) => row.kind === kind && row.body !== null).map(({ id }) => id).sort();
      this.#sorted.set(kind, ids);
    }
    return ids;
  }

  #stored(row: TableRow, body: string): Stored {
    return { document: parse(body), version: this.versionOf(row.sequence) };
  }
}

/** A commit that is being put together: what comes later sees what came before. */
export class CommitDraft {
  readonly #table: DocumentTable;
  readonly #after: number;
  readonly #changed = new Map<string, TableRow>();
  #changes: TableChange[] = [];
  #cursor: FeedHead | null = null;

  constructor(table: DocumentTable) {
    this.#table = table;
    this.#after = table.head.sequence;
  }

  get empty(): boolean {
    return this.#changes.length === 0 && this.#cursor === null;
  }

  get commit(): Commit {
    return { after: this.#after, changes: this.#changes, cursor: this.#cursor };
  }

  /** All or nothing. Throws VERSION_CONFLICT. */
  apply(changes: Change[]): Version[] {
    return this.#whole(() => changes.map((change) => this.#applyOne(change)));
  }

  /** Throws INPUT_INVALID for a cursor of another generation. */
  applyFeed(entries: FeedEntry[], cursor: FeedHead): void {
    const stored = this.#cursor ?? this.#table.cursor;
    if (stored !== null && stored.generation !== cursor.generation) {
      throw new HoldfastError('INPUT_INVALID', { field: 'cursor', problem: 'is of another generation; take a snapshot' });
    }
    const done = stored?.sequence ?? 0;
    for (const entry of entries) if (entry.sequence > done) this.#replicate(entry.id, entry.kind, entry.document);
    this.#cursor = { ...cursor, sequence: Math.max(done, cursor.sequence) };
  }

  replaceAll(documents: AnyDocument[], cursor: FeedHead): void {
    const kept = new Set(documents.map(({ id }) => id));
    const gone = [...this.#table.rows()].filter(({ id, body }) => body !== null && !kept.has(id));
    for (const document of documents) this.#replicate(document.id, document.type, document);
    for (const { id, kind } of gone) this.#replicate(id, kind, null);
    this.#cursor = { ...cursor };
  }

  #whole<T>(work: () => T): T {
    const before = this.#changes.length;
    try {
      return work();
    } catch (error) {
      this.#changes.length = before;
      this.#changed.clear();
      for (const [i, { id, kind, document }] of this.#changes.entries()) this.#note(id, kind, document, this.#after + 1 + i);
      throw error;
    }
  }

  #applyOne(change: Change): Version {
    const id = change.op === 'put' ? change.document.id : change.id;
    const found = this.#row(id);
    const actual = found === null || found.body === null ? null : this.#table.versionOf(found.sequence);
    if (actual !== change.expect) throw new HoldfastError('VERSION_CONFLICT', { id, expected: change.expect, actual });
    if (change.op === 'put') return this.#put(id, change.document.type, change.document);
    assert(found !== null, 'what has a version exists');
    return this.#put(id, found.kind, null);
  }

  /** What is there already keeps its version, so that nothing restarts because of it. */
  #replicate(id: string, kind: DocumentKind, document: AnyDocument | null): void {
    const body = this.#row(id)?.body ?? null;
    const same = body === null || document === null ? body === document : jsonEqual(parse(body), document);
    if (!same) this.#put(id, kind, document);
  }

  #put(id: string, kind: DocumentKind, document: AnyDocument | null): Version {
    const found = this.#row(id);
    const was = found === null || found.body === null ? null : { kind: found.kind, location: found.location };
    const sequence = this.#after + this.#changes.length + 1;
    const body = this.#note(id, kind, document, sequence);
    // Copied: what is stored never changes with the caller's object.
    this.#changes.push({ id, kind, document: body === null ? null : parse(body), was });
    return this.#table.versionOf(sequence);
  }

  #note(id: string, kind: DocumentKind, document: AnyDocument | null, sequence: number): string | null {
    const row: TableRow = document === null ? { id, sequence, kind, location: null, body: null } : rowOf(document, sequence);
    this.#changed.set(id, row);
    return row.body;
  }

  #row(id: string): TableRow | null {
    return this.#changed.get(id) ?? this.#table.row(id);
  }
}

/** The body was made of a document. */
const parse = (body: string): AnyDocument => JSON.parse(body) as AnyDocument;

/** The first index for which `above` holds, of indexes for which it holds from some point on. */
function firstAbove(length: number, above: (index: number) => boolean): number {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (above(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
