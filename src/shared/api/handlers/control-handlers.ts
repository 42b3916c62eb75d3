import { limits } from '../../model/limits.ts';
import { controlRoutes as routes } from '../../client-api/control-routes.ts';
import type { WantRequest } from '../../runtime/node.ts';
import { withDeadline } from '../deadline.ts';
import { answer } from './handler.ts';
import { reload } from './module-handlers.ts';
import type { HandlerDeps, RawCall } from './handler.ts';

/** More than the link needs for one request. */
const PATIENCE_MS = limits.requestMs + 1_000;

export function controlHandlers(deps: HandlerDeps) {
  const { node, clock } = deps;
  const want = async (wanted: Omit<WantRequest, 'user' | 'requestId'>, { caller, requestId, signal, note }: Omit<RawCall, 'params' | 'query' | 'body'>) => {
    const request = { ...wanted, user: caller.user, who: caller.id, requestId };
    const { changed, modules } = await withDeadline(clock, PATIENCE_MS, signal, (signal) => node.desk.modules.want(request, signal));
    note({ dryRun: wanted.dryRun, changes: changed });
    return { body: { id: wanted.id, changed, modules } };
  };
  const ofLocation = (route: typeof routes.edgeStart | typeof routes.edgeStop, running: boolean) =>
    answer(route, ({ params: { id }, body, ...call }) => want({ what: 'location', id, running, dryRun: body.dry_run }, call));
  const of = (route: (typeof routes)['moduleStart' | 'moduleStop' | 'systemStart' | 'systemStop'], what: 'module' | 'system', running: boolean) =>
    answer(route, ({ params: { id }, ...call }) => want({ what, id, running, dryRun: false }, call));
  return {
    edgeStart: ofLocation(routes.edgeStart, true),
    edgeStop: ofLocation(routes.edgeStop, false),
    systemStart: of(routes.systemStart, 'system', true),
    systemStop: of(routes.systemStop, 'system', false),
    moduleStart: of(routes.moduleStart, 'module', true),
    moduleStop: of(routes.moduleStop, 'module', false),
    moduleUnload: answer(routes.moduleUnload, async ({ params: { id }, caller, requestId, signal, note }) => {
      const request = { module: id, user: caller.user, who: caller.id, requestId };
      const { location, servedBy } = await withDeadline(clock, PATIENCE_MS, signal, (signal) => node.desk.modules.unload(request, signal));
      note({ servedBy });
      return { body: { id, location, served_by: servedBy } };
    }),
    driverEdit: answer(routes.driverEdit, async ({ params: { id }, query: { location = null }, body: { modules, ...edit }, caller, requestId, ...call }) => {
      call.note({ file: edit.file, bytes: Buffer.byteLength(edit.content) });
      return await reload(deps, { driver: id, location, live: { edit, modules }, user: caller.user, who: caller.id, requestId }, call);
    }),
    driverRevert: answer(routes.driverRevert, async ({ params: { id }, query: { location = null }, body: { modules }, caller, requestId, ...call }) =>
      reload(deps, { driver: id, location, live: { edit: null, modules }, user: caller.user, who: caller.id, requestId }, call),
    ),
    systemExpire: answer(routes.systemExpire, async ({ params: { id }, caller, requestId, signal, note }) => {
      const request = { system: id, user: caller.user, who: caller.id, requestId };
      const { modules, nodes, failures } = await withDeadline(clock, PATIENCE_MS, signal, (signal) => node.desk.modules.expire(request, signal));
      note({ nodes, failures: failures.map(({ location }) => location) });
      return { body: { id, modules, nodes, failures: failures.map(({ location, error: { code, message } }) => ({ location, code, message })) } };
    }),
  };
}
