import { triggerRoutes as routes } from '../../client-api/trigger-routes.ts';
import { HoldfastError } from '../../model/errors.ts';
import { MASTER_LOCATION } from '../../model/ids.ts';
import { partsOf } from '../../model/trigger.ts';
import type { HoldfastNode, TriggerView } from '../../runtime/node.ts';
import { parseInput } from '../../client-api/parse.ts';
import { sameSecret } from '../auth/auth.ts';
import type { RequestHeaders } from '../auth/auth.ts';
import { collectionHandlers, shown } from './document-handlers.ts';
import { answer } from './handler.ts';
import type { HandlerDeps, RawCall } from './handler.ts';
import { pageOf } from '../lists.ts';
import { findDocument } from '../modules.ts';
import { listHeaders } from '../reply.ts';
import type { ListQuery } from '../reply.ts';
import { triggerInstanceOf, triggerOf } from '../views.ts';

export function triggerHandlers(deps: HandlerDeps) {
  const { node } = deps;
  const { list, add, update, replace, remove } = collectionHandlers(
    deps,
    { list: routes.triggerList, add: routes.triggerAdd, update: routes.triggerUpdate, replace: routes.triggerReplace, remove: routes.triggerRemove },
    {
      kind: 'trigger',
      view: triggerOf,
      filter: async () => () => true,
      // What a client has not seen, it does not send: the webhooks stay unless new ones are given.
      changed: (document, fields) => ({ ...document, ...fields, actions: { ...document.actions, ...Object(fields['actions']) } }),
    },
  );
  const listed = (path: string, query: ListQuery, fits: (view: TriggerView) => boolean) => {
    const { items, total } = pageOf(node.triggers().filter(fits), query, ({ id, trigger, system }) => [id, trigger.name, system.name]);
    return { body: items.map((view) => triggerInstanceOf(view, holderOf(node, view))), headers: listHeaders(path, query, items.length, total) };
  };
  return {
    triggerList: list,
    triggerShow: answer(routes.triggerShow, async ({ params }) => shown(await findDocument(node.store, 'trigger', params.id), triggerOf)),
    triggerAdd: add,
    triggerUpdate: update,
    triggerReplace: replace,
    triggerRemove: remove,
    triggerInstances: answer(routes.triggerInstances, async ({ query }) => listed(routes.triggerInstances.path, query, () => true)),
    instancesOfTrigger: answer(routes.instancesOfTrigger, async ({ params: { id }, query }) => {
      await findDocument(node.store, 'trigger', id);
      return listed(routes.instancesOfTrigger.path.replace(':id', id), query, ({ trigger }) => trigger.id === id);
    }),
    triggersOfSystem: answer(routes.triggersOfSystem, async ({ params: { id }, query }) => {
      await findDocument(node.store, 'sys', id);
      return listed(routes.triggersOfSystem.path.replace(':id', id), query, ({ system }) => system.id === id);
    }),
    // Whoever gets here has shown the secret: see `admitWebhook`.
    webhook: answer(routes.webhook, async ({ params: { id }, ...call }) => await called(node, id, call)),
    webhookWithSecret: answer(routes.webhookWithSecret, async ({ params: { id }, ...call }) => await called(node, id, call)),
  };
}

const holderOf = (node: HoldfastNode, { location }: TriggerView) => (location === MASTER_LOCATION ? 'master' : (node.location(location)?.holder ?? 'none'));

const secretIn = ({ 'x-webhook-secret': given }: RequestHeaders): string => (typeof given === 'string' ? given : '');

/** Does nothing unless it is a webhook that is called. Before the body is read: whoever does not know the secret costs no memory. */
export async function admitWebhook(node: HoldfastNode, { route, params, headers }: { route: string; params: unknown; headers: RequestHeaders }): Promise<void> {
  if (route === 'webhook') await requireSecret(node, { ...parseInput(routes.webhook.params, params, 'params'), secret: secretIn(headers) });
  if (route === 'webhookWithSecret') await requireSecret(node, parseInput(routes.webhookWithSecret.params, params, 'params'));
}

/** Whoever does not know the secret learns nothing, not even which webhooks there are. */
async function requireSecret(node: HoldfastNode, { id, secret }: { id: string; secret: string }): Promise<void> {
  const expected = await secretOf(node, id);
  if (!sameSecret(secret, expected ?? '') || expected === null) throw new HoldfastError('WEBHOOK_REFUSED', { id });
}

async function called(node: HoldfastNode, id: string, call: Pick<RawCall, 'requestId' | 'signal' | 'note'>) {
  call.note({ location: node.locationOfSystem(partsOf(id).system) ?? MASTER_LOCATION });
  return { body: { id, result: await node.desk.callTrigger(id, call.requestId, call.signal) } };
}

/** null: there is no such webhook, or this node does not know its secret. */
async function secretOf({ store }: HoldfastNode, id: string): Promise<string | null> {
  const parts = partsOf(id);
  const [trigger, system] = await Promise.all([store.get(parts.trigger), store.get(parts.system)]);
  if (trigger?.document.type !== 'trigger' || system?.document.type !== 'sys' || !system.document.triggers.includes(parts.trigger)) return null;
  const { enabled, enable_webhook: enable, webhook_secret: secret } = trigger.document;
  return enabled && enable && secret !== '' ? secret : null;
}
