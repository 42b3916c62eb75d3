import type { JsonObject } from '../../foundation/json.ts';
import { limits } from '../../model/limits.ts';
import type { ModuleSpec } from '../../ports/device-link.ts';
import type { Location } from './running-location.ts';

interface Changes {
  /** Took other settings while they ran. */
  updated: string[];
  stopped: ModuleSpec[];
  started: ModuleSpec[];
}

/** What became of a running location when its documents changed, or had changed while nobody could tell. null: nothing. */
export function convergedFacts(location: Location, { updated, ...changes }: Changes): JsonObject | null {
  const [stopped, started] = [changes.stopped, changes.started].map((specs) => specs.map(({ id }) => id).filter((id) => !location.held.has(id)));
  if (stopped === undefined || started === undefined) return null;
  const wereThere = new Set(stopped);
  const restarted = started.filter((id) => wereThere.has(id)).length;
  const modules = [...new Set([...updated, ...stopped, ...started])];
  if (modules.length === 0) return null;
  const counts = { started: started.length - restarted, stopped: stopped.length - restarted, restarted, updated: updated.length };
  return { location: location.id, ...counts, modules: modules.slice(0, limits.namedModules) };
}
