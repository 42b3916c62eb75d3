import { parentPort, workerData } from 'node:worker_threads';
import { formatModelReport, type ModelPolicy, type ModelSize, runModel } from './model.ts';

/** What a search tells whoever waits for it: how far it is, then what it found. */
export type ModelNews =
  | { type: 'progress'; config: string; states: number; depth: number }
  | { type: 'done'; ok: boolean; text: string; states: number };

export interface ModelTask {
  policy: ModelPolicy;
  size: ModelSize;
}

// A search never yields: in a thread of its own, an interrupt can still end it.
const task = workerData as ModelTask;
const tell = (news: ModelNews): void => parentPort?.postMessage(news);
const report = runModel({ ...task, onProgress: (progress) => tell({ type: 'progress', ...progress }) });
const states = report.searches.reduce((sum, search) => sum + search.states, 0);
tell({ type: 'done', ok: report.ok, text: formatModelReport(report), states });
