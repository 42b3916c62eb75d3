import { openApi } from '../../client-api/openapi.ts';
import { openApiPage } from '../../client-api/openapi-page.ts';
import { serverRoutes as routes } from '../../client-api/server-routes.ts';
import { limits } from '../../model/limits.ts';
import type { Readiness } from '../../runtime/node.ts';
import { answer, parsed } from './handler.ts';
import type { Handler, HandlerDeps } from './handler.ts';
import { JsonText } from '../reply.ts';
import { requestOf, userOf } from '../views.ts';

/** The generation of published clients that these routes serve; they look for a 2 in front. */
const PROTOCOL_VERSION = 'v2.0.0';

export function serverHandlers(deps: HandlerDeps) {
  const { node, siteFiles, backup, version } = deps;
  return {
    live: answer(routes.live, async () => ({ body: { status: 'up' as const, role: node.role, node: node.id, waiting_for: [] } })),
    ready: answer(routes.ready, async () => healthOf(deps, (readiness) => readiness.ready)),
    startup: answer(routes.startup, async () => healthOf(deps, (readiness) => readiness.started)),
    root: answer(routes.root, async () => healthOf(deps, (readiness) => readiness.ready)),
    metrics: answer(routes.metrics, async () => ({
      body: await deps.metricsText(),
      headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
    })),
    members: answer(routes.members, async ({ query: { system } }) => {
      const location = system === undefined ? null : node.locationOfSystem(system);
      return { body: node.members().filter((member) => system === undefined || member.location === location) };
    }),
    requestList: answer(routes.requestList, async () => ({ body: node.desk.requests().map(requestOf) })),
    requestCancel: answer(routes.requestCancel, async ({ params: { id }, caller, note }) => {
      // Also of one that cannot be cancelled.
      const asked = node.desk.requests().find((known) => known.id === id);
      if (asked !== undefined) note({ location: asked.location });
      const request = await node.desk.cancelRequest(id, { user: caller.user, who: caller.id });
      const { user, location, module, method } = request;
      note({ location, cancelled: { user, location, module, method } });
      return { body: requestOf(request) };
    }),
    version: answer(routes.version, async () => ({ body: { service: 'holdfast', version, commit: '', build_time: '' } })),
    // No log-in: applications bring a key or a token.
    authority: answer(routes.authority, async () => ({
      body: {
        id: 'holdfast',
        name: 'Holdfast',
        description: '',
        domain: '',
        login_url: '',
        logout_url: '',
        session: false,
        production: true,
        config: {},
        version: PROTOCOL_VERSION,
      },
    })),
    ...descriptions(version),
    userCurrent: answer(routes.userCurrent, async ({ caller }) => ({ body: userOf(caller) })),

    backup: answer(routes.backup, async ({ body, note }) => {
      const made = await backup(body.name ?? null);
      note({ path: made.path });
      return { body: made };
    }),
    apply: answer(routes.apply, async ({ body, note }) => {
      const planned = await siteFiles.plan(body.text);
      const { changes } = planned.plan;
      note({ dryRun: body.dry_run, changes: changes.length, documents: changes.slice(0, limits.namedDocuments).map(({ op, id }) => `${op} ${id}`) });
      if (planned.location !== null) note({ location: planned.location });
      if (!body.dry_run) await planned.run();
      return { body: { ...planned.plan, dry_run: body.dry_run } };
    }),
    settingsKeys: answer(routes.settingsKeys, async () => ({ body: await siteFiles.sealed() })),
    settingsRekey: answer(routes.settingsRekey, async ({ body, note }) => {
      const { plan, run } = await siteFiles.rekey();
      note({ dryRun: body.dry_run, key: plan.key, changes: plan.documents.length });
      if (!body.dry_run) await run();
      return { body: { ...plan, dry_run: body.dry_run } };
    }),
    export: answer(routes.export, async () => ({ body: { text: await siteFiles.export() } })),
  };
}

/** Anybody may ask for them. To make the first takes a tenth of a second: asked for often it would cost the links their heartbeats. */
function descriptions(version: string): { openApi: Handler; apiPage: Handler } {
  const description = once(() => new JsonText(JSON.stringify(openApi(version))));
  const page = once(() => openApiPage(version));
  return {
    openApi: async (call) => {
      parsed(routes.openApi, call);
      return { kind: 'json', status: routes.openApi.status, headers: {}, body: description() };
    },
    apiPage: answer(routes.apiPage, async () => ({ body: page() })),
  };
}

/** Made when it is asked for, and kept. */
function once<T>(make: () => T): () => T {
  let made: { value: T } | null = null;
  return () => (made ??= { value: make() }).value;
}

function healthOf({ node, closing }: HandlerDeps, good: (readiness: Readiness) => boolean) {
  const readiness = node.readiness();
  const up = good(readiness) && !closing.aborted;
  const waiting_for = closing.aborted ? ['the shutdown to end'] : readiness.waitingFor;
  const body = { status: up ? ('up' as const) : ('starting' as const), role: node.role, node: node.id, waiting_for: up ? [] : waiting_for };
  return up ? { body } : { body, status: 503, headers: { 'retry-after': '1' } };
}
