import { parentPort } from 'node:worker_threads';
import { assert } from '../shared/foundation/assert.ts';
import { runSeed, type SeedReport } from './seed.ts';

/** Entry of a thread of the pool: a seed comes, its report goes back. */
let crashed: ((error: unknown) => void) | null = null;

// What a node throws where nobody waits for it ends its process: here it ends its seed.
process.on('unhandledRejection', (error) => {
  if (crashed === null) throw error;
  crashed(error);
});

const port = parentPort;
assert(port !== null, 'this is the entry of a thread');

async function play(seed: string): Promise<SeedReport> {
  return runSeed(seed, {
    onCrash: (crash) => {
      crashed = crash;
    },
  });
}

port.on('message', (seed: string) => {
  void play(seed).then((report) => {
    port.postMessage(report);
  });
});
