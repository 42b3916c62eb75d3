import type { Command } from 'commander';
import { routes } from '../../client-sdk/index.ts';
import { clean } from '../format.ts';
import type { Session } from '../session.ts';

export function addBackup(program: Command, session: Session): void {
  program
    .command('backup [name]')
    .description('copy the documents into a new file of the backup folder of the server, while it runs')
    .action(async (name: string | undefined) => {
      const made = await (await session.client()).call(routes.backup, { body: name === undefined ? {} : { name } });
      session.result(made, () => `${clean(made.path)}\n`);
    });
}
