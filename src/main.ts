#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { text } from 'node:stream/consumers';
import { isatty } from 'node:tty';
import { z } from 'zod';
import type { CliDeps, Output } from './cli/deps.ts';
import { CliFailure, exitCodes } from './cli/failures.ts';
import { runCli } from './cli/program.ts';
import { createClient } from './client-sdk/index.ts';
import { localCommands } from './local-commands.ts';
import { createSystemClock } from './shared/adapters/clock/system-clock.ts';

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  // The first one ends the command in good order, the second one ends it now.
  process.once(signal, () => interrupted.abort(new Error(signal)));
}

// `holdfast status | head` closes the pipe early: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const output = (stream: NodeJS.WriteStream & { fd: number }): Output => ({ write: (chunk) => void stream.write(chunk), isTTY: isatty(stream.fd) });

async function ask(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const ended = new AbortController();
  // Ctrl-C and Ctrl-D: without this the question would wait for ever.
  terminal.once('close', () => ended.abort());
  try {
    return await terminal.question(question, { signal: AbortSignal.any([ended.signal, interrupted.signal]) });
  } catch {
    throw new CliFailure('interrupted; nothing was changed', 'answer y, or repeat it with --yes', exitCodes.interrupted);
  } finally {
    terminal.close();
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const unreadable = (path: string, error: unknown): CliFailure => new CliFailure(`cannot read ${path}: ${messageOf(error)}`, 'check the name of the file');

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: unknown) => {
    throw unreadable(path, error);
  });
}

async function readTail(path: string, bytes: number): Promise<string> {
  const file = await open(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  try {
    const { size } = await file.stat();
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(bytes), position: Math.max(0, size - bytes) });
    return buffer.toString('utf8', 0, bytesRead);
  } catch (error) {
    throw unreadable(path, error);
  } finally {
    await file.close();
  }
}

async function writeNew(path: string, content: Uint8Array): Promise<void> {
  try {
    await writeFile(path, content, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    throw new CliFailure(`cannot write ${path}: ${messageOf(error)}`, 'name another file');
  }
}

const manifest = z.object({ version: z.string() });
const packageFile = new URL('../package.json', import.meta.url);

const deps: CliDeps = {
  ...localCommands,
  version: manifest.parse(JSON.parse(readFileSync(packageFile, 'utf8'))).version,
  env: process.env,
  stdout: output(process.stdout),
  stderr: output(process.stderr),
  stdin: { isTTY: isatty(process.stdin.fd), ask, readAll: () => text(process.stdin) },
  clock: createSystemClock(),
  readFile: readText,
  readTail,
  writeFile: writeNew,
  createClient,
  signal: interrupted.signal,
};

process.exitCode = await runCli(deps, process.argv.slice(2));
