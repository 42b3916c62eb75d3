import type { HeldInterval } from '../../control/messages.ts';
import type { Epoch } from '../../model/control.ts';
import type { Clock } from '../../ports/clock.ts';
import type { HistoryEntry } from '../../ports/control-journal.ts';

interface Held {
  epoch: Epoch;
  fromMs: number;
  /** null: still. */
  untilMs: number | null;
}

const KEPT = 100;

/**
 * When this node held a location, on its own monotonic clock. Sent to the other side as ages, so that the time
 * in which both held is computed without comparing two clocks.
 */
export class HeldTimes {
  readonly #clock: Clock;
  readonly #held: Held[] = [];
  /** The boot before this one ended while it held: when, as far as anybody knows. */
  readonly crashed: { epoch: Epoch; wallMs: number } | null = null;
  /** Under a lease nothing is held beyond its end, whether this process noticed or not. */
  #leaseUntilMs: number | null = null;

  /** `history` is what earlier boots of this node recorded, oldest first; `aliveMs` when it last said that it drives (wall time). */
  constructor(clock: Clock, history: HistoryEntry[], aliveMs: number | null) {
    this.#clock = clock;
    const nowMs = clock.monotonicMs();
    const wallMs = clock.wallMs();
    for (const entry of history) {
      const atMs = nowMs - Math.max(0, wallMs - entry.wallMs);
      if (entry.state === 'claiming' || entry.state === 'taking-over') this.began(entry.epoch, atMs);
      else if (entry.state !== 'holding') this.ended(atMs);
    }
    // A crash left no end, but while it held it said how long it lived.
    const last = this.#held.at(-1);
    if (last?.untilMs !== null || last === undefined) return;
    last.untilMs = Math.max(last.fromMs, aliveMs === null ? -Infinity : nowMs - Math.max(0, wallMs - aliveMs));
    this.crashed = { epoch: last.epoch, wallMs: wallMs - (nowMs - last.untilMs) };
  }

  get holding(): boolean {
    return this.#held.at(-1)?.untilMs === null;
  }

  /** Held, and the lease has not ended: also when this process has not yet noticed that it has. */
  get mayAct(): boolean {
    return this.holding && (this.#leaseUntilMs === null || this.#clock.monotonicMs() < this.#leaseUntilMs);
  }

  lease(untilMs: number | null): void {
    this.#leaseUntilMs = untilMs;
  }

  began(epoch: Epoch, atMs = this.#clock.monotonicMs()): void {
    this.ended(atMs);
    this.#held.push({ epoch, fromMs: atMs, untilMs: null });
    if (this.#held.length > KEPT) this.#held.shift();
  }

  /** Returns how many milliseconds ago it was over: a frozen process learns late that its lease has ended. */
  ended(atMs = this.#clock.monotonicMs()): number {
    const last = this.#held.at(-1);
    if (last?.untilMs !== null || last === undefined) return 0;
    last.untilMs = Math.max(last.fromMs, Math.min(atMs, this.#leaseUntilMs ?? atMs));
    return Math.max(0, atMs - last.untilMs);
  }

  /** As ages at this moment. */
  intervals(): HeldInterval[] {
    const nowMs = this.#clock.monotonicMs();
    return this.#held.map(({ epoch, fromMs, untilMs }) => ({
      epoch,
      fromAgoMs: Math.max(0, nowMs - fromMs),
      untilAgoMs: Math.max(0, nowMs - (untilMs ?? Math.min(nowMs, this.#leaseUntilMs ?? nowMs))),
    }));
  }
}

/** How long both sides held, in milliseconds: the overlaps of two lists of ages taken at the same moment. */
export function dualControlMs(edge: HeldInterval[], master: HeldInterval[]): number {
  let total = 0;
  for (const a of edge) {
    for (const b of master) {
      total += Math.max(0, Math.min(a.fromAgoMs, b.fromAgoMs) - Math.max(a.untilAgoMs, b.untilAgoMs));
    }
  }
  return total;
}
