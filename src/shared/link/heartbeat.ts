import { limits } from '../model/limits.ts';

/**
 * When to send the next heartbeat and when a socket is dead. Only an answer is life: a written ping is not,
 * and neither is what arrives on a line that has lost its other direction. Pure.
 */
export class Heartbeat {
  readonly #openedMs: number;
  #number = 0;
  #sentMs: number;
  #answeredMs: number;

  constructor(nowMs: number) {
    this.#openedMs = nowMs;
    this.#sentMs = nowMs;
    this.#answeredMs = nowMs;
  }

  get ageFromMs(): number {
    return this.#openedMs;
  }

  isDead(nowMs: number): boolean {
    return nowMs - this.#answeredMs >= limits.linkDeadMs;
  }

  /** The number of the heartbeat that is due now, or null. */
  due(nowMs: number): number | null {
    if (this.#number > 0 && nowMs - this.#sentMs < limits.heartbeatMs) return null;
    this.#number += 1;
    this.#sentMs = nowMs;
    return this.#number;
  }

  /** When to look again: the next heartbeat, or the end. */
  nextMs(): number {
    return Math.min(this.#sentMs + limits.heartbeatMs, this.#answeredMs + limits.linkDeadMs);
  }

  /** Round trip in milliseconds for the newest heartbeat, null for an older one; `invalid` for one that was never sent. */
  answered(number: number, nowMs: number): number | null | 'invalid' {
    if (number > this.#number) return 'invalid';
    this.#answeredMs = nowMs;
    return number === this.#number ? nowMs - this.#sentMs : null;
  }
}
