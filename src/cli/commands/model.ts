import { type Command, Option } from 'commander';
import { showOutcome } from '../outcome.ts';
import type { Session } from '../session.ts';

const policies = ['available', 'exclusive', 'no-failover'] as const;
type Policy = (typeof policies)[number];

export function addModel(program: Command, session: Session): void {
  program
    .command('model')
    .description('check the control rules in every reachable state')
    .addOption(new Option('--policy <policy>', 'only this one').choices(policies))
    .addOption(new Option('--size <size>', 'how much may go wrong at once').choices(['small', 'full']).default('full'))
    .action(async ({ policy, size }: { policy?: Policy; size: 'small' | 'full' }) => {
      const { signal } = session.deps;
      const chosen = policy === undefined ? policies : [policy];
      showOutcome(session, await session.deps.model({ policies: chosen, size, signal, print: (line) => session.note(line) }));
    });
}
