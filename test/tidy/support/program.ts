import type { Command } from 'commander';
import { createClient } from '../../../src/client-sdk/index.ts';
import { createProgram } from '../../../src/cli/program.ts';
import { FakeClock } from '../../support/fake-clock.ts';

export interface Option {
  flags: string;
  description: string;
  standard: string | null;
}

export interface DocumentedCommand {
  /** `holdfast edge add <id>`. */
  usage: string;
  description: string;
  options: Option[];
}

const unused = (): Promise<never> => Promise.reject(new Error('nothing is run here'));
const nowhere = { write: () => undefined, isTTY: false };

/** The command line as commander has it, with nothing behind it. */
export function programForDocs(): Command {
  return createProgram({
    serve: unused,
    demo: unused,
    inspect: unused,
    verify: unused,
    rebuildIndexes: unused,
    importCouchbase: unused,
    xdcr: { setUp: unused, states: unused, remove: unused },
    restore: unused,
    newSettingsKey: unused,
    newDriver: unused,
    testDrivers: unused,
    checkDriver: unused,
    sim: unused,
    model: unused,
    version: '0.0.0',
    env: {},
    stdout: nowhere,
    stderr: nowhere,
    stdin: { isTTY: false, ask: unused, readAll: unused },
    clock: new FakeClock(),
    readFile: unused,
    readTail: unused,
    writeFile: unused,
    createClient,
    signal: new AbortController().signal,
  }).program;
}

/** Every command that does something, in the order of the help; or the program itself. */
export function commandsOf(command: Command, itself = false, path = 'holdfast'): DocumentedCommand[] {
  if (!itself && command.commands.length > 0) {
    return command.commands.flatMap((inner) => commandsOf(inner, false, `${path} ${inner.name()}`));
  }
  const args = command.registeredArguments.map((argument) => {
    const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
    return argument.required ? `<${name}>` : `[${name}]`;
  });
  const options = command.options.map(({ flags, description, defaultValue }) => {
    const standard: unknown = defaultValue;
    return { flags, description, standard: typeof standard === 'string' || typeof standard === 'number' ? String(standard) : null };
  });
  return [{ usage: [path, ...args].join(' '), description: command.description(), options }];
}

/** The innermost command that the words name; null when the first does not name one. */
export function commandNamed(program: Command, words: readonly string[]): Command | null {
  let command: Command | null = null;
  for (const word of words) {
    const inner: Command | undefined = (command ?? program).commands.find((candidate) => candidate.name() === word);
    if (inner === undefined) break;
    command = inner;
  }
  return command;
}
