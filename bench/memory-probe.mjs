import { isMainThread } from 'node:worker_threads';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/* Loaded into the master under measurement: SIGUSR2 makes it collect its garbage and say how much memory is left. */
if (isMainThread) {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc');
  let asked = 0;
  process.on('SIGUSR2', () => {
    growYoungGeneration();
    for (let i = 0; i < 3; i += 1) collect();
    asked += 1;
    process.stdout.write(`${JSON.stringify({ event: 'memory', asked, ...process.memoryUsage() })}\n`);
  });
}

/* V8 makes room for young objects as it sees many of them survive, and keeps it: the first links would pay for it, or the last, as it happens. */
function growYoungGeneration() {
  let survivors = [];
  for (let i = 0; i < 600_000; i += 1) {
    survivors.push([i]);
    if (survivors.length === 150_000) survivors = [];
  }
}
