import type { Command } from 'commander';
import { type RepositoryChanged, type RepositoryStatus, routes } from '../../client-sdk/index.ts';
import { limits } from '../../shared/model/limits.ts';
import { shortCommit } from '../../shared/model/repository.ts';
import { toFailure } from '../failures.ts';
import { type Cell, clean, instant, plural } from '../format.ts';
import { dangerous } from '../session.ts';
import type { Danger, Session } from '../session.ts';

/** The server answers in time; a little more is for the way. */
const PATIENT = { timeoutMs: limits.repositoryMs + 10_000 };
const MASTER = 'master';

type Changing = Danger & { reload?: boolean };

const changes = [
  { name: 'pull', route: routes.repositoryPull, description: 'fetch, and check out what a location wants, or the tip of the branch if it names none' },
  { name: 'reset', route: routes.repositoryReset, description: 'throw away edits in the working copy of a location' },
] as const;

export function addRepository(driver: Command, session: Session): void {
  driver
    .command('repository [location]')
    .description('wanted and actual commit, edits and last fetch of the working copy of a location (master: of the master), or of all')
    .action(async (location?: string) => {
      if (location !== undefined) {
        const status = await (await session.client()).call(routes.repository, { params: { id: location } }, PATIENT);
        return session.result(status, () => session.table(['FIELD', 'VALUE'], statusFields(status)));
      }
      const all = await everywhere(session);
      session.result(all, () => session.table(['LOCATION', 'WANTED', 'ACTUAL', 'EDITED', 'FETCHED', 'PROBLEM'], all.map(row)));
    });
  for (const { name, route, description } of changes) {
    changing(driver.command(`${name} <location>`).description(description)).action(async (id: string, options: Changing) => {
      await change(session, { id, options, question: `${name === 'pull' ? 'Pull' : 'Reset'} the drivers of ${clean(id)}?` }, async () =>
        (await session.client()).call(route, { params: { id }, body: { reload: options.reload === true } }, PATIENT),
      );
    });
  }
  changing(
    driver.command('checkout <location> <commit>').description('check out a commit by hand, until another one is wanted or the edge comes back'),
  ).action(async (id: string, commit: string, options: Changing) => {
    await change(session, { id, options, question: `Check out ${clean(commit)} at ${clean(id)}?` }, async () =>
      (await session.client()).call(routes.repositoryCheckout, { params: { id }, body: { commit, reload: options.reload === true } }, PATIENT),
    );
  });
}

const changing = (command: Command): Command => dangerous(command.option('--reload', 'give it to running modules; if they fail, the code before comes back'));

async function change(
  session: Session,
  { id, options, question }: { id: string; options: Changing; question: string },
  carryOut: () => Promise<RepositoryChanged>,
): Promise<void> {
  session.requireConfirmable(options);
  if (options.dryRun === true || options.yes !== true) {
    const status = await (await session.client()).call(routes.repository, { params: { id } }, PATIENT);
    const preview = session.table(['FIELD', 'VALUE'], statusFields(status));
    if (options.dryRun === true) return session.result(status, () => `${preview}Dry run: nothing was changed.\n`);
    await session.confirm(question, preview, options);
  }
  const done = await carryOut();
  session.result(done, () => changedText(session, done));
}

type Row = { id: string; status: RepositoryStatus | null; problem: string | null };

/** What cannot be asked is a row too. */
async function everywhere(session: Session): Promise<Row[]> {
  const client = await session.client();
  const { role } = await client.call(routes.live, {});
  const ids = (await client.all(routes.edgeList)).map(({ id }) => id);
  return Promise.all(
    (role === 'master' ? [...ids, MASTER] : ids).map(async (id): Promise<Row> => {
      try {
        const status = await client.call(routes.repository, { params: { id } }, PATIENT);
        return { id, status, problem: status.problem };
      } catch (error) {
        return { id, status: null, problem: toFailure(error).message };
      }
    }),
  );
}

const short = (commit: string | null): string => shortCommit(commit) ?? '-';

function row({ id, status, problem }: Row): Cell[] {
  const edited: Cell = status === null || status.dirty_count === 0 ? '-' : { text: plural(status.dirty_count, 'file'), colour: 'yellow' };
  const fetched = status?.fetched == null ? '-' : instant(status.fetched);
  const trouble: Cell = problem === null ? '' : { text: problem, colour: 'red' };
  return [id, short(status?.wanted ?? null), short(status?.commit ?? null), edited, fetched, trouble];
}

function statusFields({ id, remote, branch, commit, wanted, problem, dirty, dirty_count, fetched }: RepositoryStatus): Cell[][] {
  const more = dirty_count > dirty.length ? ` and ${dirty_count - dirty.length} more` : '';
  return [
    ['location', id],
    ['repository', remote],
    ['branch', branch ?? 'the default branch'],
    ['wanted', wanted ?? '-'],
    ['checked out', commit ?? '-'],
    ['edited', dirty_count === 0 ? '-' : { text: `${dirty.join(', ')}${more}`, colour: 'yellow' }],
    ['last fetch', fetched === null ? '-' : instant(fetched)],
    ['problem', problem === null ? '-' : { text: problem, colour: 'red' }],
  ];
}

function changedText(session: Session, { status, from, modules }: RepositoryChanged): string {
  const moved = from === status.commit ? `${short(from)}, as before` : `${short(from)} → ${short(status.commit)}`;
  const rows = modules.map(({ id, paused, problem }): Cell[] => [
    id,
    `${Math.round(paused * 1_000)} ms`,
    problem === null ? { text: 'reloaded', colour: 'green' } : { text: problem, colour: 'red' },
  ]);
  const reloaded = rows.length === 0 ? '' : session.table(['MODULE', 'PAUSED', 'RESULT'], rows);
  return `${clean(status.id)}: ${clean(moved)}\n${reloaded}${status.problem === null ? '' : `${clean(status.problem)}\n`}`;
}
