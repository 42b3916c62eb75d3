import { Worker } from 'node:worker_threads';
import type { Json } from '../../foundation/json.ts';
import { fromWire, HoldfastError, type WireError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';

/**
 * Runs the SQL of a file on a thread of its own.
 *
 * SQLite is synchronous and a sync of a slow disk takes seconds: on the main thread it would hold back heartbeats.
 * All calls that arrive while the thread is busy, or within one turn of the event loop, travel as one batch:
 * reads first, then all writes in one transaction.
 */

type Calls = Record<string, (...args: never[]) => unknown>;
/** What a thread offers: plain functions over the database. */
export interface Engine {
  reads: Calls;
  writes: Calls;
}
type Arguments<F> = F extends (...args: infer A) => unknown ? A : never;
type Result<F> = F extends (...args: never[]) => infer R ? R : never;

export interface Call {
  id: number;
  name: string;
  args: unknown[];
}
export type Request = { reads: Call[]; writes: Call[] } | 'close';
export type Answer = { id: number; value: unknown } | { id: number; error: WireError };
export type Reply = { ready: true } | { refused: WireError } | { answers: Answer[]; done: boolean };

interface Waiting {
  resolve(value: unknown): void;
  reject(error: HoldfastError): void;
}

const BATCH_CALLS = 1_000;

export class SqlThread<E extends Engine> {
  readonly #path: string;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #reads: Call[] = [];
  #writes: Call[] = [];
  #busy = false;
  #scheduled = false;
  #lastId = 0;
  #ended: HoldfastError | null = null;
  #closing: Promise<void> | null = null;
  #settleStart: Waiting | null = null;
  #settleIdle: (() => void) | null = null;
  #settleExit: (() => void) | null = null;

  /** `entry` is the file of the thread; `options` is handed to it. Throws what opening the database threw. */
  static async start<E extends Engine>(path: string, entry: URL, options: Json): Promise<SqlThread<E>> {
    const thread = new SqlThread<E>(path, entry, options);
    await new Promise<unknown>((resolve, reject) => {
      thread.#settleStart = { resolve, reject };
    });
    return thread;
  }

  private constructor(path: string, entry: URL, options: Json) {
    this.#path = path;
    this.#worker = new Worker(entry, { workerData: { path, options }, execArgv: [] });
    this.#worker.on('message', (reply: Reply) => this.#onReply(reply));
    this.#worker.on('error', (error) => this.#end(error.message));
    this.#worker.on('exit', () => this.#end('its thread has ended'));
  }

  /** Sees every write that was resolved before. */
  read<N extends keyof E['reads'] & string>(name: N, ...args: Arguments<E['reads'][N]>): Promise<Result<E['reads'][N]>> {
    return this.#call('read', name, args) as Promise<Result<E['reads'][N]>>;
  }

  /** Durable when resolved; has changed nothing when rejected. */
  write<N extends keyof E['writes'] & string>(name: N, ...args: Arguments<E['writes'][N]>): Promise<Result<E['writes'][N]>> {
    return this.#call('write', name, args) as Promise<Result<E['writes'][N]>>;
  }

  /** Finishes what is under way, then closes the file and gives back its lock. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  // Both ends come from the same build, so the answer of `name` has the type that the engine declares.
  #call(kind: 'read' | 'write', name: string, args: unknown[]): Promise<unknown> {
    if (this.#closing !== null) return Promise.reject(this.#failure('it is closed'));
    if (this.#ended !== null) return Promise.reject(this.#ended);
    if (this.#waiting.size >= limits.storeQueue) {
      return Promise.reject(new HoldfastError('STORE_OVERLOADED', { path: this.#path, limit: limits.storeQueue }));
    }
    this.#lastId += 1;
    const id = this.#lastId;
    (kind === 'read' ? this.#reads : this.#writes).push({ id, name, args });
    this.#schedule();
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #schedule(): void {
    if (this.#busy || this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#sendBatch();
    });
  }

  #sendBatch(): void {
    if (this.#busy || this.#ended !== null || this.#reads.length + this.#writes.length === 0) return;
    this.#busy = true;
    this.#send({ reads: this.#reads.splice(0, BATCH_CALLS), writes: this.#writes.splice(0, BATCH_CALLS) });
  }

  #send(request: Request): void {
    this.#worker.postMessage(request);
  }

  #onReply(reply: Reply): void {
    if ('answers' in reply) return this.#onAnswers(reply.answers, reply.done);
    if ('ready' in reply) this.#settleStart?.resolve(null);
    else this.#settleStart?.reject(fromWire(reply.refused));
    this.#settleStart = null;
  }

  #onAnswers(answers: Answer[], done: boolean): void {
    for (const answer of answers) this.#settle(answer);
    if (!done) return;
    this.#busy = false;
    if (this.#waiting.size === 0) this.#settleIdle?.();
    // What the answered callers ask next belongs to the same batch as what has waited.
    this.#schedule();
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if ('error' in answer) waiting?.reject(fromWire(answer.error));
    else waiting?.resolve(answer.value);
  }

  /** The thread is gone: nothing that waits will be answered, and whether it was stored is not known. */
  #end(problem: string): void {
    this.#ended ??= this.#failure(problem);
    this.#settleStart?.reject(this.#ended);
    for (const waiting of this.#waiting.values()) waiting.reject(this.#ended);
    this.#waiting.clear();
    this.#settleIdle?.();
    this.#settleExit?.();
  }

  async #close(): Promise<void> {
    if (this.#ended !== null) return;
    // A disk that hangs must not hold up the rest of a shutdown; the thread ends by itself when the disk answers.
    const deadline = setTimeout(() => this.#end('it did not close in time'), limits.shutdownStepMs);
    if (this.#waiting.size > 0) await new Promise<void>((resolve) => (this.#settleIdle = resolve));
    if (this.#ended === null) {
      // The lock is certain to be free only when the thread is gone.
      const exit = new Promise<void>((resolve) => (this.#settleExit = resolve));
      this.#send('close');
      await exit;
    }
    clearTimeout(deadline);
  }

  #failure(problem: string): HoldfastError {
    return new HoldfastError('STORE_FAILED', { path: this.#path, problem });
  }
}

/**
 * The compiled file `name.js` beside the module whose `import.meta.url` is given. Node 20 cannot start a thread from
 * TypeScript, so a module that itself runs from `src` (under vitest or tsx) starts the one in `dist`.
 */
export function threadEntry(moduleUrl: string, name: string): URL {
  const compiled = moduleUrl.endsWith('.ts') ? moduleUrl.replace(/\/src\/(?!.*\/src\/)/, '/dist/') : moduleUrl;
  return new URL(`./${name}.js`, compiled);
}
