import type { Command } from 'commander';
import { routes } from '../../client-sdk/index.ts';
import { follow } from '../follow.ts';
import { json } from '../format.ts';
import type { Session } from '../session.ts';

export function addWatch(program: Command, session: Session): void {
  program
    .command('watch <system> <module> <key>')
    .description('print a status variable now and at each change, a line each')
    .action(async (id: string, module: string, key: string) => {
      const client = await session.client();
      await follow(session, (signal) => client.stream(routes.watch, { params: { id, module, key } }, { signal }), {
        opened: () => undefined,
        event: (event) => {
          if (event.kind === 'dropped') session.note(`${event.count} values were missed`);
          else session.deps.stdout.write(`${json(session.asJson ? event.data : event.data.value)}\n`);
        },
      });
    });
}
