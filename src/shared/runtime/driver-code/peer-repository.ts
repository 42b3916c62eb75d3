import { z } from 'zod';
import type { CancelSignal } from '../../foundation/cancel.ts';
import type { Json } from '../../foundation/json.ts';
import { limits } from '../../model/limits.ts';
import { type CommitReport, type DriverRepository, repositoryActions, type RepositoryAnswer, type RepositoryOrder } from './driver-repository.ts';
import { readAnswer, readBody } from '../peer/peer-bodies.ts';
import type { PeerLink } from '../peer/peer-link.ts';

/** What nodes ask and tell each other about their working copies. */

const revision = z.string().max(200);
const orderBody = z.strictObject({
  action: z.enum(repositoryActions),
  commit: revision.nullable(),
  reload: z.boolean(),
  user: z.string().max(200),
});

const answerSchema = z.object({
  status: z.object({
    remote: z.string(),
    branch: z.string().nullable(),
    commit: z.string().nullable(),
    dirty: z.array(z.string()),
    dirtyCount: z.number(),
    fetchedMs: z.number().nullable(),
    wanted: z.string().nullable(),
    problem: z.string().nullable(),
  }),
  from: z.string().nullable(),
  modules: z.array(z.object({ module: z.string(), problem: z.string().nullable(), pausedMs: z.number() })),
});

const reportBody = z.strictObject({
  wanted: revision.nullable(),
  actual: revision.nullable(),
  busy: z.boolean(),
  problem: z.string().max(4_000).nullable(),
});

/** Throws what the edge answers, and what the link throws. */
export async function askRepository(peer: Pick<PeerLink, 'request'>, order: RepositoryOrder, signal: CancelSignal): Promise<RepositoryAnswer> {
  const { action, commit, reload, user } = order;
  const answer = await peer.request('repository', { action, commit, reload, user }, { signal, timeoutMs: limits.repositoryMs });
  return readAnswer(answerSchema, answer, 'repository');
}

/** Answers it at the other end. */
export async function serveRepository(repository: DriverRepository, body: Json, signal: CancelSignal): Promise<Json> {
  const { status, from, modules } = await repository.request(readBody(orderBody, body), signal);
  return { status: { ...status }, from, modules: modules.map(({ module, problem, pausedMs }) => ({ module, problem, pausedMs })) };
}

export function tellCommit(peer: PeerLink, { wanted, actual, busy, problem }: CommitReport): void {
  peer.post('commit', { wanted, actual, busy, problem: problem?.slice(0, 4_000) ?? null }, { conflateKey: 'commit' });
}

/** Throws INPUT_INVALID. */
export const readCommit = (body: Json): CommitReport => readBody(reportBody, body);
