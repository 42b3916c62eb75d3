export type Release = () => void | Promise<void>;

export interface ReleaseFailure {
  name: string;
  error: unknown;
}

/**
 * Owns resources and gives them back in reverse order of acquisition.
 *
 * `signal` aborts when closing begins, before the first release runs, so that
 * every wait started under the scope ends. Closing twice is the same as once.
 * One failing release never keeps the others from running.
 */
export class Scope {
  readonly #abort = new AbortController();
  readonly #releases: { name: string; release: Release }[] = [];
  #closing: Promise<ReleaseFailure[]> | null = null;
  #releasing: string | null = null;

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get closed(): boolean {
    return this.#closing !== null;
  }

  /** The clean-up that is under way. */
  get releasing(): string | null {
    return this.#releasing;
  }

  /** Registers the clean-up of a resource under a name that shows up when it fails. */
  defer(name: string, release: Release): void {
    if (this.#closing !== null) {
      // Acquired while closing (a start that raced with shutdown): give it back at once.
      void Promise.resolve().then(release).catch(() => undefined);
      return;
    }
    this.#releases.push({ name, release });
  }

  /** A child closes with its parent, or earlier by itself. */
  child(name: string): Scope {
    const child = new Scope();
    this.defer(name, async () => {
      await child.close();
    });
    return child;
  }

  /** Aborts the signal, then releases in reverse order. Resolves with what failed. */
  close(reason = 'scope closed'): Promise<ReleaseFailure[]> {
    this.#closing ??= this.#run(reason);
    return this.#closing;
  }

  async #run(reason: string): Promise<ReleaseFailure[]> {
    this.#abort.abort(new Error(reason));
    const failures: ReleaseFailure[] = [];
    for (let entry = this.#releases.pop(); entry !== undefined; entry = this.#releases.pop()) {
      this.#releasing = entry.name;
      try {
        await entry.release();
      } catch (error) {
        failures.push({ name: entry.name, error });
      }
    }
    this.#releasing = null;
    return failures;
  }
}
