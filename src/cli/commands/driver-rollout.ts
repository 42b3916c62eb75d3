import type { Command } from 'commander';
import { type Client, HoldfastError, type RolloutView, routes } from '../../client-sdk/index.ts';
import { limits } from '../../shared/model/limits.ts';
import { shortCommit } from '../../shared/model/repository.ts';
import { CliFailure, usageFailure } from '../failures.ts';
import { type Cell, clean, duration, instant } from '../format.ts';
import { dangerous } from '../session.ts';
import type { Danger, Session } from '../session.ts';

const LOOK_MS = 1_000;
const PATIENT = { timeoutMs: limits.repositoryMs + 10_000 };

interface DeployOptions extends Danger {
  location?: string[];
  canary: string;
}

export function addRollout(driver: Command, session: Session): void {
  dangerous(
    driver
      .command('deploy <commit>')
      .description('bring a commit to locations one after the other, and back everywhere by itself if modules fail')
      .option('--location <location...>', 'only these; without it all of them, and the master')
      .option('--canary <count>', 'so many that are connected come first', '1'),
  ).action(async (commit: string, options: DeployOptions) => {
    session.requireConfirmable(options);
    const client = await session.client();
    const body = { commit, locations: options.location ?? [], canaries: countOf(options.canary) };
    const plan = await client.call(routes.rolloutStart, { body: { ...body, dry_run: true } }, PATIENT);
    if (options.dryRun === true) return session.result(plan, () => `${stepTable(session, plan)}Dry run: nothing was changed.\n`);
    await session.confirm(`Deploy ${clean(shortCommit(plan.commit))} in this order?`, stepTable(session, plan), options);
    const begun = await client.call(routes.rolloutStart, { body: { ...body, commit: plan.commit } }, PATIENT);
    const ended = await follow(session, client, begun);
    session.result(ended, () => rolloutText(session, ended));
    if (ended.state !== 'done') throw new CliFailure(`the roll-out ${ended.state}: ${ended.problem ?? 'see above'}`, nextOf(ended));
  });
  driver
    .command('rollouts [id]')
    .description('roll-outs of commits, newest first; with an id what became of each location')
    .action(async (id?: string) => {
      const all = await (await session.client()).call(routes.rolloutList, {});
      if (id === undefined) return session.result(all, () => rolloutTable(session, all));
      const found = all.find((rollout) => rollout.id === id);
      if (found === undefined) throw new CliFailure(`there is no roll-out ${id}`, 'holdfast driver rollouts lists them');
      session.result(found, () => rolloutText(session, found));
    });
  dangerous(driver.command('cancel <rollout>').description('end a roll-out that is under way, and bring back what it has done')).action(
    async (id: string, options: Danger) => {
      session.requireConfirmable(options);
      const client = await session.client();
      const found = (await client.call(routes.rolloutList, {})).find((rollout) => rollout.id === id);
      if (found === undefined) throw new CliFailure(`there is no roll-out ${id}`, 'holdfast driver rollouts lists them');
      if (options.dryRun === true) return session.result(found, () => `${rolloutText(session, found)}Dry run: nothing was changed.\n`);
      await session.confirm(`Cancel ${clean(id)}?`, rolloutText(session, found), options);
      const cancelled = await client.call(routes.rolloutCancel, { params: { id } }, PATIENT);
      session.result(cancelled, () => rolloutText(session, cancelled));
    },
  );
}

/** Until it has ended. The master goes on without us; and a master that restarts has marked it then. */
async function follow(session: Session, client: Client, begun: RolloutView): Promise<RolloutView> {
  const { clock, signal } = session.deps;
  let shown = '';
  for (;;) {
    signal.throwIfAborted();
    const rollout = await client.call(routes.rolloutList, {}).then(
      (all) => all.find(({ id }) => id === begun.id) ?? begun,
      (error: unknown) => {
        if (error instanceof HoldfastError && (error.code === 'UNREACHABLE' || error.code === 'NOT_READY')) return begun;
        throw error;
      },
    );
    const progress = rollout.steps.filter(({ state }) => state !== 'waiting').map(({ location, state }) => `${location} ${state}`).join(', ');
    if (progress !== shown && progress !== '') session.note(`${rollout.id}: ${progress}`);
    shown = progress;
    if (rollout.state !== 'running') return rollout;
    await new Promise<void>((resolve) => void clock.after(LOOK_MS, resolve));
  }
}

const nextOf = ({ state, commit }: RolloutView): string =>
  state === 'interrupted' ? `holdfast driver deploy ${shortCommit(commit)}, to go on` : 'correct the commit, push it, and deploy the next one';

function countOf(text: string): number {
  if (/^\d{1,4}$/.test(text)) return Number(text);
  throw usageFailure(`--canary must be a number, not ${text}`, 'write such as --canary 1');
}

function stepTable(session: Session, { steps }: RolloutView): string {
  const rows = steps.map(({ location, canary, state, before, problem }): Cell[] => [
    location,
    canary ? 'canary' : '',
    state === 'failed' ? { text: state, colour: 'red' } : state === 'away' ? { text: state, colour: 'yellow' } : state,
    shortCommit(before) ?? '-',
    problem ?? '',
  ]);
  return session.table(['LOCATION', '', 'STATE', 'BEFORE', 'PROBLEM'], rows);
}

const stateCell = (state: RolloutView['state']): Cell => ({ text: state, colour: state === 'done' ? 'green' : state === 'failed' ? 'red' : 'yellow' });

function rolloutText(session: Session, rollout: RolloutView): string {
  const { id, commit, by, state, problem } = rollout;
  const why = problem === null ? '' : `: ${problem}`;
  return `${stepTable(session, rollout)}${clean(`${id} of ${shortCommit(commit)} by ${by}: ${state}${why}`)}\n`;
}

function rolloutTable(session: Session, all: RolloutView[]): string {
  if (all.length === 0) return 'There was no roll-out; `holdfast driver deploy` makes one.\n';
  const rows = all.map(({ id, commit, by, state, started, ended, problem }): Cell[] => {
    return [id, shortCommit(commit), by, instant(started), ended === null ? '-' : duration(ended - started), stateCell(state), problem ?? ''];
  });
  return session.table(['ROLLOUT', 'COMMIT', 'BY', 'STARTED', 'TOOK', 'STATE', 'PROBLEM'], rows);
}
