import { readFileSync } from 'node:fs';

/** From `/proc`; clock ticks are 10 ms on every Linux that Node runs on. */
const TICK_US = 10_000;

/** Processor time that these processes have used so far, user and system, in microseconds. */
export function cpuUsOf(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    // The name, in parentheses, may hold anything.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks * TICK_US;
}
