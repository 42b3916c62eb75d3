import { createClient } from '../../src/client-sdk/index.ts';
import type { CliDeps, LocalCommands } from '../../src/cli/deps.ts';
import { CliFailure } from '../../src/cli/failures.ts';
import { runCli } from '../../src/cli/program.ts';
import type { FakeClock } from './fake-clock.ts';

export interface CliSetting extends Partial<LocalCommands> {
  env?: Record<string, string>;
  clock: FakeClock;
  /** Is somebody at the terminal, and what do they answer? */
  answers?: string[];
  input?: string;
  files?: Record<string, string>;
  /** Where files go that are written. */
  written?: Map<string, Uint8Array>;
  colours?: boolean;
  signal?: AbortSignal;
}

export interface CliResult {
  code: number;
  out: string;
  err: string;
}

const unused = (): Promise<never> => Promise.reject(new Error('not part of this test'));

/** A command line in this process. `out` and `err` grow while it runs. */
export function startCli(setting: CliSetting, ...argv: string[]): { out(): string; err(): string; done: Promise<CliResult> } {
  let out = '';
  let err = '';
  const answers = [...(setting.answers ?? [])];
  const deps: CliDeps = {
    serve: unused,
    demo: unused,
    inspect: unused,
    verify: unused,
    restore: unused,
    rebuildIndexes: unused,
    importCouchbase: unused,
    xdcr: { setUp: unused, states: unused, remove: unused },
    newSettingsKey: unused,
    newDriver: unused,
    testDrivers: unused,
    checkDriver: unused,
    sim: unused,
    model: unused,
    ...setting,
    version: '1.2.3',
    env: setting.env ?? {},
    stdout: { write: (text) => void (out += text), isTTY: setting.colours ?? false },
    stderr: { write: (text) => void (err += text), isTTY: false },
    stdin: {
      isTTY: setting.answers !== undefined,
      ask: async (question) => {
        err += question;
        return answers.shift() ?? '';
      },
      readAll: async () => setting.input ?? '',
    },
    readFile: async (path) => {
      const text = setting.files?.[path];
      if (text === undefined) throw new CliFailure(`cannot read ${path}`, 'check the name of the file');
      return text;
    },
    readTail: async (path) => setting.files?.[path] ?? '',
    writeFile: async (path, content) => void setting.written?.set(path, content),
    createClient,
    signal: setting.signal ?? new AbortController().signal,
  };
  return { out: () => out, err: () => err, done: runCli(deps, argv).then((code) => ({ code, out, err })) };
}

export const cli = (setting: CliSetting, ...argv: string[]): Promise<CliResult> => startCli(setting, ...argv).done;
