import type { Command } from 'commander';
import { routes } from '../../client-sdk/index.ts';
import type { RekeyResult } from '../../client-sdk/index.ts';
import { clean, plural } from '../format.ts';
import { dangerous } from '../session.ts';
import type { Danger, Session } from '../session.ts';

export function addSettings(program: Command, session: Session): void {
  const settings = program.command('settings').description('secrets in settings, which are sealed at rest');
  settings
    .command('new-key')
    .description('make a key for sealed settings: prints its line, or writes it into a new file')
    .option('--file <path>', 'the file to make, which only its owner may read')
    .action(async ({ file }: { file?: string }) => {
      const { line } = await session.deps.newSettingsKey();
      const id = line.split('.', 1)[0] ?? '';
      if (file === undefined) {
        session.result({ id, line }, () => `${line}\n`);
      } else {
        await session.deps.writeFile(file, Buffer.from(`${line}\n`));
        session.result({ id, file }, () => `${clean(file)}\n`);
      }
      session.note('Keep a copy apart from backups: without it nobody opens what it sealed.');
      session.note('It belongs to the master and to every edge with such settings: a line of the file that HOLDFAST_SETTINGS_KEYS_FILE names.');
    });
  settings
    .command('keys')
    .description('the keys that the server has, and how much is sealed with each')
    .action(async () => {
      const found = await (await session.client()).call(routes.settingsKeys, {});
      session.result(found, () => {
        const ids = [...new Set([...found.keys, ...found.sealed.map(({ key }) => key)])];
        const rows = ids.map((id) => {
          const sealed = found.sealed.filter(({ key }) => key === id);
          const values = sealed.reduce((sum, row) => sum + row.values, 0);
          const use = id === found.keys[0] ? 'seals and opens' : 'opens';
          return [clean(id), found.keys.includes(id) ? use : { text: 'not here', colour: 'red' as const }, String(values), String(sealed.length)];
        });
        return session.table(['KEY', 'USE', 'VALUES', 'DOCUMENTS'], rows);
      });
    });
  dangerous(settings.command('rekey').description('seal every value under the first key of the server, all or nothing')).action(async (options: Danger) => {
    session.requireConfirmable(options);
    const client = await session.client();
    const plan = await client.call(routes.settingsRekey, { body: { dry_run: true } });
    if (options.dryRun === true || plan.values === 0) {
      session.result(plan, () => `${planText(plan)}${options.dryRun === true ? 'Dry run: nothing was changed.\n' : ''}`);
      return;
    }
    await session.confirm(`Seal ${amount(plan)} anew?`, planText(plan), options);
    const done = await client.call(routes.settingsRekey, { body: {} });
    session.result(done, () => `${planText(done)}Sealed anew: ${amount(done)}.\n`);
    session.note('Older backups and exports still need the older keys.');
  });
}

const amount = ({ values, documents }: RekeyResult): string => `${plural(values, 'value')} in ${plural(documents.length, 'document')}`;

function planText(plan: RekeyResult): string {
  if (plan.values === 0) return `Everything is sealed with the key ${clean(plan.key)}.\n`;
  const lines = plan.documents.map(({ id, kind, values }) => `~ ${clean(kind)} ${clean(id)}: ${plural(values, 'value')}\n`);
  return `${lines.join('')}${amount(plan)}, to be sealed with the key ${clean(plan.key)}.\n`;
}
