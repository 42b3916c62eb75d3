import type { Json } from '../shared/foundation/json.ts';
import { limits } from '../shared/model/limits.ts';

/** Kept by the runtime: whether the device is connected, and why a module does not work (null: nothing is known against it). */
const runtimeKeys: readonly string[] = ['connected', 'problem'];

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

  /** For drivers. Throws on what JSON cannot say, on names of the runtime, and over the limits. */
  set(key: string, value: Json): void {
    if (runtimeKeys.includes(key)) throw new RangeError(`the status variable ${key} is kept by the runtime`);
    if (!this.#texts.has(key) && this.#texts.size >= limits.statusKeys) {
      throw new RangeError(`more than ${limits.statusKeys} status variables`);
    }
    this.keep(key, value);
  }

  /** For the runtime: a driver that used up all places cannot make it fail. */
  keep(key: string, value: Json): void {
    // A long text is refused before work is put into it.
    const text = typeof value === 'string' && value.length > limits.driverValueBytes ? value : JSON.stringify(value);
    if (this.#texts.get(key) === text) return;
    if (text.length > limits.driverValueBytes) throw new RangeError(`${key} has more than ${limits.driverValueBytes} bytes`);
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
