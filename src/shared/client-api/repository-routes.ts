import { z } from 'zod';
import { idSchema } from '../model/ids.ts';
import { REVISION } from '../model/repository.ts';
import { API, change, documents, read } from './route.ts';
import type { Route } from './route.ts';
import * as schema from './schemas.ts';

/** Working copies of driver code: that of the edge of a location; `master` is the one of the master. */

const REPOSITORY = `${API}/edges/:id/repository`;
const seconds = z.number();

const statusSchema = z.object({
  id: z.string(),
  /** Address of the repository, without credentials. */
  remote: z.string(),
  /** null: the default branch of the repository. */
  branch: z.string().nullable(),
  /** What is checked out; null: nothing yet. */
  commit: z.string().nullable(),
  /** As the location document has it. */
  wanted: z.string().nullable(),
  /** Why that is not checked out. */
  problem: z.string().nullable(),
  /** Files with edits that no commit has: the first of them, and how many there are. */
  dirty: z.array(z.string()),
  dirty_count: z.number(),
  /** Of the last fetch; null: none succeeded. */
  fetched: seconds.nullable(),
});

const changedSchema = z.object({
  status: statusSchema,
  /** What was checked out before. */
  from: z.string().nullable(),
  /** Modules that were given other code while they ran. */
  modules: z.array(z.object({ id: z.string(), problem: z.string().nullable(), paused: seconds })),
});
export type RepositoryStatus = z.output<typeof statusSchema>;
export type RepositoryChanged = z.output<typeof changedSchema>;

const reload = z.boolean().default(false);
const changing = { ...change, role: 'operator', adminOf: 'location', params: schema.byId, response: changedSchema } as const;
const reloadBody = z.strictObject({ reload }).prefault({});
/** A commit, branch or tag. */
const revision = z.string().regex(REVISION, 'is not the name of a commit, branch or tag');

const rolloutSchema = z.object({
  id: z.string(),
  commit: z.string(),
  by: z.string(),
  state: z.enum(['planned', 'running', 'done', 'failed', 'cancelled', 'interrupted']),
  started: seconds,
  ended: seconds.nullable(),
  problem: z.string().nullable(),
  steps: z.array(
    z.object({
      location: z.string(),
      canary: z.boolean(),
      state: z.enum(['waiting', 'rolling', 'done', 'away', 'failed', 'rolled-back']),
      /** What it goes back to. */
      before: z.string().nullable(),
      problem: z.string().nullable(),
    }),
  ),
});
export type RolloutView = z.output<typeof rolloutSchema>;

const ROLLOUTS = `${API}/rollouts`;
const rolloutBody = z.strictObject({
  commit: revision,
  /** None: all of them, and the master. */
  locations: z.array(idSchema).max(1_000).default([]),
  /** So many that are connected come first, one by one like all others. */
  canaries: z.int().min(0).max(1_000).default(1),
  dry_run: z.boolean().default(false),
});

export const repositoryRoutes = {
  rolloutList: {
    ...read,
    masterOnly: true,
    path: ROLLOUTS,
    response: z.array(rolloutSchema),
    description: 'Roll-outs of commits of the drivers, newest first: the last 20.',
  },
  rolloutStart: {
    ...documents,
    path: ROLLOUTS,
    body: rolloutBody,
    status: 202,
    response: rolloutSchema,
    description: 'Brings a commit to locations one after the other, and back everywhere if modules fail; `dry_run` only plans.',
  },
  rolloutCancel: {
    ...documents,
    path: `${ROLLOUTS}/:id/cancel`,
    params: schema.byId,
    response: rolloutSchema,
    description: 'Ends a roll-out that is under way, and brings back what it has done.',
  },
  repository: {
    ...read,
    role: 'operator',
    path: REPOSITORY,
    params: schema.byId,
    response: statusSchema,
    description: 'The working copy of drivers of the edge of a location, or of the `master`: wanted and actual commit, edits, last fetch.',
  },
  repositoryPull: {
    ...changing,
    path: `${REPOSITORY}/pull`,
    body: reloadBody,
    description: 'Fetches, and checks out the wanted commit, or the tip of the branch when the location names none; `reload` gives it to running modules.',
  },
  repositoryReset: {
    ...changing,
    path: `${REPOSITORY}/reset`,
    body: reloadBody,
    description: 'Throws away edits in the working copy; `reload` gives the result to running modules.',
  },
  repositoryCheckout: {
    ...changing,
    path: `${REPOSITORY}/checkout`,
    body: z.strictObject({ commit: revision, reload }),
    description: 'Checks out a commit, branch or tag by hand, until the wanted commit changes or the edge comes back; `reload` gives it to running modules.',
  },
} as const satisfies Record<string, Route>;
