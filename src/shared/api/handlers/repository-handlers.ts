import type { RepositoryChanged, RepositoryStatus, RolloutView } from '../../client-api/repository-routes.ts';
import { repositoryRoutes as routes } from '../../client-api/repository-routes.ts';
import { limits } from '../../model/limits.ts';
import { shortCommit } from '../../model/repository.ts';
import type { RepositoryAction, RepositoryAnswer } from '../../runtime/driver-code/driver-repository.ts';
import type { Rollout } from '../../runtime/node.ts';
import { withDeadline } from '../deadline.ts';
import { answer } from './handler.ts';
import type { HandlerDeps, RawCall } from './handler.ts';

export function repositoryHandlers({ node, clock, cancelling }: HandlerDeps) {
  const order = async (
    { caller, note, signal }: Pick<RawCall, 'caller' | 'note' | 'signal'>,
    location: string,
    { action, commit = null, reload = false }: { action: RepositoryAction; commit?: string | null; reload?: boolean },
  ): Promise<RepositoryAnswer> => {
    const request = { location, action, commit, reload, user: caller.user };
    // A change goes on when its client leaves: half of it would surprise everybody.
    const waits = action === 'status' ? signal : cancelling;
    const done = await withDeadline(clock, limits.repositoryMs, waits, (signal) => node.repository.request(request, signal));
    const [from, to] = [done.from, done.status.commit].map((commit) => shortCommit(commit) ?? 'nothing');
    if (action !== 'status') note({ changes: `${from} → ${to}` });
    return done;
  };
  return {
    repository: answer(routes.repository, async ({ params: { id }, ...call }) => {
      return { body: statusOf(id, (await order(call, id, { action: 'status' })).status) };
    }),
    repositoryPull: answer(routes.repositoryPull, async ({ params: { id }, body, ...call }) => {
      return { body: changedOf(id, await order(call, id, { action: 'pull', ...body })) };
    }),
    repositoryReset: answer(routes.repositoryReset, async ({ params: { id }, body, ...call }) => {
      return { body: changedOf(id, await order(call, id, { action: 'reset', ...body })) };
    }),
    repositoryCheckout: answer(routes.repositoryCheckout, async ({ params: { id }, body, ...call }) => {
      call.note({ commit: shortCommit(body.commit) });
      return { body: changedOf(id, await order(call, id, { action: 'checkout', ...body })) };
    }),
    rolloutList: answer(routes.rolloutList, async () => ({ body: node.rollouts.list().map(rolloutOf) })),
    rolloutStart: answer(routes.rolloutStart, async ({ body: { commit, locations, canaries, dry_run: dryRun }, caller, signal, note }) => {
      note({ dryRun, commit: shortCommit(commit) });
      const request = { commit, locations, canaries, dryRun, by: caller.user };
      const rollout = await withDeadline(clock, limits.repositoryMs, signal, (signal) => node.rollouts.start(request, signal));
      note({ summary: rollout.id });
      return { body: rolloutOf(rollout) };
    }),
    rolloutCancel: answer(routes.rolloutCancel, async ({ params: { id } }) => ({
      body: rolloutOf(await withDeadline(clock, limits.repositoryMs, cancelling, () => node.rollouts.cancel(id))),
    })),
  };
}

const rolloutOf = ({ startedMs, endedMs, ...rollout }: Rollout): RolloutView => ({
  ...rollout,
  started: Math.round(startedMs) / 1_000,
  ended: endedMs === null ? null : Math.round(endedMs) / 1_000,
});

function statusOf(id: string, { dirtyCount, fetchedMs, ...status }: RepositoryAnswer['status']): RepositoryStatus {
  return { id, ...status, dirty_count: dirtyCount, fetched: fetchedMs === null ? null : Math.round(fetchedMs) / 1_000 };
}

function changedOf(id: string, { status, from, modules }: RepositoryAnswer): RepositoryChanged {
  const views = modules.map(({ module, problem, pausedMs }) => ({ id: module, problem, paused: pausedMs / 1_000 }));
  return { status: statusOf(id, status), from, modules: views };
}
