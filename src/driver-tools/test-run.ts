import { spawn } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { HoldfastError } from '../shared/model/errors.ts';
import { compile } from './compile.ts';

export interface DriverTest {
  name: string;
  /** Relative to the folder of the run. */
  file: string;
  outcome: 'passed' | 'failed' | 'skipped' | 'todo';
  /** Why it failed; null: it did not. */
  problem: string | null;
}

const lineSchema = z.object({ name: z.string(), file: z.string(), left: z.enum(['skipped', 'todo']).nullable(), problem: z.string().nullable() });
type EndedTest = z.output<typeof lineSchema>;

const reporter = fileURLToPath(new URL('./json-reporter.js', import.meta.url));
const first = new URL('./test-process.js', import.meta.url);

export interface TestRun {
  folder: string;
  /** So long the process of a file may run. */
  timeoutMs: number;
  /** Aborts when nobody waits any more. */
  signal: AbortSignal;
}

/**
 * Runs every `*.test.ts` and `*.test.js` below a folder with the test runner of Node. Throws DRIVER_INVALID for one that
 * cannot be compiled, INPUT_INVALID when there is none or no such folder.
 */
export async function runDriverTests({ folder, timeoutMs, signal }: TestRun): Promise<DriverTest[]> {
  const wrong = (problem: string): HoldfastError => new HoldfastError('INPUT_INVALID', { field: 'folder', problem: `${folder} ${problem}` });
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) throw wrong('is no folder');
  const home = resolve(folder);
  const sources = testFiles(home);
  if (sources.length === 0) throw wrong('has no tests: they are files such as driver.test.ts');
  const place = await mkdtemp(join(tmpdir(), 'holdfast-driver-test-'));
  try {
    const compiled = new Map<string, string>();
    for (const [at, source] of sources.entries()) {
      signal.throwIfAborted();
      const file = join(place, `${at}.test.mjs`);
      await writeFile(file, await compile(source));
      compiled.set(file, relative(home, source));
    }
    return (await run(compiled, place, { timeoutMs, signal })).map((test) => toTest(test, compiled, home));
  } finally {
    await rm(place, { recursive: true, force: true });
  }
}

function testFiles(folder: string): string[] {
  const items = readdirSync(folder, { withFileTypes: true }).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return items.flatMap((item) => {
    const path = join(folder, item.name);
    if (item.isDirectory()) return item.name === 'node_modules' || item.name.startsWith('.') ? [] : testFiles(path);
    return /\.test\.(?:ts|js|mjs)$/.test(item.name) ? [path] : [];
  });
}

async function run(files: ReadonlyMap<string, string>, place: string, { timeoutMs, signal }: Omit<TestRun, 'folder'>): Promise<EndedTest[]> {
  // A test runner within a test runner would be told to report to the outer one.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const flags = ['--enable-source-maps', '--unhandled-rejections=strict', `--import=${first.href}?timeoutMs=${timeoutMs}`];
  const runner = ['--test', `--test-reporter=${reporter}`, '--test-reporter-destination=stdout'];
  // A group of its own: what its tests start ends with it.
  const options = { cwd: place, env, detached: true };
  const child = spawn(process.execPath, [...flags, ...runner, ...files.keys()], { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<string>((done, fail) => child.once('error', fail).once('close', (code, by) => done(by ?? `exit code ${code}`)));
  const interrupt = (): void => endGroup(child.pid);
  signal.addEventListener('abort', interrupt, { once: true });
  const [output, errors, end] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  signal.removeEventListener('abort', interrupt);
  signal.throwIfAborted();
  const tests = output.split('\n').filter((line) => line.startsWith('{')).map((line) => lineSchema.parse(JSON.parse(line)));
  // Those that it did not come to would not be missed.
  if (end !== 'exit code 0' && tests.every(({ left, problem }) => left !== null || problem === null)) {
    const problem = `the test runner ended before its tests did (${end})\n${errors}`.trim();
    throw new HoldfastError('DRIVER_INVALID', { place: [...files.values()].join(', '), problem });
  }
  return tests;
}

/** At once, whatever its processes do. */
function endGroup(leader: number | undefined): void {
  try {
    if (leader !== undefined) process.kill(-leader, 'SIGKILL');
  } catch {
    // It has just ended by itself.
  }
}

function toTest({ name, file, left, problem }: EndedTest, files: ReadonlyMap<string, string>, home: string): DriverTest {
  // A file counts as a test when it failed as a whole, or when it ended, in whatever good order, before any of its tests had.
  const whole = files.get(name);
  const why = problem ?? (whole === undefined ? null : 'it has no tests, or its process ended before they did');
  // Also for the runner one that is to do does not fail.
  const outcome = left ?? (why === null ? 'passed' : 'failed');
  // With source maps the runner names the source.
  const source = files.get(file) ?? whole ?? (file === '' ? '' : relative(home, file));
  return { name: whole ?? name, file: source, outcome, problem: outcome === 'failed' && why !== null ? ownFrames(why, home) : null };
}

/** The stack without what lies outside of the folder: that is Holdfast or Node, and no help. */
const ownFrames = (stack: string, home: string): string =>
  stack.split('\n').filter((line) => !/^\s+at /.test(line) || line.includes(home)).join('\n');
