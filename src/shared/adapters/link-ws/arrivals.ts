import type { Socket } from 'node:net';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';

/** A socket that has not proved itself yet. */
export interface Arrival {
  /** Aborts when the time for the proof is over. */
  signal: AbortSignal;
  /** The proof has begun: whoever runs it closes the socket, and says why. */
  proving: boolean;
  /** Proved or refused: the deadline is off. */
  settle(): void;
}

/**
 * Sockets between accept and proof. The deadline runs from accept on, whatever of TLS, HTTP and proof is slow.
 * When there are too many, the oldest goes: an honest edge needs few round trips, and who comes to fill the room needs many.
 */
export class Arrivals {
  readonly #clock: Clock;
  readonly #gaveUp: (remote: string) => void;
  readonly #arrivals = new Map<string, { socket: Socket; arrival: Arrival; expire: () => void }>();

  constructor(clock: Clock, gaveUp: (remote: string) => void) {
    this.#clock = clock;
    this.#gaveUp = gaveUp;
  }

  add(socket: Socket): void {
    const oldest = this.#arrivals.values().next();
    if (this.#arrivals.size >= limits.unprovedSockets && !oldest.done) oldest.value.expire();
    const key = keyOf(socket);
    const remote = socket.remoteAddress ?? 'unknown';
    const late = new AbortController();
    const settle = (): void => {
      timer.cancel();
      this.#arrivals.delete(key);
      // A link may live for months: nothing of its arrival is kept that long.
      socket.off('close', settle);
    };
    const arrival: Arrival = { signal: late.signal, proving: false, settle };
    const expire = (): void => {
      settle();
      late.abort();
      if (arrival.proving) return;
      socket.destroy();
      this.#gaveUp(remote);
    };
    const timer = this.#clock.after(limits.proofMs, expire);
    this.#arrivals.set(key, { socket, arrival, expire });
    socket.once('close', settle);
  }

  /** TLS wraps the socket that was accepted: the two have the same remote end. */
  of(socket: Socket): Arrival | null {
    return this.#arrivals.get(keyOf(socket))?.arrival ?? null;
  }

  destroyAll(): void {
    for (const { socket } of this.#arrivals.values()) socket.destroy();
  }
}

const keyOf = (socket: Socket): string => `${socket.remoteAddress} ${socket.remotePort}`;
