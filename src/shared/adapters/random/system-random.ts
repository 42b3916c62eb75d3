import { randomFillSync } from 'node:crypto';
import type { Random } from '../../ports/random.ts';

/** Asking the library for a few bytes costs about as much as for this many, and each command gets an id. */
const POOL_BYTES = 4_096;

export function createSystemRandom(): Random {
  const pool = Buffer.alloc(POOL_BYTES);
  let used = POOL_BYTES;
  /** Each byte is given out once, and not kept. */
  const take = (bytes: number): Buffer => {
    if (bytes > POOL_BYTES) return randomFillSync(Buffer.alloc(bytes));
    if (used + bytes > POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    const taken = Buffer.from(pool.subarray(used, used + bytes));
    pool.fill(0, used, used + bytes);
    used += bytes;
    return taken;
  };
  return {
    next: () => take(4).readUInt32BE(0) / 2 ** 32,
    hex: (bytes) => take(bytes).toString('hex'),
  };
}
