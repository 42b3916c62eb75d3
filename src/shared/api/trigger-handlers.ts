import { triggerRoutes as routes } from '../client-api/trigger-routes.ts';
import { HoldfastError } from '../model/errors.ts';
import { MASTER_LOCATION } from '../model/ids.ts';
import { partsOf } from '../model/trigger.ts';
import type { HoldfastNode, TriggerView } from '../runtime/node.ts';
import { sameSecret } from './auth.ts';
import { collectionHandlers, shown } from './document-handlers.ts';
import { answer } from './handler.ts';
import type { HandlerDeps, RawCall } from './handler.ts';
import { pageOf } from './lists.ts';
import { findDocument } from './modules.ts';
import { listHeaders } from './reply.ts';
import type { ListQuery } from './reply.ts';
import { triggerInstanceOf, triggerOf } from './views.ts';

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
    webhook: answer(routes.webhook, async ({ params: { id }, headers, ...call }) => {
      const given = headers['x-webhook-secret'];
      return await called(node, { id, secret: typeof given === 'string' ? given : '' }, call);
    }),
    webhookWithSecret: answer(routes.webhookWithSecret, async ({ params, ...call }) => await called(node, params, call)),
  };
}

const holderOf = (node: HoldfastNode, { location }: TriggerView) => (location === MASTER_LOCATION ? 'master' : (node.location(location)?.holder ?? 'none'));

/** Whoever does not know the secret learns nothing, not even which webhooks there are. */
async function called(node: HoldfastNode, { id, secret }: { id: string; secret: string }, call: Pick<RawCall, 'requestId' | 'signal' | 'note'>) {
  const expected = await secretOf(node, id);
  if (!sameSecret(secret, expected ?? '') || expected === null) throw new HoldfastError('WEBHOOK_REFUSED', { id });
  call.note({ location: node.locationOfSystem(partsOf(id).system) ?? MASTER_LOCATION });
  return { body: { id, result: await node.callTrigger(id, call.requestId, call.signal) } };
}

/** null: there is no such webhook, or this node does not know its secret. */
async function secretOf({ store }: HoldfastNode, id: string): Promise<string | null> {
  const parts = partsOf(id);
  const [trigger, system] = await Promise.all([store.get(parts.trigger), store.get(parts.system)]);
  if (trigger?.document.type !== 'trigger' || system?.document.type !== 'sys' || !system.document.triggers.includes(parts.trigger)) return null;
  const { enabled, enable_webhook: enable, webhook_secret: secret } = trigger.document;
  return enabled && enable && secret !== '' ? secret : null;
}
