import type { Command } from 'commander';
import type { Session } from './session.ts';

export function addServe(program: Command, session: Session): void {
  program
    .command('serve')
    .description('run a server; HOLDFAST_ROLE and the other variables of docs/operations.md configure it')
    .action(() => session.deps.serve({ signal: session.deps.signal }));
}
