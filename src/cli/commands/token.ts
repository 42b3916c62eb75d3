import { Option } from 'commander';
import type { Command } from 'commander';
import { routes } from '../../client-sdk/index.ts';
import type { Role } from '../../client-sdk/index.ts';
import { roles } from '../../shared/client-api/schemas.ts';
import { CliFailure } from '../failures.ts';
import { clean, instant } from '../format.ts';
import type { Cell } from '../format.ts';
import { durationSeconds } from '../outcome.ts';
import { dangerous } from '../session.ts';
import type { Danger, Session } from '../session.ts';

export function addToken(program: Command, session: Session): void {
  const token = program.command('token').description('bearer tokens: for one user and for a time');
  token
    .command('add')
    .description('issue a token: prints it, once')
    .requiredOption('--user <user>', 'whom it speaks for; `admins` of a location may name the user')
    .addOption(new Option('--role <role>', 'what it may do').choices(roles).default('viewer'))
    .option('--expires <duration>', 'when it ends, such as 30m, 8h or 7d; a day without it', durationSeconds)
    .action(async ({ user, role, expires }: { user: string; role: Role; expires?: number }) => {
      const made = await (await session.client()).call(routes.tokenIssue, { body: { user, role, ...(expires === undefined ? {} : { expires_in: expires }) } });
      session.result(made, () => `${clean(made.token)}\n`);
      session.note(`It is shown only now, and good until ${instant(made.expires_at)}.`);
    });
  token
    .command('list')
    .description('all tokens, without their secrets')
    .action(async () => {
      const tokens = await (await session.client()).all(routes.tokenList);
      const now = session.deps.clock.wallMs() / 1_000;
      session.result(tokens, () =>
        session.table(
          ['ID', 'USER', 'ROLE', 'MADE', 'EXPIRES', 'ISSUED BY', 'STATE'],
          tokens.map((found) => [
            found.id,
            found.user,
            found.role,
            instant(found.created_at),
            instant(found.expires_at),
            found.issued_by,
            stateCell(found, now),
          ]),
        ),
      );
    });
  dangerous(token.command('revoke <id>').description('end a token for ever')).action(async (id: string, options: Danger) => {
    session.requireConfirmable(options);
    const client = await session.client();
    const found = (await client.all(routes.tokenList, id)).find((candidate) => candidate.id === id);
    if (found === undefined) throw new CliFailure(`there is no token ${id}`, 'holdfast token list');
    const state = `${stateOf(found, session.deps.clock.wallMs() / 1_000)}, with the role ${found.role}`;
    const preview = `Before: ${clean(found.id)} (${clean(found.user)}) is ${state}.\nAfter: it is revoked for ever.\n`;
    if (options.dryRun === true) {
      session.result({ before: found, after: { ...found, revoked: true }, dry_run: true }, () => `${preview}Dry run: nothing was changed.\n`);
      return;
    }
    await session.confirm(`Revoke ${clean(id)}?`, preview, options);
    const revoked = await client.call(routes.tokenRevoke, { params: { id } });
    session.result(revoked, () => `${preview}Revoked.\n`);
  });
}

interface TokenState {
  revoked: boolean;
  expires_at: number;
}

const stateOf = ({ revoked, expires_at }: TokenState, now: number): 'revoked' | 'expired' | 'valid' =>
  revoked ? 'revoked' : expires_at <= now ? 'expired' : 'valid';

function stateCell(token: TokenState, now: number): Cell {
  const state = stateOf(token, now);
  return { text: state, colour: state === 'valid' ? 'green' : state === 'expired' ? 'yellow' : 'red' };
}
