import type { DocumentKind, DocumentOf } from '../model/documents.ts';
import { limits } from '../model/limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { DocumentStore, Stored } from '../ports/document-store.ts';
import { listStored } from './lists.ts';
import { isOfKind } from './modules.ts';

/**
 * All documents of a kind, read once for the many pages and searches that clients ask for one after the other. Kept until a
 * commit, which may have changed any, and not for long: thousands of documents are megabytes.
 */
export class KeptLists {
  readonly #store: DocumentStore;
  readonly #clock: Clock;
  readonly #kept = new Map<DocumentKind, Promise<readonly Stored[]>>();
  #expiry: Timer | null = null;
  /** Null: nothing is kept any more. */
  #unsubscribe: (() => void) | null;

  constructor(store: DocumentStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    // Whoever wrote goes on after this, and finds what it has written.
    this.#unsubscribe = store.onChange(() => this.#forget());
  }

  /** The documents are not to be changed: others get the same. Throws what the store throws. */
  async all<K extends DocumentKind>(kind: K): Promise<Stored<DocumentOf<K>>[]> {
    const found = await (this.#kept.get(kind) ?? this.#read(kind));
    return found.filter((stored) => isOfKind(stored, kind));
  }

  close(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = null;
    this.#forget();
  }

  #forget(): void {
    this.#expiry?.cancel();
    this.#expiry = null;
    this.#kept.clear();
  }

  #read(kind: DocumentKind): Promise<readonly Stored[]> {
    const reading = listStored(this.#store, kind);
    if (this.#unsubscribe === null) return reading;
    this.#kept.set(kind, reading);
    reading.catch(() => {
      if (this.#kept.get(kind) === reading) this.#kept.delete(kind);
    });
    this.#expiry ??= this.#clock.after(limits.listKeptMs, () => this.#forget());
    return reading;
  }
}
