import { formatEpoch, isOlder } from '../control/epoch.ts';
import { type ControlMessage, isFromEdge } from '../control/messages.ts';
import { assert } from '../foundation/assert.ts';
import type { Json } from '../foundation/json.ts';
import { decodeFrame, type Frame, isClaim, isPostType, isRequestKind, postTypes, PROTOCOL, requestKinds } from '../link/frames.ts';
import type { PostType, RequestKind, SequencedFrame, SessionOffer } from '../link/frames.ts';
import { Heartbeat } from '../link/heartbeat.ts';
import { IncomingRequests } from '../link/incoming-requests.ts';
import { Outbox } from '../link/outbox.ts';
import { RequestTable } from '../link/request-table.ts';
import { Warnings } from '../link/warnings.ts';
import type { Epoch } from '../model/control.ts';
import { fromWire, HoldfastError, toHoldfastError } from '../model/errors.ts';
import { limits } from '../model/limits.ts';
import type { Timer } from '../ports/clock.ts';
import type { Connection } from '../ports/transport.ts';
import { EarliestTimer } from './earliest-timer.ts';
import type { PeerLinkOptions, PeerLinkView } from './peer-link-options.ts';

interface Socket {
  number: number;
  connection: Connection;
  open: boolean;
  /** Session part of the edge's hello, seen by the master, until it has answered. */
  offer: SessionOffer | null;
  helloSent: boolean;
  lastHeardMs: number;
  heartbeat: Heartbeat;
  timer: Timer | null;
}

interface Session {
  id: string;
  peerBoot: string;
  received: number;
}

/** Received frames after which an acknowledgement is sent without waiting for the next heartbeat. */
const ACK_EVERY = 256;
const NOTHING_HEARD: Session = { id: '', peerBoot: '', received: 0 };

/** The session with one peer over its sockets: negotiation, heartbeats, requests in both directions, resumption. docs/link.md. */
export class PeerLink {
  readonly #options: PeerLinkOptions;
  readonly #requests = new RequestTable(limits.pendingRequests);
  readonly #outbox = new Outbox({
    waiting: limits.resumeBufferFrames,
    unackedFrames: limits.resumeBufferFrames,
    unackedBytes: limits.resumeBufferBytes,
  });
  readonly #incoming = new IncomingRequests();
  readonly #warnings: Warnings;
  readonly #deadlines: EarliestTimer;
  #socket: Socket | null = null;
  #sockets = 0;
  #session: Session = NOTHING_HEARD;
  #unackedReceived = 0;
  #forget: Timer | null = null;
  #sinceMs: number;
  #roundTripMs: number | null = null;
  #downReason = 'never connected';

  constructor(options: PeerLinkOptions) {
    this.#options = options;
    this.#deadlines = new EarliestTimer(options.clock, () => this.#expire());
    this.#warnings = new Warnings(options.log, options.peer);
    this.#sinceMs = options.clock.wallMs();
  }

  get state(): 'down' | 'negotiating' | 'open' {
    if (this.#socket === null) return 'down';
    return this.#socket.open ? 'open' : 'negotiating';
  }

  view(): PeerLinkView {
    const up = this.state === 'open';
    const remote = this.#socket?.connection.remote ?? '';
    const reason = this.#socket === null ? this.#downReason : '';
    const roundTripMs = up ? this.#roundTripMs : null;
    const state = up ? 'up' : this.#socket === null ? 'down' : 'negotiating';
    return { state, remote, sinceMs: this.#sinceMs, roundTripMs, inFlight: this.#requests.size, reason };
  }

  /** Takes over a new socket and returns its number. An older one is closed and can never remove the new one. */
  attach(connection: Connection): number {
    if (this.#socket !== null) this.#drop(this.#socket, 'replaced');
    const { clock } = this.#options;
    const nowMs = clock.monotonicMs();
    this.#sockets += 1;
    const socket: Socket = {
      number: this.#sockets,
      connection,
      open: false,
      offer: null,
      helloSent: false,
      lastHeardMs: nowMs,
      heartbeat: new Heartbeat(nowMs),
      timer: null,
    };
    this.#socket = socket;
    this.#sinceMs = clock.wallMs();
    const present = (): boolean => this.#socket === socket;
    connection.listen({
      frame: (text) => present() && this.#receive(socket, text),
      drained: () => present() && this.#flush(socket),
      closed: (reason) => this.#drop(socket, reason),
    });
    this.#beat(socket);
    return socket.number;
  }

  /** On this socket or not at all: a control message is never sent again. */
  sendControl(link: number, message: ControlMessage): void {
    const socket = this.#socket;
    if (socket?.number !== link) return;
    if (message.t === 'hello' && !socket.helloSent) {
      socket.helloSent = true;
      this.#write(socket, JSON.stringify({ ...message, session: this.#offer(this.#outbox.resumable && this.#session.id !== '') }));
    } else if (message.t === 'negotiate' && socket.offer !== null) {
      this.#answerOffer(socket, socket.offer, message);
    } else {
      this.#write(socket, JSON.stringify(message));
    }
  }

  /** Throws LINK_DOWN, LINK_BUSY, LINK_LOST, DEADLINE, CANCELLED, or the coded error of the peer. */
  request(kind: RequestKind, body: Json, options: { signal: AbortSignal; timeoutMs: number }): Promise<Json> {
    const { clock, peer } = this.#options;
    const socket = this.#socket;
    if (socket === null || !socket.open) return Promise.reject(new HoldfastError('LINK_DOWN', { peer }));
    if (options.signal.aborted) return Promise.reject(new HoldfastError('CANCELLED', { fate: 'not-sent' }));
    const deadlineMs = clock.monotonicMs() + Math.min(options.timeoutMs, limits.requestMaxMs);
    return new Promise<Json>((resolve, reject) => {
      const cancel = (): void => this.#cancel(id);
      const id = this.#requests.add({
        deadlineMs,
        fate: 'not-sent',
        settle: (outcome) => {
          options.signal.removeEventListener('abort', cancel);
          this.#countInFlight();
          if ('error' in outcome) reject(outcome.error);
          else resolve(outcome.value);
        },
      });
      options.signal.addEventListener('abort', cancel, { once: true });
      this.#countInFlight();
      const ep = requestKinds[kind].epoch ? this.#options.floor() : null;
      const queued = this.#outbox.push(
        {
          encode: (seq) => {
            const ttl = Math.max(0, Math.round(deadlineMs - clock.monotonicMs()));
            return this.#encode({ t: 'request', seq, ack: this.#ack(), id, kind, body, ep, ttl });
          },
          onSent: () => this.#requests.sent(id),
          stillWanted: () => this.#requests.has(id) && this.#isCurrent(ep),
          onUnwanted: () => ep !== null && this.#requests.settle(id, { error: this.#stale(ep) }),
        },
        requestKinds[kind].bulk,
      );
      if (!queued) this.#requests.settle(id, { error: new HoldfastError('LINK_BUSY', { limit: limits.resumeBufferFrames }) });
      this.#deadlines.watch(deadlineMs);
      this.#flush(socket);
    });
  }

  #countInFlight(): void {
    this.#options.metrics.set('holdfast_requests_in_flight', { peer: this.#options.peer }, this.#requests.size);
  }

  /** Tells the peer something. `conflateKey`: while it waits, a newer one takes its place. Dropped while there is no link. */
  post(type: PostType, body: Json, options: { epoch?: Epoch; conflateKey?: string } = {}): void {
    const socket = this.#socket;
    if (socket === null || !socket.open) return;
    const ep = postTypes[type].epoch ? (options.epoch ?? this.#options.floor()) : null;
    const queued = this.#outbox.push(
      {
        encode: (seq) => this.#encode({ t: 'post', seq, ack: this.#ack(), type, body, ep }),
        stillWanted: () => this.#isCurrent(ep),
        ...(options.conflateKey === undefined ? {} : { conflateKey: options.conflateKey }),
      },
      false,
    );
    if (!queued) this.#options.metrics.add('holdfast_link_dropped_total', { peer: this.#options.peer });
    this.#flush(socket);
  }

  close(link: number, reason: string): void {
    if (this.#socket?.number === link) this.#drop(this.#socket, reason);
  }

  /** Ends the session: everything pending is settled. */
  shutdown(reason: string): void {
    if (this.#socket !== null) this.#drop(this.#socket, reason);
    this.#endSession();
    this.#deadlines.cancel();
  }

  // ── Session ───────────────────────────────────────────────────────────────

  #offer(resumed: boolean): SessionOffer {
    const { id, peerBoot, received } = this.#session;
    return { v: [...PROTOCOL], boot: this.#options.bootId, peerBoot, id, received, resumed };
  }

  /** Master: the verdict answers the session that the edge offered, before anything else is delivered. */
  #answerOffer(socket: Socket, offer: SessionOffer, message: ControlMessage): void {
    const known = this.#session;
    const same = offer.id === known.id && offer.boot === known.peerBoot && offer.peerBoot === this.#options.bootId;
    const resumed = offer.resumed && same && this.#outbox.resumable;
    if (!resumed) this.#newSession({ id: this.#options.random.hex(8), peerBoot: offer.boot, received: 0 });
    socket.offer = null;
    this.#write(socket, JSON.stringify({ ...message, session: this.#offer(resumed) }));
    this.#opened(socket, resumed, offer.received);
  }

  #opened(socket: Socket, resumed: boolean, peerReceived: number): void {
    socket.open = true;
    this.#forget?.cancel();
    this.#forget = null;
    this.#warnings.reset();
    this.#options.metrics.set('holdfast_link_up', { peer: this.#options.peer }, 1);
    if (resumed) {
      const skip = (seq: number): string => this.#encode({ t: 'skip', seq, ack: this.#ack() });
      for (const text of this.#outbox.replay(peerReceived, skip)) this.#write(socket, text);
    }
    this.#options.handlers.open(socket.number, resumed);
    this.#flush(socket);
  }

  #newSession(session: Session): void {
    this.#endSession();
    this.#session = session;
  }

  #endSession(): void {
    this.#forget?.cancel();
    this.#forget = null;
    this.#session = NOTHING_HEARD;
    this.#outbox.reset();
    this.#unackedReceived = 0;
    this.#requests.closeAll();
    this.#incoming.endAll();
  }

  #drop(socket: Socket, reason: string): void {
    if (this.#socket !== socket) return;
    this.#socket = null;
    socket.timer?.cancel();
    const { clock, handlers, log, metrics, peer, resumeWindowMs } = this.#options;
    this.#sinceMs = clock.wallMs();
    this.#downReason = reason;
    socket.connection.close(reason);
    metrics.set('holdfast_link_up', { peer }, 0);
    metrics.add('holdfast_link_losses_total', { peer, reason });
    log.info('link-down', { peer, reason, link: socket.number });
    // The window counts from the loss of the session, not of a later socket on which nobody negotiated.
    this.#forget ??= clock.after(resumeWindowMs, () => this.#endSession());
    handlers.down(socket.number, { lastHeardMs: socket.lastHeardMs, reason });
  }

  // ── Heartbeats ────────────────────────────────────────────────────────────

  /** Sent whatever else flows, ahead of everything that waits. */
  #beat(socket: Socket): void {
    if (this.#socket !== socket) return;
    const { clock } = this.#options;
    const { heartbeat } = socket;
    const nowMs = clock.monotonicMs();
    if (heartbeat.isDead(nowMs)) return this.#drop(socket, 'silent');
    if (!socket.open && nowMs - heartbeat.ageFromMs >= limits.negotiateMs) return this.#drop(socket, 'negotiate-timeout');
    const number = heartbeat.due(nowMs);
    if (number !== null) this.#write(socket, `{"t":"hb","n":${number},"ack":${this.#ack()}}`);
    socket.timer = clock.after(Math.max(1, heartbeat.nextMs() - nowMs), () => this.#beat(socket));
  }

  #heartbeatAnswered(socket: Socket, number: number): void {
    // Number 0 acknowledges frames between heartbeats and answers none.
    if (number === 0) return;
    const roundTripMs = socket.heartbeat.answered(number, this.#options.clock.monotonicMs());
    if (roundTripMs === 'invalid') return this.#drop(socket, 'invalid-heartbeat');
    if (roundTripMs === null) return;
    this.#roundTripMs = roundTripMs;
    this.#options.metrics.set('holdfast_link_round_trip_seconds', { peer: this.#options.peer }, roundTripMs / 1_000);
  }

  // ── Receiving ─────────────────────────────────────────────────────────────

  #receive(socket: Socket, text: string): void {
    socket.lastHeardMs = this.#options.clock.monotonicMs();
    const frame = decodeFrame(text);
    switch (frame.t) {
      case 'hb':
        this.#outbox.acknowledged(frame.ack);
        this.#write(socket, `{"t":"hba","n":${frame.n},"ack":${this.#ack()}}`);
        break;
      case 'hba':
        this.#outbox.acknowledged(frame.ack);
        this.#heartbeatAnswered(socket, frame.n);
        break;
      case 'invalid':
        this.#options.metrics.add('holdfast_link_refused_total', { reason: 'invalid-frame' });
        this.#options.log.warn('invalid-frame', { peer: this.#options.peer, reason: frame.reason });
        this.#drop(socket, 'invalid-frame');
        break;
      case 'unknown':
        this.#warnings.once(`unknown-type ${frame.type}`, 'unknown-type', { type: frame.type });
        this.#write(socket, JSON.stringify({ t: 'error', code: 'UNKNOWN_TYPE', about: frame.type }));
        break;
      case 'error':
        this.#warnings.once(`peer-error ${frame.about}`, 'peer-refused-frame', { code: frame.code, about: frame.about });
        break;
      case 'control':
        this.#onControl(socket, frame);
        break;
      case 'request':
      case 'response':
      case 'cancel':
      case 'post':
      case 'skip':
        this.#onSequenced(socket, frame);
        break;
    }
  }

  #onControl(socket: Socket, frame: Extract<Frame, { t: 'control' }>): void {
    const { message, session } = frame;
    const { side, handlers } = this.#options;
    if (isFromEdge(message) !== (side === 'master')) return this.#drop(socket, 'wrong-side');
    if (!socket.open) {
      if (session === null || message.t !== (side === 'master' ? 'hello' : 'negotiate')) return this.#drop(socket, 'not-negotiated');
      const [min, max] = session.v;
      if (max < PROTOCOL[0] || min > PROTOCOL[1]) return this.#drop(socket, 'version');
      if (side === 'master') socket.offer = session;
      else {
        // The window ended while the answer was on its way.
        if (session.resumed && session.id !== this.#session.id) return this.#drop(socket, 'session-over');
        if (!session.resumed) this.#newSession({ id: session.id, peerBoot: session.boot, received: 0 });
        handlers.control(message, socket.number);
        if (this.#socket === socket) this.#opened(socket, session.resumed, session.received);
        return;
      }
    } else if (!isClaim(message.t) && isOlder(message.epoch, this.#options.floor())) {
      // Fence 1: an older epoch has no say.
      return this.#fenced(message.t);
    }
    handlers.control(message, socket.number);
  }

  #onSequenced(socket: Socket, frame: SequencedFrame): void {
    if (!socket.open) return this.#drop(socket, 'not-negotiated');
    this.#outbox.acknowledged(frame.ack);
    if (frame.seq <= this.#session.received) return;
    if (frame.seq !== this.#session.received + 1) return this.#drop(socket, 'sequence-gap');
    this.#session.received = frame.seq;
    this.#unackedReceived += 1;
    if (this.#unackedReceived >= ACK_EVERY) this.#write(socket, `{"t":"hba","n":0,"ack":${this.#ack()}}`);
    switch (frame.t) {
      case 'request':
        this.#onRequest(frame);
        break;
      case 'response':
        this.#requests.settle(frame.re, frame.error === undefined ? { value: frame.value } : { error: fromWire(frame.error) });
        break;
      case 'cancel':
        this.#incoming.cancel(frame.re);
        break;
      case 'post':
        this.#onPost(frame);
        break;
      case 'skip':
        break;
    }
  }

  #onRequest(frame: Extract<SequencedFrame, { t: 'request' }>): void {
    const { clock, handlers, peer } = this.#options;
    const { id, kind, body, ep } = frame;
    if (!isRequestKind(kind)) {
      this.#warnings.once(`unknown-kind ${kind}`, 'unknown-type', { type: kind });
      return this.#answer(id, false, { error: new HoldfastError('UNKNOWN_TYPE', { type: kind.slice(0, 100) }) });
    }
    const { bulk } = requestKinds[kind];
    const refusal = this.#gate(kind, requestKinds[kind].epoch, ep);
    if (refusal !== null) return this.#answer(id, bulk, { error: refusal });
    if (this.#incoming.size >= limits.pendingRequests) {
      return this.#answer(id, bulk, { error: new HoldfastError('LINK_BUSY', { limit: limits.pendingRequests }) });
    }
    const deadlineMs = clock.monotonicMs() + Math.min(frame.ttl, limits.requestMaxMs);
    const { signal, finish } = this.#incoming.begin(id, deadlineMs);
    this.#deadlines.watch(deadlineMs);
    handlers.request(kind, body, { signal, deadlineMs, epoch: ep }).then(
      (value) => finish() && this.#answer(id, bulk, { value }),
      (error: unknown) => finish() && this.#answer(id, bulk, { error: toHoldfastError(error, peer) }),
    );
  }

  #onPost(frame: Extract<SequencedFrame, { t: 'post' }>): void {
    const { type, body, ep } = frame;
    if (!isPostType(type)) return this.#warnings.once(`unknown-post ${type}`, 'unknown-type', { type: type.slice(0, 100) });
    if (this.#gate(type, postTypes[type].epoch, ep) !== null) return;
    try {
      this.#options.handlers.post(type, body, { epoch: ep });
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.#options.metrics.add('holdfast_link_refused_total', { reason: 'invalid-post' });
      this.#warnings.once(`post ${type}`, 'invalid-post', { type, error });
    }
  }

  /** Fence 1, at the door, once: whatever commands or reports must carry an epoch that is not over. */
  #gate(type: string, required: boolean, ep: Epoch | null): HoldfastError | null {
    if (!required) return null;
    if (ep === null) {
      this.#fenced(type);
      return new HoldfastError('EPOCH_MISSING', { type });
    }
    if (this.#isCurrent(ep)) return null;
    this.#fenced(type);
    return this.#stale(ep);
  }

  #stale(ep: Epoch): HoldfastError {
    return new HoldfastError('STALE_EPOCH', { location: this.#options.peer, epoch: formatEpoch(ep), floor: formatEpoch(this.#options.floor()) });
  }

  #fenced(type: string): void {
    this.#options.metrics.add('holdfast_fencing_refusals_total', { fence: 'link' });
    this.#warnings.once(`fenced ${type}`, 'stale-epoch-refused', { type });
  }

  #isCurrent(ep: Epoch | null): boolean {
    return ep === null || !isOlder(ep, this.#options.floor());
  }

  // ── Sending ───────────────────────────────────────────────────────────────

  #answer(re: number, bulk: boolean, outcome: { value: Json } | { error: HoldfastError }): void {
    const body = 'error' in outcome ? { error: outcome.error.toJSON() } : { value: outcome.value };
    const queued = this.#outbox.push({ encode: (seq) => this.#encode({ t: 'response', seq, ack: this.#ack(), re, ...body }) }, bulk);
    // As many answers wait as frames may: the peer asks but does not read.
    if (!queued && this.#socket !== null) return this.#drop(this.#socket, 'does-not-read');
    if (this.#socket?.open) this.#flush(this.#socket);
  }

  #cancel(id: number): void {
    const known = this.#requests.fail(id, 'CANCELLED');
    if (!known) return;
    this.#outbox.push({ encode: (seq) => this.#encode({ t: 'cancel', seq, ack: this.#ack(), re: id }) }, false);
    if (this.#socket?.open) this.#flush(this.#socket);
  }

  #flush(socket: Socket): void {
    if (!socket.open) return;
    const { connection } = socket;
    while (this.#socket === socket) {
      const buffered = connection.bufferedBytes();
      if (buffered >= limits.socketBytes) return;
      const text = this.#outbox.next(buffered < limits.bulkInFlightBytes);
      if (text === null) return;
      connection.send(text);
    }
  }

  /** Ahead of everything that waits: heartbeats and control. */
  #write(socket: Socket, text: string): void {
    if (this.#socket === socket) socket.connection.send(text);
  }

  #encode(frame: SequencedFrame): string {
    const text = JSON.stringify(frame);
    if (text.length <= limits.maxFrameBytes) return text;
    // A driver decides how large its values are; clients are held to less.
    assert(frame.t === 'response' || frame.t === 'post', `a ${frame.t} frame is larger than a frame may be`);
    this.#options.metrics.add('holdfast_link_dropped_total', { peer: this.#options.peer });
    const { seq, ack } = frame;
    if (frame.t === 'post') return JSON.stringify({ t: 'skip', seq, ack });
    const error = new HoldfastError('BODY_TOO_LARGE', { limitBytes: limits.maxFrameBytes }).toJSON();
    return JSON.stringify({ t: 'response', seq, ack, re: frame.re, error });
  }

  /** Before the socket is open the peer may be in another session already, whose frames were not heard yet. */
  #ack(): number {
    this.#unackedReceived = 0;
    return this.#socket?.open ? this.#session.received : 0;
  }

  // ── Deadlines ─────────────────────────────────────────────────────────────

  /** Both directions; the next deadline there is. */
  #expire(): number | null {
    const nowMs = this.#options.clock.monotonicMs();
    for (const id of this.#requests.expire(nowMs)) {
      this.#outbox.push({ encode: (seq) => this.#encode({ t: 'cancel', seq, ack: this.#ack(), re: id }) }, false);
    }
    this.#incoming.expire(nowMs);
    if (this.#socket !== null) this.#flush(this.#socket);
    const next = Math.min(this.#requests.nextDeadlineMs() ?? Infinity, this.#incoming.nextDeadlineMs() ?? Infinity);
    return next === Infinity ? null : next;
  }
}
