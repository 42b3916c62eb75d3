import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';

const threads = z.array(z.strictObject({ isMain: z.boolean(), nice: z.int(), hashingNs: z.number(), collectingNs: z.number() }));

describe.runIf(process.platform === 'linux')('the priority of threads', () => {
  it('is lower for those with which V8 collects and compiles, and for them alone', async () => {
    const child = join(import.meta.dirname, '../support/tune-v8-child.mjs');
    const { stdout } = await promisify(execFile)(process.execPath, [child], { timeout: 60_000 });
    const all = threads.parse(JSON.parse(stdout));
    const low = all.filter(({ nice }) => nice === 10);
    const normal = all.filter(({ nice }) => nice === 0);
    expect(low).toHaveLength(5);
    expect(normal).toHaveLength(all.length - 5);
    const sum = (of: typeof all, what: 'hashingNs' | 'collectingNs') => of.reduce((ns, thread) => ns + thread[what], 0);
    // What collects besides the main thread.
    expect(sum(low, 'collectingNs')).toBeGreaterThan(sum(normal.filter(({ isMain }) => !isMain), 'collectingNs'));
    expect(sum(normal.filter(({ isMain }) => !isMain), 'hashingNs')).toBeGreaterThan(10 * sum(low, 'hashingNs'));
  });
});
