import { randomBytes } from 'node:crypto';
import type { Random } from '../../ports/random.ts';

export const createSystemRandom = (): Random => ({
  next: () => randomBytes(4).readUInt32BE(0) / 2 ** 32,
  hex: (bytes) => randomBytes(bytes).toString('hex'),
});
