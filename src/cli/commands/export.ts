import type { Command } from 'commander';
import { routes } from '../../client-sdk/index.ts';
import { cleanLines } from '../format.ts';
import type { Session } from '../session.ts';

export function addExport(program: Command, session: Session): void {
  program
    .command('export')
    .description('print all documents as a file that `apply` accepts')
    .action(async () => {
      const exported = await (await session.client()).call(routes.export, {});
      // A file gets every character as it is; a terminal must not be driven by them.
      session.result(exported, () => (session.deps.stdout.isTTY ? cleanLines(exported.text) : exported.text));
    });
}
