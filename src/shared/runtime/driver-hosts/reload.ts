import { fromWire, HoldfastError } from '../../model/errors.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ReloadedModule, ReloadOrder } from '../../ports/device-link.ts';
import type { HostPeer } from './host-peer.ts';
import type { Answer } from './messages.ts';
import { batchesOf, bySlot, type Location, type Placed } from './running-location.ts';

/** The driver and its modules of one location. */
interface Reloading {
  location: string;
  driver: string;
  modules: readonly Placed[];
}

const peersOf = (modules: readonly Placed[]): HostPeer[] => [...bySlot([...modules]).keys()].flatMap(({ peer }) => peer ?? []);

/**
 * Answers the modules that run this very code already.
 * One host compiles what the file says now; each host that needs it loads it beside the old code and tries the settings
 * of its modules. All of them have the same code ready then, or this throws NOT_FOUND or DRIVER_INVALID.
 */
async function prepareCode({ location, driver, modules }: Reloading): Promise<Set<string>> {
  const [first, ...others] = peersOf(modules);
  if (first === undefined) throw new HoldfastError('MODULE_NOT_RUNNING', { module: modules[0]?.spec.id ?? driver, reason: 'its driver host is being started' });
  const answer = orThrow(await first.ask({ t: 'compile', driver }), driver);
  if (answer.t !== 'compiled') throw unexpected(answer);
  const prepare = async (peer: HostPeer): Promise<string[]> => {
    // One that does not run anyway does not stand in the way of the others.
    const specs = modules.filter(({ slot, problem }) => slot.peer === peer && problem === null).map(({ spec }) => spec);
    const asked = await peer.ask({ t: 'prepare', location, driver, compiled: answer.compiled, modules: specs });
    const prepared = orThrow(asked, answer.compiled?.entry ?? driver);
    return prepared.t === 'prepared' ? prepared.same : [];
  };
  // Code that ends its process when it is loaded must end one process only.
  const same = [await prepare(first), ...(await Promise.all(others.map(prepare)))];
  // What comes with the program cannot have changed, whatever became of its modules.
  return new Set(answer.compiled === null ? modules.map(({ spec }) => spec.id) : same.flat());
}

/** What was prepared is the code of the driver now, for all that starts at these hosts. What runs is not touched. */
async function adoptCode({ location, driver, modules }: Reloading): Promise<void> {
  await Promise.all(peersOf(modules).map((peer) => peer.ask({ t: 'reload', location, driver, modules: [] })));
}

/** Puts it in the place of what modules run. `restart`: only a new start can bring a module to it. */
async function swapCode({ location, driver, modules }: Reloading): Promise<(ReloadedModule & { restart: boolean })[]> {
  const reloaded = await Promise.all(
    batchesOf([...modules]).map(async (batch) => {
      const answer = await batch[0]?.slot.peer?.ask({ t: 'reload', location, driver, modules: batch.map(({ spec }) => spec) });
      if (answer?.t === 'reloaded') return answer.modules;
      const problem = answer?.t === 'error' ? answer.error.message : 'its driver host ended';
      return batch.map(({ spec }) => ({ module: spec.id, problem, restart: false, pausedMs: 0 }));
    }),
  );
  return reloaded.flat();
}

interface ReloadOptions {
  clock: Clock;
  signal: AbortSignal;
  /** Stops modules and starts them with what they handed over. */
  restart(modules: Placed[]): Promise<void>;
}

/** Reloads modules of one location. Throws as `prepareCode` does; then nothing has changed. */
export async function reloadModules(location: Location, order: ReloadOrder, { clock, signal, restart }: ReloadOptions): Promise<ReloadedModule[]> {
  signal.throwIfAborted();
  const { driver } = order;
  const all = [...location.modules.values()].filter(({ spec }) => spec.driver === driver && (order.module === null || spec.id === order.module));
  if (all.length === 0) return [];
  const same = await prepareCode({ location: location.id, driver, modules: all }).catch((error: unknown) => {
    // None of them ran before: nothing is lost that new code could be blamed for.
    if (order.changedOnly === true && all.every(({ problem }) => problem !== null)) return new Set(all.map(({ spec }) => spec.id));
    throw error;
  });
  const modules = order.changedOnly === true ? all.filter(({ spec }) => !same.has(spec.id)) : all;
  if (modules.length === 0) return [];
  const reloading = { location: location.id, driver, modules };
  signal.throwIfAborted();
  await adoptCode(reloading);
  const beganMs = clock.monotonicMs();
  const stood = new Set(modules.flatMap(({ spec, problem }) => (problem === null ? [] : [spec.id])));
  const live = order.module === null ? modules.filter(({ spec }) => !stood.has(spec.id)) : [];
  const swapped = await swapCode({ ...reloading, modules: live });
  signal.throwIfAborted();
  const done = swapped.filter((outcome) => !outcome.restart).map(({ module, problem, pausedMs }) => ({ module, problem, pausedMs }));
  const swappedIds = new Set(done.map(({ module }) => module));
  // Also what did not run, for it may run with the new code.
  const due = modules.filter(({ spec }) => !swappedIds.has(spec.id));
  await restart(due);
  const pausedMs = clock.monotonicMs() - beganMs;
  const started = due.map(({ spec: { id } }) => ({ module: id, problem: location.modules.get(id)?.problem ?? null, pausedMs }));
  return [...done, ...started].map((outcome) => (stood.has(outcome.module) ? { ...outcome, stood: true } : outcome));
}

function orThrow(answer: Answer | null, place: string): Answer {
  if (answer === null) throw new HoldfastError('DRIVER_INVALID', { place, problem: 'its process ended when it was loaded' });
  if (answer.t === 'error') throw fromWire(answer.error);
  return answer;
}

const unexpected = ({ t }: Answer): HoldfastError => new HoldfastError('LINK_PROTOCOL', { problem: `a driver host answered ${t}` });
