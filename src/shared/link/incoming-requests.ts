import { HoldfastError } from '../model/errors.ts';

interface Incoming {
  abort: AbortController;
  deadlineMs: number;
}

/** Requests of the peer that run here: each has a deadline and can be cancelled, and is answered at most once. */
export class IncomingRequests {
  readonly #running = new Map<number, Incoming>();

  get size(): number {
    return this.#running.size;
  }

  /** Its signal, and a function that says whether the answer is still wanted; call it once, when the answer is there. */
  begin(id: number, deadlineMs: number): { signal: AbortSignal; finish(): boolean } {
    const incoming: Incoming = { abort: new AbortController(), deadlineMs };
    this.#running.set(id, incoming);
    return {
      signal: incoming.abort.signal,
      finish: () => {
        // A session that ended meanwhile has answered for us.
        if (this.#running.get(id) !== incoming) return false;
        return this.#running.delete(id);
      },
    };
  }

  cancel(id: number): void {
    this.#running.get(id)?.abort.abort(new HoldfastError('CANCELLED', { fate: 'unknown' }));
  }

  expire(nowMs: number): void {
    for (const { abort, deadlineMs } of this.#running.values()) {
      if (deadlineMs <= nowMs && !abort.signal.aborted) abort.abort(new HoldfastError('DEADLINE', { fate: 'unknown' }));
    }
  }

  nextDeadlineMs(): number | null {
    let next: number | null = null;
    for (const { abort, deadlineMs } of this.#running.values()) {
      if (!abort.signal.aborted) next = next === null ? deadlineMs : Math.min(next, deadlineMs);
    }
    return next;
  }

  /** The session is over: nobody waits for these any more. */
  endAll(): void {
    for (const { abort } of this.#running.values()) abort.abort(new HoldfastError('LINK_LOST', { fate: 'unknown' }));
    this.#running.clear();
  }
}
