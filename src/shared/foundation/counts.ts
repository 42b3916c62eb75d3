/** How often each key is there. */
export class Counts {
  readonly #counts = new Map<string, number>();

  /** True: it was not there before. */
  add(key: string): boolean {
    const count = this.#counts.get(key) ?? 0;
    this.#counts.set(key, count + 1);
    return count === 0;
  }

  /** True: it is not there any more. */
  remove(key: string): boolean {
    const count = this.#counts.get(key) ?? 0;
    if (count > 1) this.#counts.set(key, count - 1);
    else this.#counts.delete(key);
    return count === 1;
  }

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  /** Of the key that is there most often; 0: there is none. */
  most(): number {
    let most = 0;
    for (const count of this.#counts.values()) if (count > most) most = count;
    return most;
  }

  has(key: string): boolean {
    return this.#counts.has(key);
  }

  keys(): Iterable<string> {
    return this.#counts.keys();
  }
}
