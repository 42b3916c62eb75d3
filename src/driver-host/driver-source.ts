import type { Driver } from '../driver-sdk/index.ts';
import { type CompiledDriver, type DriverFolder, isMadeOf, runDriver } from '../driver-tools/driver-files.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import type { DriverEdit } from '../shared/ports/device-link.ts';

export interface DriverSource {
  /** Calls `entering` right before code of the driver runs. Throws DRIVER_INVALID. */
  get(name: string, entering: () => void): Driver | undefined | Promise<Driver | undefined>;
  /** What its file says now, or would with that content; null: it has none and cannot change. Throws NOT_FOUND, INPUT_INVALID, DRIVER_INVALID. */
  compile(name: string, edit: DriverEdit | null): Promise<CompiledDriver | null>;
  /** Runs what was compiled, beside what `get` gives. Throws DRIVER_INVALID. */
  run(compiled: CompiledDriver, entering: () => void): Promise<Driver>;
  /** Is this driver what was compiled? null: is it one that cannot change? */
  isMadeOf(driver: Driver, compiled: CompiledDriver | null): boolean;
  /** `get` gives this one from now on. */
  adopt(driver: Driver): void;
}

/**
 * The drivers of a host: what comes with Holdfast keeps its name, the rest is in a folder. `place`: how the folders begin in which
 * code lies while it is loaded.
 */
export function createDriverSource(fixed: ReadonlyMap<string, Driver>, folder: DriverFolder | null, place?: string): DriverSource {
  return {
    get: (name, entering) => fixed.get(name) ?? folder?.get(name, entering),
    compile: async (name, edit) => {
      if (fixed.has(name) && edit !== null) throw new HoldfastError('INPUT_INVALID', { field: 'file', problem: `the driver ${name} comes with Holdfast` });
      if (fixed.has(name)) return null;
      const compiled = await folder?.compile(name, edit);
      if (compiled == null) throw new HoldfastError('NOT_FOUND', { kind: 'driver', id: name });
      return compiled;
    },
    run: (compiled, entering) => runDriver(compiled, entering, place),
    isMadeOf: (driver, compiled) => (compiled === null ? fixed.get(driver.name) === driver : isMadeOf(driver, compiled)),
    adopt: (driver) => folder?.adopt(driver),
  };
}
