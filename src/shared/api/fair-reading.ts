import { limits } from '../model/limits.ts';
import type { Clock } from '../ports/clock.ts';

/** What can be made to wait with reading. */
export interface Readable {
  pause(): void;
  resume(): void;
}

/** What one client says, in order. */
export interface Lane {
  /** Takes what a message asks for: does it now, or when it is its turn. */
  take(work: () => void): void;
  /** Does what waits now: the client is about to go, and must hear of it. */
  finish(): void;
}

interface WaitingLane {
  source: Readable | null;
  /** With whom it shares turns; null: with nobody. */
  groupOf: (() => unknown) | null;
  waiting: (() => void)[];
  isQueued: boolean;
}

/**
 * What clients say is done in turns. The event loop reads from a socket while there is more to read, and then from the next:
 * a few dozen clients that send as fast as they can would keep it from heartbeats, and links would be lost. So only some
 * messages of one turn of the event loop are done at once. The others wait, their clients are not read meanwhile, and in each
 * further turn comes one of each client after the other, until `clientTurnMs` have passed. Clients that belong together share
 * one place among the others: who opens hundreds of connections is no more than one.
 */
export class FairReading {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #endOfTurn: (callback: () => void) => void;
  /** Those with messages that wait, by group; of the first group the first one is next. */
  readonly #waiting = new Map<unknown, WaitingLane[]>();
  /** Done at once in this turn. */
  #done = 0;
  #beganMs = 0;
  #turning = false;
  /** Somebody has come in this turn. */
  #isShort = false;

  /** `endOfTurn`: calls back when everything else of this turn is done (`setImmediate`). */
  constructor(clock: Pick<Clock, 'monotonicMs'>, endOfTurn: (callback: () => void) => void) {
    this.#clock = clock;
    this.#endOfTurn = endOfTurn;
  }

  /** Of one client. `source` null: somebody else sees to it that not too much is read. `groupOf`: with whom it belongs now; null: it stands alone. */
  lane(source: Readable | null, groupOf: (() => unknown) | null = null): Lane {
    const lane: WaitingLane = { source, groupOf, waiting: [], isQueued: false };
    return {
      take: (work) => this.#take(lane, work),
      finish: () => {
        for (const work of lane.waiting.splice(0)) work();
      },
    };
  }

  /**
   * Somebody has come, and others may wait to be let in: in each turn the event loop lets in one. So this turn is short: nothing is
   * done at once, and then what one of each group says.
   */
  arrived(): void {
    this.#isShort = true;
  }

  #take(lane: WaitingLane, work: () => void): void {
    this.#turn();
    if (lane.waiting.length === 0 && this.#hasTime()) {
      this.#done += 1;
      work();
      return;
    }
    lane.waiting.push(work);
    if (lane.isQueued) return;
    lane.isQueued = true;
    lane.source?.pause();
    this.#queue(lane);
  }

  #queue(lane: WaitingLane): void {
    const group = lane.groupOf?.() ?? lane;
    const lanes = this.#waiting.get(group);
    if (lanes === undefined) this.#waiting.set(group, [lane]);
    else lanes.push(lane);
  }

  /** Takes it out. Others of its group come when all other groups have had their turn. */
  #next(): WaitingLane | undefined {
    for (const [group, lanes] of this.#waiting) {
      const next = lanes.shift();
      this.#waiting.delete(group);
      if (lanes.length > 0) this.#waiting.set(group, lanes);
      return next;
    }
    return undefined;
  }

  #turn(): void {
    if (this.#turning) return;
    this.#turning = true;
    this.#done = 0;
    this.#beganMs = this.#clock.monotonicMs();
    this.#endOfTurn(() => void this.#goOn());
  }

  #hasTime(): boolean {
    return !this.#isShort && this.#done < limits.clientTurnMessages && this.#clock.monotonicMs() - this.#beganMs < limits.clientTurnMs;
  }

  async #goOn(): Promise<void> {
    this.#turning = false;
    const beganMs = this.#clock.monotonicMs();
    let left = this.#isShort ? this.#waiting.size : Infinity;
    this.#isShort = false;
    for (let lane = this.#next(); lane !== undefined; lane = this.#next()) {
      lane.waiting.shift()?.();
      lane.isQueued = lane.waiting.length > 0;
      if (lane.isQueued) this.#queue(lane);
      else lane.source?.resume();
      // What it began goes on now, so that its time counts.
      await Promise.resolve();
      left -= 1;
      if (left === 0 || this.#clock.monotonicMs() - beganMs >= limits.clientTurnMs) break;
    }
    if (this.#waiting.size > 0) this.#turn();
  }
}
