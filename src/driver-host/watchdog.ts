import { writeSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { limits } from '../shared/model/limits.ts';
import type { LastWords } from '../shared/runtime/driver-hosts/messages.ts';
import { readBeat, readCulprit, type Shared } from './pulse.ts';

/**
 * A thread of the driver host that ends the process when its main thread no longer turns, or its memory grows over the
 * limit: only it can still act while a driver loops, also when the node is stuck too and cannot. It counts its own
 * looks instead of comparing times, so that a machine that was suspended is not taken for a driver that loops.
 */
const shared = workerData as Shared;
const BEAT_LOOK_MS = 250;
/** A driver can fill some hundred megabytes in the time between two of these looks. */
const MEMORY_LOOK_MS = 50;
let last = readBeat(shared);
let unchanged = 0;
let cpuMsAtBeat = cpuMs();
let memory = process.memoryUsage.rss();
/** By module: by how much the memory grew while its code was the last to run. */
const grown = new Map<string, number>();

setInterval(watchBeat, BEAT_LOOK_MS);
setInterval(watchMemory, MEMORY_LOOK_MS);
parentPort?.postMessage('watching');

function watchBeat(): void {
  const beat = readBeat(shared);
  if (beat !== last) {
    last = beat;
    unchanged = 0;
    cpuMsAtBeat = cpuMs();
    return;
  }
  unchanged += 1;
  const stalledMs = unchanged * BEAT_LOOK_MS;
  // A machine that is overloaded lets a process wait: that is not the driver's doing. One that waits in a call, and so uses
  // no processor time, is ended too, but later.
  const isBusy = stalledMs >= limits.hostStallMs && cpuMs() - cpuMsAtBeat >= limits.hostStallMs / 2;
  if (!isBusy && stalledMs < limits.hostBlockedMs) return;
  end({ lastWords: 'stalled', culprit: readCulprit(shared), problem: `the driver kept its process from everything else for ${stalledMs} ms` });
}

/** Processor time of this process so far. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

function watchMemory(): void {
  const culprit = readCulprit(shared);
  const before = memory;
  memory = process.memoryUsage.rss();
  if (culprit !== null && memory > before) grown.set(culprit, (grown.get(culprit) ?? 0) + memory - before);
  if (memory <= limits.hostMemoryBytes) return;
  // Whose code ran last may be an innocent; who made it grow most hardly is.
  const [most] = [...grown].sort(([, a], [, b]) => b - a);
  end({ lastWords: 'memory', culprit: most?.[0] ?? culprit, problem: `the process uses ${memory} bytes of memory` });
}

function end(words: LastWords): void {
  writeSync(2, `\n${JSON.stringify(words)}\n`);
  process.kill(process.pid, 'SIGKILL');
}
