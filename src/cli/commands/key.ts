import { Option } from 'commander';
import type { Command } from 'commander';
import { HoldfastError, routes } from '../../client-sdk/index.ts';
import type { Role } from '../../client-sdk/index.ts';
import { roles } from '../../shared/client-api/schemas.ts';
import { CliFailure } from '../failures.ts';
import { clean, instant } from '../format.ts';
import { dangerous } from '../session.ts';
import type { Danger, Session } from '../session.ts';

export function addKey(program: Command, session: Session): void {
  const key = program.command('key').description('API keys');
  key
    .command('add')
    .description('make a key: prints it, once')
    .requiredOption('--name <name>', 'whose key it is')
    .addOption(new Option('--role <role>', 'what it may do').choices(roles).default('viewer'))
    .action(async ({ name, role }: { name: string; role: Role }) => {
      const made = await (await session.client()).call(routes.keyAdd, { body: { name, role } });
      session.result(made, () => `${clean(made.key)}\n`);
      session.note('It is shown only now.');
    });
  key
    .command('list')
    .description('all keys, without their secrets')
    .action(async () => {
      const keys = await (await session.client()).all(routes.keyList);
      session.result(keys, () =>
        session.table(
          ['ID', 'NAME', 'ROLE', 'MADE', 'STATE'],
          keys.map(({ id, name, role, created_at, revoked }) => [
            id,
            name,
            role,
            instant(created_at),
            revoked ? { text: 'revoked', colour: 'red' } : { text: 'valid', colour: 'green' },
          ]),
        ),
      );
    });
  dangerous(key.command('revoke <id>').description('end a key for ever')).action(async (id: string, options: Danger) => {
    session.requireConfirmable(options);
    const client = await session.client();
    const keys = await client.all(routes.keyList);
    const found = keys.find((candidate) => candidate.id === id);
    if (found === undefined) throw new CliFailure(`there is no API key ${id}`, 'holdfast key list');
    const admins = keys.filter(({ role, revoked }) => role === 'admin' && !revoked);
    // The server refuses it as well; here nobody is asked first, and a dry run says so too.
    if (admins.length === 1 && admins[0]?.id === id) throw new HoldfastError('LAST_ADMIN_KEY', { id });
    const state = `${found.revoked ? 'revoked' : 'valid'}, with the role ${found.role}`;
    const preview = `Before: ${clean(found.id)} (${clean(found.name)}) is ${state}.\nAfter: it is revoked for ever.\n`;
    if (options.dryRun === true) {
      session.result({ before: found, after: { ...found, revoked: true }, dry_run: true }, () => `${preview}Dry run: nothing was changed.\n`);
      return;
    }
    await session.confirm(`Revoke ${clean(id)}?`, preview, options);
    const revoked = await client.call(routes.keyRevoke, { params: { id } });
    session.result(revoked, () => `${preview}Revoked.\n`);
  });
}
