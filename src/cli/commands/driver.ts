import type { Command } from 'commander';
import { z } from 'zod';
import { type Reloaded, routes } from '../../client-sdk/index.ts';
import type { JsonObject } from '../../shared/foundation/json.ts';
import { limits } from '../../shared/model/limits.ts';
import type { CheckedDriver, DriverTest } from '../deps.ts';
import { shellWord } from '../doctor/finding.ts';
import { addRepository } from './driver-repository.ts';
import { addRollout } from './driver-rollout.ts';
import { advising, CliFailure, exitCodes, usageFailure } from '../failures.ts';
import { type Cell, clean, cleanLines } from '../format.ts';
import { methodRows } from './methods.ts';
import type { Session } from '../session.ts';

export function addDriver(program: Command, session: Session): void {
  const driver = program.command('driver').description('write, test, check and deliver drivers of your own');
  driver
    .command('new <name>')
    .description('write a driver and its test into a folder of that name, to begin with')
    .option('--folder <folder>', 'where', '.')
    .action(async (name: string, { folder }: { folder: string }) => {
      const { files } = await session.deps.newDriver({ name, folder });
      session.result({ name, files }, () => files.map((file) => `wrote ${clean(file)}\n`).join(''));
    });
  driver
    .command('test [folder]')
    .description('run the tests of drivers: *.test.ts and *.test.js below the folder')
    .option('--timeout <seconds>', 'how long the tests of a file may take', '60')
    .action(async (folder = '.', { timeout }: { timeout: string }) => {
      const { signal, testDrivers } = session.deps;
      const tests = await advising(interruptible(testDrivers({ folder, timeoutMs: parseTimeout(timeout), signal }), signal), {
        INPUT_INVALID: 'name the folder of your drivers: `holdfast driver test <folder>`; `holdfast driver new <name>` writes a driver with its test',
        DRIVER_INVALID: `correct the file, and repeat \`holdfast driver test ${shellWord(folder)}\``,
      });
      const count = (wanted: DriverTest['outcome']): number => tests.filter(({ outcome }) => outcome === wanted).length;
      const counts = { passed: count('passed'), failed: count('failed'), todo: count('todo'), skipped: count('skipped') };
      session.result({ ...counts, tests }, () => `${tests.map(testLines).join('')}${countsText(counts)}\n`);
      const { passed, failed } = counts;
      const next = `correct the driver or its test, and repeat \`holdfast driver test ${shellWord(folder)}\``;
      if (failed > 0) throw new CliFailure(`${failed} of ${passed + failed} tests failed`, next);
    });
  driver
    .command('check <file>')
    .description('load a driver, and list its settings, methods and status variables')
    .option('--settings <json>', 'settings to set it up with, when it needs some', '{}')
    .action(async (file: string, { settings }: { settings: string }) => {
      const { signal, stderr, checkDriver } = session.deps;
      const print = (line: string): void => stderr.write(`${cleanLines(line)}\n`);
      const check = checkDriver({ path: file, settings: parseSettings(settings), signal, print });
      const checked = await advising(interruptible(check, signal), {
        NOT_FOUND: '`holdfast driver new <name>` writes a driver to begin with',
        INPUT_INVALID: `correct it in --settings: \`holdfast driver check ${shellWord(file)} --settings <json>\``,
      });
      session.result(checked, () => checkText(session, checked));
    });
  driver
    .command('reload <id>')
    .description('put the newest code of a driver in the place of what its modules run, wherever they are controlled, or try a file of it live')
    .option('--location <location>', 'only there')
    .option('--edit <path>', 'try this file live instead of the one of that name; it lasts until the next reload, or until a module starts anew')
    .option('--as <file>', 'the file of the driver that it stands for, such as lib/codec.ts; without it the one of the same name')
    .option('--module <id...>', 'with --edit or --revert: only these modules')
    .option('--revert', 'take back what is tried live')
    .action(async (id: string, options: Reload) => {
      const reloaded = await reload(session, id, options);
      session.result(reloaded, () => reloadText(session, reloaded, options));
      const left = reloaded.failures.length + reloaded.modules.filter(({ problem }) => problem !== null).length;
      if (left > 0) throw new CliFailure('the new code does not run everywhere', 'correct what is said of each, and reload again');
    });
  addRepository(driver, session);
  addRollout(driver, session);
}

const LONGEST_TEST_S = 86_400;

/** What is interrupted has no error of its own. */
const interruptible = <T>(work: Promise<T>, signal: AbortSignal): Promise<T> =>
  work.catch((error: unknown) => {
    throw signal.aborted ? new CliFailure('interrupted', 'repeat it to see its result', exitCodes.interrupted) : error;
  });

interface Reload {
  location?: string;
  edit?: string;
  as?: string;
  module?: string[];
  revert?: boolean;
}

async function reload(session: Session, id: string, { location, edit, as, module: modules = [], revert = false }: Reload): Promise<Reloaded> {
  if (revert && edit !== undefined) throw usageFailure('--edit and --revert exclude each other', 'try a file, or take back what was tried');
  if (!revert && edit === undefined && (modules.length > 0 || as !== undefined)) {
    throw usageFailure('--module and --as belong to --edit', 'holdfast module load starts one module with the newest code');
  }
  const request = { params: { id }, query: location === undefined ? {} : { location } };
  // The server answers in time; a little more is for the way.
  const patience = { timeoutMs: limits.reloadMs + 5_000 };
  const content = edit === undefined ? null : await session.deps.readFile(edit);
  const client = await session.client();
  if (revert) return await client.call(routes.driverRevert, { ...request, body: { modules } }, patience);
  if (edit === undefined || content === null) return await client.call(routes.driverReload, request, patience);
  const file = as ?? edit.split(/[\\/]/).at(-1) ?? edit;
  return await client.call(routes.driverEdit, { ...request, body: { file, content, modules } }, patience);
}

function reloadText(session: Session, { modules, failures }: Reloaded, { edit, revert }: Reload): string {
  if (modules.length === 0 && failures.length === 0) return revert === true ? 'Nothing is tried live.\n' : 'No module runs this driver.\n';
  const done: Cell =
    edit === undefined ? { text: revert === true ? 'reverted' : 'reloaded', colour: 'green' } : { text: 'edited, not committed', colour: 'yellow' };
  const result = (problem: string | null): Cell => (problem === null ? done : { text: problem, colour: 'red' });
  const rows = modules.map(({ id, location, problem, paused, served_by }): Cell[] => {
    return [id, location, served_by, `${Math.round(paused * 1_000)} ms`, result(problem)];
  });
  const unreached = failures.map(({ location, message }): Cell[] => ['', location, '', '', result(message)]);
  return session.table(['MODULE', 'LOCATION', 'AT', 'PAUSED', 'RESULT'], [...rows, ...unreached]);
}

function parseTimeout(text: string): number {
  const seconds = Number(text);
  if (seconds > 0 && seconds <= LONGEST_TEST_S) return seconds * 1_000;
  throw usageFailure(`--timeout must be a number of seconds up to ${LONGEST_TEST_S}, not ${text}`, 'write such as --timeout 120');
}

function parseSettings(text: string): JsonObject {
  try {
    return z.record(z.string(), z.json()).parse(JSON.parse(text));
  } catch {
    throw usageFailure(`--settings must be a JSON object, not ${text}`, `write such as --settings '{"pollMs":1000}'`);
  }
}

const outcomes = { passed: 'ok    ', failed: 'FAILED', todo: 'todo  ', skipped: 'skip  ' } as const;

/** `2 passed, 0 failed`, and what else there is. */
const countsText = (counts: Record<DriverTest['outcome'], number>): string =>
  Object.entries(counts)
    .filter(([outcome, count]) => count > 0 || outcome === 'passed' || outcome === 'failed')
    .map(([outcome, count]) => `${count} ${outcome}`)
    .join(', ');

function testLines({ name, file, outcome, problem }: DriverTest): string {
  // A file that failed as a whole has its own name.
  const line = `${outcomes[outcome]} ${clean(file)}${name === file ? '' : `: ${clean(name)}`}\n`;
  return problem === null ? line : `${line}${cleanLines(problem).replaceAll(/^/gm, '       ')}\n`;
}

const propertySchema = z.object({
  properties: z.record(z.string(), z.looseObject({ type: z.string().optional(), default: z.json().optional() })).default({}),
  required: z.array(z.string()).default([]),
});

function checkText(session: Session, { name, role, transports, settings, functions, status }: CheckedDriver): string {
  const { properties, required } = propertySchema.parse(settings);
  const needed = (setting: string): string => (required.includes(setting) ? 'required' : '');
  const settingRows = Object.entries(properties).map(([setting, { type, default: standard }]) => [
    setting,
    type ?? 'any',
    standard === undefined ? needed(setting) : JSON.stringify(standard),
  ]);
  const methods = methodRows(functions);
  const parts = [
    `${clean(name)}: ${role}, ${transports.length === 0 ? 'no connection of its own' : transports.join(', ')}\n`,
    settingRows.length === 0 ? '' : session.table(['SETTING', 'TYPE', 'DEFAULT'], settingRows),
    methods.length === 0 ? '' : session.table(['METHOD', 'PARAMETERS'], methods),
    status.length === 0 ? '' : session.table(['STATUS'], status.map((key) => [key])),
  ];
  return parts.filter((part) => part !== '').join('\n');
}
