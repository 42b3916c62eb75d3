import type { Command } from 'commander';
import { routes } from '../../client-sdk/index.ts';
import { instant } from '../format.ts';
import type { Session } from '../session.ts';

export function addTrigger(program: Command, session: Session): void {
  const trigger = program.command('trigger').description('what happens by itself');
  trigger
    .command('list')
    .description('triggers in systems: do their conditions hold, when they fired last, under which epoch, and who drives')
    .action(async () => {
      const instances = await (await session.client()).all(routes.triggerInstances);
      session.result(instances, () =>
        session.table(
          ['TRIGGER', 'SYSTEM', 'STATE', 'LAST FIRED', 'NEXT', 'EPOCH', 'SERVED BY'],
          instances.map(({ trigger_id, control_system_id, state, last_fired, next, epoch, served_by }) => [
            trigger_id,
            control_system_id,
            { text: state, colour: state === 'off' ? 'dim' : state === 'met' ? 'green' : 'yellow' },
            last_fired === null ? '-' : instant(last_fired),
            next === null ? '-' : instant(next),
            epoch ?? '-',
            { text: served_by, colour: served_by === 'none' ? 'red' : 'green' },
          ]),
        ),
      );
    });
}
