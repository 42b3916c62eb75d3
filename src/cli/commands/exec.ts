import type { Command } from 'commander';
import { HoldfastError, routes } from '../../client-sdk/index.ts';
import type { Json } from '../../shared/foundation/json.ts';
import { CliFailure, usageFailure } from '../failures.ts';
import { clean, json } from '../format.ts';
import type { Session } from '../session.ts';

export function addExec(program: Command, session: Session): void {
  program
    .command('exec <system> <module> <method> [args...]')
    .description('run a method of a module, such as: exec sys-1 Display_1 power true')
    .option('--timeout <seconds>', 'how long to wait for the answer', '10')
    .addHelpText('after', '\nArguments are JSON: true, 42, null, \'"text"\', \'{"a":1}\'.')
    .action(async (id: string, module: string, method: string, args: string[], options: { timeout: string }) => {
      const body = args.map(parseArgument);
      const seconds = Number(options.timeout);
      if (!(seconds > 0)) throw usageFailure(`--timeout must be a number of seconds, not ${options.timeout}`, 'holdfast exec --help');
      const timeout_ms = Math.ceil(seconds * 1_000);
      const client = await session.client();
      const request = { params: { id, module, method }, query: { timeout_ms }, body };
      // The server answers in time; a little more is for the way.
      const answer = await client.request(routes.exec, request, { timeoutMs: timeout_ms + 5_000 }).catch((error: unknown) => {
        throw lacksMethod(error) ? new CliFailure(error.message, `holdfast methods ${id} ${module}`) : error;
      });
      const served_by = answer.headers['x-holdfast-served-by'] ?? null;
      session.result({ value: answer.body, served_by }, () => `${json(answer.body, 2)}\n`);
      if (!session.asJson && served_by !== null) session.note(`served by ${clean(served_by)}`);
    });
}

/** Not one that this module asked for on the way: what is missing then, another one lacks. */
const lacksMethod = (error: unknown): error is HoldfastError =>
  error instanceof HoldfastError && error.code === 'METHOD_NOT_FOUND' && error.facts['nested'] !== true;

function parseArgument(text: string): Json {
  try {
    // Text that JSON.parse accepts is JSON.
    return JSON.parse(text) as Json;
  } catch {
    throw usageFailure(`the argument ${text} is not JSON`, `write text in quotes twice: '"${text.replaceAll(/["'\\]/g, '')}"'`);
  }
}
