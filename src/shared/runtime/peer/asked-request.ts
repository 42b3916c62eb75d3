import type { Json } from '../../foundation/json.ts';
import type { RequestKind } from '../../link/frames.ts';
import type { OutboxItem } from '../../link/outbox.ts';
import type { Fate, PendingRequest } from '../../link/request-table.ts';
import type { Epoch } from '../../model/control.ts';
import type { HoldfastError } from '../../model/errors.ts';

/** What requests of one link share. */
export interface AskedRequestOwner {
  nowMs(): number;
  /** Not settled yet, and its epoch is not over. */
  stillWanted(request: AskedRequest): boolean;
  sent(id: number): void;
  /** Its epoch was over before it left. */
  outdated(id: number, ep: Epoch): void;
}

export interface AskedRequestOptions {
  kind: RequestKind;
  /** JSON text. */
  body: string;
  ep: Epoch | null;
  deadlineMs: number;
  owner: AskedRequestOwner;
  settle(outcome: { value: Json } | { error: HoldfastError }): void;
}

/**
 * A request of ours as the table of pending requests and the outbox know it. One object with methods, not a dozen functions made
 * for each: while a request is under way the garbage collector moves all that belongs to it, again and again.
 */
export class AskedRequest implements PendingRequest, OutboxItem {
  readonly t = 'request';
  readonly bodyField = 'body';
  readonly body: string;
  readonly deadlineMs: number;
  readonly ep: Epoch | null;
  readonly settle: PendingRequest['settle'];
  fate: Fate = 'not-sent';
  /** Given by the table. */
  id = 0;
  readonly #kind: RequestKind;
  readonly #owner: AskedRequestOwner;

  constructor({ kind, body, ep, deadlineMs, owner, settle }: AskedRequestOptions) {
    this.body = body;
    this.deadlineMs = deadlineMs;
    this.ep = ep;
    this.settle = settle;
    this.#kind = kind;
    this.#owner = owner;
  }

  head(): string {
    const { id, ep, deadlineMs } = this;
    const epoch = ep === null ? 'null' : `{"generation":${ep.generation},"number":${ep.number}}`;
    return `,"id":${id},"kind":"${this.#kind}","ep":${epoch},"ttl":${Math.max(0, Math.round(deadlineMs - this.#owner.nowMs()))}`;
  }

  onSent(): void {
    this.#owner.sent(this.id);
  }

  stillWanted(): boolean {
    return this.#owner.stillWanted(this);
  }

  onUnwanted(): void {
    if (this.ep !== null) this.#owner.outdated(this.id, this.ep);
  }
}
