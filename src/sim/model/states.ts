import { assert } from '../../shared/foundation/assert.ts';

/** Two 32-bit halves of the fingerprint of a world. */
export interface Fingerprint {
  high: number;
  low: number;
}

export const NO_STATE = -1;

const FIRST_CAPACITY = 1 << 16;

/**
 * The worlds that a search has seen, by fingerprint, with what it must remember of each: some 30 bytes a state.
 *
 * Two worlds that share 64 bits by chance would be taken for one. Of 20 million states that happens to some pair in one
 * search of 100,000, and then hides what only one state leads to: the price of a search that fits into memory.
 */
export class States {
  #count = 0;
  #high = new Uint32Array(FIRST_CAPACITY);
  #low = new Uint32Array(FIRST_CAPACITY);
  #parents = new Int32Array(FIRST_CAPACITY);
  #next = new Int32Array(FIRST_CAPACITY);
  #labels = new Uint16Array(FIRST_CAPACITY);
  #settled = new Uint8Array(FIRST_CAPACITY);
  #left = new Uint8Array(FIRST_CAPACITY);
  /** Open addressing: slot → state + 1; 0 is free. At most half full. */
  #slots = new Int32Array(2 * FIRST_CAPACITY);

  get count(): number {
    return this.#count;
  }

  /** The state with this fingerprint; NO_STATE when it was never seen. */
  find({ high, low }: Fingerprint): number {
    const mask = this.#slots.length - 1;
    for (let slot = low & mask; ; slot = (slot + 1) & mask) {
      const id = (this.#slots[slot] ?? 0) - 1;
      if (id === NO_STATE) return NO_STATE;
      if (this.#low[id] === low && this.#high[id] === high) return id;
    }
  }

  /** A state that `find` did not know. Gives its number. */
  add({ high, low }: Fingerprint, facts: { parent: number; label: number; settled: boolean; left: number }): number {
    const id = this.#count;
    if (id === this.#parents.length) this.#grow();
    assert(facts.label <= 0xffff, 'the model has more kinds of moves than it can number');
    this.#count += 1;
    this.#high[id] = high;
    this.#low[id] = low;
    this.#parents[id] = facts.parent;
    this.#labels[id] = facts.label;
    this.#next[id] = NO_STATE;
    this.#settled[id] = facts.settled ? 1 : 0;
    this.#left[id] = facts.left;
    this.#place(id);
    return id;
  }

  /** How many faults may still happen from here on, at most. */
  left(id: number): number {
    return this.#left[id] ?? 0;
  }

  /** A way to it was found on which more may still go wrong. */
  improve(id: number, way: { parent: number; label: number; left: number }): void {
    this.#parents[id] = way.parent;
    this.#labels[id] = way.label;
    this.#left[id] = way.left;
  }

  parent(id: number): number {
    return this.#parents[id] ?? NO_STATE;
  }

  label(id: number): number {
    return this.#labels[id] ?? 0;
  }

  isSettled(id: number): boolean {
    return this.#settled[id] === 1;
  }

  /** Where a fair world without further faults goes from here; NO_STATE: nowhere. */
  next(id: number): number {
    return this.#next[id] ?? NO_STATE;
  }

  setNext(id: number, next: number): void {
    this.#next[id] = next;
  }

  #place(id: number): void {
    const mask = this.#slots.length - 1;
    let slot = (this.#low[id] ?? 0) & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = id + 1;
  }

  #grow(): void {
    const capacity = 2 * this.#parents.length;
    const larger = <A extends Uint32Array | Int32Array | Uint16Array | Uint8Array>(array: A, empty: A): A => {
      empty.set(array);
      return empty;
    };
    this.#high = larger(this.#high, new Uint32Array(capacity));
    this.#low = larger(this.#low, new Uint32Array(capacity));
    this.#parents = larger(this.#parents, new Int32Array(capacity));
    this.#next = larger(this.#next, new Int32Array(capacity));
    this.#labels = larger(this.#labels, new Uint16Array(capacity));
    this.#settled = larger(this.#settled, new Uint8Array(capacity));
    this.#left = larger(this.#left, new Uint8Array(capacity));
    this.#slots = new Int32Array(2 * capacity);
    for (let id = 0; id < this.#count; id += 1) this.#place(id);
  }
}
