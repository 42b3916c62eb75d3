import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { basename, resolve } from 'node:path';
import { build } from 'esbuild';

const root = resolve(import.meta.dirname, '../..');

/** A process of its own, built from a file below `bench/` with the source of this repository. It speaks by messages. */
export class Program {
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess) {
    this.#process = process;
  }

  /** `BENCH_NODE_OPTIONS` goes to each program: `--cpu-prof` shows what costs. */
  static async start(file: string, ...args: string[]): Promise<Program> {
    const outfile = resolve(root, 'node_modules/.cache/bench', `${basename(file, '.ts')}.mjs`);
    const entryPoints = [resolve(root, 'bench', file)];
    await build({ entryPoints, outfile, bundle: true, platform: 'node', format: 'esm', packages: 'external', sourcemap: 'linked', logLevel: 'error' });
    const execArgv = (process.env['BENCH_NODE_OPTIONS'] ?? '').split(' ').filter((option) => option !== '');
    return new Program(fork(outfile, args, { execArgv }));
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  send(message: object): void {
    this.#process.send(message);
  }

  /** The next message that it sends. */
  async next<T>(): Promise<T> {
    const ended = new AbortController();
    const died = once(this.#process, 'exit', { signal: ended.signal }).then(() => {
      throw new Error(`${this.#process.spawnfile} ended before it had told its result`);
    });
    try {
      const [message] = await Promise.race([once(this.#process, 'message', { signal: ended.signal }), died]);
      return message as T;
    } finally {
      died.catch(() => undefined);
      ended.abort();
    }
  }

  /** Asks it to end. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.disconnect();
    await exited;
  }
}
