import { HoldfastError } from '../shared/model/errors.ts';

/** What became of a command whose answer nobody will see. */
export type Fate = 'not-sent' | 'unknown';

/** One method call from outside, while it runs. Commands sent on its behalf die with it. */
export class Call {
  readonly user: string;
  /** Monotonic milliseconds. */
  readonly deadlineMs: number;
  /** Rejects when the call is given up. */
  readonly abandoned: Promise<never>;
  /** Resolves when it has a result of any kind. */
  readonly finished: Promise<void>;
  #abort: AbortController | null = null;
  #finish: () => void = () => undefined;
  #reject: (error: HoldfastError) => void = () => undefined;
  #sent = false;
  #ended = false;
  #error: HoldfastError | null = null;

  constructor(request: { user: string; deadlineMs: number }) {
    this.user = request.user;
    this.deadlineMs = request.deadlineMs;
    this.abandoned = new Promise<never>((_, reject) => {
      this.#reject = reject;
    });
    this.abandoned.catch(() => undefined);
    this.finished = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** Why its commands must not leave any more; null while they may. */
  get error(): HoldfastError | null {
    return this.#error;
  }

  /** Aborts when the call is given up. Made when it is asked for: most drivers need none. */
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
    this.#reject(this.#error);
    this.#abort?.abort(this.#error);
  }

  end(): void {
    this.#ended = true;
    this.#finish();
  }
}
