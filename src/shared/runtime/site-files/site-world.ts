import { listAll } from '../../api/lists.ts';
import type { SiteDocument } from '../../model/documents.ts';
import type { DocumentStore, Stored } from '../../ports/document-store.ts';
import type { SiteEntry, SiteProblem } from './site-file.ts';

/** The documents as they would be: those of the file over those of the store. */
export class World {
  readonly store: DocumentStore;
  /** Documents to be written if they differ, by id. */
  readonly wanted = new Map<string, SiteDocument>();
  readonly #entries: readonly SiteEntry[];
  readonly #stored = new Map<string, Stored | null>();
  #tokenUsers: Promise<ReadonlySet<string>> | null = null;

  constructor(store: DocumentStore, entries: readonly SiteEntry[]) {
    this.store = store;
    this.#entries = entries;
  }

  /** Reads what the store has under the ids of the file. An id is one document, whatever its kind. */
  async load(): Promise<SiteProblem[]> {
    const problems: SiteProblem[] = [];
    const first = new Map<string, SiteEntry>();
    for (const entry of this.#entries) {
      const { id, type } = entry.document;
      const earlier = first.get(id);
      if (earlier !== undefined) {
        problems.push({ ...entry.place(['id']), problem: `"${id}" is taken by line ${earlier.place([]).line}; ids are unique over all kinds` });
        continue;
      }
      first.set(id, entry);
      this.wanted.set(id, entry.document);
      const there = await this.stored(id);
      if (there !== null && there.document.type !== type) {
        problems.push({ ...entry.place(['id']), problem: `"${id}" is the id of a stored document of the kind ${there.document.type}` });
      }
    }
    return problems;
  }

  async stored(id: string): Promise<Stored | null> {
    const known = this.#stored.get(id);
    if (known !== undefined) return known;
    const stored = await this.store.get(id);
    this.#stored.set(id, stored);
    return stored;
  }

  /** Users that have or had tokens: they have no document of their own. */
  tokenUsers(): Promise<ReadonlySet<string>> {
    this.#tokenUsers ??= listAll(this.store, 'token').then((tokens) => new Set(tokens.map(({ user }) => user)));
    return this.#tokenUsers;
  }

  async document(id: string): Promise<Stored['document'] | null> {
    return this.wanted.get(id) ?? (await this.stored(id))?.document ?? null;
  }

  /** What the store had under an id that was read before. */
  storedBefore(id: string): Stored | null {
    return this.#stored.get(id) ?? null;
  }
}
