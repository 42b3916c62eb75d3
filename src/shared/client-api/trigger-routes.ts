import { z } from 'zod';
import { instanceIdSchema, triggerSchema } from '../model/trigger.ts';
import { changedBody, newBody } from './document-schemas.ts';
import { collection } from './document-routes.ts';
import { jsonValueSchema } from './parse.ts';
import { API, list, open } from './route.ts';
import type { Route } from './route.ts';
import * as schema from './schemas.ts';

const { actions } = triggerSchema.shape;
const { functions, webhooks } = actions.unwrap().shape;
/** Published clients send an empty map where there are no arguments, and always a list of mails. */
const clientActions = z.object({
  functions: z.preprocess(withoutEmptyMaps, functions.unwrap()).optional(),
  webhooks: webhooks.unwrap().optional(),
  mailers: z.array(z.unknown()).max(0, 'must be empty: this server sends no mail').optional(),
});

function withoutEmptyMaps(functions: unknown): unknown {
  if (!Array.isArray(functions)) return functions;
  return functions.map((call: unknown) => {
    if (typeof call !== 'object' || call === null || !('args' in call)) return call;
    const { args } = call;
    const empty = typeof args === 'object' && args !== null && !Array.isArray(args) && Object.keys(args).length === 0;
    return empty ? { ...call, args: [] } : call;
  });
}

/** Without what lets somebody in: the secret of the webhook, and all of the addresses of others but their hosts. */
const triggerView = triggerSchema
  .omit({ type: true, webhook_secret: true, actions: true })
  .extend({ actions: z.object({ functions: functions.unwrap(), webhooks: z.array(z.object({ host: z.string() })) }), version: z.string() })
  .strip();
export type TriggerDocumentView = z.output<typeof triggerView>;

/** A trigger in one system. */
const triggerInstanceView = z.object({
  id: z.string(),
  trigger_id: z.string(),
  control_system_id: z.string(),
  name: z.string(),
  system_name: z.string(),
  enabled: z.boolean(),
  important: z.boolean(),
  enable_webhook: z.boolean(),
  location: z.string(),
  /** `off`, `waiting`, or `met` while its comparisons hold. */
  state: z.enum(['off', 'waiting', 'met']),
  activated_count: z.number(),
  last_fired: z.number().nullable(),
  occurrence: z.string().nullable(),
  /** Under which it fired last. */
  epoch: z.string().nullable(),
  /** The next time that is due, as the server that drives knows it. */
  next: z.number().nullable(),
  /** Who drives the location. */
  served_by: z.enum(['edge', 'master', 'none']),
});
export type TriggerInstanceView = z.output<typeof triggerInstanceView>;

const triggers = collection('triggers', 'trigger', {
  view: triggerView,
  detail: triggerView,
  query: schema.listQuery,
  body: newBody(triggerSchema, { actions: clientActions.optional() }),
  changes: changedBody(triggerSchema, { actions: clientActions.optional() }),
});
const instances = { ...list, query: schema.listQuery, response: z.array(triggerInstanceView) } as const;

const HOOK = `${API}/webhook/:id/notify`;
const hook = {
  ...open,
  method: 'POST',
  audited: 'command',
  status: 202,
  /** Whatever the caller has to say; nothing here reads it. */
  body: z.union([z.record(z.string(), jsonValueSchema), z.array(jsonValueSchema)], 'must be a JSON object or array').optional(),
  /** `result`: `fires`, `conditions-not-met`, `debounced` or `called-before`. */
  response: z.object({ id: z.string(), result: z.string() }),
} as const;

/** What happens by itself: documents, their instances in systems, and the webhooks that set them off. */
export const triggerRoutes = {
  triggerList: triggers.list,
  triggerShow: triggers.show,
  triggerAdd: triggers.add,
  triggerUpdate: triggers.update,
  triggerReplace: triggers.replace,
  triggerRemove: triggers.remove,
  triggerInstances: {
    ...instances,
    path: `${API}/triggers/instances`,
    description: 'Triggers in systems, with what they did last; an edge knows those of its location.',
  },
  instancesOfTrigger: { ...instances, params: schema.byId, path: `${API}/triggers/:id/instances`, description: 'The same, of one trigger.' },
  triggersOfSystem: {
    ...instances,
    params: schema.byId,
    path: `${API}/systems/:id/triggers`,
    description: 'The same, in one system; `triggers` of a system lists them.',
  },
  webhook: {
    ...hook,
    path: HOOK,
    params: z.strictObject({ id: instanceIdSchema }),
    description: 'Sets a trigger off; its secret comes as X-Webhook-Secret. Answered at once. The same X-Request-ID again is the same call.',
  },
  webhookWithSecret: {
    ...hook,
    path: `${HOOK}/:secret`,
    params: z.strictObject({ id: instanceIdSchema, secret: z.string().max(200) }),
    description: 'The same for callers that can send no header.',
  },
} as const satisfies Record<string, Route>;
