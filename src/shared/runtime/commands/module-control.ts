import { Canceller, type CancelSignal } from '../../foundation/cancel.ts';
import type { Json } from '../../foundation/json.ts';
import { HoldfastError } from '../../model/errors.ts';
import { MASTER_LOCATION } from '../../model/ids.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Random } from '../../ports/random.ts';
import type { Directory } from '../documents/directory.ts';
import type { Expired, ExpireRequest, ModuleController, UnloadRequest, Unloaded, WantAnswer, WantRequest } from '../node.ts';
import { bodyFor, readAnswer, wantedAnswer } from '../peer/peer-bodies.ts';
import type { ExpireCall, ModulesBy, ModulesCall, Proxy } from './proxy.ts';
import { setWanted, wantedIds } from '../documents/wanted-state.ts';

type Ask = (kind: 'wanted', body: Json, options: { signal: CancelSignal; timeoutMs: number }) => Promise<Json>;

interface ModuleControlOptions {
  nodeId: string;
  clock: Clock;
  random: Random;
  directory: Directory;
  proxy: Proxy;
  /** Absent at the master, whose documents these are. */
  askMaster?: Ask | undefined;
}

/** What administrators of locations ask of modules and systems, wherever these are controlled. */
export class ModuleControl implements ModuleController {
  readonly #options: ModuleControlOptions;

  constructor(options: ModuleControlOptions) {
    this.#options = options;
  }

  async want(request: WantRequest, signal: CancelSignal): Promise<WantAnswer> {
    const { askMaster, nodeId, directory } = this.#options;
    // It follows its store, and whoever asks may just have made these modules.
    await directory.caughtUp();
    const ids = wantedIds(directory, request);
    if (askMaster === undefined) return this.#set(request, ids);
    const { what, id, running, dryRun, user, who } = request;
    const elsewhere = ids.some((module) => directory.module(module).location !== nodeId);
    if (elsewhere) throw new HoldfastError('MASTER_ONLY', { action: 'starting and stopping modules of other locations' });
    const body = bodyFor(who, { what, id, running, dryRun, user, entry: nodeId, requestId: request.requestId ?? this.#newId() });
    return readAnswer(wantedAnswer, await askMaster('wanted', body, { signal, timeoutMs: limits.requestMs }), 'wanted');
  }

  /** For an edge, which has a say in its own location only. */
  async serveWanted(request: WantRequest, location: string): Promise<WantAnswer> {
    const { directory } = this.#options;
    await directory.caughtUp();
    const ids = wantedIds(directory, request);
    const foreign = ids.find((module) => directory.module(module).location !== location);
    if (foreign !== undefined) throw new HoldfastError('FORBIDDEN', { needs: `modules of ${location}, and ${foreign} is none` });
    return this.#set(request, ids);
  }

  async unload({ module, ...asked }: UnloadRequest, signal: CancelSignal): Promise<Unloaded> {
    const { location } = this.#options.directory.module(module);
    const { modules, servedBy } = await this.#manage({ location, action: 'unload', modules: [module], ...asked }, signal);
    if (modules.length === 0) throw new HoldfastError('MODULE_NOT_RUNNING', { module, reason: 'it is stopped' });
    return { module, location, servedBy };
  }

  /** The node that asks goes first, then whoever controls the system has its turn. */
  async expire({ system, user, who, requestId }: ExpireRequest, signal: CancelSignal): Promise<Expired> {
    const { clock, directory, nodeId, proxy } = this.#options;
    const names = await directory.refresh(system);
    const location = directory.system(system).edge_control_id ?? MASTER_LOCATION;
    const deadlineMs = clock.monotonicMs() + limits.requestMs;
    const call: ExpireCall = { location, system, user, who, entry: nodeId, requestId: requestId ?? this.#newId(), deadlineMs };
    try {
      return { system, modules: names, nodes: [...new Set([nodeId, ...(await proxy.expire(call, signal))])], failures: [] };
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      return { system, modules: names, nodes: [nodeId], failures: [{ location, error }] };
    }
  }

  /** For the node at the other end of a link. `forward` false: here or nowhere. */
  serve(call: ModulesCall, signal: CancelSignal, forward: boolean): Promise<ModulesBy> {
    return this.#options.proxy.modules(call, signal, forward);
  }

  /** The same. Ids of the nodes that it was done at. */
  async serveExpire(call: ExpireCall, signal: CancelSignal, forward: boolean): Promise<string[]> {
    const { directory, nodeId, proxy } = this.#options;
    await directory.refresh(call.system);
    return [nodeId, ...(forward ? await proxy.expire(call, signal) : [])];
  }

  /** Ends a start or stop under way at the node at the other end of a link. */
  async cancelAt(location: string, by: { user: string; who: string | undefined }, signal: CancelSignal): Promise<void> {
    await this.#manage({ location, action: 'cancel', modules: [], ...by }, signal);
  }

  async #set({ running, dryRun, user, who, requestId }: WantRequest, ids: readonly string[]): Promise<WantAnswer> {
    const changed = await setWanted(this.#options.directory.store, ids, running, dryRun);
    if (running && !dryRun) this.#release(ids, { user, who, ...(requestId === undefined ? {} : { requestId }) });
    return { changed, modules: ids.length };
  }

  /** What was unloaded, or whose start was cancelled, is wanted again. Nobody waits for it: who cannot be reached keeps what it holds back. */
  #release(ids: readonly string[], asked: { user: string; who: string | undefined; requestId?: string }): void {
    const byLocation = new Map<string, string[]>();
    for (const id of ids) {
      const { location } = this.#options.directory.module(id);
      byLocation.set(location, [...(byLocation.get(location) ?? []), id]);
    }
    for (const [location, modules] of byLocation) {
      void this.#manage({ location, action: 'release', modules, ...asked }, new Canceller().signal).catch(() => undefined);
    }
  }

  #manage(asked: Omit<ModulesCall, 'entry' | 'deadlineMs' | 'requestId'> & { requestId?: string }, signal: CancelSignal): Promise<ModulesBy> {
    const { clock, nodeId, proxy } = this.#options;
    const call = { ...asked, entry: nodeId, requestId: asked.requestId ?? this.#newId(), deadlineMs: clock.monotonicMs() + limits.requestMs };
    return proxy.modules(call, signal);
  }

  #newId(): string {
    return this.#options.random.hex(8);
  }
}
