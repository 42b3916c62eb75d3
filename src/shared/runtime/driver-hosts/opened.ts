import type { ModuleSpec } from '../../ports/device-link.ts';
import { type Location, sameSpec } from './running-location.ts';

export interface Opened {
  opened: ModuleSpec[];
  /** Of which it is news that they could not be opened, and why. */
  shut: { spec: ModuleSpec; problem: string }[];
  /** Those that could not, and now can. */
  openedAgain: string[];
}

/**
 * Modules whose settings could be opened, and those that run, with the settings that they have: a key that is missing
 * must not end what runs. Keeps on the location what could not be opened.
 */
export function sortOpened(location: Location, modules: readonly ModuleSpec[]): Opened {
  const before = location.unopened;
  const unopened = new Map<string, string>();
  const shut: Opened['shut'] = [];
  const opened = modules.flatMap((spec) => {
    const why = spec.sealed?.problem ?? null;
    const placed = location.modules.get(spec.id);
    // The same settings, but others of them may be secret now.
    if (placed !== undefined && why === null && sameSpec(placed.spec, spec)) placed.spec = spec;
    if (why === null) return [spec];
    const problem = placed === undefined ? why : `${why}; until then it keeps the settings that it has`;
    unopened.set(spec.id, problem);
    if (before.get(spec.id) !== problem) shut.push({ spec, problem });
    return placed === undefined ? [] : [placed.spec];
  });
  location.unopened = unopened;
  const openedAgain = opened.filter(({ id }) => before.has(id) && !unopened.has(id)).map(({ id }) => id);
  return { opened, shut, openedAgain };
}
