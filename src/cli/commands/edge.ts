import type { Command } from 'commander';
import { HoldfastError, routes } from '../../client-sdk/index.ts';
import type { Client, Location } from '../../client-sdk/index.ts';
import { clean } from '../format.ts';
import { locationTable } from '../location-text.ts';
import { dangerous } from '../session.ts';
import type { Danger, Session } from '../session.ts';

const ONCE = 'Give this to the edge as HOLDFAST_ENROL. It is shown only now.';
const BY_HAND = 'Give this to the edge as HOLDFAST_ENROL, and the same secret in a file as HOLDFAST_SECRET_FILE.';
const SECRET_FILE = ['--secret-file <path>', 'set the secret by hand: 16 to 200 printable characters, the same at the edge'] as const;

interface SecretFile {
  secretFile?: string;
}

/** In a file, never an argument: those are seen by everybody on the machine. */
async function secretIn(session: Session, { secretFile }: SecretFile): Promise<{ secret?: string }> {
  return secretFile === undefined ? {} : { secret: (await session.deps.readFile(secretFile)).trim() };
}

const advice = ({ secretFile }: SecretFile): string => (secretFile === undefined ? ONCE : BY_HAND);

export function addEdge(program: Command, session: Session): void {
  const edge = program.command('edge').description('which edges may connect');
  edge
    .command('add <id>')
    .description('enrol an edge: prints its enrolment string, once')
    .option(...SECRET_FILE)
    .action(async (id: string, options: SecretFile) => {
      const body = { id, ...(await secretIn(session, options)) };
      const made = await (await session.client()).call(routes.edgeAdd, { body });
      session.result(made, () => `${clean(made.enrolment)}\n`);
      session.note(advice(options));
    });

  dangerous(edge.command('rotate <id>').description('a new secret for an edge: prints a new enrolment string, once').option(...SECRET_FILE)).action(
    async (id: string, options: Danger & SecretFile) => {
      const body = await secretIn(session, options);
      const after = 'After: a new secret is valid too, and the old one until the edge has used the new one.\n';
      const client = await prepare(session, { id, after, question: 'Rotate the secret of', options });
      if (client === null) return;
      const made = await client.call(routes.edgeRotate, { params: { id }, body });
      session.result(made, () => `${clean(made.enrolment)}\n`);
      session.note(advice(options));
    },
  );

  dangerous(edge.command('revoke <id>').description('end the right of an edge to connect, and its link')).action(
    async (id: string, options: Danger) => {
      const after = 'After: the edge cannot connect any more, and its link is closed.\n';
      const client = await prepare(session, { id, after, question: 'Revoke the access of', options });
      if (client === null) return;
      const revoked = await client.call(routes.edgeRevoke, { params: { id } });
      const location = await locationOf(client, id);
      session.result(revoked, () => `${before(session, location)}Revoked: ${clean(id)} cannot connect any more.\n`);
    },
  );
}

interface Preparation {
  id: string;
  after: string;
  question: string;
  options: Danger;
}

/** Shows before and after and asks. null: it was a dry run, which is told already. */
async function prepare(session: Session, { id, after, question, options }: Preparation): Promise<Client | null> {
  session.requireConfirmable(options);
  const client = await session.client();
  if (options.yes === true && options.dryRun !== true) return client;
  const location = await locationOf(client, id);
  const preview = `${before(session, location)}${after}`;
  if (options.dryRun === true) {
    session.result({ id, before: location, after: after.trim(), dry_run: true }, () => `${preview}Dry run: nothing was changed.\n`);
    return null;
  }
  await session.confirm(`${question} ${clean(id)}?`, preview, options);
  return client;
}

/** An edge may be enrolled before its location is there. */
async function locationOf(client: Client, id: string): Promise<Location | null> {
  try {
    return await client.call(routes.edgeShow, { params: { id } });
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
}

const before = (session: Session, location: Location | null): string =>
  location === null ? 'There is no location of this id yet.\n' : locationTable(session, [location]);
