import { HoldfastError } from '../../model/errors.ts';
import type { Database, Statement } from './sqlite.ts';

export type Outcome = { value: unknown } | { error: HoldfastError };

/** Many callers share one transaction, and so one sync of the disk, without sharing their refusals. */
export class GroupCommit {
  readonly #db: Database;
  readonly #mark: Statement<never>;
  readonly #keep: Statement<never>;
  readonly #undo: Statement<never>;

  constructor(db: Database) {
    this.#db = db;
    this.#mark = db.prepare('SAVEPOINT caller');
    this.#keep = db.prepare('RELEASE caller');
    this.#undo = db.prepare('ROLLBACK TO caller');
  }

  /** Runs the jobs in order. When this returns, what succeeded is durable and what failed changed nothing. */
  run(jobs: readonly (() => unknown)[]): Outcome[] {
    try {
      return this.#db.transaction(() => jobs.map((job) => this.#attempt(job)));
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      // One write that does not fit must not take its neighbours along.
      if (error.code === 'STORE_FULL' && jobs.length > 1) return jobs.flatMap((job) => this.run([job]));
      return jobs.map(() => ({ error }));
    }
  }

  #attempt(job: () => unknown): Outcome {
    this.#mark.run();
    try {
      const value = job();
      this.#keep.run();
      return { value };
    } catch (error) {
      // A refusal (409, 422 …) is the caller's own; a failure of the store ends the whole transaction.
      if (!(error instanceof HoldfastError) || error.status >= 500) throw error;
      this.#undo.run();
      this.#keep.run();
      return { error };
    }
  }
}
