import { isOlder } from '../../control/epoch.ts';
import { type ControlMessage, isFromEdge } from '../../control/messages.ts';
import type { CancelSignal } from '../../foundation/cancel.ts';
import type { Json } from '../../foundation/json.ts';
import type { Urgency } from '../../foundation/turn-gatherer.ts';
import { decodeFrame, type Frame, type InvalidFrame, isClaim, isPostType, type Message, postTypes, PROTOCOL } from '../../link/frames.ts';
import type { PostType, RequestKind, SequencedFrame, SessionOffer } from '../../link/frames.ts';
import { Outbox, type OutboxItem } from '../../link/outbox.ts';
import { PartialBodies } from '../../link/parts.ts';
import { Warnings } from '../../link/warnings.ts';
import type { Epoch } from '../../model/control.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Timer } from '../../ports/clock.ts';
import type { Connection, ConnectionHandler } from '../../ports/transport.ts';
import { LinkFence } from './link-fence.ts';
import type { PeerLinkOptions, PeerLinkView } from './peer-link-options.ts';
import { PeerRequests } from './peer-requests.ts';
import { PeerSocket } from './peer-socket.ts';
import { Refusals } from '../refusals.ts';

interface Session {
  id: string;
  peerBoot: string;
  /** Number of the last frame that was received. */
  received: number;
}

/** Received frames after which an acknowledgement is sent without waiting for the next heartbeat. */
const ACK_EVERY = 256;
/** With this word a process says that no other socket of it will come. */
const SHUTTING_DOWN = 'shutting-down';
/** The peer is connected already, and this is another process. */
export const DUPLICATE_IDENTITY = 'duplicate-identity';
/** More than there are words for it. */
const MOST_REASONS = 50;
const NO_SESSION: Session = { id: '', peerBoot: '', received: 0 };

/** The session with one peer over its sockets: negotiation, what travels in both directions, resumption. docs/link.md. */
export class PeerLink {
  /** Why the last attempt that was answered was refused; null: it was not. */
  refused: string | null = null;
  readonly #options: PeerLinkOptions;
  readonly #outbox = new Outbox({
    waiting: limits.resumeBufferFrames,
    waitingBytes: limits.waitingBytes,
    unackedFrames: limits.resumeBufferFrames,
    unackedBytes: limits.resumeBufferBytes,
  });
  readonly #partial = new PartialBodies();
  readonly #requests: PeerRequests;
  readonly #fence: LinkFence;
  readonly #warnings: Warnings;
  #socket: PeerSocket | null = null;
  #sockets = 0;
  #session: Session = NO_SESSION;
  #unackedReceived = 0;
  /** Ends the session when no socket has resumed it in time. */
  #forget: Timer | null = null;
  #sinceMs: number;
  #downReason = 'never connected';
  #lastHeardMs: number | null = null;
  readonly #twins: Refusals;
  /** For which it was lost. */
  readonly #reasons = new Set<string>();

  constructor(options: PeerLinkOptions) {
    const { clock, log, peer, handlers } = options;
    this.#options = options;
    this.#warnings = new Warnings(log, peer);
    this.#twins = new Refusals(clock);
    this.#fence = new LinkFence({ ...options, warnings: this.#warnings, heard: (epoch) => handlers.epochHeard(epoch, this.#socket?.number ?? 0) });
    this.#requests = new PeerRequests({
      peer,
      clock,
      fence: this.#fence,
      outbox: this.#outbox,
      warnings: this.#warnings,
      handle: handlers.request,
      flush: () => this.#flush(),
      overrun: () => this.#abandon('does-not-read'),
      invalid: (reason) => this.#invalid({ t: 'invalid', reason }),
    });
    this.#sinceMs = clock.wallMs();
  }

  get state(): 'down' | 'negotiating' | 'open' {
    if (this.#socket === null) return 'down';
    return this.#socket.open ? 'open' : 'negotiating';
  }

  view(): PeerLinkView {
    const socket = this.#socket;
    const state = socket === null ? 'down' : socket.open ? 'up' : 'negotiating';
    return {
      state,
      remote: socket?.connection.remote ?? '',
      sinceMs: this.#sinceMs,
      roundTripMs: state === 'up' ? (socket?.roundTripMs ?? null) : null,
      inFlight: this.#requests.inFlight,
      reason: socket === null ? this.#downReason : '',
    };
  }

  /**
   * Takes over a new socket. An older one is closed and can never remove the new one, unless it is alive and of another process:
   * two machines with one identity, such as copies of a disk, must not both be granted the lease of one location.
   */
  attach(connection: Connection): void {
    const older = this.#socket;
    if (older !== null && areTwins(older.connection, connection)) return this.#refuse(connection);
    if (older !== null) this.#drop(older, 'replaced');
    const { clock, handlers } = this.#options;
    this.#sockets += 1;
    const socket: PeerSocket = new PeerSocket({
      number: this.#sockets,
      connection,
      clock,
      ack: this.#ack,
      drop: (reason) => this.#drop(socket, reason),
    });
    this.#socket = socket;
    this.#sinceMs = clock.wallMs();
    handlers.up(socket.number);
    const present = (): boolean => this.#socket === socket;
    connection.listen({
      frame: (text) => present() && this.#receive(socket, text),
      drained: () => present() && this.#flush(),
      closed: (reason) => this.#closed(socket, reason),
    });
    socket.beat();
  }

  /** Monotonic time since when the peer is not heard; null: it is, or never was. */
  get silentSinceMs(): number | null {
    return this.state === 'open' ? null : this.#lastHeardMs;
  }

  /** On this socket or not at all: a control message is never sent again. */
  sendControl(link: number, message: ControlMessage): void {
    const socket = this.#socket;
    if (socket?.number !== link) return;
    if (message.t === 'hello' && !socket.helloSent) {
      socket.helloSent = true;
      socket.send(JSON.stringify({ ...message, session: this.#offer(this.#hasSession) }));
    } else if (message.t === 'negotiate' && socket.offer !== null) {
      this.#answerOffer(socket, socket.offer, message);
    } else {
      socket.send(JSON.stringify(message));
    }
  }

  /** Throws LINK_DOWN, LINK_BUSY, LINK_LOST, DEADLINE, CANCELLED, BODY_TOO_LARGE, or the coded error of the peer. */
  request(kind: RequestKind, body: Json, options: { signal: CancelSignal; timeoutMs: number }): Promise<Json> {
    if (this.#socket?.open) return this.#requests.ask(kind, body, options);
    return Promise.reject(new HoldfastError('LINK_DOWN', { peer: this.#options.peer }));
  }

  /**
   * Tells the peer something. `conflateKey`: while it waits, a newer one takes its place. During a cut it waits for the session
   * to be resumed; without a session it is dropped.
   */
  post(type: PostType, body: Json, options: { epoch?: Epoch; conflateKey?: string } = {}): void {
    if (!this.#hasSession) return;
    const ep = postTypes[type].epoch ? (options.epoch ?? this.#options.floor()) : null;
    const text = JSON.stringify(body);
    const item = new Post(text, { type, ep, fence: this.#fence, conflateKey: options.conflateKey });
    if (this.#pass(item, postTypes[type].urgency)) return;
    if (text.length > limits.maxFrameBytes || !this.#outbox.push(item, false)) this.#countDropped(1);
    this.#flush();
  }

  close(link: number, reason: string): void {
    if (this.#socket?.number === link) this.#drop(this.#socket, reason);
  }

  /** This process stops. Ends the session: everything pending is settled, here and there. */
  shutdown(): void {
    this.#abandon(SHUTTING_DOWN);
  }

  // ── Session ───────────────────────────────────────────────────────────────

  /** There is one, and it can go on. */
  get #hasSession(): boolean {
    return this.#session.id !== '' && this.#outbox.resumable;
  }

  #offer(resumed: boolean): SessionOffer {
    const { id, peerBoot, received } = this.#session;
    return { v: [...PROTOCOL], boot: this.#options.bootId, peerBoot, id, received, resumed };
  }

  /** Master: the verdict answers the session that the edge offered, before anything else is delivered. */
  #answerOffer(socket: PeerSocket, offer: SessionOffer, message: ControlMessage): void {
    const known = this.#session;
    const same = offer.id === known.id && offer.boot === known.peerBoot && offer.peerBoot === this.#options.bootId;
    const resumed = offer.resumed && same && this.#outbox.resumable;
    if (!resumed) this.#newSession({ id: this.#options.random.hex(8), peerBoot: offer.boot, received: 0 });
    socket.offer = null;
    socket.send(JSON.stringify({ ...message, session: this.#offer(resumed) }));
    this.#opened(socket, resumed, offer.received);
  }

  #opened(socket: PeerSocket, resumed: boolean, peerReceived: number): void {
    socket.open = true;
    this.#forget?.cancel();
    this.#forget = null;
    this.#warnings.reset();
    const { handlers, log, metrics, peer } = this.#options;
    metrics.set('holdfast_link_up', { peer }, 1);
    log.info('link-up', { peer, remote: this.view().remote, resumed, link: socket.number });
    if (resumed) this.#outbox.resume(peerReceived);
    handlers.open(socket.number, resumed);
    this.#flush();
  }

  #newSession(session: Session): void {
    this.#endSession();
    this.#session = session;
  }

  #endSession(): void {
    this.#forget?.cancel();
    this.#forget = null;
    this.#session = NO_SESSION;
    this.#unackedReceived = 0;
    this.#partial.clear();
    this.#countDropped(this.#outbox.reset());
    this.#requests.closeAll();
    this.#options.handlers.ended();
  }

  #countDropped(posts: number): void {
    if (posts > 0) this.#options.metrics.add('holdfast_link_dropped_total', { peer: this.#options.peer }, posts);
  }

  #refuse(connection: Connection): void {
    const { log, metrics, peer } = this.#options;
    metrics.add('holdfast_link_refused_total', { reason: DUPLICATE_IDENTITY });
    connection.listen(deaf);
    connection.close(DUPLICATE_IDENTITY);
    if (this.#twins.note(DUPLICATE_IDENTITY)) log.warn('link-refused', { edge: peer, remote: connection.remote, reason: DUPLICATE_IDENTITY });
  }

  #drop(socket: PeerSocket, reason: string): void {
    if (this.#socket !== socket) return;
    this.#socket = null;
    socket.close(reason);
    const { clock, handlers, log, metrics, peer, resumeWindowMs } = this.#options;
    this.#sinceMs = clock.wallMs();
    this.#downReason = reason;
    this.#lastHeardMs = socket.lastHeardMs;
    metrics.set('holdfast_link_up', { peer }, 0);
    metrics.add('holdfast_link_losses_total', { peer, reason: this.#labelOf(reason) });
    log.info('link-down', { peer, reason, link: socket.number });
    // The window counts from the loss of the session, not of a later socket on which nobody negotiated.
    this.#forget ??= clock.after(resumeWindowMs, () => this.#endSession());
    handlers.down(socket.number, { lastHeardMs: socket.lastHeardMs, reason });
  }

  /** A peer closes with whatever word it likes, and each that is new would be another series. */
  #labelOf(reason: string): string {
    if (this.#reasons.size < MOST_REASONS) this.#reasons.add(reason);
    return this.#reasons.has(reason) ? reason : 'other';
  }

  #closed(socket: PeerSocket, reason: string): void {
    if (this.#socket !== socket) return;
    if (reason === SHUTTING_DOWN) this.#abandon(reason);
    else this.#drop(socket, reason);
  }

  /** Ends the socket and the session with it: what is missing or cannot be kept would be missing after a resumption too. */
  #abandon(reason: string): void {
    if (this.#socket !== null) this.#drop(this.#socket, reason);
    this.#endSession();
  }

  // ── Receiving ─────────────────────────────────────────────────────────────

  #receive(socket: PeerSocket, text: string): void {
    socket.lastHeardMs = this.#options.clock.monotonicMs();
    const frame = decodeFrame(text);
    switch (frame.t) {
      case 'hb':
        this.#outbox.acknowledged(frame.ack);
        socket.answerHeartbeat(frame.n);
        break;
      case 'hba':
        this.#outbox.acknowledged(frame.ack);
        socket.heartbeatAnswered(frame.n);
        this.#measure(socket);
        break;
      case 'invalid':
        this.#invalid(frame);
        break;
      case 'unknown':
        this.#warnings.once(`unknown-type ${frame.type}`, 'unknown-type', { type: frame.type });
        socket.answerUnknown(frame.type);
        break;
      case 'error':
        this.#warnings.once(`peer-error ${frame.about}`, 'peer-refused-frame', { code: frame.code, about: frame.about });
        break;
      case 'control':
        this.#onControl(socket, frame);
        break;
      default:
        this.#onSequenced(socket, frame, text.length);
        break;
    }
  }

  /** Once a heartbeat, not once a request: nobody reads it more often. */
  #measure({ roundTripMs }: PeerSocket): void {
    const { metrics, peer } = this.#options;
    metrics.set('holdfast_requests_in_flight', { peer }, this.#requests.inFlight);
    if (roundTripMs !== null) metrics.set('holdfast_link_round_trip_seconds', { peer }, roundTripMs / 1_000);
  }

  #invalid({ reason }: InvalidFrame): void {
    const { log, metrics, peer } = this.#options;
    metrics.add('holdfast_link_refused_total', { reason: 'invalid-frame' });
    log.warn('invalid-frame', { peer, reason });
    this.#abandon('invalid-frame');
  }

  #onControl(socket: PeerSocket, frame: Extract<Frame, { t: 'control' }>): void {
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
      return this.#fence.refused(message.t);
    }
    handlers.control(message, socket.number);
  }

  #onSequenced(socket: PeerSocket, frame: SequencedFrame, length: number): void {
    if (!socket.open) return this.#drop(socket, 'not-negotiated');
    this.#outbox.acknowledged(frame.ack);
    if (frame.seq <= this.#session.received) return;
    if (frame.seq !== this.#session.received + 1) return this.#abandon('sequence-gap');
    this.#session.received = frame.seq;
    this.#unackedReceived += 1;
    if (this.#unackedReceived >= ACK_EVERY) socket.acknowledge();
    if (frame.t === 'part') {
      if (!this.#partial.add(frame)) this.#invalid({ t: 'invalid', reason: 'part' });
      return;
    }
    const whole = frame.t === 'last' ? this.#partial.lengthOf(frame) : length;
    const message = frame.t === 'last' ? this.#partial.complete(frame) : frame;
    if (message.t === 'invalid') this.#invalid(message);
    else this.#onMessage(message, whole);
  }

  /** `length`: of its text. */
  #onMessage(message: Message, length: number): void {
    switch (message.t) {
      case 'request':
        this.#requests.onRequest(message, length);
        break;
      case 'response':
        this.#requests.onResponse(message);
        break;
      case 'cancel':
        this.#requests.onCancel(message);
        break;
      case 'post':
        this.#onPost(message, length);
        break;
      case 'skip':
        break;
    }
  }

  #onPost({ type, body, ep }: Extract<Message, { t: 'post' }>, length: number): void {
    if (!isPostType(type)) return this.#warnings.once(`unknown-post ${type}`, 'unknown-type', { type });
    if (this.#fence.refusal(type, postTypes[type].epoch, ep) !== null) return;
    try {
      this.#options.handlers.post(type, body, { epoch: ep, length });
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.#options.metrics.add('holdfast_link_refused_total', { reason: 'invalid-post' });
      this.#warnings.once(`post ${type}`, 'invalid-post', { type, error });
    }
  }

  // ── Sending ───────────────────────────────────────────────────────────────

  /** Past what would wait, as most does: nothing waits. */
  #pass(item: OutboxItem, urgency: Urgency): boolean {
    const socket = this.#socket;
    if (!socket?.open || socket.connection.bufferedBytes() >= limits.socketBytes) return false;
    const text = this.#outbox.pass(item, this.#ack);
    if (text === null) return false;
    socket.send(text, urgency);
    return true;
  }

  /** Hands over what waits, up to what may be with the socket at a time: a heartbeat waits behind no more than that. */
  #flush(): void {
    const socket = this.#socket;
    if (!socket?.open) return;
    while (this.#socket === socket) {
      const buffered = socket.connection.bufferedBytes();
      if (buffered >= limits.socketBytes) return;
      const text = this.#outbox.next(this.#ack, buffered < limits.bulkSocketBytes);
      if (text === null) return;
      socket.send(text);
    }
  }

  /** Before the socket is open the peer may be in another session already, whose frames were not heard yet. */
  readonly #ack = (): number => {
    this.#unackedReceived = 0;
    return this.#socket?.open ? this.#session.received : 0;
  };
}

interface PostAbout {
  type: PostType;
  ep: Epoch | null;
  fence: LinkFence;
  conflateKey: string | undefined;
}

/** What is told without an answer, until the peer has acknowledged it. Of these there are as many as changes of status. */
class Post implements OutboxItem {
  readonly t = 'post';
  readonly bodyField = 'body';
  readonly body: string;
  readonly #about: PostAbout;

  constructor(body: string, about: PostAbout) {
    this.body = body;
    this.#about = about;
  }

  get conflateKey(): string | undefined {
    return this.#about.conflateKey;
  }

  head(): string {
    const { type, ep } = this.#about;
    return `,"type":"${type}","ep":${JSON.stringify(ep)}`;
  }

  stillWanted(): boolean {
    return this.#about.fence.isCurrent(this.#about.ep);
  }
}

const areTwins = (one: Connection, other: Connection): boolean =>
  one.peerProcess !== '' && other.peerProcess !== '' && one.peerProcess !== other.peerProcess;
const nothing = (): void => undefined;
const deaf: ConnectionHandler = { frame: nothing, drained: nothing, closed: nothing };
