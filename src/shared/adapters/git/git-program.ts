import { spawn } from 'node:child_process';
import { statfs } from 'node:fs/promises';
import type { CancelSignal } from '../../foundation/cancel.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Repository } from '../../model/repository.ts';
import { hideSecrets } from '../../model/secrets.ts';
import type { Clock } from '../../ports/clock.ts';

export interface GitOptions {
  clock: Clock;
  repository: Pick<Repository, 'url' | 'credentials'>;
  /** What full disks are reported for. */
  folder: string;
}

export interface GitCall {
  /** Repository, index and work tree, as git takes them from its environment. */
  env: Readonly<Record<string, string>>;
  cwd: string;
  signal: CancelSignal;
  timeoutMs?: number;
  /** Exit codes that are answers. */
  accept?: readonly number[];
}

export interface GitAnswer {
  code: number;
  output: string;
}

/** Runs the program `git` with these arguments. Throws REPOSITORY_FAILED, STORE_FULL, CANCELLED. */
export type Git = (args: readonly string[], call: GitCall) => Promise<GitAnswer>;

/** What git may read of ours: how to get out, and whom to trust there. */
const PASSED_ON = [
  'PATH', 'SSH_AUTH_SOCK', 'https_proxy', 'HTTPS_PROXY', 'no_proxy', 'NO_PROXY', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'GIT_SSL_CAINFO',
] as const;
const ERROR_TAIL = 4_096;
const FULL_BYTES = 128 * 1024;

/** Credentials come from the environment of the process: its arguments can be read by every user of the machine. */
const HELPER = `!f() { test "$1" = get && printf 'username=%s\\npassword=%s\\n' "$HOLDFAST_GIT_USER" "$HOLDFAST_GIT_PASSWORD"; }; f`;

/** Ours alone: no settings of users or machines, no hooks, nothing that asks at a terminal, no other ways to fetch. */
function configuration({ url, credentials }: GitOptions['repository']): [key: string, value: string][] {
  return [
    ['remote.origin.url', url],
    ['core.hooksPath', '/dev/null'],
    ['core.fsmonitor', 'false'],
    ['core.attributesFile', '/dev/null'],
    ['core.excludesFile', '/dev/null'],
    ['core.protectHFS', 'true'],
    ['core.protectNTFS', 'true'],
    ['core.fsync', 'committed'],
    ['core.askPass', ''],
    ['init.defaultBranch', 'main'],
    ['gc.auto', '0'],
    ['maintenance.auto', 'false'],
    ['submodule.recurse', 'false'],
    ['fetch.recurseSubmodules', 'false'],
    ['protocol.allow', 'never'],
    ...['https', 'http', 'ssh', 'file'].map((protocol): [string, string] => [`protocol.${protocol}.allow`, 'always']),
    ['credential.helper', ''],
    ...(credentials === null ? [] : ([[`credential.${new URL(url).origin}.helper`, HELPER]] satisfies [string, string][])),
  ];
}

function environment(repository: GitOptions['repository']): Record<string, string> {
  const passed = PASSED_ON.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]));
  const config = configuration(repository);
  const { credentials } = repository;
  return {
    ...Object.fromEntries(passed),
    ...Object.fromEntries(config.flatMap(([key, value], i) => [[`GIT_CONFIG_KEY_${i}`, key], [`GIT_CONFIG_VALUE_${i}`, value]])),
    GIT_CONFIG_COUNT: String(config.length),
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ALLOW_PROTOCOL: 'https:http:ssh:file',
    GIT_SSH_COMMAND: 'ssh -oBatchMode=yes -oConnectTimeout=10 -oStrictHostKeyChecking=yes',
    LC_ALL: 'C',
    ...(credentials === null ? {} : { HOLDFAST_GIT_USER: credentials.user, HOLDFAST_GIT_PASSWORD: credentials.password }),
  };
}

export function createGit({ clock, repository, folder }: GitOptions): Git {
  const ours = environment(repository);
  const secrets = repository.credentials === null ? [] : [repository.credentials.password, encodeURIComponent(repository.credentials.password)];
  const failed = (problem: string, cause?: unknown): HoldfastError => new HoldfastError('REPOSITORY_FAILED', { problem }, { cause });

  return (args, { env, cwd, signal, timeoutMs = limits.repositoryStepMs, accept = [0] }) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return reject(new HoldfastError('CANCELLED', { fate: 'not-sent' }));
      // A group of its own, so that its helpers end with it.
      const child = spawn('git', [...args], { cwd, env: { ...ours, ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
      const output: Buffer[] = [];
      let bytes = 0;
      let errors = '';
      let ended: HoldfastError | null = null;
      const end = (error: HoldfastError): void => {
        ended ??= error;
        killGroup(child.pid);
      };
      const cancelled = (): void => end(new HoldfastError('CANCELLED', { fate: 'under way' }));
      const timer = clock.after(timeoutMs, () => end(failed(`git ${args[0] ?? ''} took longer than ${timeoutMs / 1_000} s`)));
      signal.addEventListener('abort', cancelled, { once: true });
      const settle = (done: () => void): void => {
        timer.cancel();
        signal.removeEventListener('abort', cancelled);
        done();
      };
      child.stdout.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > limits.repositoryOutputBytes) return end(failed(`git ${args[0] ?? ''} says more than ${limits.repositoryOutputBytes} bytes`));
        output.push(chunk);
      });
      child.stderr.on('data', (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-ERROR_TAIL)));
      child.once('error', (error: NodeJS.ErrnoException) => {
        const missing = error.code === 'ENOENT';
        settle(() => reject(failed(missing ? 'the program git is not installed on this machine' : error.message, error)));
      });
      child.once('close', (code) =>
        settle(() => {
          if (ended !== null) return reject(ended);
          if (code !== null && accept.includes(code)) return resolve({ code, output: Buffer.concat(output).toString('utf8') });
          const problem = hideSecrets(problemIn(errors) || `git ${args[0] ?? ''} ended with ${code ?? 'a signal'}`, secrets);
          void isFull(folder, errors).then((full) => reject(full ? new HoldfastError('STORE_FULL', { path: folder }) : failed(problem)));
        }),
      );
    });
}

/** Git does not always say that it was the disk. */
async function isFull(folder: string, errors: string): Promise<boolean> {
  if (/no space left on device|disk quota exceeded/i.test(errors)) return true;
  const disk = await statfs(folder).catch(() => null);
  return disk !== null && disk.bavail * disk.bsize < FULL_BYTES;
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}

/** The lines that name what went wrong, in one. */
function problemIn(errors: string): string {
  const lines = errors.split('\n').map((line) => line.trim()).filter((line) => line !== '');
  const telling = lines.filter((line) => /^(?:fatal|error|ERROR|remote):/.test(line));
  return (telling.length > 0 ? telling : lines.slice(-3)).map((line) => line.replace(/^(?:fatal|error): /, '')).join('; ').slice(0, 500);
}
