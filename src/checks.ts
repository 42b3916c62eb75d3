import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { LocalCommands, Outcome } from './cli/deps.ts';
import { SeedPool } from './sim/pool.ts';
import { firstSeeds, formatSimReport, runSim } from './sim/run.ts';
import type { ModelNews, ModelTask } from './sim/model/worker.ts';

/** `holdfast sim` and `holdfast model`: the checks of the control rules that need no federation. */

const PROGRESS_EVERY = 50;
const PROGRESS_DEPTHS = 10;

export const sim: LocalCommands['sim'] = async ({ seed, runs, print, signal }) => {
  const seeds = seed === undefined ? firstSeeds(runs) : [seed];
  const parallel = Math.min(availableParallelism(), seeds.length);
  const pool = new SeedPool(parallel);
  const from = performance.now();
  try {
    const report = await runSim({
      play: (name) => pool.play(name),
      seeds,
      parallel,
      signal,
      onProgress: (done) => done % PROGRESS_EVERY === 0 && print(`${done}/${seeds.length} seeds`),
    });
    const realMs = performance.now() - from;
    const speed = Math.round(report.simulatedMs / realMs);
    const summary = `${formatSimReport(report)}\nsimulated ${speed} times as fast as real time`;
    return { ok: report.ok, summary, facts: { seeds: report.seeds, failures: report.failures.length, hash: report.hash, speed, missing: report.missing } };
  } finally {
    await pool.close();
  }
};

/** The largest first, so that no thread is left with it alone at the end. */
const bySize = ['exclusive', 'available', 'no-failover'] as const;

export const model: LocalCommands['model'] = async ({ policies, size, print, signal }) => {
  const waiting = bySize.filter((policy) => policies.includes(policy));
  const results = new Map<string, Extract<ModelNews, { type: 'done' }>>();
  const parallel = Math.min(availableParallelism(), waiting.length);
  const from = performance.now();
  const lane = async (): Promise<void> => {
    for (let policy = waiting.shift(); policy !== undefined; policy = waiting.shift()) results.set(policy, await search({ policy, size }, print, signal));
  };
  await Promise.all(Array.from({ length: parallel }, lane));
  const done = policies.flatMap((policy) => results.get(policy) ?? []);
  const states = done.reduce((sum, result) => sum + result.states, 0);
  const seconds = Math.round((performance.now() - from) / 1_000);
  const summary = [...done.map(({ text }) => text), `${states} states in ${seconds} s, ${parallel} at a time`].join('\n');
  return { ok: done.every(({ ok }) => ok), summary, facts: { states, seconds, policies: [...policies], size } } satisfies Outcome;
};

function search(task: ModelTask, print: (line: string) => void, signal: AbortSignal): Promise<Extract<ModelNews, { type: 'done' }>> {
  // Most of what a search allocates lives until the next step: room for it spares half of the collector's work.
  const resourceLimits = { maxOldGenerationSizeMb: 16_384, maxYoungGenerationSizeMb: 384 };
  const worker = new Worker(new URL('./sim/model/worker.js', import.meta.url), { workerData: task, resourceLimits });
  return new Promise((resolve, reject) => {
    const stop = (): void => void worker.terminate();
    signal.addEventListener('abort', stop, { once: true });
    worker.on('message', (news: ModelNews) => {
      if (news.type === 'done') resolve(news);
      else if (news.depth % PROGRESS_DEPTHS === 0) print(`${news.config}: ${news.states} states, depth ${news.depth}`);
    });
    worker.on('error', reject);
    worker.on('exit', () => {
      signal.removeEventListener('abort', stop);
      reject(new Error('the search was ended before it closed'));
    });
  });
}
