import { listAll } from '../../api/lists.ts';
import type { SystemDocument } from '../../model/documents.ts';
import type { SiteEntry, SiteProblem } from './site-file.ts';
import type { World } from './site-world.ts';

/** A system that lists a module, and the entry of the file that says so (null: the store does). */
interface Listing {
  system: SystemDocument;
  entry: SiteEntry | null;
}

/**
 * A module's location is that of the systems that list it; systems of the master may list modules of any location. Fills
 * in `edge_control_id` where a module does not say it, also of stored modules that a system of the file lists; refuses
 * modules of two locations, modules that say another one, and logic modules of two systems or away from their system.
 */
export async function locateModules(entries: readonly SiteEntry[], world: World): Promise<SiteProblem[]> {
  const listings = await listingsByModule(entries, world);
  const inFile = new Map(entries.map((entry) => [entry.document.id, entry]));
  const problems: SiteProblem[] = [];
  for (const id of modulesConcerned(entries)) {
    const module = await world.document(id);
    const all = listings.get(id) ?? [];
    if (module?.type !== 'mod' || all.length === 0) continue;
    const driver = await world.document(module.driver_id);
    const isLogic = driver?.type === 'driver' && driver.role === 'logic';
    const own = inFile.get(id) ?? null;
    // A logic module runs where its system is; any other one can be reached from there.
    const [first, ...others] = isLogic ? all : all.filter(({ system }) => system.edge_control_id !== null);
    if (first === undefined) continue;
    const location = first.system.edge_control_id;
    const elsewhere = others.find(({ system }) => system.edge_control_id !== location);
    if (isLogic && others.length > 0) {
      const systems = all.map(({ system }) => system.id).join(' and by ');
      problems.push(problemAt(id, own, [...others, first], `logic module "${id}" is listed by ${systems}; it belongs to one system`));
    } else if (elsewhere !== undefined) {
      const both = [first, elsewhere].map(({ system }) => `${system.id} of ${nameOf(system.edge_control_id)}`).join(' and by ');
      problems.push(problemAt(id, own, [elsewhere, first], `module "${id}" is listed by ${both}; a module has one location`));
    } else if (module.edge_control_id === null && location !== null) {
      world.wanted.set(id, { ...module, edge_control_id: location });
    } else if (module.edge_control_id !== location) {
      const says = `its edge_control_id says ${nameOf(module.edge_control_id)}`;
      const advice = own === null ? `${says} in the store; put the module into the file too` : `${says}; leave that out`;
      const problem = `module "${id}" belongs to ${nameOf(location)}, for ${first.system.id} lists it, but ${advice}`;
      problems.push(problemAt(id, own, [first, ...others], problem));
    }
  }
  return problems;
}

const nameOf = (location: string | null): string => (location === null ? 'the master' : location);

function modulesConcerned(entries: readonly SiteEntry[]): Set<string> {
  return new Set(entries.flatMap(({ document }) => (document.type === 'sys' ? document.modules : document.type === 'mod' ? [document.id] : [])));
}

async function listingsByModule(entries: readonly SiteEntry[], world: World): Promise<Map<string, Listing[]>> {
  const listings = new Map<string, Listing[]>();
  const add = (system: SystemDocument, entry: SiteEntry | null): void => {
    for (const module of new Set(system.modules)) {
      const known = listings.get(module);
      if (known === undefined) listings.set(module, [{ system, entry }]);
      else known.push({ system, entry });
    }
  };
  for (const entry of entries) if (entry.document.type === 'sys') add(entry.document, entry);
  for (const system of await listAll(world.store, 'sys')) if (!world.wanted.has(system.id)) add(system, null);
  return listings;
}

/** Where the module says its location, else where a system of the file lists it. */
function problemAt(id: string, own: SiteEntry | null, listings: readonly Listing[], problem: string): SiteProblem {
  const listed = listings.find(({ entry }) => entry !== null);
  if (own === null && listed?.entry != null) return { ...listed.entry.place(['modules', listed.system.modules.indexOf(id)]), problem };
  return { ...(own?.place(['edge_control_id']) ?? { line: 1, column: 1, path: '' }), problem };
}
