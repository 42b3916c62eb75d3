import type { AnyDocument, DocumentKind, ModuleDocument, SystemDocument } from './documents.ts';
import type { TriggerDocument } from './trigger.ts';

/**
 * What an edge may know. It gets every document, so that it can list, resolve names and forward commands for the whole
 * federation; but settings, which may hold passwords of devices, and actions of triggers only of what its own location uses.
 * docs/decisions/0008-what-an-edge-may-know.md.
 */

/** Documents that are disclosed to one location. */
export type Disclosed = ReadonlySet<string>;

/** With the kind: a system that names the id of a foreign module as its zone discloses nothing by that. */
const keyOf = (kind: DocumentKind, id: string): string => `${kind} ${id}`;

/**
 * Per location what is disclosed to its edge: its systems, their zones and triggers, its modules and their drivers.
 * A module that names no location belongs to that of a system that lists it; with several such systems, all may know it.
 */
export function discloseAll(systems: Iterable<SystemDocument>, modules: Iterable<ModuleDocument>): ReadonlyMap<string, Disclosed> {
  const byLocation = new Map<string, Set<string>>();
  const listedAt = new Map<string, Set<string>>();
  for (const system of systems) {
    const location = system.edge_control_id;
    if (location === null) continue;
    addTo(byLocation, location, keyOf('sys', system.id), ...system.zones.map((zone) => keyOf('zone', zone)));
    addTo(byLocation, location, ...system.triggers.map((trigger) => keyOf('trigger', trigger)));
    for (const module of system.modules) addTo(listedAt, module, location);
  }
  for (const module of modules) {
    const locations = module.edge_control_id === null ? (listedAt.get(module.id) ?? []) : [module.edge_control_id];
    for (const location of locations) addTo(byLocation, location, keyOf('mod', module.id), keyOf('driver', module.driver_id));
  }
  return byLocation;
}

/** The document as an edge gets it: the same object if nothing has to be withheld. */
export function disclose(document: AnyDocument, disclosed: Disclosed): AnyDocument {
  if (document.type === 'trigger') return discloseTrigger(document, disclosed);
  if (!('settings' in document) || disclosed.has(keyOf(document.type, document.id))) return document;
  const known = Object.keys(document.settings).length > 0;
  if (document.type !== 'mod') return known ? { ...document, settings: {} } : document;
  const { ip, port, uri } = document;
  return known || ip !== '' || port !== 0 || uri !== '' ? { ...document, ip: '', port: 0, uri: '', settings: {} } : document;
}

/** Arguments and addresses of actions may be secrets too. */
function discloseTrigger(document: TriggerDocument, disclosed: Disclosed): TriggerDocument {
  const { actions, webhook_secret: secret } = document;
  const nothing = secret === '' && actions.functions.length === 0 && actions.webhooks.length === 0;
  return nothing || disclosed.has(keyOf('trigger', document.id)) ? document : { ...document, webhook_secret: '', actions: { functions: [], webhooks: [] } };
}

/** Documents that may have been withheld until this one came: they have to travel with it. */
export function companionsOf(
  document: AnyDocument,
  disclosed: Disclosed,
  find: (kind: DocumentKind, id: string) => AnyDocument | null,
): AnyDocument[] {
  if (!disclosed.has(keyOf(document.type, document.id))) return [];
  if (document.type === 'mod') return present([find('driver', document.driver_id)]);
  if (document.type !== 'sys') return [];
  const zones = present(document.zones.map((id) => find('zone', id)));
  // A module that names its location is disclosed by its own document.
  const modules = present(document.modules.map((id) => find('mod', id))).filter((found) => found.type === 'mod' && found.edge_control_id === null);
  const triggers = present(document.triggers.map((id) => find('trigger', id)));
  return [...zones, ...triggers, ...modules, ...modules.flatMap((module) => companionsOf(module, disclosed, find))];
}

const present = (found: readonly (AnyDocument | null)[]): AnyDocument[] => found.filter((document) => document !== null);

function addTo(sets: Map<string, Set<string>>, key: string, ...values: string[]): void {
  const set = sets.get(key) ?? new Set();
  sets.set(key, set);
  for (const value of values) set.add(value);
}
