import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { compareEpochs, formatEpoch } from '../../src/shared/control/epoch.ts';
import { epochSchema } from '../../src/shared/model/control.ts';

const lineSchema = z.object({
  node: z.string(),
  location: z.string(),
  module: z.string(),
  epoch: epochSchema,
  wallMs: z.number(),
  monotonicMs: z.number(),
});
export type WriteLine = z.output<typeof lineSchema>;

/** What the driver hosts of all nodes wrote down, in the order of the machine's one monotonic clock. */
export function readWrites(file: string): WriteLine[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n').filter((line) => line !== '');
  return lines.map((line) => lineSchema.parse(JSON.parse(line))).sort((a, b) => a.monotonicMs - b.monotonicMs);
}

/** Invariant 3 and 7: nobody writes under an epoch after another node has written under a higher one. */
export function staleWrites(writes: readonly WriteLine[], location: string): string[] {
  const found: string[] = [];
  let newest: WriteLine | null = null;
  for (const write of writes) {
    if (write.location !== location) continue;
    if (newest !== null && write.node !== newest.node && compareEpochs(write.epoch, newest.epoch) <= 0) {
      found.push(`${write.node} wrote at ${formatEpoch(write.epoch)} ${Math.round(write.monotonicMs - newest.monotonicMs)} ms after ${newest.node} at ${formatEpoch(newest.epoch)}`);
    }
    if (newest === null || compareEpochs(write.epoch, newest.epoch) >= 0) newest = write;
  }
  return found;
}

/** Milliseconds without any write between the last of one node and the first of the next, for each change of writer. */
export function gaps(writes: readonly WriteLine[], location: string): number[] {
  const found: number[] = [];
  let last: WriteLine | null = null;
  for (const write of writes) {
    if (write.location !== location) continue;
    if (last !== null && last.node !== write.node) found.push(write.monotonicMs - last.monotonicMs);
    last = write;
  }
  return found;
}
