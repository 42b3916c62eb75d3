import type { Command } from 'commander';
import { showOutcome, wholeNumber } from '../outcome.ts';
import type { Session } from '../session.ts';

export function addSim(program: Command, session: Session): void {
  program
    .command('sim')
    .description('run the simulator: faults at random, every invariant checked')
    .option('--seed <seed>', 'repeat the run of this seed')
    .option('--seeds <count>', 'how many seeds', wholeNumber, 200)
    .action(async ({ seed, seeds }: { seed?: string; seeds: number }) => {
      const { signal } = session.deps;
      showOutcome(session, await session.deps.sim({ seed, runs: seeds, signal, print: (line) => session.note(line) }));
    });
}
