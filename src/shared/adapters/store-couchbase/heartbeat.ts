import type { Clock } from '../../ports/clock.ts';

/** What a master writes all the time: the time by its clock (unix ms), and how far its log had come. */
export interface Beat {
  at: number;
  generation: string;
  number: number;
}

/** Hears the heartbeats of a master in a copy that replication fills, and tells from them how old the copy is. */
export class BeatListener {
  readonly #clock: Clock;
  #last: number | null = null;
  /** Heard, and the copy is not that far yet: each document arrives when it likes. */
  #awaited: { beat: Beat; sinceMs: number } | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Monotonic ms at which the copy was seen to be what its original was; null: nothing new is known. `reached`: how far the copy is. */
  freshSince(beat: Beat | null, reached: { generation: string; number: number }): number | null {
    if (beat !== null && beat.at !== this.#last) {
      const now = this.#clock.monotonicMs();
      // The first may have been there for days, and its own time is all that says so. Later ones are timed by one clock.
      const sinceMs = this.#last === null ? now - Math.max(0, this.#clock.wallMs() - beat.at) : now;
      this.#last = beat.at;
      if (this.#awaited?.beat.generation !== beat.generation) this.#awaited = { beat, sinceMs };
    }
    if (this.#awaited === null) return null;
    const { beat: awaited, sinceMs } = this.#awaited;
    if (awaited.generation !== reached.generation || awaited.number > reached.number) return null;
    this.#awaited = null;
    return sinceMs;
  }
}
