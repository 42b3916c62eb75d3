import { writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import { limits } from '../shared/model/limits.ts';
import { readCulprit, readBeat, type Shared } from './pulse.ts';

/**
 * A thread of the driver host that ends the process when its main thread no longer turns: only it can still act while
 * a driver loops, also when the node is stuck too and cannot. It counts its own looks instead of comparing times,
 * so that a machine that was suspended is not taken for a driver that loops.
 */
const shared = workerData as Shared;
const LOOK_MS = 250;
const LOOKS = limits.hostStallMs / LOOK_MS;
let last = readBeat(shared);
let unchanged = 0;

setInterval(() => {
  const beat = readBeat(shared);
  unchanged = beat === last ? unchanged + 1 : 0;
  last = beat;
  if (unchanged < LOOKS) return;
  const problem = `the driver kept its process busy for ${limits.hostStallMs} ms`;
  const words = { lastWords: 'stalled', culprit: readCulprit(shared), problem };
  writeSync(2, `\n${JSON.stringify(words)}\n`);
  process.kill(process.pid, 'SIGKILL');
}, LOOK_MS);
