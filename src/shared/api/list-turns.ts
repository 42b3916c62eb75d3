import { HoldfastError } from '../model/errors.ts';
import { limits } from '../model/limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';

interface Waiting {
  /** False: whoever waited has given up. */
  begin(): boolean;
}

/**
 * Lists, and whatever else is made of many documents, are carried out a few at a time, one of each caller after the other.
 * Their number says nothing of what they cost: a thousand at once would keep the event loop from commands and heartbeats.
 */
export class ListTurns {
  readonly #clock: Clock;
  readonly #endOfTurn: (callback: () => void) => void;
  /** Those who wait, by caller; the first caller is next. */
  readonly #lanes = new Map<string, Waiting[]>();
  #underWay = 0;

  /** `endOfTurn`: calls back when everything else of this turn of the event loop is done (`setImmediate`). */
  constructor(clock: Clock, endOfTurn: (callback: () => void) => void) {
    this.#clock = clock;
    this.#endOfTurn = endOfTurn;
  }

  /**
   * Resolves when it is the turn of one of this caller; call what it returns when it is answered.
   * Throws RATE_LIMITED when that takes too long, and CANCELLED when `signal` aborts first.
   */
  begin(caller: string, signal: AbortSignal): Promise<() => void> {
    if (this.#underWay < limits.listsAtOnce) {
      this.#underWay += 1;
      return Promise.resolve(() => this.#ended());
    }
    return new Promise((resolve, reject) => {
      let late: Timer | null = null;
      const leave = (): void => giveUp(new HoldfastError('CANCELLED', { fate: 'not-sent' }));
      const settle = (): boolean => {
        if (late === null) return false;
        late.cancel();
        late = null;
        signal.removeEventListener('abort', leave);
        return true;
      };
      const giveUp = (error: HoldfastError): void => {
        if (settle()) reject(error);
      };
      late = this.#clock.after(limits.listWaitMs, () => giveUp(new HoldfastError('RATE_LIMITED', { retryAfterMs: limits.listWaitMs })));
      signal.addEventListener('abort', leave, { once: true });
      this.#wait(caller, {
        begin: () => {
          if (!settle()) return false;
          resolve(() => this.#ended());
          return true;
        },
      });
      if (signal.aborted) leave();
    });
  }

  #wait(caller: string, waiting: Waiting): void {
    const lane = this.#lanes.get(caller);
    if (lane === undefined) this.#lanes.set(caller, [waiting]);
    else lane.push(waiting);
  }

  /** The answer is written before the next one begins. */
  #ended(): void {
    this.#endOfTurn(() => {
      this.#underWay -= 1;
      while (this.#underWay < limits.listsAtOnce) {
        const next = this.#next();
        if (next === null) return;
        if (next.begin()) this.#underWay += 1;
      }
    });
  }

  #next(): Waiting | null {
    for (const [caller, lane] of this.#lanes) {
      const next = lane.shift();
      this.#lanes.delete(caller);
      // Behind all others.
      if (lane.length > 0) this.#lanes.set(caller, lane);
      if (next !== undefined) return next;
    }
    return null;
  }
}
