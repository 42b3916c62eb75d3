import type { Command } from 'commander';
import { showOutcome, wholeNumber } from './outcome.ts';
import type { Session } from './session.ts';

export function addSim(program: Command, session: Session): void {
  program
    .command('sim')
    .description('run the simulator: faults at random, every invariant checked')
    .option('--seed <seed>', 'repeat the run of this seed')
    .option('--runs <count>', 'how many runs', wholeNumber, 100)
    .action(async ({ seed, runs }: { seed?: string; runs: number }) => {
      const { signal } = session.deps;
      showOutcome(session, await session.deps.sim({ seed, runs, signal, print: (line) => session.note(line) }));
    });
}
