import type { Command } from 'commander';
import type { Session } from '../session.ts';

export function addServe(program: Command, session: Session): void {
  program
    .command('serve')
    .description('run a server; HOLDFAST_ROLE and the other variables of docs/operations.md configure it')
    .option('--with-parent', 'end when standard input does, as with the process that started this one')
    .action(({ withParent = false }: { withParent?: boolean }) => session.deps.serve({ signal: session.deps.signal, withParent }));
}
