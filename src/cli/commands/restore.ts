import type { Command } from 'commander';
import { clean } from '../format.ts';
import { dangerous } from '../session.ts';
import type { Danger, Session } from '../session.ts';

export function addRestore(program: Command, session: Session): void {
  const command = program
    .command('restore <backup>')
    .description('put a backup in the place of the documents of a data directory that no server uses')
    .requiredOption('--data <directory>', 'the data directory');
  dangerous(command).action(async (backup: string, { data, ...options }: Danger & { data: string }) => {
    session.requireConfirmable(options);
    const run = (dryRun: boolean) => session.deps.restore({ backup, data, dryRun });
    const show = ({ before, after }: { before: string; after: string }): string => `Before: ${clean(before)}\nAfter: ${clean(after)}\n`;
    if (options.dryRun !== true && options.yes !== true) {
      await session.confirm(`Restore ${clean(data)}?`, show(await run(true)), options);
    }
    const dry_run = options.dryRun === true;
    const result = await run(dry_run);
    session.result({ ...result, dry_run }, () => `${show(result)}${clean(result.summary)}\n${dry_run ? 'Dry run: nothing was changed.\n' : ''}`);
  });
}
