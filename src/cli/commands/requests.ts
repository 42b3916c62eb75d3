import type { Command } from 'commander';
import { routes } from '../../client-sdk/index.ts';
import type { RequestInFlight } from '../../client-sdk/index.ts';
import { clean, duration } from '../format.ts';
import type { Cell } from '../format.ts';
import type { Session } from '../session.ts';

const HEADINGS = ['ID', 'AGE', 'LEFT', 'USER', 'LOCATION', 'MODULE', 'METHOD', 'CAME IN AT', 'NOW AT'];

export function addRequests(program: Command, session: Session): void {
  const requests = program
    .command('requests')
    .description('commands in flight at the server: run there, passed on, or held back while control changes hands; starts and stops of modules')
    .action(async () => {
      const all = await (await session.client()).call(routes.requestList, {});
      session.result(all, () => (all.length === 0 ? 'No command is in flight.\n' : session.table(HEADINGS, all.map(rowOf))));
    });
  requests
    .command('cancel <id>')
    .description('cancel one of them; its caller is told, and of a start the modules whose turn has not come stay as they are')
    .action(async (id: string) => {
      const cancelled = await (await session.client()).call(routes.requestCancel, { params: { id } });
      const { user, module, method } = cancelled;
      const asker = user === '' ? '' : `, which ${clean(user)} had asked for`;
      session.result(cancelled, () => `Cancelled: ${clean(method)} of ${clean(module)}${asker}.\n`);
    });
}

function rowOf({ id, age, left, user, location, module, method, entry, via, at }: RequestInFlight): Cell[] {
  // One that passed through another server came to this one from there.
  const from = via === null || via === entry ? entry : `${entry} (via ${via})`;
  const now: Cell = at === 'waits' ? { text: at, colour: 'yellow' } : at;
  const rest: Cell = left === null ? '' : left < 1 ? { text: '0s', colour: 'red' } : duration(left);
  return [id, duration(age), rest, user, location, module, method, from, now];
}
