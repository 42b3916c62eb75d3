/** What has a place in a `TimerHeap`, which alone sets it. */
export interface Due {
  readonly dueMs: number;
  /** Negative: in none. */
  place: number;
}

/** What is due at some time, the earliest first: a binary heap in which each knows its place, so that it can be taken out. */
export class TimerHeap<T extends Due> {
  readonly #timers: T[] = [];

  get first(): T | undefined {
    return this.#timers[0];
  }

  add(timer: T): void {
    this.#timers.push(timer);
    this.#rise(timer, this.#timers.length - 1);
  }

  /** Nothing happens when it is not in here. */
  remove(timer: T): void {
    const { place } = timer;
    if (place < 0) return;
    timer.place = -1;
    const last = this.#timers.pop();
    if (last === undefined || last === timer) return;
    this.#rise(last, place);
    this.#sink(last, last.place);
  }

  /** Puts it where `place` is, or nearer to the first. */
  #rise(timer: T, place: number): void {
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = this.#timers[above];
      if (parent === undefined || parent.dueMs <= timer.dueMs) break;
      this.#put(parent, place);
      place = above;
    }
    this.#put(timer, place);
  }

  #sink(timer: T, place: number): void {
    for (;;) {
      const left = this.#timers[place * 2 + 1];
      const right = this.#timers[place * 2 + 2];
      const sooner = left !== undefined && right !== undefined && right.dueMs < left.dueMs ? right : left;
      if (sooner === undefined || sooner.dueMs >= timer.dueMs) break;
      const below = sooner.place;
      this.#put(sooner, place);
      place = below;
    }
    this.#put(timer, place);
  }

  #put(timer: T, place: number): void {
    this.#timers[place] = timer;
    timer.place = place;
  }
}
