import { TokenBucket } from '../../api/token-bucket.ts';
import type { Urgency } from '../../foundation/turn-gatherer.ts';
import type { SessionOffer } from '../../link/frames.ts';
import { Heartbeat } from '../../link/heartbeat.ts';
import { limits } from '../../model/limits.ts';
import type { Clock, Timer } from '../../ports/clock.ts';
import type { Connection } from '../../ports/transport.ts';

export interface PeerSocketOptions {
  number: number;
  connection: Connection;
  clock: Clock;
  /** Number of the last frame that was received. */
  ack(): number;
  /** Ends it: it is dead, or breaks the protocol. */
  drop(reason: string): void;
}

/** One socket of a link: whether it is alive, and how far its negotiation came. The session outlives it. */
export class PeerSocket {
  readonly number: number;
  readonly connection: Connection;
  /** Negotiated. */
  open = false;
  /** Session part of the edge's hello, seen by the master, until it has answered. */
  offer: SessionOffer | null = null;
  helloSent = false;
  /** Monotonic. */
  lastHeardMs: number;
  roundTripMs: number | null = null;
  readonly #options: PeerSocketOptions;
  readonly #openedMs: number;
  readonly #heartbeat: Heartbeat;
  /** To frames that are answered at once, past everything that waits. */
  readonly #answers: TokenBucket;
  #timer: Timer | null = null;
  #closed = false;

  constructor(options: PeerSocketOptions) {
    this.#options = options;
    this.number = options.number;
    this.connection = options.connection;
    this.#openedMs = options.clock.monotonicMs();
    this.lastHeardMs = this.#openedMs;
    this.#heartbeat = new Heartbeat(this.#openedMs);
    this.#answers = new TokenBucket(options.clock, { perSecond: limits.socketPingsPerSecond, burst: limits.socketPingBurst });
  }

  /** Ahead of everything that waits: heartbeats and control. */
  send(text: string, urgency: Urgency = 'now'): void {
    if (!this.#closed) this.connection.send(text, urgency);
  }

  /** Sends the heartbeat that is due, whatever else flows, and goes on to do so. */
  beat(): void {
    if (this.#closed) return;
    const { clock, ack, drop } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#heartbeat.isDead(nowMs)) return drop('silent');
    if (!this.open && nowMs - this.#openedMs >= limits.negotiateMs) return drop('negotiate-timeout');
    const number = this.#heartbeat.due(nowMs);
    if (number !== null) this.send(`{"t":"hb","n":${number},"ack":${ack()}}`);
    this.#timer = clock.after(Math.max(1, this.#heartbeat.nextMs() - nowMs), () => this.beat());
  }

  /** A peer that floods heartbeats costs time, and memory as well if it does not read the answers: it is cut off. */
  answerHeartbeat(number: number): void {
    if (this.#answers.take()) this.#acknowledge(number);
    else this.#options.drop('heartbeat-flood');
  }

  /** Acknowledges what was received without waiting for the next heartbeat: number 0 answers none. */
  acknowledge(): void {
    this.#acknowledge(0);
  }

  #acknowledge(number: number): void {
    this.send(`{"t":"hba","n":${number},"ack":${this.#options.ack()}}`);
  }

  /** A newer peer may say it often: beyond the rate it gets no answer, and loses nothing else. */
  answerUnknown(type: string): void {
    if (this.#answers.take()) this.send(JSON.stringify({ t: 'error', code: 'UNKNOWN_TYPE', about: type }));
  }

  heartbeatAnswered(number: number): void {
    if (number === 0) return;
    const roundTripMs = this.#heartbeat.answered(number, this.#options.clock.monotonicMs());
    if (roundTripMs === 'invalid') this.#options.drop('invalid-heartbeat');
    else if (roundTripMs !== null) this.roundTripMs = roundTripMs;
  }

  close(reason: string): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.connection.close(reason);
  }
}
