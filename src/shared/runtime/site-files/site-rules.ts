import { type Json, jsonEqual, pathText } from '../../foundation/json.ts';
import { markOf } from '../../model/secrets.ts';
import type { SiteEntry, SiteProblem } from './site-file.ts';
import type { World } from './site-world.ts';

/** A system has a module once: a second place in its list would be a second name of the same device. */
export function repeatedModules({ document, place }: SiteEntry): SiteProblem[] {
  if (document.type !== 'sys') return [];
  const { modules } = document;
  return modules.flatMap((id, i) => {
    const first = modules.indexOf(id);
    return first === i ? [] : [{ ...place(['modules', i]), problem: `module "${id}" is there already, as modules[${first}]; a system has a module once` }];
  });
}

/** Zones of the file that are their own parent, in one step or in several: each circle once. */
export async function zoneCycles(entries: readonly SiteEntry[], world: World): Promise<SiteProblem[]> {
  const problems: SiteProblem[] = [];
  const judged = new Set<string>();
  for (const { document, place } of entries) {
    if (document.type !== 'zone') continue;
    const way: string[] = [];
    for (let id: string | null = document.id; id !== null && !judged.has(id); ) {
      judged.add(id);
      way.push(id);
      const zone = await world.document(id);
      id = zone?.type === 'zone' ? zone.parent_id : null;
      if (id === null || !way.includes(id)) continue;
      const circle = [...way.slice(way.indexOf(id)), id].join(' → ');
      problems.push({ ...place(['parent_id']), problem: `zones are each other's parent: ${circle}; one of them must have none` });
    }
  }
  return problems;
}

/** Narrower than what a plan does not print: of what only might be a secret nobody is warned. */
const SECRET_NAME = /pass(wor[dt]|wd|phrase|code)|(^|_)pass$|secret|token|credential|(api|private|access)_?key|community|(^|_)pin$/i;
const NAMED = 3;

/** Values of settings that are named like secrets and are stored as they are: one warning for all that the file changes. */
export function plainSecrets(entries: readonly SiteEntry[], world: World): string[] {
  const places = entries.flatMap(({ document }) => {
    if (!('settings' in document)) return [];
    const stored = world.storedBefore(document.id)?.document;
    if (stored !== undefined && 'settings' in stored && jsonEqual(stored.settings, document.settings)) return [];
    return secretPlaces(document.settings, ['settings']).map((path) => `${document.id}: ${pathText(path)}`);
  });
  if (places.length === 0) return [];
  const more = places.length > NAMED ? ` and ${places.length - NAMED} more` : '';
  return [
    `stored in plain text, for everybody who reads the documents or a backup: ${places.slice(0, NAMED).join(', ')}${more}; ` +
      'write {"$secret": "…"} in the place of the value to have it sealed (holdfast settings new-key makes the key for that)',
  ];
}

function secretPlaces(value: Json, path: readonly (string | number)[]): (readonly (string | number)[])[] {
  if (typeof value !== 'object' || value === null || markOf(value) !== null) return [];
  if (Array.isArray(value)) return value.flatMap((item, i) => secretPlaces(item, [...path, i]));
  return Object.entries(value).flatMap(([name, inner]) => {
    const isValue = (typeof inner === 'string' && inner !== '') || typeof inner === 'number';
    return isValue && SECRET_NAME.test(name) ? [[...path, name]] : secretPlaces(inner, [...path, name]);
  });
}
