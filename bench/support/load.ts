import { performance } from 'node:perf_hooks';
import { quantile } from './statistics.ts';

export interface Load {
  perSecond: number;
  p50Us: number;
  p99Us: number;
  /** Processor time of this process for one call: a busy machine does not change it much. */
  cpuUs: number;
}

const WARM_UP_MS = 1_000;
const MEASURE_MS = 2_500;

/** So many callers, each with one call under way at a time; what is counted begins after a warm-up. */
export async function measure(callers: number, newCaller: () => () => Promise<unknown>): Promise<Load> {
  const from = performance.now() + WARM_UP_MS;
  const to = from + MEASURE_MS;
  const times: number[] = [];
  let calls = 0;
  const cpu = process.cpuUsage();
  const run = async (call: () => Promise<unknown>): Promise<void> => {
    for (let began = performance.now(); began < to; ) {
      await call();
      const ended = performance.now();
      calls += 1;
      if (began >= from) times.push(ended - began);
      began = ended;
    }
  };
  await Promise.all(Array.from({ length: callers }, () => run(newCaller())));
  const { user, system } = process.cpuUsage(cpu);
  return { cpuUs: (user + system) / calls, perSecond: times.length / (MEASURE_MS / 1_000), p50Us: quantile(times, 0.5) * 1_000, p99Us: quantile(times, 0.99) * 1_000 };
}
