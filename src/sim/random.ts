import type { Random } from '../shared/ports/random.ts';

/** A small repeatable generator (sfc32). All chance of a simulated world comes from one seed. */
export class SimRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #count = 1;

  constructor(seed: string) {
    let hash = 0x811c9dc5;
    for (let i = 0; i < seed.length; i += 1) hash = Math.imul(hash ^ seed.charCodeAt(i), 0x01000193);
    this.#a = hash | 0;
    this.#b = Math.imul(hash, 0x9e3779b1) | 0;
    this.#c = hash ^ 0x5bd1e995;
    for (let i = 0; i < 15; i += 1) this.next();
  }

  next(): number {
    const mixed = (this.#a + this.#b + this.#count) | 0;
    this.#count = (this.#count + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + mixed | 0;
    return (mixed >>> 0) / 2 ** 32;
  }

  hex(bytes: number): string {
    let text = '';
    for (let i = 0; i < bytes; i += 1) text += Math.floor(this.next() * 256).toString(16).padStart(2, '0');
    return text;
  }

  /** Uniform in [from, to). */
  between(from: number, to: number): number {
    return from + this.next() * (to - from);
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.next() * items.length)];
    if (item === undefined) throw new RangeError('nothing to pick from');
    return item;
  }
}
