import type { DocumentKind, DocumentOf, SystemDocument } from '../model/documents.ts';
import { limits } from '../model/limits.ts';
import type { DocumentStore, Stored } from '../ports/document-store.ts';
import type { Page } from './reply.ts';

/** All documents of a kind, with their versions, page by page so that others get their turn. */
export async function* pagesOf<K extends DocumentKind>(store: DocumentStore, kind: K, limit: number): AsyncGenerator<Stored<DocumentOf<K>>[]> {
  for (let after = ''; ; ) {
    const page = await store.list(kind, { limit, after });
    const last = page.at(-1);
    if (last === undefined) return;
    yield page;
    if (page.length < limit) return;
    after = last.document.id;
  }
}

export async function listStored<K extends DocumentKind>(store: DocumentStore, kind: K): Promise<Stored<DocumentOf<K>>[]> {
  const all: Stored<DocumentOf<K>>[] = [];
  for await (const page of pagesOf(store, kind, limits.listMax)) all.push(...page);
  return all;
}

export async function listAll<K extends DocumentKind>(store: DocumentStore, kind: K): Promise<DocumentOf<K>[]> {
  return (await listStored(store, kind)).map(({ document }) => document);
}

/** One page of those of which a text contains `q`. */
export function pageOf<T>(all: T[], { q, offset, limit }: Page & { q: string }, texts: (item: T) => string[]): { items: T[]; total: number } {
  const wanted = q.toLowerCase();
  const found = wanted === '' ? all : all.filter((item) => texts(item).some((text) => text.toLowerCase().includes(wanted)));
  return { items: found.slice(offset, offset + limit), total: found.length };
}

/** Names of the modules of a system, in its order; null where the document is missing. */
export async function namesOf(store: DocumentStore, system: SystemDocument): Promise<(string | null)[]> {
  const found = await Promise.all(system.modules.map((id) => store.get(id)));
  return found.map((stored) => (stored?.document.type === 'mod' ? stored.document.name : null));
}

/** `Display_1`, `Display_2` … in the order of the system's modules. */
export async function moduleNames(store: DocumentStore, system: SystemDocument): Promise<(string | null)[]> {
  const counts = new Map<string, number>();
  return (await namesOf(store, system)).map((name) => {
    if (name === null) return null;
    const index = (counts.get(name) ?? 0) + 1;
    counts.set(name, index);
    return `${name}_${index}`;
  });
}
