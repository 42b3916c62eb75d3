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

export const model: LocalCommands['model'] = async ({ policies, size, print, signal }) => {
  const texts: string[] = [];
  let ok = true;
  let states = 0;
  for (const policy of policies) {
    const result = await search({ policy, size }, print, signal);
    texts.push(result.text);
    ok &&= result.ok;
    states += result.states;
  }
  return { ok, summary: texts.join('\n'), facts: { states, policies: [...policies], size } } satisfies Outcome;
};

function search(task: ModelTask, print: (line: string) => void, signal: AbortSignal): Promise<Extract<ModelNews, { type: 'done' }>> {
  const worker = new Worker(new URL('./sim/model/worker.js', import.meta.url), { workerData: task, resourceLimits: { maxOldGenerationSizeMb: 16_384 } });
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
