import { Canceller, type CancelSignal } from '../../foundation/cancel.ts';
import type { JsonObject } from '../../foundation/json.ts';
import { KeyedTable } from '../../foundation/keyed-table.ts';
import { type CancelledBy, commandCancelled, operatorIn } from '../../link/cancelled-by.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { Clock } from '../../ports/clock.ts';
import type { AskedBy, RequestView } from '../node.ts';
import type { ProxyCall } from './proxy.ts';

interface Running {
  call: ProxyCall;
  /** The peer that passed it on; null: a client of this node asked. */
  via: string | null;
  sinceMs: number;
  abort: Canceller;
  /** The operator who cancelled it, here or at a node before. */
  cancelledBy: CancelledBy | null;
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

  /** An operator ends it. Throws NOT_FOUND. */
  cancel(id: string, by: AskedBy): RequestView {
    const view = this.list().find((request) => request.id === id);
    const running = this.#running.get(id);
    if (view === undefined || running === undefined) throw new HoldfastError('NOT_FOUND', { kind: 'request', id });
    running.cancelledBy ??= { user: by.user, who: by.who };
    running.abort.abort(commandCancelled(running.cancelledBy));
    return view;
  }

  /** What its caller is told of a failure: whoever waits has not given up when an operator did. */
  failureOf({ requestId }: ProxyCall, error: unknown): unknown {
    const by = this.#running.get(requestId)?.cancelledBy ?? null;
    if (by === null || !(error instanceof HoldfastError) || error.code !== 'CANCELLED') return error;
    return commandCancelled(by, error.facts['fate'], { cause: error });
  }

  /** A command begins. Its signal aborts when `asked` does or it is cancelled here; `end` follows. */
  begin(call: ProxyCall, via: string | null, asked: CancelSignal): CancelSignal {
    const abort = new Canceller();
    const leave = (): void => {
      running.cancelledBy ??= operatorIn(asked.reason);
      abort.abort(asked.reason);
    };
    const release = (): void => asked.removeEventListener('abort', leave);
    const running: Running = { call, via, sinceMs: this.#clock.monotonicMs(), abort, cancelledBy: null, release };
    if (asked.aborted) leave();
    asked.addEventListener('abort', leave, { once: true });
    this.#running.set(call.requestId, running);
    return abort.signal;
  }

  end({ requestId }: ProxyCall): void {
    this.#running.take(requestId)?.release();
  }
}

/** For the record of a command at each server that it passed: the operator who cancelled it there or elsewhere, with their credential. */
export function cancellerOf(error: unknown): { cancelledBy?: JsonObject } {
  if (!(error instanceof HoldfastError) || error.code !== 'COMMAND_CANCELLED') return {};
  const { by = null, who = null } = error.facts;
  return { cancelledBy: { user: by, who } };
}
