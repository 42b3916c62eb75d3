import { writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import { THROWN } from './json-reporter.ts';

/** A thread beside a test file: only it can still act while a test loops. */
const timeoutMs = Number(workerData);

setTimeout(() => {
  const problem = `it had not ended after ${timeoutMs / 1_000} s: a test loops, or waits for what does not come`;
  writeSync(2, `\n${THROWN}${JSON.stringify(problem)}\n`);
  process.kill(process.pid, 'SIGKILL');
}, timeoutMs);
