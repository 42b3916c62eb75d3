import { Canceller, type CancelSignal } from '../foundation/cancel.ts';
import { NumberedTable } from '../foundation/numbered-table.ts';
import { HoldfastError } from '../model/errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { RequestView } from './node.ts';
import type { ProxyCall } from './proxy.ts';

interface Running {
  call: ProxyCall;
  /** The peer that passed it on; null: a client of this node asked. */
  via: string | null;
  sinceMs: number;
  abort: Canceller;
}

/** The commands that this node runs, has passed on, or holds back, each of which can be cancelled. */
export class CommandsInFlight {
  readonly #clock: Clock;
  readonly #running = new NumberedTable<Running>();
  /** The places of request ids there. */
  readonly #numbers = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  has(id: string): boolean {
    return this.#numbers.has(id);
  }

  /** Oldest first. */
  list(): RequestView[] {
    const { monotonicMs, wallMs } = { monotonicMs: this.#clock.monotonicMs(), wallMs: this.#clock.wallMs() };
    return this.#running.entries().map(([, { call, via, sinceMs }]) => {
      const { requestId: id, user, location, module, method, entry, at, deadlineMs } = call;
      const ageMs = monotonicMs - sinceMs;
      return { id, user, location, module, method, entry, via, at, sinceMs: wallMs - ageMs, ageMs, leftMs: Math.max(0, deadlineMs - monotonicMs) };
    });
  }

  /** Throws NOT_FOUND. */
  cancel(id: string): RequestView {
    const view = this.list().find((request) => request.id === id);
    if (view === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'request', id });
    this.#running.get(this.#numbers.get(id) ?? 0)?.abort.abort(new HoldfastError('CANCELLED', { fate: 'unknown' }));
    return view;
  }

  /** Runs a command under a signal that aborts when `signal` does or it is cancelled here. */
  async run<T>(call: ProxyCall, via: string | null, signal: CancelSignal, work: (signal: CancelSignal) => Promise<T>): Promise<T> {
    const abort = new Canceller();
    const leave = (): void => abort.abort(signal.reason);
    if (signal.aborted) leave();
    signal.addEventListener('abort', leave, { once: true });
    const number = this.#running.add({ call, via, sinceMs: this.#clock.monotonicMs(), abort });
    this.#numbers.set(call.requestId, number);
    try {
      return await work(abort.signal);
    } finally {
      signal.removeEventListener('abort', leave);
      this.#running.take(number);
      this.#numbers.delete(call.requestId);
    }
  }
}
