import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Setting {
  /** Of this run alone; it is gone afterwards. */
  folder: string;
  /** Ends when the run does, last first. */
  own<T extends { stop(): Promise<void> } | { close(): Promise<void> }>(part: T): T;
}

/** A folder and processes for one run, which leaves neither behind. */
export async function inSetting<T>(use: (setting: Setting) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));
  const parts: ({ stop(): Promise<void> } | { close(): Promise<void> })[] = [];
  try {
    return await use({
      folder,
      own: (part) => {
        parts.push(part);
        return part;
      },
    });
  } finally {
    for (const part of parts.toReversed()) await ('stop' in part ? part.stop() : part.close());
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
