import type { CancelSignal } from '../../foundation/cancel.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Random } from '../../ports/random.ts';
import type { Directory } from '../documents/directory.ts';
import type { DriverReloading, LoadRequest, ReloadAnswer, ReloadedAt, ReloadRequest } from '../node.ts';
import type { Proxy, ReloadCall, ReloadedBy } from '../commands/proxy.ts';

interface DriverReloadOptions {
  nodeId: string;
  clock: Clock;
  random: Random;
  directory: Directory;
  proxy: Proxy;
}

/** Brings changed drivers to the modules that run them, wherever these are controlled. */
export class DriverReload implements DriverReloading {
  readonly #options: DriverReloadOptions;

  constructor(options: DriverReloadOptions) {
    this.#options = options;
  }

  locationsOf(driver: string): string[] {
    return this.#options.directory.driver(driver).locations;
  }

  async reload({ driver, location, live, ...asked }: ReloadRequest, signal: CancelSignal): Promise<ReloadAnswer> {
    const { code, locations } = this.#options.directory.driver(driver);
    const chosen = this.#locationsOf(live?.modules ?? [], code);
    const wanted = locations.filter((id) => (location === null || id === location) && (chosen === null || chosen.has(id)));
    const trial = live === undefined ? null : { ...live, by: asked.user };
    const outcomes = await Promise.all(
      wanted.map(async (id): Promise<ReloadAnswer> => {
        try {
          return { modules: await this.#at({ location: id, driver: code, module: null, live: trial, ...asked }, signal), failures: [] };
        } catch (error) {
          // One location that cannot be reached does not hide what became of the others.
          if (!(error instanceof HoldfastError)) throw error;
          return { modules: [], failures: [{ location: id, error }] };
        }
      }),
    );
    const failures = outcomes.flatMap((outcome) => outcome.failures);
    if (failures[0] !== undefined && failures.length === wanted.length) throw failures[0].error;
    return { modules: outcomes.flatMap(({ modules }) => modules), failures };
  }

  async load({ module: id, ...asked }: LoadRequest, signal: CancelSignal): Promise<ReloadedAt> {
    const { location, driver } = this.#options.directory.codeOf(id);
    const [loaded] = await this.#at({ location, driver, module: id, ...asked }, signal);
    if (loaded === undefined) throw new HoldfastError('MODULE_NOT_RUNNING', { module: id, reason: 'it is stopped' });
    if (loaded.problem !== null) throw new HoldfastError('DRIVER_FAILED', { module: id, problem: loaded.problem });
    return loaded;
  }

  /** Of the modules that are named; null: none is. Throws NOT_FOUND, INPUT_INVALID. */
  #locationsOf(modules: readonly string[], code: string): Set<string> | null {
    const named = modules.map((id) => this.#options.directory.codeOf(id));
    const other = named.find(({ driver }) => driver !== code);
    if (other !== undefined) throw new HoldfastError('INPUT_INVALID', { field: 'modules', problem: `${other.module} is a module of another driver` });
    return named.length === 0 ? null : new Set(named.map(({ location }) => location));
  }

  /** For the node at the other end of a link. `forward` false: here or nowhere. */
  serve(call: ReloadCall, signal: CancelSignal, forward: boolean): Promise<ReloadedBy> {
    return this.#options.proxy.reload(call, signal, forward);
  }

  async #at(asked: Omit<ReloadCall, 'entry' | 'deadlineMs' | 'requestId'> & { requestId?: string }, signal: CancelSignal): Promise<ReloadedAt[]> {
    const { clock, nodeId, random, proxy } = this.#options;
    const call = { ...asked, entry: nodeId, requestId: asked.requestId ?? random.hex(8), deadlineMs: clock.monotonicMs() + limits.reloadMs };
    const { modules, servedBy } = await proxy.reload(call, signal);
    return modules.map((module) => ({ ...module, location: asked.location, servedBy }));
  }
}
