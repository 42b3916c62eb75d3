import type { Command } from 'commander';
import { routes } from '../../client-sdk/index.ts';
import type { Order, Started } from '../../client-sdk/index.ts';
import { clean, instant } from '../format.ts';
import { locationDifference, locationFields, locationTable } from '../location-text.ts';
import { PATIENCE_MS, startedText } from './module.ts';
import { dangerous } from '../session.ts';
import type { Danger, Session } from '../session.ts';

const orders = [
  { kind: 'handback', description: 'give control back to the edge', question: 'Hand back control to the edge of', ask: true },
  { kind: 'takeover', description: 'take control for the master', question: 'Take control for the master of', ask: true },
  { kind: 'pause', description: 'no automatic moves until `resume`', question: 'Pause automatic moves of', ask: true },
  { kind: 'resume', description: 'end a pause', question: 'Resume automatic moves of', ask: false },
] as const;

const wishes = [
  { action: 'start', route: routes.edgeStart, question: 'Start the modules of' },
  { action: 'stop', route: routes.edgeStop, question: 'Stop the modules of' },
] as const;

export function addLocation(program: Command, session: Session): void {
  const location = program.command('location').description('locations and who holds them');
  location
    .command('list')
    .description('all locations')
    .action(async () => {
      const locations = await (await session.client()).all(routes.edgeList);
      session.result(locations, () => locationTable(session, locations));
    });
  location
    .command('show <id>')
    .description('everything about one location')
    .action(async (id: string) => {
      const shown = await (await session.client()).call(routes.edgeShow, { params: { id } });
      session.result(shown, () => session.table(['FIELD', 'VALUE'], locationFields(session, shown)));
    });
  location
    .command('history <id>')
    .description('moves of control, newest first')
    .option('-n, --limit <count>', 'how many', '20')
    .action(async (id: string, { limit }: { limit: string }) => {
      const history = await (await session.client()).call(routes.edgeHistory, { params: { id }, query: { limit } });
      session.result(history, () =>
        session.table(
          ['TIME', 'HOLDER', 'STATE', 'WHY', 'EPOCH'],
          history.map((entry) => [instant(entry.time), entry.holder, entry.state, entry.reason, entry.epoch]),
        ),
      );
    });
  for (const { action, route, question } of wishes) {
    const wanted = action === 'start' ? 'run' : 'be stopped';
    const command = location.command(`${action} <id>`).description(`want the modules of a location to ${wanted}, but those with ignore_startstop`);
    dangerous(command).action(
      async (id: string, options: Danger) => {
        session.requireConfirmable(options);
        const client = await session.client();
        const ask = (dry_run: boolean): Promise<Started> => client.call(route, { params: { id }, body: { dry_run } }, { timeoutMs: PATIENCE_MS });
        if (options.dryRun !== true && options.yes !== true) {
          await session.confirm(`${question} ${clean(id)}?`, startedText(await ask(true), action), options);
        }
        const started = await ask(options.dryRun === true);
        session.result(started, () => `${startedText(started, action)}${options.dryRun === true ? 'Dry run: nothing was changed.\n' : ''}`);
      },
    );
  }
  for (const { kind, description, question, ask } of orders) {
    dangerous(location.command(`${kind} <id>`).description(description)).action(async (id: string, options: Danger) => {
      if (ask) session.requireConfirmable(options);
      const client = await session.client();
      const show = (order: Order): string => `${locationDifference(session, order.before, order.after)}${clean(order.summary)}\n`;
      const give = (dry_run: boolean): Promise<Order> => client.call(routes[kind], { params: { id }, body: { dry_run } });
      if (options.dryRun !== true && ask && options.yes !== true) {
        const planned = await give(true);
        await session.confirm(`${question} ${clean(id)}?`, show(planned), options);
      }
      const order = await give(options.dryRun === true);
      session.result(order, () => `${show(order)}${order.dry_run ? 'Dry run: nothing was changed.\n' : ''}`);
    });
  }
}
