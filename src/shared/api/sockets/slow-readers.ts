import { limits } from '../../model/limits.ts';

/** A client for whom answers wait. */
export interface SlowReader {
  /** More waits for all of them than may, and most of it for this one: it is to go. */
  tooSlow(): void;
}

/** Clients that are behind with reading answers, and how much waits for them together. */
export class SlowReaders {
  readonly #waiting = new Map<SlowReader, number>();
  #bytes = 0;

  /** So much waits for this one now. */
  behind(reader: SlowReader, bytes: number): void {
    this.upToDate(reader);
    this.#waiting.set(reader, bytes);
    this.#bytes += bytes;
    if (this.#bytes > limits.clientSocketsQueueBytes) this.#slowest()?.tooSlow();
  }

  /** It has read everything, or has gone. */
  upToDate(reader: SlowReader): void {
    this.#bytes -= this.#waiting.get(reader) ?? 0;
    this.#waiting.delete(reader);
  }

  #slowest(): SlowReader | null {
    let slowest: SlowReader | null = null;
    let most = 0;
    for (const [reader, bytes] of this.#waiting) if (bytes > most) [slowest, most] = [reader, bytes];
    return slowest;
  }
}
