import { setImmediate } from 'node:timers';
import type { Timer } from '../shared/ports/clock.ts';

interface Entry extends Timer {
  atMs: number;
  order: number;
  run: (() => void) | null;
}

const MOST_AT_ONCE = 10_000;

/**
 * Simulated time: one queue of events, in order of time, then of creation. After each event every promise that can
 * settle does, so that the seed alone decides what happens next.
 */
export class Timeline {
  #nowMs = 0;
  #created = 0;
  #events = 0;
  /** Events of this very instant: a timer that is due again and again for ever would hide in it. */
  #atOnce = 0;
  #hash = 0x811c9dc5;
  #hashHigh = 0x01000193;
  readonly #heap: Entry[] = [];
  readonly #afterEvent: () => void;

  /** `afterEvent` is called when everything that an event set off has settled. */
  constructor(afterEvent: () => void) {
    this.#afterEvent = afterEvent;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  get events(): number {
    return this.#events;
  }

  /** Of all that happened so far, and when. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0') + (this.#hashHigh >>> 0).toString(16).padStart(8, '0');
  }

  mix(text: string): void {
    for (let i = 0; i < text.length; i += 1) this.#mixNumber(text.charCodeAt(i));
  }

  /** Microseconds are the grain: a timer is never early, also when a drifting clock rounds, and a microsecond late at most. */
  at(atMs: number, run: () => void): Timer {
    const entry: Entry = {
      atMs: atMs <= this.#nowMs ? this.#nowMs : Math.ceil(atMs * 1_000 + 1e-3) / 1_000,
      order: (this.#created += 1),
      run,
      cancel() {
        this.run = null;
      },
    };
    this.#push(entry);
    return entry;
  }

  after(delayMs: number, run: () => void): Timer {
    return this.at(this.#nowMs + delayMs, run);
  }

  /** Lets time pass until `untilMs`, or until `done` says so after an event. */
  runUntil(untilMs: number, done: () => boolean = () => false): Promise<void> {
    return new Promise((resolve, reject) => {
      const pump = (): void => {
        try {
          this.#afterEvent();
          const next = this.#next(untilMs);
          if (next === null || done()) {
            if (next === null) this.#nowMs = untilMs;
            resolve();
            return;
          }
          this.#pop();
          this.#fire(next);
          setImmediate(pump);
        } catch (error) {
          reject(error);
        }
      };
      setImmediate(pump);
    });
  }

  #fire(entry: Entry): void {
    this.#atOnce = entry.atMs === this.#nowMs ? this.#atOnce + 1 : 0;
    if (this.#atOnce > MOST_AT_ONCE) throw new Error(`time stands still: more than ${MOST_AT_ONCE} events at ${entry.atMs} ms`);
    this.#nowMs = entry.atMs;
    this.#events += 1;
    this.#mixNumber(Math.round(entry.atMs * 1_000) | 0);
    this.#mixNumber(entry.order);
    const { run } = entry;
    entry.run = null;
    run?.();
  }

  /** The earliest event that was not cancelled; null: none until then. */
  #next(untilMs: number): Entry | null {
    for (let first = this.#heap[0]; first !== undefined; first = this.#heap[0]) {
      if (first.run !== null) return first.atMs <= untilMs ? first : null;
      this.#pop();
    }
    return null;
  }

  #mixNumber(value: number): void {
    this.#hash = Math.imul(this.#hash ^ value, 0x01000193);
    this.#hashHigh = Math.imul(this.#hashHigh ^ (value + (this.#hash >>> 7)), 0x85ebca6b);
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(entry, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      let below = heap[child];
      if (below === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, below)) [child, below] = [child + 1, right];
      if (!isBefore(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}

const isBefore = (a: Entry, b: Entry): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
