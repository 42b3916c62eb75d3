import type { Clock, Timer } from '../../ports/clock.ts';

/** How exactly the end of a crashed holder is known that nobody heard: the time that both held is computed from it. */
export const ALIVE_MS = 1_000;
/** And of one with a link, beside which nobody else holds: that is for people, and each mark is a sync of the disk. */
const ALIVE_LINKED_MS = 10_000;

export interface AliveMarksOptions {
  clock: Clock;
  /** Is somebody listening at the other end of the link? */
  linked(): boolean;
  holding(): boolean;
  /** Into the journal: at this wall time it held. */
  say(wallMs: number): void;
}

/**
 * While this node drives a location its journal hears of it: should it crash, it is known how long it did. All locations of
 * a node say it in the same moments, so that the journal gathers them into one write.
 */
export class AliveMarks {
  readonly #options: AliveMarksOptions;
  #timer: Timer | null = null;
  /** When it was said last, on the monotonic clock. */
  #saidMs = -Infinity;

  constructor(options: AliveMarksOptions) {
    this.#options = options;
  }

  /** Begins to say it, at once; ends by itself when nothing is held any more. */
  begin(): void {
    this.#saidMs = -Infinity;
    this.#say();
  }

  close(): void {
    this.#timer?.cancel();
  }

  #say(): void {
    this.#timer?.cancel();
    const { clock, linked, holding, say } = this.#options;
    if (!holding()) return;
    const nowMs = clock.monotonicMs();
    const everyMs = linked() ? ALIVE_LINKED_MS : ALIVE_MS;
    if (Math.floor(nowMs / everyMs) > Math.floor(this.#saidMs / everyMs)) {
      this.#saidMs = nowMs;
      say(clock.wallMs());
    }
    this.#timer = clock.after(ALIVE_MS - (nowMs % ALIVE_MS), () => this.#say());
  }
}
