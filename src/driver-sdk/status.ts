import type { Json } from '../shared/foundation/json.ts';
import { limits } from '../shared/model/limits.ts';

/**
 * The status variables of one module. Texts are compared, so that a changed object is noticed although it is the same
 * one. The first value is always published: what an earlier holder of control left behind counts for nothing here.
 */
export class StatusMemory {
  readonly #texts = new Map<string, string>();
  readonly #publish: (key: string, value: Json) => void;

  constructor(publish: (key: string, value: Json) => void) {
    this.#publish = publish;
  }

  set(key: string, value: Json): void {
    const text = JSON.stringify(value);
    const before = this.#texts.get(key);
    if (before === text) return;
    // `connected` is the runtime's own: a driver that used up all places cannot make it fail.
    if (before === undefined && key !== 'connected' && this.#texts.size >= limits.statusKeys) {
      throw new RangeError(`more than ${limits.statusKeys} status variables`);
    }
    this.#texts.set(key, text);
    this.#publish(key, value);
  }

  get(key: string): Json | undefined {
    const text = this.#texts.get(key);
    return text === undefined ? undefined : (JSON.parse(text) as Json);
  }

  signal(key: string): void {
    const value = this.get(key);
    if (value !== undefined) this.#publish(key, value);
  }
}
