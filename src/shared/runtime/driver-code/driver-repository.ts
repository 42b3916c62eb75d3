import { Canceller, type CancelSignal } from '../../foundation/cancel.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import { shortCommit } from '../../model/repository.ts';
import type { Clock, Timer } from '../../ports/clock.ts';
import type { ReloadedModule } from '../../ports/device-link.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { CopyStatus, WorkingCopy } from '../../ports/working-copy.ts';

export const repositoryActions = ['status', 'pull', 'reset', 'checkout'] as const;
export type RepositoryAction = (typeof repositoryActions)[number];

export interface RepositoryOrder {
  action: RepositoryAction;
  /** Of `checkout`: a commit, branch or tag. */
  commit: string | null;
  /** The modules whose code changed get it while they run. If that fails, the commit before comes back. */
  reload: boolean;
  user: string;
}

/** What a node tells of the code of its drivers. */
export interface CommitReport {
  /** What the location document asked for when this was said; null: nothing. */
  wanted: string | null;
  /** What is checked out; null: nothing. */
  actual: string | null;
  /** It is being brought to what is wanted. */
  busy: boolean;
  /** Why it is not what is wanted; null: it is. */
  problem: string | null;
}

export interface RepositoryAnswer {
  status: CopyStatus & { wanted: string | null; problem: string | null };
  /** What was checked out before. */
  from: string | null;
  /** Modules that were given other code. */
  modules: ReloadedModule[];
}

export interface DriverRepositoryOptions {
  nodeId: string;
  /** Of the location whose document names the wanted commit; null: none does. */
  location: string | null;
  clock: Clock;
  log: Log;
  metrics: Metrics;
  /** null: this node has no repository. */
  copy: WorkingCopy | null;
  /** As the location document has it. */
  wanted(): string | null;
  /** Names of the code that modules which run here may run. */
  codes(): { location: string; driver: string }[];
  /** The device link. */
  reload(order: { location: string; driver: string; module: null; changedOnly: true }, signal: CancelSignal): Promise<ReloadedModule[]>;
  /** To whoever shows it. */
  tell(report: CommitReport): void;
}

/** What may be otherwise in a minute, without anybody's doing here. */
const PASSING: ReadonlySet<string> = new Set(['REPOSITORY_FAILED', 'REPOSITORY_DIRTY', 'COMMIT_UNKNOWN', 'STORE_FULL']);

/** The working copy of a node: requests one after the other, and the way to the commit that is wanted. */
export class DriverRepository {
  readonly #options: DriverRepositoryOptions;
  readonly #closing = new Canceller();
  #tail: Promise<unknown> = Promise.resolve();
  #report: CommitReport;
  #converging = false;
  /** Tried, and not good: not tried again by itself until another one was wanted in between. */
  #refused: { commit: string; problem: string } | null = null;
  #retry: Timer | null = null;

  constructor(options: DriverRepositoryOptions) {
    this.#options = options;
    this.#report = { wanted: null, actual: options.copy?.commit ?? null, busy: false, problem: null };
  }

  get report(): CommitReport {
    return this.#report;
  }

  /** Throws REPOSITORY_UNSET, and what the working copy throws; then what runs is what ran. */
  request(order: RepositoryOrder, signal: CancelSignal): Promise<RepositoryAnswer> {
    const { copy, nodeId, log, location, wanted } = this.#options;
    if (copy === null) return Promise.reject(new HoldfastError('REPOSITORY_UNSET', { server: nodeId }));
    return this.#inTurn(signal, async (signal) => {
      const from = copy.commit;
      const modules = await this.#carryOut(copy, order, signal);
      if (order.action !== 'status') {
        const moved = { from: shortCommit(from), to: shortCommit(copy.commit) };
        log.info('repository', { location, action: order.action, by: order.user, ...moved, modules: modules.length });
        this.#refused = null;
        this.#say({ actual: copy.commit, problem: await this.#difference(copy, signal) });
      }
      const status = await copy.status(signal);
      return { status: { ...status, wanted: wanted(), problem: this.#report.problem }, from, modules };
    });
  }

  /** The commit that a name means, as `resolve` of the working copy has it. Throws REPOSITORY_UNSET. */
  resolve(revision: string, signal: CancelSignal): Promise<string> {
    const { copy, nodeId } = this.#options;
    if (copy === null) return Promise.reject(new HoldfastError('REPOSITORY_UNSET', { server: nodeId }));
    return this.#inTurn(signal, (signal) => copy.resolve(revision, signal));
  }

  /** To be called when the node has started, when the wanted commit may have changed, and when its link opens. */
  converge(): void {
    this.#retry?.cancel();
    this.#retry = null;
    const { copy, wanted, nodeId } = this.#options;
    if (copy === null) {
      const missing = wanted() === null ? null : new HoldfastError('REPOSITORY_UNSET', { server: nodeId }).message;
      return this.#say({ wanted: wanted(), problem: missing });
    }
    if (this.#converging) return;
    this.#converging = true;
    void this.#inTurn(this.#closing.signal, async (signal) => {
      this.#converging = false;
      await this.#converge(copy, signal);
    }).catch(() => (this.#converging = false));
  }

  /** What is under way is cancelled, and has ended when this resolves. */
  async close(): Promise<void> {
    this.#closing.abort(new HoldfastError('SHUTTING_DOWN', {}));
    this.#retry?.cancel();
    await this.#tail;
  }

  /** One after the other, each with a deadline; the way back after a failure takes no signal and ends in any case. */
  #inTurn<T>(asked: CancelSignal, work: (signal: CancelSignal) => Promise<T>): Promise<T> {
    const { clock } = this.#options;
    const run = async (): Promise<T> => {
      const abort = new Canceller();
      const cancel = (): void => abort.abort(asked.reason);
      const timer = clock.after(limits.repositoryMs, cancel);
      const signals = [asked, this.#closing.signal];
      for (const signal of signals) signal.addEventListener('abort', cancel, { once: true });
      if (signals.some(({ aborted }) => aborted)) cancel();
      try {
        return await work(abort.signal);
      } finally {
        timer.cancel();
        for (const signal of signals) signal.removeEventListener('abort', cancel);
      }
    };
    const done = this.#tail.then(run);
    this.#tail = done.catch(() => undefined);
    return done;
  }

  async #carryOut(copy: WorkingCopy, { action, commit, reload }: RepositoryOrder, signal: CancelSignal): Promise<ReloadedModule[]> {
    switch (action) {
      case 'status':
        return [];
      case 'pull':
        await copy.refresh(signal);
        return this.#switch(copy, await copy.resolve(this.#options.wanted(), signal), { discard: false, reload }, signal);
      case 'checkout':
        return this.#switch(copy, await copy.resolve(commit, signal), { discard: false, reload }, signal);
      case 'reset':
        if (copy.commit === null) return [];
        return this.#switch(copy, copy.commit, { discard: true, reload }, signal);
    }
  }

  async #switch(copy: WorkingCopy, commit: string, how: { discard: boolean; reload: boolean }, signal: CancelSignal): Promise<ReloadedModule[]> {
    const { discard, reload } = how;
    const change = await copy.switchTo(commit, { discard }, signal);
    if (!reload) {
      await change.keep();
      return [];
    }
    try {
      const modules = await this.#reloadAll(signal);
      const broken = modules.filter(({ problem, stood }) => problem !== null && stood !== true);
      if (broken.length > 0) throw new HoldfastError('COMMIT_REFUSED', { commit, problem: brokenText(broken) });
      await change.keep();
      return modules;
    } catch (error) {
      await change.back();
      await this.#reloadAll(new Canceller().signal).catch((again: unknown) => this.#options.log.error('repository-not-back', { commit, error: again }));
      throw error;
    }
  }

  async #reloadAll(signal: CancelSignal): Promise<ReloadedModule[]> {
    const { codes, reload } = this.#options;
    const outcomes: ReloadedModule[] = [];
    for (const { location, driver } of codes()) {
      if (signal.aborted) throw new HoldfastError('CANCELLED', { fate: 'under way' });
      outcomes.push(...(await reload({ location, driver, module: null, changedOnly: true }, signal)));
    }
    return outcomes;
  }

  async #converge(copy: WorkingCopy, signal: CancelSignal): Promise<void> {
    const { location, log } = this.#options;
    const wanted = this.#options.wanted();
    // Nobody says which one: only a node that has none takes the newest.
    if (wanted === null && copy.commit !== null) return this.#say({ wanted, problem: null });
    const from = copy.commit;
    let commit: string | null = null;
    this.#say({ wanted, busy: true });
    try {
      commit = await copy.resolve(wanted, signal);
      if (commit === from) {
        this.#refused = null;
        return this.#say({ busy: false, actual: from, problem: null });
      }
      if (commit === this.#refused?.commit) return this.#say({ busy: false, problem: this.#refused.problem });
      const modules = await this.#switch(copy, commit, { discard: false, reload: true }, signal);
      this.#refused = null;
      log.info('commit-changed', { location, from: shortCommit(from), to: shortCommit(commit), modules: modules.length });
      this.#say({ busy: false, actual: commit, problem: null });
    } catch (error) {
      if (this.#closing.aborted) return;
      this.#notTaken(wanted, commit, error);
    }
  }

  #notTaken(wanted: string | null, commit: string | null, error: unknown): void {
    const { clock, copy, location, log } = this.#options;
    const known = error instanceof HoldfastError ? error : null;
    const problem = known?.message ?? (error instanceof Error ? error.message : String(error));
    if (this.#report.problem !== problem) log.warn('commit-not-taken', { location, commit: shortCommit(wanted), problem });
    this.#say({ busy: false, actual: copy?.commit ?? null, problem });
    if (commit !== null && known !== null && !PASSING.has(known.code)) this.#refused = { commit, problem };
    else this.#retry = clock.after(limits.repositoryRetryMs, () => this.converge());
  }

  /** What was ordered by hand may be another commit than the one that is wanted. */
  async #difference(copy: WorkingCopy, signal: CancelSignal): Promise<string | null> {
    const wanted = this.#options.wanted();
    if (wanted === null) return null;
    const commit = await copy.resolve(wanted, signal).catch(() => null);
    return commit === copy.commit ? null : `${shortCommit(copy.commit) ?? 'nothing'} is checked out by hand; ${shortCommit(wanted)} is wanted`;
  }

  #say(change: Partial<CommitReport>): void {
    const { location, metrics, tell } = this.#options;
    const before = this.#report;
    this.#report = { ...before, ...change };
    if (location !== null) metrics.set('holdfast_commit_as_wanted', { location }, this.#report.problem === null ? 1 : 0);
    if (JSON.stringify(before) !== JSON.stringify(this.#report)) tell(this.#report);
  }
}

const brokenText = (broken: readonly ReloadedModule[]): string =>
  broken.slice(0, 3).map(({ module, problem }) => `${module}: ${problem ?? ''}`).join('; ');
