import { closeSync, openSync, writeSync } from 'node:fs';
import { limits } from '../shared/model/limits.ts';
import type { DeviceWrite } from '../shared/ports/device-link.ts';

/** Most entries in one answer: one message must not hold the pipe. */
const ANSWER = 10_000;

export interface WriteJournalOptions {
  /** Appended to before each write leaves, so that it outlives this process; null: memory only. */
  file: string | null;
  nodeId: string;
}

/** Every device write of this process, newest `writeJournalEntries`. What the invariant checkers read. */
export class WriteJournal {
  readonly #ring: DeviceWrite[] = [];
  #next = 0;
  readonly #fd: number | null;
  readonly #nodeId: string;

  constructor({ file, nodeId }: WriteJournalOptions) {
    this.#fd = file === null ? null : openSync(file, 'a');
    this.#nodeId = nodeId;
  }

  /** One small append: O_APPEND keeps lines of several processes whole. */
  stamp(write: DeviceWrite): void {
    this.#ring[this.#next] = write;
    this.#next = (this.#next + 1) % limits.writeJournalEntries;
    if (this.#fd !== null) writeSync(this.#fd, `${JSON.stringify({ ...write, node: this.#nodeId })}\n`);
  }

  /** Oldest first. */
  newest(location: string): DeviceWrite[] {
    const inOrder = [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)];
    return inOrder.filter((write) => write.location === location).slice(-ANSWER);
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
  }
}
