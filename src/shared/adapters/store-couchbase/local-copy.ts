import type { AnyDocument } from '../../model/documents.ts';
import { documentKinds } from '../../model/documents.ts';
import type { DocumentStore, FeedEntry } from '../../ports/document-store.ts';
import type { Log } from '../../ports/log.ts';
import { type Commit, type DocumentTable, rowOf, type TableRow, type TableState } from '../../runtime/documents/document-table.ts';

/** The documents of a store, page by page. */
async function allDocuments(store: DocumentStore): Promise<AnyDocument[]> {
  const PAGE = 1_000;
  const documents: AnyDocument[] = [];
  for (const kind of documentKinds) {
    for (let after = '', more = true; more; ) {
      const page: { document: AnyDocument }[] = await store.list(kind, { limit: PAGE, after });
      for (const { document } of page) documents.push(document);
      after = page.at(-1)?.document.id ?? after;
      more = page.length === PAGE;
    }
  }
  return documents;
}

/** What the copy knew last. Versions are not in it, which does no harm: nothing is written until the database is back. null: there is none. */
export async function readCopy(copy: DocumentStore): Promise<TableState | null> {
  const cursor = await copy.cursor();
  if (cursor === null) return null;
  const rows: TableRow[] = (await allDocuments(copy)).map((document) => rowOf(document, cursor.sequence));
  return { ...cursor, prunedTo: cursor.sequence, cursor: null, rows };
}

/** Keeps the copy on the disk up to date, behind the commits: nobody waits for it. */
export class CopyWriter {
  readonly #copy: DocumentStore;
  readonly #table: DocumentTable;
  readonly #log: Log;
  #waiting: Commit[] = [];
  /** Everything is to be written anew. */
  #whole = false;
  #writing: Promise<void> | null = null;

  constructor(copy: DocumentStore, table: DocumentTable, log: Log) {
    this.#copy = copy;
    this.#table = table;
    this.#log = log;
  }

  add(commit: Commit): void {
    if (!this.#whole) this.#waiting.push(commit);
    this.#writing ??= this.#write();
  }

  /** The table was loaded anew. */
  renew(): void {
    this.#whole = true;
    this.#waiting = [];
    this.#writing ??= this.#write();
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#copy.close();
  }

  async #write(): Promise<void> {
    // What comes in the same turn is written together.
    await Promise.resolve();
    try {
      while (this.#whole || this.#waiting.length > 0) await (this.#whole ? this.#writeWhole() : this.#writeWaiting());
    } catch (error) {
      // A disk that is full keeps nobody from the database; the next commit tries again with everything.
      this.#whole = true;
      this.#waiting = [];
      this.#log.error('store.copy-failed', { error });
    }
    this.#writing = null;
  }

  async #writeWhole(): Promise<void> {
    this.#whole = false;
    const documents = [...this.#table.documents()];
    await this.#copy.replaceAll(documents, this.#table.head);
  }

  async #writeWaiting(): Promise<void> {
    const commits = this.#waiting;
    this.#waiting = [];
    const { generation } = this.#table.head;
    const entries = commits.flatMap(({ after, changes }) =>
      changes.map(({ id, kind, document }, i): FeedEntry => ({ sequence: after + 1 + i, id, kind, document })),
    );
    const sequence = Math.max(...commits.map(({ after, changes }) => after + changes.length));
    await this.#copy.applyFeed(entries, { generation, sequence });
  }
}
