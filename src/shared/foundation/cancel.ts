/** What work that may be given up listens to: so much of an `AbortSignal` as it needs, so that a real one will do too. */
export interface CancelSignal {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: 'abort', listener: () => void, options?: { once: true }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/**
 * Ends one command early. Each command needs several, on each node that it passes, and Node's `AbortController` costs more
 * than the JSON of the command.
 */
export class Canceller implements CancelSignal {
  #cancelled: { reason: unknown } | null = null;
  /** Most have one listener at a time, which needs no set. */
  #first: (() => void) | null = null;
  #others: Set<() => void> | null = null;

  get signal(): CancelSignal {
    return this;
  }

  get aborted(): boolean {
    return this.#cancelled !== null;
  }

  get reason(): unknown {
    return this.#cancelled?.reason;
  }

  /** Calls the listeners, the first time that it is called. */
  abort(reason?: unknown): void {
    if (this.#cancelled !== null) return;
    this.#cancelled = { reason };
    this.#first?.();
    for (const listener of this.#others ?? []) listener();
    this.#first = null;
    this.#others = null;
  }

  /** Never called when it is cancelled already, as with an `AbortSignal`. */
  addEventListener(_: 'abort', listener: () => void): void {
    if (this.#cancelled !== null || listener === this.#first) return;
    // Once there are others, it would be called before these.
    if (this.#first === null && this.#others === null) this.#first = listener;
    else (this.#others ??= new Set()).add(listener);
  }

  removeEventListener(_: 'abort', listener: () => void): void {
    if (listener === this.#first) this.#first = null;
    else this.#others?.delete(listener);
  }
}
