// Lowers the helpers of V8, lets them and the threads of libuv work, and prints each thread: its nice value and the nanoseconds that it ran for either.
import { pbkdf2 } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { promisify } from 'node:util';
import { tuneV8 } from '../../dist/shared/adapters/v8/tune-v8.js';

const hash = promisify(pbkdf2);
const threads = () => readdirSync('/proc/self/task').map(Number);
const ranNs = (thread) => Number(readFileSync(`/proc/self/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
const times = () => new Map(threads().map((thread) => [thread, ranNs(thread)]));

/** How long each thread ran meanwhile. */
async function during(work) {
  const before = times();
  await work();
  return new Map([...times()].map(([thread, ns]) => [thread, ns - (before.get(thread) ?? 0)]));
}

tuneV8();
const hashing = await during(() => Promise.all(Array.from({ length: 4 }, () => hash('secret', 'salt', 50_000, 64, 'sha512'))));
const collecting = await during(() => {
  let kept = [];
  for (let i = 0; i < 600_000; i += 1) kept.push({ i, text: `text ${i}` });
  return kept;
});
const lines = threads().map((thread) => ({
  isMain: thread === process.pid,
  nice: getPriority(thread),
  hashingNs: hashing.get(thread) ?? 0,
  collectingNs: collecting.get(thread) ?? 0,
}));
console.log(JSON.stringify(lines));
