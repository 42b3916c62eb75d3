import type { Log } from '../ports/log.ts';

const MAX_CAUSES = 100;

/** One log line per cause and socket: a peer that repeats itself must not fill the disk. */
export class Warnings {
  readonly #log: Log;
  readonly #peer: string;
  readonly #told = new Set<string>();

  constructor(log: Log, peer: string) {
    this.#log = log;
    this.#peer = peer;
  }

  once(cause: string, event: string, facts: object): void {
    if (this.#told.has(cause) || this.#told.size >= MAX_CAUSES) return;
    this.#told.add(cause);
    this.#log.warn(event, { peer: this.#peer, ...facts });
  }

  /** A new socket: the same cause is news again. */
  reset(): void {
    this.#told.clear();
  }
}
