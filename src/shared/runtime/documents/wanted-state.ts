import type { ModuleDocument } from '../../model/documents.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { DocumentStore, Stored } from '../../ports/document-store.ts';
import type { Directory } from './directory.ts';

export interface Wanted {
  what: 'module' | 'system' | 'location';
  /** Of one of these. */
  id: string;
  running: boolean;
}

/** How often somebody else may be faster. */
const TRIES = 3;

/** The modules that are meant: of a system or a location those without `ignore_startstop`. Throws NOT_FOUND. */
export function wantedIds(directory: Directory, { what, id }: Wanted): string[] {
  const startable = (modules: ModuleDocument[]): string[] => modules.flatMap((module) => (module.ignore_startstop ? [] : [module.id]));
  switch (what) {
    case 'module':
      return [directory.module(id).module];
    case 'system':
      return startable(directory.modulesListedIn(id));
    case 'location':
      if (directory.edge(id) === null) throw new HoldfastError('NOT_FOUND', { kind: 'location', id });
      return startable(directory.modulesAt(id));
  }
}

/**
 * Sets the wanted state of modules, all or none, and says of how many it was another one; whoever controls them follows.
 * Throws NOT_FOUND, VERSION_CONFLICT and what the store throws.
 */
export async function setWanted(store: DocumentStore, ids: readonly string[], running: boolean, dryRun: boolean): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const stored: Stored<ModuleDocument>[] = [];
    // One after the other: thousands at a time would fill the queue of the store.
    for (const id of ids) stored.push(await moduleIn(store, id));
    const others = stored.filter(({ document }) => document.running !== running);
    if (others.length === 0 || dryRun) return others.length;
    try {
      await store.apply(others.map(({ document, version }) => ({ op: 'put', document: { ...document, running }, expect: version })));
      return others.length;
    } catch (error) {
      if (attempt === TRIES || !(error instanceof HoldfastError) || error.code !== 'VERSION_CONFLICT') throw error;
    }
  }
}

async function moduleIn(store: DocumentStore, id: string): Promise<Stored<ModuleDocument>> {
  const stored = await store.get(id);
  if (stored?.document.type !== 'mod') throw new HoldfastError('NOT_FOUND', { kind: 'module', id });
  return { document: stored.document, version: stored.version };
}
