import { locationOfDocument } from '../model/documents.ts';
import type { DocumentKind, DocumentOf, ModuleDocument, SiteDocument } from '../model/documents.ts';
import { HoldfastError } from '../model/errors.ts';
import { MASTER_LOCATION } from '../model/ids.ts';
import { parseInput } from '../client-api/parse.ts';
import type { Route } from '../client-api/route.ts';
import { reloadQuery } from '../client-api/schemas.ts';
import type { DocumentStore, Stored } from '../ports/document-store.ts';
import type { HoldfastNode } from '../runtime/node.ts';
import type { ModuleFacts } from './views.ts';

const nouns: Record<DocumentKind, string> = {
  edge: 'location',
  sys: 'system',
  mod: 'module',
  driver: 'driver',
  zone: 'zone',
  trigger: 'trigger',
  api_key: 'API key',
  token: 'token',
};

/** Throws NOT_FOUND, also when the id is that of a document of another kind. */
export async function findDocument<K extends DocumentKind>(store: DocumentStore, kind: K, id: string): Promise<Stored<DocumentOf<K>>> {
  const stored = await store.get(id);
  if (stored === null || !isOfKind(stored, kind)) throw new HoldfastError('NOT_FOUND', { kind: nouns[kind], id });
  return stored;
}

/** Those of the documents that are there and of the kind, in the order of the ids. */
export async function present<K extends DocumentKind>(store: DocumentStore, kind: K, ids: readonly string[]): Promise<Stored<DocumentOf<K>>[]> {
  const found = await Promise.all(ids.map((id) => store.get(id)));
  return found.flatMap((stored) => (stored !== null && isOfKind(stored, kind) ? [stored] : []));
}

export const isOfKind = <K extends DocumentKind>(stored: Stored, kind: K): stored is Stored<DocumentOf<K>> => stored.document.type === kind;

/** The directory of a node follows its store: right after a commit it may not know a module yet. */
export function known<T>(ask: () => T): T | null {
  try {
    return ask();
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
}

export async function moduleFacts(node: HoldfastNode, module: ModuleDocument): Promise<ModuleFacts> {
  const driver = await node.store.get(module.driver_id);
  return {
    location: locationOfModule(node, module),
    role: driver?.document.type === 'driver' ? driver.document.role : 'device',
    connected: isConnected(node, module),
    edited: known(() => node.desk.editedOf(module.id)),
  };
}

/** null: it is the master's. */
export function locationOfModule(node: HoldfastNode, { id, edge_control_id }: ModuleDocument): string | null {
  const location = known(() => node.desk.locationOf(id));
  return location === null || location === MASTER_LOCATION ? edge_control_id : location;
}

/** Where a document belongs that is in the store; null: to none alone. */
export function locationNow(node: HoldfastNode, document: SiteDocument): string | null {
  return (document.type === 'mod' ? locationOfModule(node, document) : null) ?? locationOfDocument(document);
}

/** null: nobody knows. */
export function isConnected(node: HoldfastNode, { id }: ModuleDocument): boolean | null {
  const connected = known(() => node.desk.knownStatus(id))?.values['connected'];
  return typeof connected === 'boolean' ? connected : null;
}

/** The locations that a request about `id` touches: those whose `admins` are asked. Throws NOT_FOUND. */
export async function locationsTouched(node: HoldfastNode, what: NonNullable<Route['adminOf']>, id: string, query: unknown): Promise<Set<string>> {
  switch (what) {
    case 'location':
      return new Set([id]);
    case 'module':
      return new Set([node.desk.locationOf(id)]);
    case 'request': {
      // Whoever may run a command may cancel one.
      const location = node.desk.locationOfRequest(id);
      return new Set(location === null ? [] : [location]);
    }
    case 'driver': {
      const { location } = parseInput(reloadQuery, query, 'query');
      return new Set(location === undefined ? node.desk.drivers.locationsOf(id) : [location]);
    }
    case 'system': {
      const { edge_control_id, modules } = (await findDocument(node.store, 'sys', id)).document;
      const those = modules.flatMap((module) => known(() => node.desk.locationOf(module)) ?? []);
      return new Set([edge_control_id ?? MASTER_LOCATION, ...those]);
    }
  }
}
