import type { Json } from '../../foundation/json.ts';
import { limits } from '../../model/limits.ts';
import { olderRoutes as routes } from '../../client-api/older-routes.ts';
import type { ModuleStatus } from '../../runtime/node.ts';
import { answer } from './handler.ts';
import type { Handler, HandlerDeps } from './handler.ts';
import { countOf, countsOf, execute, stateOf, variableOf } from './module-handlers.ts';
import type { BodyReply, Headers } from '../reply.ts';

/** The newer handlers that the older generation needs. */
type Newer = Record<
  | 'userCurrent' | 'edgeList' | 'edgeShow' | 'zoneList' | 'zoneShow' | 'driverList' | 'driverShow' | 'driverReload' | 'triggerList'
  | 'systemList' | 'systemShow' | 'systemTypes' | 'systemStart' | 'systemStop'
  | 'moduleList' | 'moduleShow' | 'moduleStart' | 'moduleStop' | 'modulePing' | 'moduleState',
  Handler
>;

/** The older generation: the newer handlers with their answers in the older form, and what names modules otherwise. */
export function olderHandlers(deps: HandlerDeps, newer: Newer) {
  const { node } = deps;
  return {
    olderUserCurrent: newer.userCurrent,
    olderNodeList: asOlder(newer.edgeList),
    olderNodeShow: newer.edgeShow,
    olderZoneList: asOlder(newer.zoneList),
    olderZoneShow: newer.zoneShow,
    olderDependencyList: asOlder(newer.driverList),
    olderDependencyShow: asOlder(newer.driverShow),
    olderDependencyReload: newer.driverReload,
    olderTriggerList: asOlder(newer.triggerList),
    olderSystemList: asOlder(newer.systemList),
    olderSystemShow: asOlder(newer.systemShow),
    olderSystemTypes: newer.systemTypes,
    olderSystemStart: newer.systemStart,
    olderSystemStop: newer.systemStop,
    olderSystemCount: answer(routes.olderSystemCount, async ({ params: { id }, query: { module } }) => ({
      body: { count: countOf(await countsOf(node, id), module) },
    })),
    olderExec: answer(routes.olderExec, async ({ params: { id }, body: { module, index, method, args }, caller, requestId, renamed, signal, note }) => {
      const by = { user: caller.user, who: caller.id, requestId, renamed };
      const request = { system: id, module, index, method, args, ...by, timeoutMs: limits.requestMs };
      const { body: value, headers } = await execute(deps, request, { signal, note });
      return { body: [value], headers };
    }),
    olderState: answer(routes.olderState, async ({ params: { id }, query: { module, index, lookup } }) =>
      lookedUp(await node.desk.statusOf({ system: id, module, index }), lookup),
    ),
    olderFunctions: answer(routes.olderFunctions, async ({ params: { id }, query: { module, index } }) => ({
      body: await node.desk.functions({ system: id, module, index }),
    })),
    olderModuleList: asOlder(newer.moduleList),
    olderModuleShow: asOlder(newer.moduleShow),
    olderModuleStart: newer.moduleStart,
    olderModuleStop: newer.moduleStop,
    olderModulePing: newer.modulePing,
    olderModuleState: answer(routes.olderModuleState, async ({ params: { id }, query: { lookup } }) => lookedUp(await node.desk.moduleStatus(id), lookup)),
    olderModuleInternalState: newer.moduleState,
  };
}

const lookedUp = (status: ModuleStatus, key: string | undefined): { body: Json; headers: Headers } =>
  key === undefined ? stateOf(status) : variableOf(status, key);

/** A bare list becomes `{total, results}`, and roles get their older numbers. */
function asOlder(handler: Handler): Handler {
  return async (call) => {
    const reply = await handler(call);
    if (reply.kind !== 'json') return reply;
    const { 'x-total-count': total, 'content-range': _, link: __, ...headers } = reply.headers;
    const body = Array.isArray(reply.body) ? { total: Number(total), results: reply.body.map(olderRole) } : olderRole(reply.body);
    return { ...reply, headers, body } satisfies BodyReply;
  };
}

const NEWER_LOGIC = 99;
const OLDER_LOGIC = 3;

function olderRole(item: unknown): unknown {
  if (typeof item !== 'object' || item === null) return item;
  const { role, module_data, ...fields } = item as { role?: unknown; module_data?: unknown };
  return {
    ...fields,
    ...(role === undefined ? {} : { role: role === NEWER_LOGIC ? OLDER_LOGIC : role }),
    ...(Array.isArray(module_data) ? { module_data: module_data.map(olderRole) } : {}),
  };
}
