/** `soon`: it may wait a few milliseconds for others, where many come. Nothing overtakes it. */
export type Urgency = 'now' | 'soon';

export interface Pace {
  clock: { monotonicMs(): number; after(delayMs: number, callback: () => void): unknown };
  /** What leaves soon leaves so often at most. */
  restMs: number;
}

/**
 * Lets what is sent in one event-loop turn leave together. Where the last turn had one thing to send only, the first of
 * this one does not wait for others that will hardly come. What need only leave soon leaves like everything else, and then
 * not again before a rest: a write costs more than what is in it.
 *
 * `endOfTurn`: calls back when everything else of this turn is done (`setImmediate`). Without a `pace` soon means now.
 */
export class TurnGatherer {
  readonly #leave: () => void;
  readonly #endOfTurn: (callback: () => void) => void;
  readonly #pace: Pace | null;
  /** Of this turn. */
  #sent = 0;
  #wasAlone = true;
  #resting = false;
  #restUntilMs = -Infinity;

  constructor(leave: () => void, endOfTurn: (callback: () => void) => void, pace: Pace | null = null) {
    this.#leave = leave;
    this.#endOfTurn = endOfTurn;
    this.#pace = pace;
  }

  /** There is one thing more to send. */
  sent(urgency: Urgency = 'now'): void {
    if (urgency === 'soon' && this.#sent === 0 && this.#rests()) return;
    this.#sent += 1;
    if (this.#sent > 1) return;
    this.#endOfTurn(() => {
      this.#wasAlone = this.#sent === 1;
      this.#sent = 0;
      this.#leave();
    });
    if (this.#wasAlone) this.#leave();
  }

  /** It leaves when the rest is over. False: it leaves now, and a rest begins. */
  #rests(): boolean {
    if (this.#resting || this.#pace === null) return this.#resting;
    const { clock, restMs } = this.#pace;
    const nowMs = clock.monotonicMs();
    const leftMs = this.#restUntilMs - nowMs;
    if (leftMs <= 0) {
      this.#restUntilMs = nowMs + restMs;
      return false;
    }
    this.#resting = true;
    clock.after(leftMs, () => {
      this.#resting = false;
      this.#restUntilMs = clock.monotonicMs() + restMs;
      this.#leave();
    });
    return true;
  }
}
