import { performance } from 'node:perf_hooks';
import { tell } from './child.ts';
import { cpuUsOf } from './processes.ts';
import type { Program } from './program.ts';
import { quantile } from './statistics.ts';

/** What a client saw. */
export interface ClientLoad {
  perSecond: number;
  p50Us: number;
  p99Us: number;
  calls: number;
}

export interface Load extends ClientLoad {
  /** Processor time of all processes together for one call: a busy machine does not change it much. */
  cpuUs: number;
}

/** A server runs for months: what is measured is compiled and optimised code, of all contenders. The more code, the longer V8 is at it. */
const WARM_UP_MS = 10_000;
const MEASURE_MS = 5_000;

/** So many callers, each with one call under way at a time; what is counted begins after a warm-up. Tells when that is. */
export async function measure(callers: number, newCaller: (index: number) => () => Promise<unknown>): Promise<ClientLoad> {
  const from = performance.now() + WARM_UP_MS;
  const to = from + MEASURE_MS;
  const times: number[] = [];
  setTimeout(() => tell({ measuring: true }), WARM_UP_MS);
  const run = async (call: () => Promise<unknown>): Promise<void> => {
    for (let began = performance.now(); began < to; ) {
      await call();
      const ended = performance.now();
      if (began >= from) times.push(ended - began);
      began = ended;
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, index) => run(newCaller(index))));
  return { calls: times.length, perSecond: times.length / (MEASURE_MS / 1_000), p50Us: quantile(times, 0.5) * 1_000, p99Us: quantile(times, 0.99) * 1_000 };
}

/** What `client` tells of its load, and what all of it cost, with the processes `pids` that serve it. */
export async function loadOf(client: Program, pids: readonly number[]): Promise<Load> {
  const all = [client.pid, ...pids];
  await client.next();
  const before = cpuUsOf(all);
  const load = await client.next<ClientLoad>();
  return { ...load, cpuUs: (cpuUsOf(all) - before) / load.calls };
}
