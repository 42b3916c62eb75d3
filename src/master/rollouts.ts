import { z } from 'zod';
import { Canceller, type CancelSignal } from '../shared/foundation/cancel.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import { MASTER_LOCATION } from '../shared/model/ids.ts';
import { limits } from '../shared/model/limits.ts';
import { shortCommit } from '../shared/model/repository.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { CredentialStore } from '../shared/ports/credential-store.ts';
import type { DocumentStore } from '../shared/ports/document-store.ts';
import type { Log } from '../shared/ports/log.ts';
import type { Random } from '../shared/ports/random.ts';
import type { CommitReport, DriverRepository } from '../shared/runtime/driver-code/driver-repository.ts';
import type { Rollout, RolloutAccess, RolloutRequest, RolloutStep } from '../shared/runtime/node.ts';
import { type ModuleHealth, worseModules } from './rollout-health.ts';

export interface RolloutsOptions {
  clock: Clock;
  random: Random;
  log: Log;
  store: Pick<DocumentStore, 'get' | 'apply'>;
  /** Keeps what became of each, over restarts. */
  credentials: Pick<CredentialStore, 'get' | 'set'>;
  /** Of the master. */
  repository: Pick<DriverRepository, 'report' | 'resolve' | 'request'>;
  locations(): string[];
  /** Is its edge connected, and what does it say of its drivers? null: nothing yet. */
  edge(location: string): { linked: boolean; commit: CommitReport | null };
  health(location: string): ModuleHealth;
}

const KEY = 'rollouts';
const KEPT = 20;

const stepSchema = z.object({
  location: z.string(),
  canary: z.boolean(),
  state: z.enum(['waiting', 'rolling', 'done', 'away', 'failed', 'rolled-back']),
  before: z.string().nullable(),
  problem: z.string().nullable(),
});
const keptSchema = z.array(
  z.object({
    id: z.string(),
    commit: z.string(),
    by: z.string(),
    state: z.enum(['planned', 'running', 'done', 'failed', 'cancelled', 'interrupted']),
    startedMs: z.number(),
    endedMs: z.number().nullable(),
    problem: z.string().nullable(),
    steps: z.array(stepSchema),
  }),
);

/**
 * Brings a commit to locations one after the other, and back everywhere when it does not run somewhere. What it writes are
 * the wanted commits of location documents, and nothing else: whoever is away, or is killed, finds there what to do.
 */
export class Rollouts implements RolloutAccess {
  readonly #options: RolloutsOptions;
  readonly #closing = new Canceller();
  #all: Rollout[] = [];
  #running: { rollout: Rollout; abort: Canceller; done: Promise<void> } | null = null;

  constructor(options: RolloutsOptions) {
    this.#options = options;
  }

  /** One that a restart of the master has ended is marked so: nobody knows any more whether its modules were well. */
  async open(): Promise<void> {
    const kept = keptSchema.safeParse(JSON.parse(this.#options.credentials.get(KEY) ?? '[]'));
    this.#all = kept.success ? kept.data : [];
    for (const rollout of this.#all.filter(({ state }) => state === 'running')) {
      const at = rollout.steps.find(({ state }) => state === 'rolling')?.location ?? 'its end';
      rollout.state = 'interrupted';
      rollout.endedMs = this.#options.clock.wallMs();
      rollout.problem = `the master stopped while it was at ${at}: deploy ${shortCommit(rollout.commit)} again to go on, or the commit before to go back`;
      this.#say(rollout);
      await this.#keep();
    }
  }

  list(): Rollout[] {
    return structuredClone(this.#all);
  }

  async start({ commit: revision, locations, canaries, dryRun, by }: RolloutRequest, signal: CancelSignal): Promise<Rollout> {
    const { clock, random, repository } = this.#options;
    const refuse = (reason: string): HoldfastError => new HoldfastError('ROLLOUT_REFUSED', { reason });
    if (this.#running !== null && !dryRun) throw refuse(`${this.#running.rollout.id} is under way`);
    const known = [...this.#options.locations(), MASTER_LOCATION];
    for (const id of locations) if (!known.includes(id)) throw new HoldfastError('NOT_FOUND', { kind: 'location', id });
    const commit = await repository.resolve(revision, signal);
    const steps = await this.#plan(locations.length === 0 ? known : [...new Set(locations)], canaries);
    const rollout: Rollout = {
      id: `rollout-${random.hex(4)}`, commit, by, state: dryRun ? 'planned' : 'running', startedMs: clock.wallMs(), endedMs: null, problem: null, steps,
    };
    if (dryRun) return rollout;
    // Another one may have begun while the commit was looked for.
    if (this.#running !== null) throw refuse(`${this.#running.rollout.id} is under way`);
    this.#all = [rollout, ...this.#all].slice(0, KEPT);
    const abort = new Canceller();
    this.#running = { rollout, abort, done: this.#run(rollout, abort.signal) };
    return structuredClone(rollout);
  }

  async cancel(id: string): Promise<Rollout> {
    const running = this.#running;
    if (running === null || running.rollout.id !== id) {
      const kept = this.#all.find((rollout) => rollout.id === id);
      throw kept === undefined
        ? new HoldfastError('NOT_FOUND', { kind: 'roll-out', id })
        : new HoldfastError('ROLLOUT_REFUSED', { reason: `${id} has ended (${kept.state})` });
    }
    running.abort.abort(new HoldfastError('CANCELLED', { fate: 'rolled back' }));
    await running.done;
    return structuredClone(running.rollout);
  }

  /** What is under way is left as it is, for the next start to mark. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#running?.abort.abort();
    await this.#running?.done;
  }

  // ── Carrying out ──────────────────────────────────────────────────────────

  /** Who is connected comes first, and of those the canaries: an edge that is away proves nothing. The master is last. */
  async #plan(locations: readonly string[], canaries: number): Promise<RolloutStep[]> {
    const rank = (id: string): number => (id === MASTER_LOCATION ? 1 : this.#options.edge(id).linked ? 0 : 2);
    const ordered = [...locations].sort((a, b) => rank(a) - rank(b));
    const steps = ordered.map(async (location, i): Promise<RolloutStep> => {
      return { location, canary: i < canaries && rank(location) === 0, state: 'waiting', before: await this.#before(location), problem: null };
    });
    return Promise.all(steps);
  }

  /** What to go back to: what was wanted, or what the edge had when nothing was. */
  async #before(location: string): Promise<string | null> {
    const { edge, repository, store } = this.#options;
    if (location === MASTER_LOCATION) return repository.report.actual;
    const document = (await store.get(location))?.document;
    const wanted = document?.type === 'edge' ? document.commit : null;
    return wanted ?? edge(location).commit?.actual ?? null;
  }

  async #run(rollout: Rollout, signal: CancelSignal): Promise<void> {
    const { clock } = this.#options;
    try {
      await this.#note(rollout);
      for (const step of rollout.steps) {
        await this.#step(rollout, step, signal);
        if (signal.aborted) throw new HoldfastError('CANCELLED', { fate: 'rolled back' });
      }
      rollout.state = 'done';
    } catch (error) {
      // The next start of the master says what became of it.
      if (this.#closing.aborted) return;
      const cancelled = signal.aborted;
      rollout.problem = cancelled ? 'it was cancelled' : messageOf(error);
      await this.#rollBack(rollout);
      rollout.state = cancelled ? 'cancelled' : 'failed';
    }
    rollout.endedMs = clock.wallMs();
    this.#running = null;
    await this.#note(rollout);
  }

  async #step(rollout: Rollout, step: RolloutStep, signal: CancelSignal): Promise<void> {
    const { edge, health, repository } = this.#options;
    const { location } = step;
    const { commit } = rollout;
    const before = health(location);
    await this.#move(rollout, step, 'rolling');
    try {
      if (location === MASTER_LOCATION) {
        await repository.request({ action: 'checkout', commit, reload: true, user: rollout.by }, signal);
      } else {
        await this.#want(location, commit);
        if (!edge(location).linked) return await this.#move(rollout, step, 'away');
        await this.#converged(location, commit, signal);
      }
      await this.#healthy(location, before, signal);
    } catch (error) {
      if (this.#closing.aborted) throw error;
      step.problem = messageOf(error);
      await this.#move(rollout, step, 'failed');
      throw new HoldfastError('ROLLOUT_REFUSED', { reason: `${location}: ${step.problem}` }, { cause: error });
    }
    await this.#move(rollout, step, 'done');
  }

  /** Also those that are away: when they come back they find what was wanted before. */
  async #rollBack(rollout: Rollout): Promise<void> {
    const { log, repository } = this.#options;
    for (const step of rollout.steps.filter(({ state }) => state !== 'waiting').toReversed()) {
      const { before, location } = step;
      if (before === null) continue;
      try {
        if (location === MASTER_LOCATION) {
          await repository.request({ action: 'checkout', commit: before, reload: true, user: rollout.by }, new Canceller().signal);
        } else {
          await this.#want(location, before);
        }
        step.state = 'rolled-back';
      } catch (error) {
        step.problem = `not rolled back: ${messageOf(error)}`;
        log.error('rollout-not-back', { rollout: rollout.id, location, error });
      }
      await this.#keep();
    }
  }

  async #want(location: string, commit: string): Promise<void> {
    const { store } = this.#options;
    const stored = await store.get(location);
    if (stored?.document.type !== 'edge') throw new HoldfastError('NOT_FOUND', { kind: 'location', id: location });
    if (stored.document.commit !== commit) await store.apply([{ op: 'put', document: { ...stored.document, commit }, expect: stored.version }]);
  }

  // ── Waiting ───────────────────────────────────────────────────────────────

  /** Resolves when the edge has it; it may also go away meanwhile, and then it is not waited for. */
  async #converged(location: string, commit: string, signal: CancelSignal): Promise<void> {
    const { edge } = this.#options;
    const ended = await this.#poll(limits.rolloutStepMs, signal, () => {
      const { linked, commit: report } = edge(location);
      if (!linked) return 'its edge went away';
      if (report === null || report.wanted !== commit || report.busy) return null;
      return report.actual === commit ? '' : (report.problem ?? null);
    });
    if (ended === null) throw new Error('its edge did not take the commit in time');
    if (ended !== '') throw new Error(ended);
  }

  /** As well as before for a while; whatever is worse may recover within its time. */
  async #healthy(location: string, before: ModuleHealth, signal: CancelSignal): Promise<void> {
    const { clock, health } = this.#options;
    let wellSinceMs: number | null = null;
    const well = await this.#poll(limits.rolloutHealthMs, signal, () => {
      if (worseModules(before, health(location)).length > 0) wellSinceMs = null;
      else wellSinceMs ??= clock.monotonicMs();
      return wellSinceMs !== null && clock.monotonicMs() - wellSinceMs >= limits.rolloutWellMs ? true : null;
    });
    if (well === null) throw new Error(worseModules(before, health(location)).join('; ') || 'its modules did not come to rest');
  }

  /** Looks until there is something to see; null: time was up. Throws CANCELLED. */
  async #poll<T>(timeoutMs: number, signal: CancelSignal, look: () => T | null): Promise<T | null> {
    const { clock } = this.#options;
    const endMs = clock.monotonicMs() + timeoutMs;
    for (;;) {
      if (signal.aborted) throw new HoldfastError('CANCELLED', { fate: 'rolled back' });
      const seen = look();
      if (seen !== null || clock.monotonicMs() >= endMs) return seen;
      await new Promise<void>((resolve) => void clock.after(limits.rolloutLookMs, resolve));
    }
  }

  // ── Keeping ───────────────────────────────────────────────────────────────

  async #move(rollout: Rollout, step: RolloutStep, state: RolloutStep['state']): Promise<void> {
    const { log } = this.#options;
    step.state = state;
    log.info('rollout-step', { rollout: rollout.id, location: step.location, commit: shortCommit(rollout.commit), state, problem: step.problem });
    await this.#keep();
  }

  async #note(rollout: Rollout): Promise<void> {
    this.#say(rollout);
    await this.#keep();
  }

  #say({ id, commit, by, state, problem, steps }: Rollout): void {
    this.#options.log.info('rollout', { rollout: id, commit: shortCommit(commit), by, state, locations: steps.length, problem });
  }

  /** A disk that is full stops no way back. */
  async #keep(): Promise<void> {
    const { credentials, log } = this.#options;
    await credentials.set(KEY, JSON.stringify(this.#all)).catch((error: unknown) => log.error('rollout-not-stored', { error }));
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
