import { Canceller, type CancelSignal } from '../foundation/cancel.ts';
import { KeyedTable } from '../foundation/keyed-table.ts';
import type { Epoch } from '../model/control.ts';
import { HoldfastError } from '../model/errors.ts';
import { type CancelledBy, commandCancelled } from './cancelled-by.ts';

/** A request of the peer that runs here. */
class IncomingRequest {
  /** Monotonic. */
  readonly deadlineMs: number;
  readonly epoch: Epoch | null;
  /** Of its text. */
  readonly length: number;
  readonly #cancel = new Canceller();

  constructor(deadlineMs: number, epoch: Epoch | null, length: number) {
    this.deadlineMs = deadlineMs;
    this.epoch = epoch;
    this.length = length;
  }

  /** Aborts on cancel, at the deadline and at the end of the session. */
  get signal(): CancelSignal {
    return this.#cancel.signal;
  }

  get isOver(): boolean {
    return this.#cancel.aborted;
  }

  end(reason: HoldfastError): void {
    this.#cancel.abort(reason);
  }
}

/** Requests of the peer that run here: each has a deadline and can be cancelled, and is answered at most once. */
export class IncomingRequests {
  readonly #running = new KeyedTable<number, IncomingRequest>();
  #length = 0;

  get size(): number {
    return this.#running.size;
  }

  /** Of all their texts. */
  get length(): number {
    return this.#length;
  }

  has(id: number): boolean {
    return this.#running.has(id);
  }

  begin(id: number, deadlineMs: number, epoch: Epoch | null, length: number): IncomingRequest {
    const request = new IncomingRequest(deadlineMs, epoch, length);
    this.#running.set(id, request);
    this.#length += length;
    return request;
  }

  /** True when the answer is still wanted: a session that ended meanwhile has answered for us. */
  finish(id: number, request: IncomingRequest): boolean {
    if (this.#running.get(id) !== request) return false;
    this.#running.take(id);
    this.#length -= request.length;
    return true;
  }

  /** `by`: an operator did; null: whoever asked has given up. */
  cancel(id: number, by: CancelledBy | null = null): void {
    this.#running.get(id)?.end(by === null ? new HoldfastError('CANCELLED', { fate: 'unknown' }) : commandCancelled(by));
  }

  expire(nowMs: number): void {
    for (const request of this.#running.values()) {
      if (request.deadlineMs <= nowMs && !request.isOver) request.end(new HoldfastError('DEADLINE', { fate: 'unknown' }));
    }
  }

  nextDeadlineMs(): number | null {
    let next: number | null = null;
    for (const { deadlineMs, isOver } of this.#running.values()) {
      if (!isOver) next = next === null ? deadlineMs : Math.min(next, deadlineMs);
    }
    return next;
  }

  /** The session is over: nobody waits for these any more. */
  endAll(): void {
    for (const request of this.#running.values()) request.end(new HoldfastError('LINK_LOST', { fate: 'unknown' }));
    this.#running.clear();
    this.#length = 0;
  }
}
