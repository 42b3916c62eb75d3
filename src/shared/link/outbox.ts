import { BoundedQueue } from '../foundation/bounded-queue.ts';

/** A sequenced frame on its way. `encode` is called when it is handed to a socket: the number is given then. */
export interface OutboxItem {
  encode(seq: number): string;
  /** It left this process for the first time. */
  onSent?(): void;
  /** False when its deadline or epoch is over: it is not sent any more; at replay a `skip` takes its place. */
  stillWanted?(): boolean;
  /** It was left out for that reason. */
  onUnwanted?(): void;
  /** While it waits, a newer item with the same key takes its place. */
  conflateKey?: string;
}

export interface OutboxLimits {
  /** Frames that may wait for the socket. */
  waiting: number;
  /** Sent but unacknowledged frames kept for resumption. */
  unackedFrames: number;
  unackedBytes: number;
}

interface Unacked {
  seq: number;
  text: string;
  item: OutboxItem;
}

/**
 * Frames between this process and the socket: a normal lane before a bulk lane, conflation while they wait,
 * and a copy of everything that the peer has not acknowledged. Pure: the caller says how much the socket takes.
 */
export class Outbox {
  readonly #limits: OutboxLimits;
  readonly #normal: BoundedQueue<{ item: OutboxItem }>;
  readonly #bulk: BoundedQueue<{ item: OutboxItem }>;
  readonly #conflated = new Map<string, { item: OutboxItem }>();
  #unacked: Unacked[] = [];
  #unackedBytes = 0;
  #lastSeq = 0;
  #resumable = true;

  constructor(limits: OutboxLimits) {
    this.#limits = limits;
    this.#normal = new BoundedQueue(limits.waiting);
    this.#bulk = new BoundedQueue(limits.waiting);
  }

  /** False once more was sent without acknowledgement than is kept: the session cannot be resumed. */
  get resumable(): boolean {
    return this.#resumable;
  }

  get waiting(): number {
    return this.#normal.size + this.#bulk.size;
  }

  /** False when too much waits already: the caller decides what that means. */
  push(item: OutboxItem, bulk: boolean): boolean {
    if (item.conflateKey !== undefined) {
      const waiting = this.#conflated.get(item.conflateKey);
      if (waiting !== undefined) {
        waiting.item = item;
        return true;
      }
    }
    const slot = { item };
    if (!(bulk ? this.#bulk : this.#normal).push(slot)) return false;
    if (item.conflateKey !== undefined) this.#conflated.set(item.conflateKey, slot);
    return true;
  }

  /** The next frame to hand over; null when nothing waits, or only bulk and `bulkAllowed` is false. */
  next(bulkAllowed: boolean): string | null {
    for (;;) {
      const slot = this.#normal.shift() ?? (bulkAllowed ? this.#bulk.shift() : undefined);
      if (slot === undefined) return null;
      const { item } = slot;
      if (item.conflateKey !== undefined) this.#conflated.delete(item.conflateKey);
      if (!isWanted(item)) continue;
      const seq = (this.#lastSeq += 1);
      const text = item.encode(seq);
      this.#keep({ seq, text, item });
      item.onSent?.();
      return text;
    }
  }

  acknowledged(seq: number): void {
    let count = 0;
    for (const { seq: kept, text } of this.#unacked) {
      if (kept > seq) break;
      this.#unackedBytes -= text.length;
      count += 1;
    }
    if (count > 0) this.#unacked.splice(0, count);
  }

  /** What the peer missed, in order, under the old numbers. */
  replay(received: number, skip: (seq: number) => string): string[] {
    this.acknowledged(received);
    return this.#unacked.map(({ seq, text, item }) => (isWanted(item) ? text : skip(seq)));
  }

  /** A new session begins: nothing of the old one is sent any more. */
  reset(): void {
    for (const lane of [this.#normal, this.#bulk]) while (lane.shift() !== undefined);
    this.#conflated.clear();
    this.#unacked = [];
    this.#unackedBytes = 0;
    this.#lastSeq = 0;
    this.#resumable = true;
  }

  #keep(frame: Unacked): void {
    if (!this.#resumable) return;
    this.#unacked.push(frame);
    this.#unackedBytes += frame.text.length;
    if (this.#unacked.length > this.#limits.unackedFrames || this.#unackedBytes > this.#limits.unackedBytes) {
      this.#resumable = false;
      this.#unacked = [];
      this.#unackedBytes = 0;
    }
  }
}

/** What is said to be settled must not be sent after that. */
function isWanted(item: OutboxItem): boolean {
  if (item.stillWanted?.() !== false) return true;
  item.onUnwanted?.();
  return false;
}
