import type { Json } from '../foundation/json.ts';
import { assert } from '../foundation/assert.ts';
import type { StreamSource } from './reply.ts';

/**
 * What waits for the reader of an event stream, bounded. Events with the same key replace each other (the last value
 * wins); when it is full the oldest goes, and the reader is told how many it missed.
 */
export class EventBuffer {
  readonly #limit: number;
  readonly #waiting = new Map<string, Json>();
  #next = 0;
  #dropped = 0;
  #closed = false;
  #wake: () => void = () => undefined;

  constructor(limit: number) {
    assert(limit > 0, 'an event buffer needs a positive limit');
    this.#limit = limit;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** `key` null: an event of its own. */
  push(data: Json, key: string | null = null): void {
    if (this.#closed) return;
    // Numbers and keys cannot meet: keys get a prefix.
    const slot = key === null ? `#${(this.#next += 1)}` : `=${key}`;
    if (!this.#waiting.has(slot) && this.#waiting.size >= this.#limit) {
      for (const oldest of this.#waiting.keys()) {
        this.#waiting.delete(oldest);
        break;
      }
      this.#dropped += 1;
    }
    this.#waiting.set(slot, data);
    this.#wake();
  }

  /** The oldest event, or undefined. */
  take(): Json | undefined {
    for (const [slot, data] of this.#waiting) {
      this.#waiting.delete(slot);
      return data;
    }
    return undefined;
  }

  /** How many were dropped since the last call. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  /** Sets who is called when there is something to take, or the buffer has closed. */
  listen(wake: () => void): void {
    this.#wake = wake;
    wake();
  }

  /** No more events; those that wait can still be taken. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake();
  }
}

/** The buffer as server-sent events of one name, and `dropped` with a count where some were. */
export function bufferSource(buffer: EventBuffer, event: string): StreamSource {
  return {
    get closed() {
      return buffer.closed;
    },
    take: () => {
      const dropped = buffer.takeDropped();
      if (dropped > 0) return { event: 'dropped', data: { dropped } };
      const data = buffer.take();
      return data === undefined ? undefined : { event, data };
    },
    listen: (wake) => buffer.listen(wake),
  };
}
