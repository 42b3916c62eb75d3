import { fromWire, HoldfastError } from '../../model/errors.ts';
import type { Clock } from '../../ports/clock.ts';
import type { DriverEdit, ReloadedModule, ReloadOrder } from '../../ports/device-link.ts';
import type { HostPeer } from './host-peer.ts';
import type { HostPool } from './host-pool.ts';
import type { Answer } from './messages.ts';
import { batchesOf, bySlot, type Location, type Placed } from './running-location.ts';

/** The driver and its modules of one location. */
interface Reloading {
  location: string;
  driver: string;
  modules: readonly Placed[];
  /** Content of one file that is tried instead of what it says; null: the files count. */
  edit: DriverEdit | null;
}

const peersOf = (modules: readonly Placed[]): HostPeer[] => [...bySlot([...modules]).keys()].flatMap(({ peer }) => peer ?? []);

/**
 * Answers the modules that run this very code already.
 * One host compiles what the file says now; each host that needs it loads it beside the old code and tries the settings
 * of its modules. All of them have the same code ready then, or this throws NOT_FOUND or DRIVER_INVALID.
 */
async function prepareCode({ location, driver, modules, edit }: Reloading, trial: ReloadOptions['trial']): Promise<Set<string>> {
  const [first, ...others] = peersOf(modules);
  if (first === undefined) throw new HoldfastError('MODULE_NOT_RUNNING', { module: modules[0]?.spec.id ?? driver, reason: 'its driver host is being started' });
  const answer = orThrow(await first.ask({ t: 'compile', driver, edit }), driver);
  if (answer.t !== 'compiled') throw unexpected(answer);
  const prepare = async (peer: HostPeer): Promise<string[]> => {
    // One that does not run anyway does not stand in the way of the others.
    const specs = modules.filter(({ slot, problem }) => slot.peer === peer && problem === null).map(({ spec }) => spec);
    const asked = await peer.ask({ t: 'prepare', location, driver, compiled: answer.compiled, modules: specs });
    const prepared = orThrow(asked, answer.compiled?.entry ?? driver);
    return prepared.t === 'prepared' ? prepared.same : [];
  };
  // Code that ends its process when it is loaded, or never comes back, must end none that has modules.
  if (answer.compiled !== null) {
    const specs = modules.filter(({ problem }) => problem === null).map(({ spec }) => spec);
    const tried = await trial({ t: 'prepare', location, driver, compiled: answer.compiled, modules: specs });
    orThrow(tried.answer, answer.compiled.entry, tried.reason);
  }
  const same = await Promise.all([first, ...others].map(prepare));
  // What comes with the program cannot have changed, whatever became of its modules.
  return new Set(answer.compiled === null ? modules.map(({ spec }) => spec.id) : same.flat());
}

/** What was prepared is the code of the driver now, for all that starts at these hosts, or waits to be tried there. What runs is not touched. */
async function adoptCode({ location, driver, modules, edit }: Reloading): Promise<void> {
  await Promise.all(peersOf(modules).map((peer) => peer.ask({ t: 'reload', location, driver, modules: [], edited: edit !== null })));
}

/** Puts it in the place of what modules run. `restart`: only a new start can bring a module to it. */
async function swapCode({ location, driver, modules, edit }: Reloading): Promise<(ReloadedModule & { restart: boolean })[]> {
  const reloaded = await Promise.all(
    batchesOf([...modules]).map(async (batch) => {
      const answer = await batch[0]?.slot.peer?.ask({ t: 'reload', location, driver, modules: batch.map(({ spec }) => spec), edited: edit !== null });
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
  restart(modules: Placed[], edited: string | null): Promise<void>;
  /** Asks a process of its own. */
  trial: HostPool['askTrial'];
}

/** Reloads modules of one location. Throws as `prepareCode` does; then nothing has changed. */
export async function reloadModules(location: Location, order: ReloadOrder, { clock, signal, restart, trial: ask }: ReloadOptions): Promise<ReloadedModule[]> {
  signal.throwIfAborted();
  const { driver, live: trial = null } = order;
  const all = modulesOf(location, order);
  if (all.length === 0) return [];
  const edit = trial?.edit ?? null;
  // What is taken back goes on with what the others run, whatever the file says by now.
  const reverts = trial !== null && edit === null;
  const same = reverts ? new Set<string>() : await prepareOrSame(all, { location: location.id, order, edit }, ask);
  const modules = order.changedOnly === true ? all.filter(({ spec }) => !same.has(spec.id)) : all;
  if (modules.length === 0) return [];
  const reloading = { location: location.id, driver, modules, edit };
  signal.throwIfAborted();
  if (!reverts) await adoptCode(reloading);
  const edited = edit === null ? null : `${edit.file}, edited by ${trial?.by}, not committed`;
  const beganMs = clock.monotonicMs();
  const stood = new Set(modules.flatMap(({ spec, problem }) => (problem === null ? [] : [spec.id])));
  const live = order.module === null ? modules.filter(({ spec }) => !stood.has(spec.id)) : [];
  const swapped = await swapCode({ ...reloading, modules: live });
  signal.throwIfAborted();
  const done = swapped.filter((outcome) => !outcome.restart).map(({ module, problem, pausedMs }) => ({ module, problem, pausedMs }));
  const swappedIds = new Set(done.map(({ module }) => module));
  // Also what did not run, for it may run with the new code.
  const due = modules.filter(({ spec }) => !swappedIds.has(spec.id));
  for (const { module, problem } of done) if (problem === null) mark(location, module, edited);
  await restart(due, edited);
  const pausedMs = clock.monotonicMs() - beganMs;
  const started = due.map(({ spec: { id } }) => ({ module: id, problem: location.modules.get(id)?.problem ?? null, pausedMs }));
  for (const { module, problem } of started) if (problem !== null) mark(location, module, null);
  return [...done, ...started].map((outcome) => (stood.has(outcome.module) ? { ...outcome, stood: true } : outcome));
}

function modulesOf(location: Location, { driver, module, live }: ReloadOrder): Placed[] {
  const chosen = new Set(live?.modules);
  const isMeant = ({ spec: { id }, edited }: Placed): boolean => {
    if (live == null) return module === null || id === module;
    return (chosen.size === 0 || chosen.has(id)) && (live.edit !== null || edited !== null);
  };
  return [...location.modules.values()].filter((placed) => placed.spec.driver === driver && isMeant(placed));
}

/** Ids of the modules that run this very code already. */
async function prepareOrSame(
  modules: readonly Placed[],
  { location, order, edit }: { location: string; order: ReloadOrder; edit: DriverEdit | null },
  trial: ReloadOptions['trial'],
): Promise<Set<string>> {
  try {
    return await prepareCode({ location, driver: order.driver, modules, edit }, trial);
  } catch (error) {
    // None of them ran before: nothing is lost that new code could be blamed for.
    if (order.changedOnly === true && modules.every(({ problem }) => problem !== null)) return new Set(modules.map(({ spec }) => spec.id));
    throw error;
  }
}

function mark(location: Location, module: string, edited: string | null): void {
  const placed = location.modules.get(module);
  if (placed !== undefined) placed.edited = edited;
}

/** What the log says of it. */
export function reloadedLine({ location, driver, live }: ReloadOrder, modules: number, failed: number): [event: string, facts: object] {
  const facts = { location, driver, modules, failed };
  if (live == null) return ['driver-reloaded', facts];
  return live.edit === null ? ['driver-reverted', { ...facts, by: live.by }] : ['driver-edited', { ...facts, file: live.edit.file, by: live.by }];
}

function orThrow(answer: Answer | null, place: string, reason = ''): Answer {
  const problem = `its process ended when it was loaded${reason === '' ? '' : `: ${reason.split('\n', 1)[0]}`}`;
  if (answer === null) throw new HoldfastError('DRIVER_INVALID', { place, problem });
  if (answer.t === 'error') throw fromWire(answer.error);
  return answer;
}

const unexpected = ({ t }: Answer): HoldfastError => new HoldfastError('LINK_PROTOCOL', { problem: `a driver host answered ${t}` });
