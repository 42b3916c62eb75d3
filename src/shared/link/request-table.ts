import { NumberedTable } from '../foundation/numbered-table.ts';
import type { Json } from '../foundation/json.ts';
import { HoldfastError } from '../model/errors.ts';

/** Was the request handed to a socket? Decides what can be said of a command whose answer never came. */
export type Fate = 'not-sent' | 'unknown';

export interface PendingRequest {
  deadlineMs: number;
  fate: Fate;
  readonly settle: (outcome: { value: Json } | { error: HoldfastError }) => void;
}

/** Requests that wait for their answer. Each is settled exactly once, whatever comes first. Pure. */
export class RequestTable {
  readonly #limit: number;
  readonly #pending = new NumberedTable<PendingRequest>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** The id of the new request. Throws LINK_BUSY at once when too many are under way. */
  add(request: PendingRequest): number {
    if (this.#pending.size >= this.#limit) throw new HoldfastError('LINK_BUSY', { limit: this.#limit });
    return this.#pending.add(request);
  }

  /** It has left this process: from now on its fate is unknown until it is answered. */
  sent(id: number): void {
    const request = this.#pending.get(id);
    if (request !== undefined) request.fate = 'unknown';
  }

  has(id: number): boolean {
    return this.#pending.get(id) !== undefined;
  }

  /** False when it is settled already: a late answer. */
  settle(id: number, outcome: { value: Json } | { error: HoldfastError }): boolean {
    const request = this.#pending.take(id);
    if (request === undefined) return false;
    request.settle(outcome);
    return true;
  }

  /** Settles with an error that names the fate. */
  fail(id: number, code: 'LINK_LOST' | 'DEADLINE' | 'CANCELLED'): boolean {
    const request = this.#pending.get(id);
    return request !== undefined && this.settle(id, { error: new HoldfastError(code, { fate: request.fate }) });
  }

  /** Ids of the requests whose deadline has passed; they are settled. */
  expire(nowMs: number): number[] {
    const expired = this.#pending.entries().filter(([, { deadlineMs }]) => deadlineMs <= nowMs).map(([id]) => id);
    for (const id of expired) this.fail(id, 'DEADLINE');
    return expired;
  }

  nextDeadlineMs(): number | null {
    let next: number | null = null;
    for (const [, { deadlineMs }] of this.#pending.entries()) next = next === null ? deadlineMs : Math.min(next, deadlineMs);
    return next;
  }

  closeAll(): void {
    for (const [id] of this.#pending.entries()) this.fail(id, 'LINK_LOST');
  }
}
