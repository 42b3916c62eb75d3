import { Worker } from 'node:worker_threads';
import type { SeedReport } from './seed.ts';

/** Threads that play seeds, one at a time each. They run the compiled worker. */
export class SeedPool {
  readonly #workers: Worker[];
  readonly #idle: Worker[];

  constructor(threads: number) {
    this.#workers = Array.from({ length: threads }, () => new Worker(new URL('./worker.js', import.meta.url)));
    this.#idle = [...this.#workers];
  }

  /** Call it for at most as many seeds at a time as there are threads. */
  play(seed: string): Promise<SeedReport> {
    const worker = this.#idle.pop();
    if (worker === undefined) return Promise.reject(new Error('every thread is busy'));
    return new Promise<SeedReport>((resolve, reject) => {
      const done = (): void => {
        worker.off('message', answered);
        worker.off('error', reject);
        worker.off('exit', ended);
      };
      const answered = (report: SeedReport): void => {
        done();
        this.#idle.push(worker);
        resolve(report);
      };
      const ended = (): void => {
        done();
        reject(new Error(`the thread that played seed ${seed} ended`));
      };
      worker.on('message', answered);
      worker.on('error', reject);
      worker.on('exit', ended);
      worker.postMessage(seed);
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}
