import type { DocumentKind, DocumentOf, SystemDocument } from '../model/documents.ts';
import { limits } from '../model/limits.ts';
import type { DocumentStore } from '../ports/document-store.ts';
import type { Page } from './reply.ts';

/** All documents of a kind, read page by page so that others get their turn. */
export async function listAll<K extends DocumentKind>(store: DocumentStore, kind: K): Promise<DocumentOf<K>[]> {
  const all: DocumentOf<K>[] = [];
  for (;;) {
    const after = all.at(-1)?.id;
    const page = await store.list(kind, { limit: limits.listMax, ...(after === undefined ? {} : { after }) });
    all.push(...page.map(({ document }) => document));
    if (page.length < limits.listMax) return all;
  }
}

/** One page of those of which a text contains `q`. */
export function pageOf<T>(all: T[], { q, offset, limit }: Page & { q: string }, texts: (item: T) => string[]): { items: T[]; total: number } {
  const wanted = q.toLowerCase();
  const found = wanted === '' ? all : all.filter((item) => texts(item).some((text) => text.toLowerCase().includes(wanted)));
  return { items: found.slice(offset, offset + limit), total: found.length };
}

/** `Display_1`, `Display_2` … in the order of the system's modules. */
export async function moduleNames(store: DocumentStore, system: SystemDocument): Promise<(string | null)[]> {
  const counts = new Map<string, number>();
  const names: (string | null)[] = [];
  for (const id of system.modules) {
    const stored = await store.get(id);
    if (stored?.document.type !== 'mod') {
      names.push(null);
      continue;
    }
    const { name } = stored.document;
    const index = (counts.get(name) ?? 0) + 1;
    counts.set(name, index);
    names.push(`${name}_${index}`);
  }
  return names;
}
