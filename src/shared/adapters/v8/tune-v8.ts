import { type Dir, opendirSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { setFlagsFromString } from 'node:v8';

const OPTIONS = [
  // At a start come thousands of values that stay. From them V8 would conclude that what the same lines make later stays
  // as well, and put it where only full collections look, with all that hangs on it.
  '--no-allocation-site-pretenuring',
  // Of what is young only some megabytes live: helpers cost more time than they take off, from all processes of the machine.
  '--no-parallel-scavenge',
  // It collects everything when little is going on: 50 to 180 ms of work, for some megabytes that wait till the next collection.
  // The threads of databases have heaps of their own, and each did so.
  '--no-memory-reducer',
];

/** One that waits for when a task is due, and four that collect and compile. Node makes them before all other threads of its own. */
const HELPERS = 5;

/** For servers and driver hosts, when they start: commands go before compiling, and before collecting what can wait. */
export function tuneV8(): void {
  for (const option of OPTIONS) setFlagsFromString(option);
  // Elsewhere a thread has no priority of its own.
  if (process.platform === 'linux') lowerHelpers();
}

/** Below the main thread, not last: a full collection ends only when they have done their part of it. */
function lowerHelpers(): void {
  let threads: Dir | null = null;
  try {
    // Not `readdir`, which sorts the names: here the oldest thread comes first, the main one.
    threads = opendirSync('/proc/self/task');
    threads.readSync();
    for (let i = 0; i < HELPERS; i += 1) {
      const helper = threads.readSync();
      if (helper !== null) setPriority(Number(helper.name), constants.priority.PRIORITY_BELOW_NORMAL);
    }
  } catch {
    // No /proc, or a sandbox that lets no priority be set: all stay equal, as they were.
  } finally {
    threads?.closeSync();
  }
}
