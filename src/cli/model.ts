import type { Command } from 'commander';
import { showOutcome, wholeNumber } from './outcome.ts';
import type { Session } from './session.ts';

export function addModel(program: Command, session: Session): void {
  program
    .command('model')
    .description('check the control rules in every reachable state')
    .option('--depth <steps>', 'stop after so many steps', wholeNumber)
    .action(async ({ depth }: { depth?: number }) => {
      const { signal } = session.deps;
      showOutcome(session, await session.deps.model({ depth, signal, print: (line) => session.note(line) }));
    });
}
