import { randomFillSync } from 'node:crypto';
import type { Random } from '../../ports/random.ts';

/** Asking the library for a few bytes costs about as much as for this many, and each command gets an id. */
const POOL_BYTES = 4_096;

export function createSystemRandom(): Random {
  const pool = Buffer.alloc(POOL_BYTES);
  let used = POOL_BYTES;
  /** Each byte is given out once, and not kept. */
  const draw = <T>(bytes: number, read: (from: Buffer, at: number) => T): T => {
    if (bytes > POOL_BYTES) return read(randomFillSync(Buffer.alloc(bytes)), 0);
    if (used + bytes > POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    const drawn = read(pool, used);
    pool.fill(0, used, used + bytes);
    used += bytes;
    return drawn;
  };
  return {
    next: () => draw(4, (from, at) => from.readUInt32BE(at)) / 2 ** 32,
    hex: (bytes) => draw(bytes, (from, at) => from.toString('hex', at, at + bytes)),
  };
}
