import { NumberedTable } from './numbered-table.ts';

/**
 * A `NumberedTable` for values whose keys others choose. The copies that a `Map` makes of itself refer to keys and
 * numbers only here, so that no value is kept alive by one.
 */
export class KeyedTable<K extends string | number, T extends object> {
  readonly #values = new NumberedTable<T>();
  readonly #numbers = new Map<K, number>();

  get size(): number {
    return this.#values.size;
  }

  has(key: K): boolean {
    return this.#numbers.has(key);
  }

  get(key: K): T | undefined {
    const number = this.#numbers.get(key);
    return number === undefined ? undefined : this.#values.get(number);
  }

  /** In the place of the one before under this key. */
  set(key: K, value: T): void {
    this.take(key);
    this.#numbers.set(key, this.#values.add(value));
  }

  /** Removes it. */
  take(key: K): T | undefined {
    const number = this.#numbers.get(key);
    if (number === undefined) return undefined;
    this.#numbers.delete(key);
    return this.#values.take(number);
  }

  /** The oldest first. */
  values(): T[] {
    return this.#values.values();
  }

  clear(): void {
    for (const key of this.#numbers.keys()) this.take(key);
  }
}
