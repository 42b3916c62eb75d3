import type { DocumentKind, DocumentOf } from '../model/documents.ts';
import { limits } from '../model/limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { DocumentStore, Stored } from '../ports/document-store.ts';
import { listStored } from './lists.ts';

/**
 * All documents of a kind, read once for the many pages and searches that clients ask for one after the other. Kept until a
 * commit, which may have changed any, and not for long: thousands of documents are megabytes.
 */
export class KeptLists {
  readonly #store: DocumentStore;
  readonly #clock: Clock;
  readonly #kept = new Map<DocumentKind, Promise<readonly Stored[]>>();
  /** Null: nothing is kept any more. */
  #unsubscribe: (() => void) | null;

  constructor(store: DocumentStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    // Whoever wrote goes on after this, and finds what it has written.
    this.#unsubscribe = store.onChange(() => this.#kept.clear());
  }

  /** The documents are not to be changed: others get the same. Throws what the store throws. */
  async all<K extends DocumentKind>(kind: K): Promise<Stored<DocumentOf<K>>[]> {
    const isOfKind = (stored: Stored): stored is Stored<DocumentOf<K>> => stored.document.type === kind;
    return (await (this.#kept.get(kind) ?? this.#read(kind))).filter(isOfKind);
  }

  close(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = null;
    this.#kept.clear();
  }

  #read(kind: DocumentKind): Promise<readonly Stored[]> {
    const reading = listStored(this.#store, kind);
    if (this.#unsubscribe === null) return reading;
    this.#kept.set(kind, reading);
    const forget = (): void => {
      if (this.#kept.get(kind) === reading) this.#kept.delete(kind);
    };
    reading.catch(forget);
    this.#clock.after(limits.listKeptMs, forget);
    return reading;
  }
}
