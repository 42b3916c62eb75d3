import type { Command } from 'commander';
import { routes } from '../../client-sdk/index.ts';
import { follow } from '../follow.ts';
import { type Colour, clean, json } from '../format.ts';
import type { Session } from '../session.ts';

const colours: Partial<Record<string, Colour>> = { debug: 'dim', warn: 'yellow', error: 'red' };

export function addDebug(program: Command, session: Session): void {
  program
    .command('debug <system> <module>')
    .description('print the log lines of a module as they come, whoever drives it, such as: debug sys-1 Display_1')
    .action(async (id: string, module: string) => {
      const client = await session.client();
      await follow(session, (signal) => client.stream(routes.debug, { params: { id, module } }, { signal }), {
        opened: () => session.note(`log lines of ${module}; Ctrl-C ends`),
        event: (event) => {
          if (event.kind === 'dropped') return session.note(`${event.count} lines were missed`);
          const { level, message, node } = event.data;
          const colour = colours[level];
          const label = level.padEnd(5);
          const text = `${colour === undefined ? label : session.paint(label, colour)} ${clean(node)}  ${clean(message)}`;
          session.deps.stdout.write(`${session.asJson ? json(event.data) : text}\n`);
        },
      });
    });
}
