import type { CancelSignal } from '../../foundation/cancel.ts';
import type { Json } from '../../foundation/json.ts';
import { type CancelledBy, operatorIn } from '../../link/cancelled-by.ts';
import { isRequestKind, largeAnswers, type Message, type RequestKind, requestKinds } from '../../link/frames.ts';
import { IncomingRequests } from '../../link/incoming-requests.ts';
import type { Outbox, OutboxItem } from '../../link/outbox.ts';
import { isLong } from '../../link/parts.ts';
import { RequestTable } from '../../link/request-table.ts';
import type { Warnings } from '../../link/warnings.ts';
import { fromWire, HoldfastError, toHoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import { AskedRequest, type AskedRequestOwner } from './asked-request.ts';
import { EarliestTimer } from '../earliest-timer.ts';
import type { LinkFence } from './link-fence.ts';
import type { PeerLinkHandlers } from './peer-link-options.ts';

export interface PeerRequestsOptions {
  peer: string;
  clock: Clock;
  fence: LinkFence;
  outbox: Outbox;
  warnings: Warnings;
  handle: PeerLinkHandlers['request'];
  /** Something waits in the outbox. */
  flush(): void;
  /** An answer has no room: the peer asks and does not read. */
  overrun(): void;
  /** The peer breaks the protocol. */
  invalid(reason: string): void;
}

type Frame<T extends Message['t']> = Extract<Message, { t: T }>;

/** The requests of a session, in both directions: deadlines, cancels, and exactly one outcome for each. */
export class PeerRequests {
  readonly #options: PeerRequestsOptions;
  readonly #asked = new RequestTable(limits.pendingRequests);
  readonly #running = new IncomingRequests();
  readonly #deadlines: EarliestTimer;
  readonly #owner: AskedRequestOwner;

  constructor(options: PeerRequestsOptions) {
    this.#options = options;
    const { clock, fence } = options;
    this.#deadlines = new EarliestTimer(clock, () => this.#expire());
    this.#owner = {
      nowMs: () => clock.monotonicMs(),
      stillWanted: ({ id, ep }) => this.#asked.has(id) && fence.isCurrent(ep),
      sent: (id) => this.#asked.sent(id),
      outdated: (id, ep) => this.#asked.settle(id, { error: fence.stale(ep) }),
    };
  }

  /** Asked and not yet settled. */
  get inFlight(): number {
    return this.#asked.size;
  }

  // ── What we ask ───────────────────────────────────────────────────────────

  /** Throws LINK_BUSY, LINK_LOST, DEADLINE, CANCELLED, BODY_TOO_LARGE, or the coded error of the peer. */
  ask(kind: RequestKind, body: Json, { signal, timeoutMs }: { signal: CancelSignal; timeoutMs: number }): Promise<Json> {
    const { clock, fence } = this.#options;
    const text = JSON.stringify(body);
    if (text.length > limits.maxFrameBytes) return Promise.reject(tooLarge());
    if (signal.aborted) return Promise.reject(new HoldfastError('CANCELLED', { fate: 'not-sent' }));
    const deadlineMs = clock.monotonicMs() + Math.min(timeoutMs, limits.requestMaxMs);
    return new Promise<Json>((resolve, reject) => {
      const cancel = (): void => this.#cancel(request.id, signal.reason);
      const settle: AskedRequest['settle'] = (outcome) => {
        signal.removeEventListener('abort', cancel);
        if ('error' in outcome) reject(outcome.error);
        else resolve(outcome.value);
      };
      const ep = requestKinds[kind].epoch ? fence.epoch() : null;
      const request = new AskedRequest({ kind, body: text, ep, deadlineMs, owner: this.#owner, settle });
      request.id = this.#asked.add(request);
      signal.addEventListener('abort', cancel, { once: true });
      this.#send(request, requestKinds[kind].bulk || isLong(text));
    });
  }

  #send(request: AskedRequest, bulk: boolean): void {
    const { outbox, flush } = this.#options;
    if (!outbox.push(request, bulk)) this.#asked.settle(request.id, { error: new HoldfastError('LINK_BUSY', { limit: limits.resumeBufferFrames }) });
    this.#deadlines.watch(request.deadlineMs);
    flush();
  }

  #cancel(id: number, reason: unknown): void {
    if (!this.#asked.fail(id, 'CANCELLED')) return;
    this.#tellCancelled(id, operatorIn(reason));
    this.#options.flush();
  }

  #tellCancelled(id: number, by: CancelledBy | null = null): void {
    const head = by === null ? `,"re":${id}` : `,"re":${id},"by":${JSON.stringify(by)}`;
    this.#options.outbox.push({ t: 'cancel', head: () => head, bodyField: 'body', body: '' }, false);
  }

  onResponse({ re, value, error }: Frame<'response'>): void {
    this.#asked.settle(re, error === undefined ? { value } : { error: fromWire(error) });
  }

  // ── What the peer asks ────────────────────────────────────────────────────

  /** `length`: of its text. */
  onRequest({ id, kind, body, ep, ttl }: Frame<'request'>, length: number): void {
    const { clock, fence, handle, invalid, peer, warnings } = this.#options;
    // Its answer would be taken for that of the other one, which would count no more.
    if (this.#running.has(id)) return invalid('request: id');
    if (!isRequestKind(kind)) {
      warnings.once(`unknown-kind ${kind}`, 'unknown-type', { type: kind });
      return this.#refuse(id, new HoldfastError('UNKNOWN_TYPE', { type: kind }));
    }
    const { epoch } = requestKinds[kind];
    const refusal = fence.refusal(kind, epoch, ep);
    if (refusal !== null) return this.#refuse(id, refusal);
    const isMuch = this.#running.length + length > limits.pendingRequestBytes;
    if (isMuch || this.#running.size >= limits.pendingRequests) return this.#refuse(id, new HoldfastError('LINK_BUSY', { limit: limits.pendingRequests }));
    const deadlineMs = clock.monotonicMs() + Math.min(ttl, limits.requestMaxMs);
    const request = this.#running.begin(id, deadlineMs, ep, length);
    this.#deadlines.watch(deadlineMs);
    handle(kind, body, request).then(
      (value) => this.#running.finish(id, request) && this.#answer(id, kind, value),
      (error: unknown) => this.#running.finish(id, request) && this.#refuse(id, toHoldfastError(error, peer)),
    );
  }

  onCancel({ re, by }: Frame<'cancel'>): void {
    this.#running.cancel(re, by);
  }

  #answer(re: number, kind: RequestKind, value: Json): void {
    if (largeAnswers.has(kind) && this.#options.outbox.crowded) return this.#refuse(re, noRoom());
    const { bulk } = requestKinds[kind];
    const body = JSON.stringify(value);
    // A driver decides how large its values are; clients are held to less.
    const fits = body.length <= limits.maxFrameBytes;
    if (fits && this.#respond(re, { bodyField: 'value', body }, bulk || isLong(body))) this.#options.flush();
    else this.#refuse(re, tooLarge());
  }

  #refuse(re: number, error: HoldfastError): void {
    const body = JSON.stringify(error.toJSON());
    if (this.#respond(re, { bodyField: 'error', body }, isLong(body))) this.#options.flush();
    else this.#options.overrun();
  }

  #respond(re: number, { bodyField, body }: { bodyField: 'value' | 'error'; body: string }, bulk: boolean): boolean {
    return this.#options.outbox.push(new Answer(re, bodyField, body), bulk);
  }

  // ── Ends ──────────────────────────────────────────────────────────────────

  /** Both directions; the next deadline there is. */
  #expire(): number | null {
    const nowMs = this.#options.clock.monotonicMs();
    for (const id of this.#asked.expire(nowMs)) this.#tellCancelled(id);
    this.#running.expire(nowMs);
    this.#options.flush();
    const next = Math.min(this.#asked.nextDeadlineMs() ?? Infinity, this.#running.nextDeadlineMs() ?? Infinity);
    return next === Infinity ? null : next;
  }

  /** The session is over. */
  closeAll(): void {
    this.#asked.closeAll();
    this.#running.endAll();
    this.#deadlines.cancel();
  }
}

/** A response, until the peer has acknowledged it. */
class Answer implements OutboxItem {
  readonly t = 'response';
  readonly bodyField: 'value' | 'error';
  readonly body: string;
  readonly #re: number;

  constructor(re: number, bodyField: 'value' | 'error', body: string) {
    this.#re = re;
    this.bodyField = bodyField;
    this.body = body;
  }

  head(): string {
    return `,"re":${this.#re}`;
  }
}

const noRoom = (): HoldfastError => new HoldfastError('LIMIT_REACHED', { what: 'bytes may wait for one link', limit: limits.waitingBytes });
const tooLarge = (): HoldfastError => new HoldfastError('BODY_TOO_LARGE', { limitBytes: limits.maxFrameBytes });
