import { Canceller, type CancelSignal } from '../foundation/cancel.ts';
import { KeyedTable } from '../foundation/keyed-table.ts';
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
  /** Ends it no longer with whoever asked. */
  release(): void;
}

/** The commands that this node runs, has passed on, or holds back, each of which can be cancelled. */
export class CommandsInFlight {
  readonly #clock: Clock;
  /** By request id. */
  readonly #running = new KeyedTable<string, Running>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  has(id: string): boolean {
    return this.#running.has(id);
  }

  /** Oldest first. */
  list(): RequestView[] {
    const { monotonicMs, wallMs } = { monotonicMs: this.#clock.monotonicMs(), wallMs: this.#clock.wallMs() };
    return this.#running.values().map(({ call, via, sinceMs }) => {
      const { requestId: id, user, location, module, method, entry, at, deadlineMs } = call;
      const ageMs = monotonicMs - sinceMs;
      return { id, user, location, module, method, entry, via, at, sinceMs: wallMs - ageMs, ageMs, leftMs: Math.max(0, deadlineMs - monotonicMs) };
    });
  }

  /** Throws NOT_FOUND. */
  cancel(id: string): RequestView {
    const view = this.list().find((request) => request.id === id);
    if (view === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'request', id });
    this.#running.get(id)?.abort.abort(new HoldfastError('CANCELLED', { fate: 'unknown' }));
    return view;
  }

  /** A command begins. Its signal aborts when `asked` does or it is cancelled here; `end` follows. */
  begin(call: ProxyCall, via: string | null, asked: CancelSignal): CancelSignal {
    const abort = new Canceller();
    const leave = (): void => abort.abort(asked.reason);
    if (asked.aborted) leave();
    asked.addEventListener('abort', leave, { once: true });
    const release = (): void => asked.removeEventListener('abort', leave);
    this.#running.set(call.requestId, { call, via, sinceMs: this.#clock.monotonicMs(), abort, release });
    return abort.signal;
  }

  end({ requestId }: ProxyCall): void {
    this.#running.take(requestId)?.release();
  }
}
