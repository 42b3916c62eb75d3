import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { limits } from '../../model/limits.ts';
import type { HostProcess, HostProcesses, HostProcessHandler, HostProcessOptions } from '../../ports/host-process.ts';
import { JsonLines } from './json-lines.ts';

export interface HostProcessesOptions {
  /** Compiled entry of the driver host; the one of this build unless told. */
  entry?: string;
  /** A module that exports `drivers`, which join the built-in ones. */
  driversModule?: string;
  /** A folder of drivers, one per file or folder. */
  driversFolder?: string;
}

const CLOSE_MS = 200;

/** Driver hosts as child processes: the pipe is file descriptor 3, so that nothing a driver prints gets into it. */
export function createHostProcesses(options: HostProcessesOptions): HostProcesses {
  const entry = options.entry ?? fileURLToPath(new URL('../../../driver-host/main.js', import.meta.url));
  const start = (given: HostProcessOptions, isTrial: boolean): HostProcess => {
    const codePlace = join(tmpdir(), `holdfast-driver-${randomBytes(6).toString('hex')}-`);
    const setup = JSON.stringify({ ...given, driversModule: options.driversModule ?? null, driversFolder: options.driversFolder ?? null, codePlace });
    const child = spawn(process.execPath, [`--max-old-space-size=${limits.hostHeapMegabytes}`, '--enable-source-maps', entry, setup], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      env: bareEnvironment(),
    });
    return new ChildHost(child, { codePlace, isTrial });
  };
  return { start: (given) => start(given, false), startTrial: () => start({ writeLog: null, nodeId: 'trial' }, true) };
}

/** The code of drivers that were being loaded when their process was killed: nobody else removes it. */
async function removeCode(codePlace: string): Promise<void> {
  const folder = dirname(codePlace);
  const names = await readdir(folder).catch(() => []);
  const left = names.filter((name) => name.startsWith(basename(codePlace)));
  // What cannot be removed now is found by whoever cleans up the folder of temporary files.
  await Promise.allSettled(left.map((name) => rm(join(folder, name), { recursive: true, force: true })));
}

/** Drivers get nothing of the node's environment: secrets may be in it. */
function bareEnvironment(): NodeJS.ProcessEnv {
  const { PATH, TZ, LANG } = process.env;
  return Object.fromEntries(Object.entries({ PATH, TZ, LANG }).filter(([, value]) => value !== undefined));
}

class ChildHost implements HostProcess {
  readonly #child: ChildProcess;
  readonly #code: { codePlace: string; isTrial: boolean };
  readonly #lines: JsonLines | null;
  #handler: HostProcessHandler | null = null;
  #lastWords = '';
  #ended = false;

  constructor(child: ChildProcess, code: { codePlace: string; isTrial: boolean }) {
    this.#child = child;
    this.#code = code;
    const pipe = child.stdio[3];
    this.#lines =
      pipe instanceof Duplex
        ? new JsonLines(pipe, {
            message: (message) => this.#handler?.message(message),
            drained: () => undefined,
            // A process without its pipe is of no use. Its end is what is reported.
            ended: () => this.kill(),
          })
        : null;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#handler?.output(text);
      this.#lastWords = (this.#lastWords + text).slice(-limits.hostLastWordsBytes);
    });
    child.once('error', (error) => this.#end(error.message));
    child.once('close', (code, signal) => this.#end(signal ?? `exit code ${code}`));
    child.once('exit', (code, signal) => {
      // `close` also waits for the pipes, which a process started by a driver may hold open.
      setTimeout(() => this.#end(signal ?? `exit code ${code}`), CLOSE_MS).unref();
    });
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  send(message: object): void {
    this.#lines?.send(message);
  }

  flush(): void {
    this.#lines?.flush();
  }

  bufferedBytes(): number {
    return this.#lines?.bufferedBytes() ?? 0;
  }

  listen(handler: HostProcessHandler): void {
    this.#handler = handler;
  }

  end(): void {
    this.#lines?.end();
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    const tell = (): void => this.#handler?.ended(reason, this.#lastWords);
    const removed = removeCode(this.#code.codePlace);
    // Of a host at once, for its modules wait; with a trial everything may end, and nobody would remove it then.
    if (this.#code.isTrial) void removed.then(tell);
    else tell();
  }
}
