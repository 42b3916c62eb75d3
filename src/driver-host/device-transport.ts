import { Silence } from '../driver-sdk/silence.ts';
import type { Transport, TransportHandler } from '../driver-sdk/transport.ts';
import { backoffMs } from '../shared/foundation/backoff.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock, Timer } from '../shared/ports/clock.ts';
import type { Random } from '../shared/ports/random.ts';
import type { Dial, Line, LineEnd } from './line.ts';

export interface DeviceTransportOptions {
  module: string;
  dial: Dial;
  /** Connects on demand and closes when nothing was asked for so long; null: stays connected. */
  idleMs: number | null;
  /** UDP: an open socket says nothing of the device, only its answers do. */
  connectionless: boolean;
  clock: Clock;
  random: Pick<Random, 'next'>;
  /** May the device be contacted at all now? */
  mayConnect(): boolean;
  /** Asked right before bytes leave; throws when they must not. */
  beforeWrite(bytes: number): void;
}

/** A connection that lived this long was a good one: the next attempt comes after the shortest delay. */
const GOOD_MS = 1_000;

const soon = { firstMs: limits.deviceReconnectMinMs, maxMs: limits.deviceReconnectMaxMs, factor: 2, jitter: 0.5 };
const breaker = { firstMs: limits.deviceBreakerMs, maxMs: limits.deviceBreakerMs, factor: 1, jitter: 0.5 };

/** Attempts within so many milliseconds are made together: to wake up a thousand times costs more than a thousand attempts. */
const TOGETHER_MS = 250;

/**
 * Keeps up the connection to one device: tries at once, then again and again, slower and slower up to 10 s.
 * After a permanent failure the breaker is open: it tries once a minute, and says why. Every end is a reset.
 */
export class DeviceTransport implements Transport {
  readonly #options: DeviceTransportOptions;
  #handler: TransportHandler | null = null;
  #line: Line | null = null;
  /** The line takes bytes. */
  #up = false;
  /** Something beyond the beginning of a connection, such as a login, has left over the present line. */
  #wrote = false;
  /** This side ended the present line at its beginning. Its end is told of later, when the beginning is over. */
  #droppedEarly = false;
  /** What the handler was told. Make-and-break stays connected between two lines. */
  #connected = false;
  #attempted = false;
  /** Failures since the last good connection. */
  #failures = 0;
  readonly #silence: Silence;
  #wanted = false;
  /** `retryNow` came while a line was up or being made, which may fail for what was in the way before. */
  #retryAtOnce = false;
  /** Other code begins: the next connection is told of as if there had been none. */
  #renewed = false;
  /** Why the present line ends, when this side ends it. */
  #ending: LineEnd | null = null;
  #broken: string | null = null;
  #retry: Timer | null = null;
  #idle: Timer | null = null;
  #closed: (() => void) | null = null;

  constructor(options: DeviceTransportOptions) {
    this.#options = options;
    this.#silence = new Silence(options.connectionless ? 1 : 2);
  }

  open(handler: TransportHandler): void {
    if (this.#closed !== null) return;
    this.#handler = handler;
    this.#connect();
  }

  get up(): boolean {
    return this.#up;
  }

  get ready(): boolean {
    return this.#up && this.#line?.writable === true;
  }

  write(data: Uint8Array): void {
    const { module, beforeWrite } = this.#options;
    if (this.#line === null || !this.#up) throw new HoldfastError('DEVICE_OFFLINE', { module });
    beforeWrite(data.length);
    this.#wrote ||= this.#handler?.opening === false;
    this.#line.write(data);
  }

  demand(wanted: boolean): void {
    this.#wanted = wanted;
    if (this.#options.idleMs === null || this.#closed !== null) return;
    if (!wanted) this.#closeWhenIdle();
    else if (this.#line === null && this.#retry === null && this.#handler !== null) this.#connect();
  }

  /** A connection that stands says nothing of a program that hangs, and for a quarter of an hour nothing of a machine that is gone. */
  unanswered(isFirst: boolean): void {
    this.#silence.unanswered(isFirst);
    if (this.#silence.isGone) this.reset('the device does not answer');
  }

  reset(reason: string): void {
    this.#drop({ reason, permanent: false });
  }

  openBreaker(problem: string): void {
    if (this.#closed !== null) return;
    if (this.#line !== null) return this.#drop({ reason: problem, permanent: true });
    this.#retry?.cancel();
    this.#failed({ reason: problem, permanent: true });
  }

  /** The gate closed: bytes that the kernel has not taken yet must not leave later. */
  dropUnsent(): void {
    if (this.#line !== null && (this.#line.unsent || !this.#up)) this.reset('the write gate closed');
  }

  /** What was in the way may be gone: the other side let go, or somebody asked for it. */
  retryNow(): void {
    if (this.#closed !== null) return;
    if (this.#retry === null) this.#retryAtOnce = this.#line !== null;
    else this.#connectAnew();
  }

  renew(): void {
    if (this.#closed !== null || this.#handler === null) return;
    this.#renewed = true;
    // One that is being made will do.
    if (this.#line !== null && !this.#up) return;
    if (this.#line !== null) return this.#drop({ reason: 'other code begins anew', permanent: false });
    this.#connectAnew();
  }

  close(): Promise<void> {
    this.#up = false;
    this.#retry?.cancel();
    this.#idle?.cancel();
    const line = this.#line;
    return new Promise((resolve) => {
      const before = this.#closed;
      this.#closed = () => {
        before?.();
        resolve();
      };
      if (line === null) this.#closed();
      else line.drop();
    });
  }

  #connectAnew(): void {
    this.#retry?.cancel();
    this.#failures = 0;
    this.#connect();
  }

  #connect(): void {
    const { dial, clock, mayConnect, connectionless } = this.#options;
    this.#retry = null;
    this.#retryAtOnce = false;
    if (!mayConnect()) return this.#failed({ reason: 'the write gate is closed', permanent: false });
    let upMs: number | null = null;
    let heard = false;
    this.#ending = null;
    this.#wrote = false;
    this.#droppedEarly = false;
    this.#line = dial({
      up: () => {
        // The gate may have closed while the connection was being made.
        if (this.#closed !== null || !mayConnect()) return this.reset('the write gate closed');
        upMs = clock.monotonicMs();
        this.#onUp();
      },
      received: (chunk) => {
        heard = true;
        this.#silence.end();
        // An answer, and not only a greeting.
        if (this.#wrote) this.#failures = 0;
        if (this.#up) this.#handler?.received(chunk);
      },
      drained: () => this.#handler?.drained(),
      ended: (end) => {
        const lived = upMs !== null && clock.monotonicMs() - upMs >= GOOD_MS;
        if (!this.#silence.isGone && (heard || (lived && !connectionless))) this.#failures = 0;
        const why = this.#ending ?? end;
        // What is refused for good (an old password) may have begun before somebody asked for another attempt.
        if ((heard || lived) && !why.permanent) this.#retryAtOnce = false;
        this.#onEnded(why, upMs !== null);
      },
    });
  }

  #onUp(): void {
    this.#up = true;
    if (this.#broken !== null) this.#handler?.broken(null);
    this.#broken = null;
    const fresh = !this.#connected || this.#renewed;
    this.#renewed = false;
    this.#connected = true;
    // In this order: a live device must not be taken for a dead one for a moment.
    if (fresh) this.#handler?.connected();
    else this.#handler?.reopened();
    this.#tried();
    if (!this.#wanted) this.#closeWhenIdle();
  }

  #onEnded(end: LineEnd, wasUp: boolean): void {
    this.#line = null;
    this.#up = false;
    this.#idle?.cancel();
    if (this.#closed !== null) return this.#closed();
    if (!wasUp || end.permanent || !(this.#renewed || this.#mayRest())) return this.#failed(end);
    // A command that this cut off is sent again, or ends.
    this.#handler?.interrupted();
    if ((this.#wanted || this.#renewed) && this.#line === null) this.#connect();
  }

  /** Make-and-break: devices that are asked seldom close by themselves. One that did not let us ask has failed. */
  #mayRest(): boolean {
    const { idleMs, mayConnect } = this.#options;
    const wasOpen = this.#handler?.opening === false && !this.#droppedEarly;
    const wasOfUse = wasOpen && (this.#wrote || !this.#wanted);
    return idleMs !== null && wasOfUse && !this.#silence.isGone && mayConnect();
  }

  #failed({ reason, permanent }: LineEnd): void {
    const { clock, random } = this.#options;
    // First of all: what is told of the failure may ask for a connection again.
    const nowMs = clock.monotonicMs();
    if (this.#retryAtOnce) this.#failures = 0;
    const dueMs = nowMs + backoffMs(permanent ? breaker : soon, this.#failures, random.next());
    const pauseMs = this.#retryAtOnce ? 0 : Math.floor(dueMs / TOGETHER_MS) * TOGETHER_MS - nowMs;
    this.#retry = clock.after(pauseMs, () => this.#connect());
    this.#failures += 1;
    this.#silence.end();
    this.#renewed = false;
    if (this.#connected) this.#handler?.disconnected(reason);
    this.#connected = false;
    if (permanent && reason !== this.#broken) {
      this.#broken = reason;
      this.#handler?.broken(reason);
    }
    this.#tried();
  }

  #closeWhenIdle(): void {
    const { idleMs, clock } = this.#options;
    if (idleMs === null || !this.#up) return;
    this.#idle?.cancel();
    this.#idle = clock.after(idleMs, () => {
      if (!this.#wanted) this.reset('idle');
    });
  }

  #drop(ending: LineEnd): void {
    if (this.#line === null) return;
    this.#ending ??= ending;
    this.#droppedEarly ||= this.#handler?.opening === true;
    this.#up = false;
    this.#line.drop();
  }

  #tried(): void {
    if (this.#attempted) return;
    this.#attempted = true;
    this.#handler?.attempted();
  }
}
