import { BoundedQueue } from '../foundation/bounded-queue.ts';
import { KeyedTable } from '../foundation/keyed-table.ts';
import { encodeFrame, type OutgoingFrame } from './frames.ts';
import { framesOf, isLong } from './parts.ts';

/** A sequenced frame on its way. Its number is given when it is handed to a socket. */
export interface OutboxItem extends OutgoingFrame {
  /** It left this process for the first time. */
  onSent?(): void;
  /** False when its deadline or epoch is over: it is not sent any more; at replay a `skip` takes its place. */
  stillWanted?(): boolean;
  /** It was left out for that reason. */
  onUnwanted?(): void;
  /** While it waits, a newer item with the same key takes its place. */
  readonly conflateKey?: string | undefined;
}

export interface OutboxLimits {
  /** Frames that may wait for the socket, in each lane. */
  waiting: number;
  /** And the length of their bodies together. */
  waitingBytes: number;
  /** Sent but unacknowledged frames kept for resumption. */
  unackedFrames: number;
  unackedBytes: number;
}

interface Slot {
  item: OutboxItem;
}

/** Frames that wait, first in, first out. */
interface Lane {
  queue: BoundedQueue<Slot>;
  /** What is left of a long frame of which a part has left already. */
  begun: OutboxItem[];
}

/**
 * Frames between this process and the socket: a normal lane before a bulk lane, conflation while they wait,
 * and a copy of everything that the peer has not acknowledged. Pure: the caller says how much the socket takes.
 */
export class Outbox {
  readonly #limits: OutboxLimits;
  readonly #normal: Lane;
  readonly #bulk: Lane;
  readonly #conflated = new KeyedTable<string, Slot>();
  #waitingBytes = 0;
  /** The frames with the numbers from `#acked + 1` to `#lastSeq`. */
  #unacked: BoundedQueue<OutboxItem>;
  #unackedBytes = 0;
  #acked = 0;
  /** Number of the last frame that the present socket was given. */
  #handedOver = 0;
  #lastSeq = 0;
  #resumable = true;

  constructor(limits: OutboxLimits) {
    this.#limits = limits;
    this.#normal = { queue: new BoundedQueue(limits.waiting), begun: [] };
    this.#bulk = { queue: new BoundedQueue(limits.waiting), begun: [] };
    this.#unacked = new BoundedQueue(limits.unackedFrames);
  }

  /** False once more was sent without acknowledgement than is kept: the session cannot be resumed. */
  get resumable(): boolean {
    return this.#resumable;
  }

  /** So much waits that not every frame has room any more. */
  get crowded(): boolean {
    return this.#waitingBytes > this.#limits.waitingBytes / 2;
  }

  /** False when too much waits already: the caller decides what that means. */
  push(item: OutboxItem, bulk: boolean): boolean {
    const { body, conflateKey } = item;
    const waiting = conflateKey === undefined ? undefined : this.#conflated.get(conflateKey);
    const waitingBytes = this.#waitingBytes + body.length - (waiting?.item.body.length ?? 0);
    if (waitingBytes > this.#limits.waitingBytes) return false;
    if (waiting === undefined) {
      const slot = { item };
      if (!(bulk ? this.#bulk : this.#normal).queue.push(slot)) return false;
      if (conflateKey !== undefined) this.#conflated.set(conflateKey, slot);
    } else {
      waiting.item = item;
    }
    this.#waitingBytes = waitingBytes;
    return true;
  }

  /** The text of a frame that need not wait, because nothing does; null: `push` it. The socket must have room for it. */
  pass(item: OutboxItem, ack: () => number): string | null {
    const { queue, begun } = this.#normal;
    const waits = this.#handedOver < this.#lastSeq || queue.size > 0 || begun.length > 0;
    if (waits || isLong(item.body) || item.stillWanted?.() === false) return null;
    return encodeFrame(this.#numbered(item), this.#handedOver, ack());
  }

  /** The text of the next frame to hand over; null when nothing waits that may go now. What the peer missed goes first, under its old number. */
  next(ack: () => number, bulk = true): string | null {
    const item = this.#handedOver < this.#lastSeq ? this.#missed() : this.#first(bulk);
    return item === null ? null : encodeFrame(item, this.#handedOver, ack());
  }

  acknowledged(seq: number): void {
    while (this.#acked < Math.min(seq, this.#handedOver)) {
      const item = this.#unacked.shift();
      if (item === undefined) return;
      this.#unackedBytes -= item.body.length;
      this.#acked += 1;
    }
  }

  /** A new socket goes on with the session: what the peer has not received is sent again. */
  resume(received: number): void {
    this.acknowledged(received);
    this.#handedOver = this.#acked;
  }

  /** A new session begins: nothing of the old one is sent any more. Says how many posts waited. */
  reset(): number {
    let posts = 0;
    for (const { queue, begun } of [this.#normal, this.#bulk]) {
      for (const { item } of queue.drain()) if (item.t === 'post') posts += 1;
      if (begun.splice(0).at(-1)?.t === 'post') posts += 1;
    }
    this.#conflated.clear();
    this.#waitingBytes = 0;
    this.#forgetUnacked();
    this.#acked = 0;
    this.#handedOver = 0;
    this.#lastSeq = 0;
    this.#resumable = true;
    return posts;
  }

  #missed(): OutboxItem {
    const item = this.#unacked.at(this.#handedOver - this.#acked);
    this.#handedOver += 1;
    return item !== undefined && isWanted(item) ? item : SKIP;
  }

  #first(bulk: boolean): OutboxItem | null {
    const item = this.#take(this.#normal) ?? (bulk ? this.#take(this.#bulk) : null);
    return item === null ? null : this.#numbered(item);
  }

  #numbered(item: OutboxItem): OutboxItem {
    this.#lastSeq += 1;
    this.#handedOver = this.#lastSeq;
    this.#keep(item);
    item.onSent?.();
    return item;
  }

  #take({ queue, begun }: Lane): OutboxItem | null {
    for (;;) {
      const item = begun.shift() ?? this.#begin(queue, begun);
      if (item === null || isWanted(item)) return item;
    }
  }

  /** The first frame of what waits longest; `begun` gets the others. */
  #begin(queue: Lane['queue'], begun: OutboxItem[]): OutboxItem | null {
    const item = queue.shift()?.item;
    if (item === undefined) return null;
    this.#waitingBytes -= item.body.length;
    if (item.conflateKey !== undefined) this.#conflated.take(item.conflateKey);
    if (!isLong(item.body)) return item;
    begun.push(...framesOf(item));
    return begun.shift() ?? null;
  }

  #keep(item: OutboxItem): void {
    if (!this.#resumable) return;
    this.#unackedBytes += item.body.length;
    if (this.#unackedBytes <= this.#limits.unackedBytes && this.#unacked.push(item)) return;
    this.#resumable = false;
    this.#forgetUnacked();
  }

  #forgetUnacked(): void {
    this.#unacked = new BoundedQueue(this.#limits.unackedFrames);
    this.#unackedBytes = 0;
  }
}

const SKIP: OutboxItem = { t: 'skip', head: () => '', bodyField: 'body', body: '' };

/** What is said to be settled must not be sent after that. */
function isWanted(item: OutboxItem): boolean {
  if (item.stillWanted?.() !== false) return true;
  item.onUnwanted?.();
  return false;
}
