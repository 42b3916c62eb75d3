const FIRST_PLACES = 8;

/**
 * Values under numbers that it gives out, each number once, so that a late one finds nothing. For what comes and goes all
 * the time: a `Map` copies itself every few entries then, and V8 keeps what a copy refers to, with all that hangs on it,
 * until its next full collection.
 */
export class NumberedTable<T extends object> {
  /** Each value has its place by its number; there are twice as many places as values, so that a free one is near. */
  #places: ({ id: number; value: T } | undefined)[] = Array.from({ length: FIRST_PLACES });
  #size = 0;
  #lastId = 0;

  get size(): number {
    return this.#size;
  }

  add(value: T): number {
    if (this.#size * 2 >= this.#places.length) this.#grow();
    do this.#lastId += 1;
    while (this.#places[this.#placeOf(this.#lastId)] !== undefined);
    this.#places[this.#placeOf(this.#lastId)] = { id: this.#lastId, value };
    this.#size += 1;
    return this.#lastId;
  }

  get(id: number): T | undefined {
    const found = this.#places[this.#placeOf(id)];
    return found?.id === id ? found.value : undefined;
  }

  /** Removes it. */
  take(id: number): T | undefined {
    const value = this.get(id);
    if (value === undefined) return undefined;
    this.#places[this.#placeOf(id)] = undefined;
    this.#size -= 1;
    return value;
  }

  /** By their numbers: the oldest first. */
  entries(): [id: number, value: T][] {
    const found = this.#places.flatMap((place): [number, T][] => (place === undefined ? [] : [[place.id, place.value]]));
    return found.sort(([a], [b]) => a - b);
  }

  /** The oldest first. */
  values(): T[] {
    return this.entries().map(([, value]) => value);
  }

  /** The number of places is a power of two. */
  #placeOf(id: number): number {
    return id & (this.#places.length - 1);
  }

  #grow(): void {
    const before = this.#places;
    this.#places = Array.from({ length: before.length * 2 });
    for (const place of before) if (place !== undefined) this.#places[this.#placeOf(place.id)] = place;
  }
}
