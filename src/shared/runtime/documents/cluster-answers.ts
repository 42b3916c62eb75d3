import { z } from 'zod';
import { HoldfastError } from '../../model/errors.ts';
import type { ClusterAnswer, ClusterCall } from '../../ports/cluster-rest.ts';

/** What Couchbase answers, as its documentation says; of each only what is looked at. */

export const poolsSchema = z.object({ isEnterprise: z.boolean().optional(), pools: z.array(z.unknown()) });
export const bucketSchema = z.object({
  conflictResolutionType: z.string().optional(),
  nodes: z.array(z.object({ status: z.string() })).optional(),
});
export const scopesSchema = z.object({
  scopes: z.array(z.object({ name: z.string(), collections: z.array(z.object({ name: z.string() })) })),
});
export const referencesSchema = z.array(
  z.object({
    name: z.string(),
    uuid: z.string(),
    hostname: z.string(),
    username: z.string().optional(),
    secureType: z.string().optional(),
    deleted: z.boolean().optional(),
  }),
);
export const tasksSchema = z.array(
  z.object({
    type: z.string(),
    id: z.string().optional(),
    source: z.string().optional(),
    target: z.string().optional(),
    status: z.string().optional(),
    pauseRequested: z.boolean().optional(),
    changesLeft: z.number().nullish(),
    docsWritten: z.number().nullish(),
    errors: z.array(z.unknown()).optional(),
  }),
);
/** An object, or one as text. */
const rulesSchema = z.union([z.record(z.string(), z.unknown()), z.string()]);
export const settingsSchema = z.object({ collectionsExplicitMapping: z.boolean().optional(), colMappingRules: rulesSchema.nullish() });

export const isDone = ({ status }: ClusterAnswer): boolean => status >= 200 && status < 300;

/** Throws CLUSTER_REFUSED. */
export function parseAnswer<T>(schema: z.ZodType<T>, where: string, { method, path }: ClusterCall, { status, body }: ClusterAnswer): T {
  const parsed = schema.safeParse(jsonOf(body));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const problem = `an answer that is not understood: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`;
  throw new HoldfastError('CLUSTER_REFUSED', { call: `${method} ${path} at the ${where}`, status, problem });
}

const meanings: Readonly<Record<number, string>> = {
  401: 'the user or the password is wrong',
  403: 'the user may not do that: it takes a Full Admin, or a Cluster Admin',
};

/** What the cluster says of it, with what is known better. */
export function refusal(where: string, { method, path }: ClusterCall, { status, body }: ClusterAnswer): HoldfastError {
  const said = body.trim().slice(0, 500);
  const problem = [meanings[status] ?? '', said].filter((part) => part !== '').join(': ') || 'it says nothing more';
  return new HoldfastError('CLUSTER_REFUSED', { call: `${method} ${path} at the ${where}`, status, problem });
}

function jsonOf(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}
