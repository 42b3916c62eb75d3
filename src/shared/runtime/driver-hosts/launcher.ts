import type { Json } from '../../foundation/json.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ModuleSnapshot } from '../../ports/device-link.ts';
import type { HostPeer } from './host-peer.ts';
import type { HostPool, Slot } from './host-pool.ts';
import { startOrder, stopOrder } from './messages.ts';
import type { Progress } from './progress.ts';
import { batchesOf, bySlot, type Launch, type Location, type Placed, untilAborted } from './running-location.ts';

interface LauncherOptions {
  clock: Clock;
  pool: HostPool;
  progress: Progress;
  /** A text of a driver without the secrets of this module. */
  hide(text: string, of: { location: string; module: string }): string;
  /** These are not started after all, for this reason. */
  held(location: Location, modules: Placed[], reason: string): void;
  /** It did not start; its `problem` says why. */
  down(location: Location, placed: Placed): void;
}

/** Until when modules have to be stopped, and in which portions. */
interface Stop {
  /** From now on; with `halt`: for each portion. */
  deadlineMs: number;
  /** Ends it between two portions. null: control is given up, and nothing holds that up. */
  halt: AbortSignal | null;
}

const LEAST_STEP_MS = 100;
export const LOST = 'its driver host ended; it is being started again';

/** Starts and stops modules at their hosts, role by role and in bounded portions. */
export class Launcher {
  readonly #options: LauncherOptions;

  constructor(options: LauncherOptions) {
    this.#options = options;
  }

  /** Resolves when each module was tried once, or `halt` aborted: those whose turn had not come are held back then. */
  async launch(location: Location, modules: Placed[], { handover, signal, halt }: Launch): Promise<void> {
    const tally = this.#options.progress.begin(location.id, 'start', modules.length);
    const waiting = new Set(modules);
    const mayGoOn = (): boolean => !signal.aborted && !halt.aborted;
    try {
      for (const role of startOrder) {
        // A change under way may be stopping one that its host, just restarted, would get to run for ever.
        const due = modules.filter(({ spec, leaving }) => spec.role === role && !leaving);
        const act = async (batch: Placed[]): Promise<void> => {
          for (const placed of batch) waiting.delete(placed);
          tally.add(batch.length, await this.#startBatch(location, batch, handover));
        };
        await untilAborted(inPortions(batchesOf(due), act, mayGoOn), signal);
        signal.throwIfAborted();
      }
      if (halt.aborted) this.#holdRest(location, waiting, halt.reason);
    } finally {
      tally.end();
    }
  }

  #holdRest(location: Location, waiting: Iterable<Placed>, reason: unknown): void {
    const rest = [...waiting].filter((placed) => isThere(location, placed));
    this.#options.held(location, rest, reason instanceof Error ? reason.message : String(reason));
  }

  /** How many failed. */
  async #startBatch(location: Location, all: Placed[], handover: Record<string, Json>): Promise<number> {
    const slot = all[0]?.slot;
    const peer = slot?.peer ?? null;
    // While it waited for its turn it may have been stopped, or moved to another host and started there.
    const batch = all.filter((placed) => placed.slot === slot && isThere(location, placed));
    // The host is away: its modules start when it comes back.
    if (peer === null) {
      for (const placed of batch) this.#failed(location, placed, LOST);
      return batch.length;
    }
    for (const placed of batch) placed.problem = null;
    if (batch.length === 0) return 0;
    const modules = batch.map(({ spec, edited, fault }) => ({ spec, handover: handover[spec.id] ?? null, edited: edited !== null, fault }));
    const answer = await peer.ask({ t: 'start', location: location.id, run: location.run, modules });
    if (answer?.t !== 'started') return 0;
    const { hide } = this.#options;
    const problems = new Map(answer.failed.map(({ module, problem }) => [module, hide(problem, { location: location.id, module })]));
    for (const placed of batch) this.#failed(location, placed, problems.get(placed.spec.id) ?? null);
    return problems.size;
  }

  #failed(location: Location, placed: Placed, problem: string | null): void {
    placed.problem = problem;
    if (problem !== null && isPlaced(location, placed)) this.#options.down(location, placed);
  }

  /** Role by role, in reverse. A host that does not obey is killed: its sockets are closed in any case. */
  async stop(location: Location, modules: Placed[], { deadlineMs, halt }: Stop): Promise<ModuleSnapshot> {
    const { clock, progress } = this.#options;
    const tally = progress.begin(location.id, 'stop', modules.length);
    const endMs = clock.monotonicMs() + deadlineMs;
    const handover: Record<string, Json> = {};
    for (const placed of modules) placed.leaving = true;
    const ofRole = stopOrder.map((role) => modules.filter(({ spec }) => spec.role === role));
    const steps = ofRole.filter((step) => step.length > 0);
    for (const [index, step] of steps.entries()) {
      const stop = async (portion: Placed[], stepMs: number): Promise<void> => {
        Object.assign(handover, await this.#stopAt(location, portion, stepMs));
        this.#gone(location, portion);
        tally.add(portion.length, 0);
      };
      const share = Math.max(LEAST_STEP_MS, (endMs - clock.monotonicMs()) / (steps.length - index));
      if (halt === null) await Promise.all([...bySlot(step).values()].map((portion) => stop(portion, share)));
      else await inPortions(batchesOf(step), (portion) => stop(portion, deadlineMs), () => !halt.aborted);
    }
    // Those whose turn did not come go on.
    for (const placed of modules) if (isPlaced(location, placed)) placed.leaving = false;
    tally.end();
    return { handover };
  }

  #gone(location: Location, modules: Placed[]): void {
    for (const placed of modules) {
      // A change under way may have been stopping it too, and its place is given back once.
      if (!isPlaced(location, placed)) continue;
      location.modules.delete(placed.spec.id);
      this.#options.pool.release(placed.slot, placed.spec.driver);
    }
  }

  /** Of one host. */
  async #stopAt(location: Location, modules: Placed[], stepMs: number): Promise<Record<string, Json>> {
    const handover: Record<string, Json> = {};
    const stopped = [...bySlot(modules)].map(async ([{ peer }, placed]) => {
      // Its sockets went with it.
      if (peer !== null) Object.assign(handover, await this.#stopWith(peer, location, { placed, stepMs }));
    });
    await Promise.all(stopped);
    return handover;
  }

  async #stopWith(peer: HostPeer, { id }: Location, { placed, stepMs }: { placed: Placed[]; stepMs: number }): Promise<Record<string, Json>> {
    const late = this.#options.clock.after(stepMs, () => peer.kill(`it did not stop the modules of ${id} in time`));
    const ids = placed.map(({ spec }) => spec.id);
    // The hooks of drivers get half of the time, so that the host can close the sockets in the other half.
    const answer = await peer.ask({ t: 'stop', location: id, modules: ids, hookMs: stepMs / 2 });
    late.cancel();
    if (answer?.t === 'stopped') return answer.handover;
    await peer.gone;
    return {};
  }
}

const isPlaced = ({ modules }: Location, placed: Placed): boolean => modules.get(placed.spec.id) === placed;
const isThere = (location: Location, placed: Placed): boolean => !placed.leaving && isPlaced(location, placed);

/** So many portions at a time and host, and no further one once they may not go on. */
async function inPortions(batches: Placed[][], act: (batch: Placed[]) => Promise<void>, mayGoOn: () => boolean): Promise<void> {
  const queues = new Map<Slot | undefined, Placed[][]>();
  for (const batch of batches) {
    const slot = batch[0]?.slot;
    queues.set(slot, [...(queues.get(slot) ?? []), batch]);
  }
  const work = async (queue: Placed[][]): Promise<void> => {
    for (let batch = queue.shift(); batch !== undefined && mayGoOn(); batch = queue.shift()) await act(batch);
  };
  await Promise.all([...queues.values()].flatMap((queue) => Array.from({ length: limits.modulesBatches }, () => work(queue))));
}
