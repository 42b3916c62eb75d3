import type { Command } from 'commander';
import { locationTable } from '../location-text.ts';
import type { Session } from '../session.ts';

export function addDemo(program: Command, session: Session): void {
  program
    .command('demo')
    .description('run a master, two edges and simulated devices on this machine, and break them')
    .option('--json', 'print one line when all is ready, and run until interrupted')
    .action(({ json }: { json?: boolean }) => {
      const { deps } = session;
      return deps.demo({
        signal: deps.signal,
        json: json === true,
        print: (text) => deps.stdout.write(text),
        note: (line) => session.note(line),
        table: (locations) => locationTable(session, locations),
      });
    });
}
