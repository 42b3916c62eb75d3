import type { CancelSignal } from '../../foundation/cancel.ts';
import type { Json } from '../../foundation/json.ts';
import { limits } from '../../model/limits.ts';
import { moduleRoutes as routes } from '../../client-api/module-routes.ts';
import type { ExecAnswer, ExecRequest, HoldfastNode, ModuleName, ModuleStatus, ReloadedAt, ReloadRequest } from '../../runtime/node.ts';
import { withDeadline } from '../deadline.ts';
import { answer, stream } from './handler.ts';
import type { HandlerDeps, RawCall } from './handler.ts';
import { statusAge } from '../holder-origin.ts';
import { namesOf } from '../lists.ts';
import { findDocument } from '../modules.ts';

export function moduleHandlers(deps: HandlerDeps) {
  const { node } = deps;
  return {
    exec: answer(routes.exec, async ({ params: { id, module, method }, query, body, caller, requestId, renamed, signal, note }) => {
      const command = { ...named(id, module), method, args: body, user: caller.user, who: caller.id, requestId, renamed, timeoutMs: query.timeout_ms };
      return await execute(deps, command, { signal, note });
    }),
    moduleExec: answer(routes.moduleExec, async ({ params: { id, method }, query, body, caller, requestId, renamed, signal, note }) => {
      const command = { id, method, args: body, user: caller.user, who: caller.id, requestId, renamed, timeoutMs: query.timeout_ms };
      return served(await bounded(deps, command.timeoutMs, signal, (signal) => node.desk.execModule(command, signal)), note);
    }),
    moduleStatus: answer(routes.moduleStatus, async ({ params: { id, module } }) => stateOf(await node.desk.statusOf(named(id, module)))),
    variable: answer(routes.variable, async ({ params: { id, module, key } }) => variableOf(await node.desk.statusOf(named(id, module)), key)),
    moduleState: answer(routes.moduleState, async ({ params: { id } }) => stateOf(await node.desk.moduleStatus(id))),
    moduleVariable: answer(routes.moduleVariable, async ({ params: { id, key } }) => variableOf(await node.desk.moduleStatus(id), key)),
    moduleError: answer(routes.moduleError, async ({ params: { id } }) => {
      const problem = valueOf((await node.desk.moduleStatus(id)).values, 'problem');
      return { body: typeof problem === 'string' ? problem.split('\n') : [] };
    }),
    watch: stream(routes.watch, 'status', async ({ params: { id, module, key } }, send) =>
      node.desk.watch({ ...named(id, module), key }, ({ system, module, index, key, value }) =>
        send({ system, module, index, key, value }, key),
      ),
    ),
    debug: stream(routes.debug, 'log', async ({ params: { id, module }, note }, send) => {
      const { module: debugged, stop } = await node.desk.debug(named(id, module), ({ level, message, node }) => send({ level, message, node }));
      note({ module: debugged });
      return stop;
    }),
    functions: answer(routes.functions, async ({ params: { id, module } }) => ({ body: await node.desk.functions(named(id, module)) })),
    modulePing: answer(routes.modulePing, async ({ params: { id } }) => {
      const { ip, uri } = (await findDocument(node.store, 'mod', id)).document;
      return { body: { host: ip === '' ? uri : ip, pingable: valueOf((await node.desk.moduleStatus(id)).values, 'connected') === true } };
    }),
    systemTypes: answer(routes.systemTypes, async ({ params: { id } }) => ({ body: await countsOf(node, id) })),
    systemCount: answer(routes.systemCount, async ({ params: { id }, query: { module } }) => {
      const counts = await countsOf(node, id);
      return { body: module === undefined ? counts : { count: countOf(counts, module) } };
    }),
    moduleLoad: answer(routes.moduleLoad, async ({ params: { id }, caller, requestId, signal, note }) => {
      const request = { module: id, user: caller.user, who: caller.id, requestId };
      const loaded = await withDeadline(deps.clock, limits.reloadMs, signal, (signal) => node.desk.drivers.load(request, signal));
      note({ servedBy: loaded.servedBy });
      return { body: loadedView(loaded) };
    }),
    driverReload: answer(routes.driverReload, async ({ params: { id }, query: { location = null }, caller, requestId, signal, note }) => {
      return await reload(deps, { driver: id, location, user: caller.user, who: caller.id, requestId }, { signal, note });
    }),
  };
}

/** Brings code of a driver to its modules: what the files say, or what is tried live. */
export async function reload(deps: HandlerDeps, request: ReloadRequest, { signal, note }: Pick<RawCall, 'signal' | 'note'>) {
  const { clock, node } = deps;
  const { modules, failures } = await withDeadline(clock, limits.reloadMs, signal, (signal) => node.desk.drivers.reload(request, signal));
  note({ location: request.location, modules: modules.length, failures: failures.map((failure) => failure.location) });
  const failed = failures.map(({ location, error }) => ({ location, code: error.code, message: error.message }));
  return { body: { id: request.driver, modules: modules.map(loadedView), failures: failed } };
}

const loadedView = ({ module, location, problem, pausedMs, servedBy }: ReloadedAt) => ({
  id: module,
  location,
  problem,
  paused: pausedMs / 1_000,
  served_by: servedBy,
});

const named = (system: string, { name, index }: { name: string; index: number }): ModuleName => ({ system, module: name, index });

/** Names who ran it, in the answer and in the audit line. */
function served({ value, servedBy }: ExecAnswer, note: RawCall['note']) {
  note({ servedBy });
  return { body: value, headers: { 'x-holdfast-served-by': servedBy } };
}

/** Runs a method of a module of a system, wherever it is controlled: that location, and who ran it, are for the audit too. */
export async function execute(deps: HandlerDeps, request: ExecRequest, { signal, note }: Pick<RawCall, 'signal' | 'note'>) {
  note({ location: deps.node.desk.locationOfNamed(request) });
  return served(await bounded(deps, request.timeoutMs, signal, (signal) => deps.node.desk.exec(request, signal)), note);
}

/** The node keeps the deadline; ours is only the net below it. */
const bounded = (
  { clock }: HandlerDeps,
  timeoutMs: number,
  signal: CancelSignal,
  work: (signal: CancelSignal) => Promise<ExecAnswer>,
): Promise<ExecAnswer> => withDeadline(clock, timeoutMs + 1_000, signal, work);

/** The answer that is all status of a module. How old what another server was asked for is goes with it. */
export const stateOf = ({ values, ageMs = null }: ModuleStatus) => ({ body: values, headers: statusAge(ageMs) });

/** The same for one variable. */
export const variableOf = ({ values, ageMs = null }: ModuleStatus, key: string) => ({ body: valueOf(values, key), headers: statusAge(ageMs) });

/** null when it was never set. */
export const valueOf = (values: Record<string, Json>, key: string): Json => (Object.hasOwn(values, key) ? (values[key] ?? null) : null);

export async function countsOf(node: HoldfastNode, system: string): Promise<Record<string, number>> {
  const counts = new Map<string, number>();
  const { document } = await findDocument(node.store, 'sys', system);
  for (const name of await namesOf(node.store, document)) if (name !== null) counts.set(name, (counts.get(name) ?? 0) + 1);
  return Object.fromEntries(counts);
}

export const countOf = (counts: Record<string, number>, name: string): number => (Object.hasOwn(counts, name) ? (counts[name] ?? 0) : 0);
