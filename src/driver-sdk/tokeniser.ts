import { limits } from '../shared/model/limits.ts';

/** Cuts the bytes of a device into messages. One per connection: `reset` forgets what a broken connection left. */
export interface Tokeniser {
  /** Throws TokeniserError when the device breaks the framing; the connection is dropped then. */
  push(chunk: Uint8Array): Buffer[];
  reset(): void;
  /** Takes away the beginning of a message whose end has not come: other code goes on from there, after a reload. */
  takeRest?(): Buffer;
}

export class TokeniserError extends Error {
  override readonly name = 'TokeniserError';
}

const tooLong = (limit: number): TokeniserError =>
  new TokeniserError(`the device sent ${limit} bytes without the end of a message`);

/** Messages end with a separator, which is not part of them: text in UTF-8, or bytes, as `Buffer.from([0xff])`. */
export function delimiter(separator: string | Uint8Array, limit: number = limits.receiveBufferBytes): Tokeniser {
  const mark = Buffer.from(separator);
  if (mark.length === 0) throw new RangeError('a delimiter needs at least one byte');
  let rest = Buffer.alloc(0);
  return {
    push(chunk) {
      // A separator may straddle two chunks: look again at the last bytes of what was there.
      let from = Math.max(0, rest.length - mark.length + 1);
      const buffer = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
      const tokens: Buffer[] = [];
      let start = 0;
      for (let end = buffer.indexOf(mark, from); end !== -1; end = buffer.indexOf(mark, from)) {
        tokens.push(buffer.subarray(start, end));
        start = end + mark.length;
        from = start;
      }
      rest = buffer.subarray(start);
      if (rest.length > limit) throw tooLong(limit);
      return tokens;
    },
    reset: () => {
      rest = Buffer.alloc(0);
    },
    takeRest: () => {
      const begun = rest;
      rest = Buffer.alloc(0);
      return begun;
    },
  };
}

/**
 * Messages start with a header of `headerBytes` that tells how long they are.
 * `lengthOf` returns the length of the whole message, header included.
 */
export function lengthPrefix(
  headerBytes: number,
  lengthOf: (header: Buffer) => number,
  limit: number = limits.receiveBufferBytes,
): Tokeniser {
  if (headerBytes < 1) throw new RangeError('a header has at least one byte');
  let rest = Buffer.alloc(0);
  return {
    push(chunk) {
      rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
      const tokens: Buffer[] = [];
      while (rest.length >= headerBytes) {
        const length = lengthOf(rest.subarray(0, headerBytes));
        if (!Number.isInteger(length) || length < headerBytes) {
          throw new TokeniserError(`the device announced a message of ${length} bytes`);
        }
        if (length > limit) throw tooLong(limit);
        if (rest.length < length) break;
        tokens.push(rest.subarray(0, length));
        rest = rest.subarray(length);
      }
      return tokens;
    },
    reset: () => {
      rest = Buffer.alloc(0);
    },
    takeRest: () => {
      const begun = rest;
      rest = Buffer.alloc(0);
      return begun;
    },
  };
}

/**
 * For framings that neither fits: `endOf` gets all bytes that have come, and says how many belong to the first message,
 * or -1 while its end is not there. Messages hold all their bytes.
 */
export function callback(endOf: (buffer: Buffer) => number, limit: number = limits.receiveBufferBytes): Tokeniser {
  let rest = Buffer.alloc(0);
  return {
    push(chunk) {
      rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
      const tokens: Buffer[] = [];
      for (let end = endOf(rest); end > 0 && end <= rest.length; end = endOf(rest)) {
        tokens.push(rest.subarray(0, end));
        rest = rest.subarray(end);
      }
      if (rest.length > limit) throw tooLong(limit);
      return tokens;
    },
    reset: () => {
      rest = Buffer.alloc(0);
    },
    takeRest: () => {
      const begun = rest;
      rest = Buffer.alloc(0);
      return begun;
    },
  };
}
