import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { ModuleSpec } from '../../ports/device-link.ts';
import type { Log } from '../../ports/log.ts';
import type { HostPool } from './host-pool.ts';
import type { Launcher } from './launcher.ts';
import { type Progress, progressText } from './progress.ts';
import type { Location, Placed } from './running-location.ts';

interface HeldModulesOptions {
  log: Log;
  pool: HostPool;
  launcher: Launcher;
  progress: Progress;
  place(location: Location, spec: ModuleSpec): Placed;
  launch(location: Location, modules: Placed[]): Promise<void>;
  /** It does not run, for this reason. */
  down(location: Location, spec: ModuleSpec, reason: string): void;
  /** Nothing is said of it any more. */
  forget(location: Location, module: string): void;
}

const BACK = '`load` or `start` brings it back';

/** Modules that the documents want, and an operator does not for now: it lasts until control moves. Each call has its turn in the location. */
export class HeldModules {
  readonly #options: HeldModulesOptions;

  constructor(options: HeldModulesOptions) {
    this.#options = options;
  }

  /** Takes them from where they were placed. */
  hold(location: Location, modules: readonly Placed[], reason: string): void {
    const { pool, down } = this.#options;
    for (const { spec, slot } of modules) {
      if (location.modules.delete(spec.id)) pool.release(slot, spec.driver);
      location.held.set(spec.id, { spec, reason });
      down(location, spec, reason);
    }
  }

  /** Those of the ids that are held back afterwards. */
  async unload(location: Location, ids: readonly string[], by: string): Promise<string[]> {
    const placed = ids.flatMap((id) => location.modules.get(id) ?? []);
    await this.#options.launcher.stop(location, placed, { deadlineMs: limits.moduleStopMs, halt: location.halt.signal });
    const gone = placed.filter(({ spec }) => !location.modules.has(spec.id));
    this.hold(location, gone, `it was unloaded by ${by}; ${BACK}`);
    return ids.filter((id) => location.held.has(id));
  }

  /** Starts those of the ids that are held back. */
  async release(location: Location, ids: readonly string[]): Promise<string[]> {
    const { place, launch } = this.#options;
    const fresh = ids.flatMap((id) => {
      const held = location.held.get(id);
      return held !== undefined && location.held.delete(id) ? [place(location, held.spec)] : [];
    });
    await launch(location, fresh);
    return fresh.map(({ spec }) => spec.id);
  }

  /** One that is held back may run with new code; refused, it stays as it is. */
  async placing<T>(location: Location, id: string | null, load: () => Promise<T>): Promise<T> {
    const held = location.held.get(id ?? '');
    if (held === undefined) return await load();
    location.held.delete(held.spec.id);
    const placed = this.#options.place(location, held.spec);
    placed.problem = held.reason;
    try {
      return await load();
    } catch (error) {
      if (location.modules.get(placed.spec.id) === placed) this.hold(location, [placed], held.reason);
      throw error;
    }
  }

  /** Ends a start or stop under way between two portions. */
  halt(location: Location, by: string): string[] {
    const { log, progress } = this.#options;
    const refused = (reason: string): HoldfastError => new HoldfastError('ORDER_REFUSED', { location: location.id, reason });
    if (location.stopping !== null) throw refused('control is given up, and nothing holds that up');
    const under = progress.of(location.id);
    if (under === null) throw refused('no modules are being started or stopped');
    log.warn('modules-cancelled', { location: location.id, action: under.action, by, progress: progressText(under) });
    location.halt.abort(new Error(`its start was cancelled by ${by}; ${BACK}`));
    location.halt = new AbortController();
    return [];
  }

  /** What is not wanted any more is not held back either. */
  forget(location: Location, wanted: readonly ModuleSpec[]): void {
    const ids = new Set(wanted.map(({ id }) => id));
    for (const id of location.held.keys()) if (!ids.has(id) && location.held.delete(id)) this.#options.forget(location, id);
  }

  /** Those that are not held back; the others will start as they are now. */
  others({ held }: Location, wanted: readonly ModuleSpec[]): ModuleSpec[] {
    return wanted.filter((spec) => {
      const reason = held.get(spec.id)?.reason;
      if (reason !== undefined) held.set(spec.id, { spec, reason });
      return reason === undefined;
    });
  }
}
