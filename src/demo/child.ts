import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { HoldfastError } from '../shared/model/errors.ts';

export interface ChildOptions {
  name: string;
  /** Of a compiled file. */
  script: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Everything that it prints. */
  logFile: string;
}

/** How long a process may take to end in good order. */
const STOP_MS = 8_000;

/** One operating-system process of the demo, whose output goes to a file and is watched for JSON lines. */
export class Child {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #lines: Record<string, unknown>[] = [];
  readonly #waiting = new Set<(line: Record<string, unknown>) => void>();
  readonly exited: Promise<string>;

  constructor(options: ChildOptions) {
    this.name = options.name;
    const child = spawn(process.execPath, [options.script, ...options.args], {
      env: options.env,
      stdio: ['pipe', 'pipe', 'pipe'],
      // Not of our process group: an interrupt at the terminal is ours to pass on, in the right order.
      detached: true,
    });
    this.#process = child;
    const log = createWriteStream(options.logFile, { flags: 'a' });
    child.stdout.on('data', (chunk: Buffer) => log.write(chunk));
    child.stderr.on('data', (chunk: Buffer) => log.write(chunk));
    createInterface({ input: child.stdout }).on('line', (text) => this.#onLine(text));
    this.exited = once(child, 'exit').then(([code, signal]) => {
      log.end();
      return signal === null ? `code ${String(code)}` : String(signal);
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  get running(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  signal(name: NodeJS.Signals): void {
    if (this.running) this.#process.kill(name);
  }

  /** The first line, past or future, that matches. Throws when the process ends before, or time is up. */
  async line(matches: (line: Record<string, unknown>) => boolean, timeoutMs: number): Promise<Record<string, unknown>> {
    const past = this.#lines.find(matches);
    if (past !== undefined) return past;
    let stop = (): void => undefined;
    try {
      return await new Promise<Record<string, unknown>>((resolve, reject) => {
        const listener = (line: Record<string, unknown>): void => {
          if (matches(line)) resolve(line);
        };
        const timer = setTimeout(() => reject(new Error(`${this.name} said nothing for ${timeoutMs} ms`)), timeoutMs);
        this.#waiting.add(listener);
        stop = () => {
          clearTimeout(timer);
          this.#waiting.delete(listener);
        };
        void this.exited.then((how) => reject(new HoldfastError('STORE_FAILED', { path: this.name, problem: `the process ended (${how})` })));
      });
    } finally {
      stop();
    }
  }

  async stop(): Promise<void> {
    if (!this.running) return;
    // A frozen process hears a signal only when it goes on.
    this.signal('SIGCONT');
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), STOP_MS);
    await this.exited;
    clearTimeout(timer);
  }

  #onLine(text: string): void {
    if (!text.startsWith('{')) return;
    let line: unknown;
    try {
      line = JSON.parse(text);
    } catch {
      return;
    }
    if (typeof line !== 'object' || line === null) return;
    const record = line as Record<string, unknown>;
    if (this.#lines.length < 1_000) this.#lines.push(record);
    for (const listener of this.#waiting) listener(record);
  }
}
