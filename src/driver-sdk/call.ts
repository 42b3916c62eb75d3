import { Canceller, type CancelSignal } from '../shared/foundation/cancel.ts';
import { HoldfastError } from '../shared/model/errors.ts';

/** What became of a command whose answer nobody will see. */
export type Fate = 'not-sent' | 'unknown';

/** One method call from outside, while it runs. Commands sent on its behalf die with it. */
export class Call {
  readonly user: string;
  /** Monotonic milliseconds. */
  readonly deadlineMs: number;
  readonly #abandoned = new Canceller();
  #abort: AbortController | null = null;
  #finished: { promise: Promise<void>; resolve(): void } | null = null;
  #sent = false;
  #ended = false;
  #error: HoldfastError | null = null;

  constructor(request: { user: string; deadlineMs: number }) {
    this.user = request.user;
    this.deadlineMs = request.deadlineMs;
  }

  /** Aborts when the call is given up. */
  get abandoned(): CancelSignal {
    return this.#abandoned.signal;
  }

  /** Resolves when it has a result of any kind. Made when it is asked for: only who stops or reloads a module waits. */
  get finished(): Promise<void> {
    if (this.#ended) return Promise.resolve();
    if (this.#finished === null) {
      let resolve = (): void => undefined;
      const promise = new Promise<void>((done) => (resolve = done));
      this.#finished = { promise, resolve };
    }
    return this.#finished.promise;
  }

  /** Settles as the work does, or as soon as the call is given up. */
  resultOf<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const abandoned = (): void => reject(this.#error);
      this.#abandoned.addEventListener('abort', abandoned);
      // The code that does the work may have ended the call at once.
      if (this.#error !== null) abandoned();
      work.then(resolve, reject);
    });
  }

  /** Why its commands must not leave any more; null while they may. */
  get error(): HoldfastError | null {
    return this.#error;
  }

  /** The same for drivers. Made when it is asked for: most drivers need none. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#error !== null) this.#abort.abort(this.#error);
    return this.#abort.signal;
  }

  /** It has its result, and what the driver does now is no longer done for it. */
  get over(): boolean {
    return this.#ended && this.#error === null;
  }

  /** Did bytes of this call leave? */
  get sent(): boolean {
    return this.#sent;
  }

  markSent(): void {
    this.#sent = true;
  }

  cancel(): void {
    this.abandon((fate) => new HoldfastError('CANCELLED', { fate }));
  }

  abandon(why: (fate: Fate) => HoldfastError): void {
    if (this.#ended || this.#error !== null) return;
    this.#error = why(this.#sent ? 'unknown' : 'not-sent');
    this.#abandoned.abort(this.#error);
    this.#abort?.abort(this.#error);
  }

  end(): void {
    this.#ended = true;
    this.#finished?.resolve();
  }
}
