import type { Json } from '../shared/foundation/json.ts';
import { limits } from '../shared/model/limits.ts';
import { isNestedTooDeep, nestedTooDeep } from '../shared/model/values.ts';

/** JSON would say what they are made of, which nobody means: what `send` resolves with was passed on as it is. */
export const isBytes = (value: unknown): boolean => value instanceof Uint8Array;

/** What a driver hands out, as it will cross the pipe. Throws on what JSON cannot say (a cycle, a BigInt), and over the limits. */
export function toJson(value: unknown): Json {
  if (value === undefined || value === null) return null;
  if (typeof value === 'boolean') return value;
  const tooLarge = (text: string): boolean => text.length > limits.driverValueBytes;
  if (isBytes(value)) throw new TypeError('a value is bytes; toString() makes text of them');
  // A long text is refused before work is put into it.
  const text = typeof value === 'string' && tooLarge(value) ? value : JSON.stringify(value);
  if (text === undefined) return null;
  if (tooLarge(text)) throw new RangeError(`a value has more than ${limits.driverValueBytes} bytes`);
  const json = JSON.parse(text) as Json;
  if (isNestedTooDeep(json)) throw new RangeError(`a value is ${nestedTooDeep}`);
  return json;
}
