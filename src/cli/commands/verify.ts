import type { Command } from 'commander';
import { showOutcome } from '../outcome.ts';
import type { Session } from '../session.ts';

export function addVerify(program: Command, session: Session): void {
  program
    .command('verify <path>')
    .description('check a store or a backup that no server has open')
    .action(async (path: string) => {
      const { problems } = await session.deps.verify({ path });
      const ok = problems.length === 0;
      showOutcome(session, { ok, summary: ok ? `${path} is sound` : `${path}: ${problems.join('; ')}`, facts: { path, problems } });
    });
}
