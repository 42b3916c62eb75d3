import type { Command } from 'commander';
import { routes } from '../../client-sdk/index.ts';
import { json } from '../format.ts';
import type { Session } from '../session.ts';

export function addGet(program: Command, session: Session): void {
  program
    .command('get <system> <module> [key]')
    .description('status variables of a module, or one of them')
    .action(async (id: string, module: string, key: string | undefined) => {
      const client = await session.client();
      if (key !== undefined) {
        const value = await client.call(routes.variable, { params: { id, module, key } });
        session.result(value, () => `${json(value, 2)}\n`);
        return;
      }
      const status = await client.call(routes.moduleStatus, { params: { id, module } });
      const rows = Object.entries(status).sort(([a], [b]) => (a < b ? -1 : 1));
      session.result(status, () =>
        rows.length === 0 ? 'No status yet.\n' : session.table(['KEY', 'VALUE'], rows.map(([key, value]) => [key, json(value)])),
      );
    });
}
