import { assert } from './assert.ts';

/** First in, first out, with a limit; `push` says no when full, so that the caller must decide what to lose. */
export class BoundedQueue<T> {
  readonly limit: number;
  readonly #items: (T | undefined)[] = [];
  #head = 0;

  constructor(limit: number) {
    assert(Number.isInteger(limit) && limit > 0, 'a queue needs a positive limit');
    this.limit = limit;
  }

  get size(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): boolean {
    if (this.size >= this.limit) return false;
    this.#items.push(item);
    return true;
  }

  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (this.#head >= this.#items.length) return undefined;
    // What was taken must not be kept alive by its old place.
    this.#items[this.#head] = undefined;
    this.#head += 1;
    // Compact now and then: shifting an array one by one costs its whole length each time.
    if (this.#head > 64 && this.#head * 2 > this.#items.length) {
      this.#items.splice(0, this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** The item at this place, counted from the first. */
  at(index: number): T | undefined {
    return index < 0 ? undefined : this.#items[this.#head + index];
  }

  *drain(): Generator<T> {
    for (let item = this.shift(); item !== undefined; item = this.shift()) yield item;
  }
}
