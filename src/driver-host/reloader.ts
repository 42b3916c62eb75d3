import type { Driver } from '../driver-sdk/index.ts';
import type { Module } from '../driver-sdk/module.ts';
import { HoldfastError, toHoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { ModuleSpec } from '../shared/ports/device-link.ts';
import type { FromHost, ToHost } from '../shared/runtime/driver-hosts/messages.ts';
import { splitSettings } from './connection-settings.ts';
import type { DriverSource } from './driver-source.ts';

interface ReloaderOptions {
  clock: Clock;
  drivers: DriverSource;
  send(message: FromHost): void;
  /** Code of this module is about to run. */
  entered(location: string, module: string): void;
  find(location: string, module: string): Module | undefined;
}

type Of<T extends ToHost['t']> = Extract<ToHost, { t: T }>;
type Reloaded = Extract<FromHost, { t: 'reloaded' }>['modules'][number];

/**
 * Live reload, in the three steps that the node leads: what a file says now is compiled by one host, loaded and tried
 * on the settings by each host that needs it, and only when all of them took it put in the place of the old code.
 */
export class Reloader {
  readonly #options: ReloaderOptions;
  /** Loaded and not yet in use. */
  readonly #prepared = new Map<string, Driver>();
  /** Tried live at some of their modules, the last of each. */
  readonly #edited = new Map<string, Driver>();

  constructor(options: ReloaderOptions) {
    this.#options = options;
  }

  async compile({ id, driver, edit }: Of<'compile'>): Promise<void> {
    const { drivers, send } = this.#options;
    await this.#answer(id, driver, async () => {
      const compiled = await inTime(this.#options.clock, driver, drivers.compile(driver, edit));
      send({ t: 'compiled', id, compiled });
    });
  }

  async prepare({ id, location, driver: name, compiled, modules }: Of<'prepare'>): Promise<void> {
    const { clock, drivers, entered, find, send } = this.#options;
    const entering = (): void => entered(location, modules[0]?.id ?? '');
    await this.#answer(id, name, async () => {
      const loading = compiled === null ? Promise.resolve(drivers.get(name, entering)) : drivers.run(compiled, entering);
      const driver = await inTime(clock, name, loading);
      if (driver === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'driver', id: name });
      for (const spec of modules) requireFit(driver, spec, compiled?.entry ?? name);
      this.#prepared.set(name, driver);
      const same = modules.filter((spec) => {
        const module = find(location, spec.id);
        return module !== undefined && drivers.isMadeOf(module.driver, compiled);
      });
      send({ t: 'prepared', id, same: same.map((spec) => spec.id) });
    });
  }

  /** Tells `entered` what of the driver runs: should it never come back, the last words name that. */
  async check({ id, compiled, settings }: Of<'check'>): Promise<void> {
    const { clock, drivers, entered, send } = this.#options;
    await this.#answer(id, compiled.name, async () => {
      // Loaded when needed: modules need no harness.
      const { describeDriver } = await import('./describe-driver.ts');
      const run = (entering: () => void): Promise<Driver> => inTime(clock, compiled.name, drivers.run(compiled, entering));
      const checked = await describeDriver({ entry: compiled.entry, settings, clock, run, entered: (what) => entered('check', what) });
      send({ t: 'checked', id, checked });
    });
  }

  async reload({ id, location, driver: name, modules, edited }: Of<'reload'>): Promise<void> {
    const { drivers, send } = this.#options;
    // With modules: what was prepared has been taken, or was refused elsewhere and must not be.
    const prepared = modules.length === 0 ? this.#prepared.get(name) : undefined;
    if (modules.length === 0) this.#prepared.delete(name);
    if (prepared !== undefined && edited) this.#edited.set(name, prepared);
    // From here on also new modules run it.
    else if (prepared !== undefined) drivers.adopt(prepared);
    await this.#answer(id, name, async () => {
      const driver = edited ? this.#edited.get(name) : await drivers.get(name, () => undefined);
      if (driver === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'driver', id: name });
      send({ t: 'reloaded', id, modules: await Promise.all(modules.map((spec) => this.#reloadModule(driver, location, spec))) });
    });
  }

  /** The code of a driver that is tried live; undefined: none is. */
  edited(name: string): Driver | undefined {
    return this.#edited.get(name);
  }

  async #reloadModule(driver: Driver, location: string, spec: ModuleSpec): Promise<Reloaded> {
    const { clock, find } = this.#options;
    const beganMs = clock.monotonicMs();
    const outcome = (problem: string | null, restart = false): Reloaded => ({
      module: spec.id,
      problem,
      restart,
      pausedMs: clock.monotonicMs() - beganMs,
    });
    const module = find(location, spec.id);
    if (module === undefined) return outcome('it was stopped meanwhile');
    // Another way to the device is another connection, and that is made at the start only.
    if (module.driver.transports.join() !== driver.transports.join()) return outcome(null, true);
    try {
      await module.reload(driver, { ...spec, settings: splitSettings(spec.settings).own });
      return outcome(null);
    } catch (error) {
      return outcome(toHoldfastError(error, spec.id).message);
    }
  }

  async #answer(id: number, name: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#options.send({ t: 'error', id, error: toHoldfastError(error, name).toJSON() });
    }
  }
}

/** Throws DRIVER_INVALID when its settings do not fit the new code: the module could not be started with it. */
function requireFit(driver: Driver, spec: ModuleSpec, place: string): void {
  const { own } = splitSettings(spec.settings);
  const parsed = driver.settings.safeParse(own);
  if (parsed.success) return;
  const issue = parsed.error.issues[0];
  const field = ['settings', ...(issue?.path ?? [])].map(String).join('.');
  throw new HoldfastError('DRIVER_INVALID', { place, problem: `${field} of module ${spec.id}: ${issue?.message ?? 'does not fit'}` });
}

/** The work goes on when it takes too long; nobody waits for it any more. */
export async function inTime<T>(clock: Clock, module: string, loading: Promise<T>): Promise<T> {
  let expire: () => void = () => undefined;
  const late = new Promise<never>((_, reject) => {
    expire = () => reject(new HoldfastError('DRIVER_FAILED', { module, problem: 'loading it took too long' }));
  });
  const timer = clock.after(limits.driverLoadMs, expire);
  try {
    return await Promise.race([loading, late]);
  } finally {
    timer.cancel();
  }
}
