import type { Clock } from '../../ports/clock.ts';
import type { ModulesProgress } from '../../ports/device-link.ts';
import type { Log } from '../../ports/log.ts';

type Listener = (location: string, progress: ModulesProgress | null) => void;

/** One start or stop of modules. */
export interface Tally {
  /** So many more are done, and so many of them failed. */
  add(done: number, failing: number): void;
  end(): void;
}

const LOG_MS = 1_000;

export const progressText = ({ done, total, failing }: ModulesProgress): string => `${done}/${total} modules${failing === 0 ? '' : `, ${failing} failing`}`;

/** How far starts and stops of modules have come: told with each batch, and logged once a second while one takes longer. */
export class Progress {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #listeners = new Set<Listener>();
  /** Oldest first. */
  readonly #under = new Map<string, Set<ModulesProgress>>();

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  on(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  of(location: string): ModulesProgress | null {
    const [oldest] = this.#under.get(location) ?? [];
    return oldest === undefined ? null : { ...oldest };
  }

  begin(location: string, action: ModulesProgress['action'], total: number): Tally {
    if (total === 0) return { add: () => undefined, end: () => undefined };
    const sinceMs = this.#clock.monotonicMs();
    const progress = { location, action, done: 0, total, failing: 0, sinceMs };
    const under = this.#under.get(location) ?? new Set();
    this.#under.set(location, under.add(progress));
    this.#tell(location);
    let loggedMs = sinceMs;
    const say = (): void => {
      loggedMs = this.#clock.monotonicMs();
      this.#log.info('modules-progress', { location, action, progress: progressText(progress), ms: Math.round(loggedMs - sinceMs) });
    };
    return {
      add: (done, failing) => {
        progress.done += done;
        progress.failing += failing;
        this.#tell(location);
        if (this.#clock.monotonicMs() - loggedMs >= LOG_MS) say();
      },
      end: () => {
        under.delete(progress);
        if (under.size === 0) this.#under.delete(location);
        this.#tell(location);
        // Whoever read that it began also reads how it ended.
        if (loggedMs > sinceMs) say();
      },
    };
  }

  #tell(location: string): void {
    for (const listener of this.#listeners) listener(location, this.of(location));
  }
}
