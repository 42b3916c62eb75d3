import type { Json } from '../shared/foundation/json.ts';
import { limits } from '../shared/model/limits.ts';
import { isBytes } from './json.ts';
import { isTextNestedTooDeep, nestedTooDeep } from '../shared/model/values.ts';

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

  /** For drivers. Throws on what JSON cannot say, on what is no name or one of the runtime's, and over the limits. */
  set(key: string, value: Json): void {
    checkName(key);
    if (runtimeKeys.includes(key)) throw new RangeError(`the status variable ${key} is kept by the runtime`);
    if (!this.#texts.has(key) && this.#texts.size >= limits.statusKeys) {
      throw new RangeError(`more than ${limits.statusKeys} status variables`);
    }
    this.keep(key, value);
  }

  /** For the runtime: a driver that used up all places cannot make it fail. */
  keep(key: string, value: Json): void {
    // A long text is refused before work is put into it.
    const text: string | undefined = typeof value === 'string' && value.length > limits.driverValueBytes ? value : JSON.stringify(value);
    if (text === undefined) throw new RangeError(`${key} was set to ${typeof value}, which is no value; null stands for none`);
    if (isBytes(value)) throw new RangeError(`${key} was set to bytes; toString() makes text of them`);
    if (this.#texts.get(key) === text) return;
    if (text.length > limits.driverValueBytes) throw new RangeError(`${key} has more than ${limits.driverValueBytes} bytes`);
    if (typeof value === 'object' && value !== null && isTextNestedTooDeep(text)) throw new RangeError(`${key} is ${nestedTooDeep}`);
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

/** Drivers may be JavaScript, and what is no name would break the protocol of the pipe. Throws RangeError. */
export function checkName(name: unknown): void {
  if (typeof name === 'string' && name !== '' && name.length <= limits.nameLength) return;
  throw new RangeError(`the name of a status variable or a method must be a text of 1 to ${limits.nameLength} characters`);
}
