import type { Command } from 'commander';
import type { Session } from './session.ts';

export function addDemo(program: Command, session: Session): void {
  program
    .command('demo')
    .description('run a master, two edges and simulated devices on this machine')
    .action(() => session.deps.demo({ signal: session.deps.signal, print: (line) => session.note(line) }));
}
