import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createToken, revokeCredential } from '../../src/shared/api/auth/credentials.ts';
import { pathOf, routes } from '../../src/shared/client-api/routes.ts';
import type { Route, RouteName } from '../../src/shared/client-api/routes.ts';
import type { Role } from '../../src/shared/client-api/schemas.ts';
import { startTestServer } from '../support/api-server.ts';
import type { TestServer } from '../support/api-server.ts';
import { addSite, WEBHOOK_SECRET } from '../support/api-site.ts';
import { requestView } from '../support/fake-node.ts';
import { SocketClient } from '../support/socket-client.ts';

/** Who may do what, said once more than in the table of the program. `lists`: an operator whom the location lists. */
const mayBe = {
  anybody: [
    'live', 'ready', 'startup', 'root', 'version', 'authority', 'openApi', 'apiPage', 'webhook', 'webhookWithSecret',
  ],
  viewer: [
    'metrics', 'userCurrent', 'events', 'eventList', 'edgeList', 'edgeShow', 'edgeHistory', 'watch', 'moduleStatus', 'variable', 'functions', 'systemTypes',
    'systemCount', 'modulePing', 'moduleState', 'moduleVariable', 'moduleError', 'systemList', 'systemShow', 'systemZones', 'systemMetadata',
    'moduleList', 'moduleShow', 'driverList', 'driverShow', 'zoneList', 'zoneShow', 'metadataShow', 'metadataChildren',
    'olderUserCurrent', 'olderNodeList', 'olderNodeShow', 'olderZoneList', 'olderZoneShow', 'olderDependencyList', 'olderDependencyShow',
    'olderTriggerList', 'olderSystemList', 'olderSystemShow', 'olderSystemTypes', 'olderSystemCount', 'olderState', 'olderFunctions',
    'olderModuleList', 'olderModuleShow', 'olderModulePing', 'olderModuleState', 'olderModuleInternalState',
    'rolloutList', 'members', 'triggerList', 'triggerShow', 'triggerInstances', 'instancesOfTrigger', 'triggersOfSystem',
  ],
  operator: ['repository', 'exec', 'moduleExec', 'olderExec', 'debug', 'requestList', 'requestCancel'],
  listed: [
    'takeover', 'handback', 'pause', 'resume', 'windowOpen', 'windowClose', 'systemStart', 'systemStop', 'moduleStart', 'moduleStop',
    'moduleLoad', 'moduleUnload', 'repositoryPull', 'repositoryReset', 'repositoryCheckout', 'systemExpire', 'edgeStart', 'edgeStop', 'driverReload', 'driverRevert',
    'olderSystemStart', 'olderSystemStop', 'olderModuleStart', 'olderModuleStop', 'olderDependencyReload',
  ],
  admin: [
    'edgeAdd', 'edgeRotate', 'edgeToken', 'edgeRevoke', 'apply', 'export', 'backup', 'keyList', 'keyAdd', 'keyRevoke', 'tokenList', 'tokenIssue',
    'tokenRevoke', 'systemAdd', 'systemUpdate', 'systemReplace', 'systemRemove', 'moduleAdd', 'moduleUpdate', 'moduleReplace', 'moduleRemove',
    'driverAdd', 'driverUpdate', 'driverReplace', 'driverRemove', 'zoneAdd', 'zoneUpdate', 'zoneReplace', 'zoneRemove', 'systemSettings',
    'moduleSettings', 'settingsList', 'settingsShow', 'settingsUpdate', 'settingsReplace', 'metadataPut', 'metadataRemove',
    'driverEdit', 'triggerAdd', 'triggerUpdate', 'triggerReplace', 'triggerRemove',
    'settingsKeys', 'settingsRekey', 'rolloutStart', 'rolloutCancel',
  ],
} as const satisfies Record<string, readonly RouteName[]>;

/** Published clients fill these bodies with what they know of other servers, and whoever calls a webhook with anything. */
const takesMore = /^(system|module|driver|zone|trigger|settings)(Add|Update|Replace)$|^metadataPut$|^olderExec$|^webhook/;

/** From the least to the most. */
const callers = ['nobody', 'wrong', 'revoked', 'expired', 'viewer', 'operator', 'listed', 'admin'] as const;
type Caller = (typeof callers)[number];
const least: Record<keyof typeof mayBe, Caller> = { anybody: 'nobody', viewer: 'viewer', operator: 'operator', listed: 'listed', admin: 'admin' };

const ids: readonly [path: RegExp, id: string][] = [
  [/\/webhook/, 'trig-1~sys-1'],
  [/\/(edges|nodes)/, 'edge-1'],
  [/\/modules/, 'mod-1'],
  [/\/systems|\/metadata\/:id\/|\/settings/, 'sys-1'],
  [/\/(drivers|dependencies)/, 'driver-mock'],
  [/\/(zones|metadata)/, 'zone-1'],
  [/\/api_keys/, 'key-spare'],
  [/\/tokens/, 'token-spare'],
  [/\/requests/, 'request-1'],
  [/\/rollouts/, 'rollout-1'],
  [/\/triggers/, 'trig-1'],
];
/** Removals want something that nothing refers to. */
const spare: Partial<Record<RouteName, string>> = { systemRemove: 'sys-1', moduleRemove: 'mod-spare', driverRemove: 'driver-spare', zoneRemove: 'zone-spare', triggerRemove: 'trig-spare' };
const bodies: Partial<Record<RouteName, unknown>> = {
  edgeAdd: { id: 'edge-3' },
  windowOpen: { seconds: 120 },
  driverEdit: { file: 'driver.ts', content: '' },
  repositoryCheckout: { commit: 'main' },
  rolloutStart: { commit: 'main' },
  apply: { text: '' },
  keyAdd: { name: 'panel', role: 'viewer' },
  tokenIssue: { user: 'anna', role: 'viewer' },
  systemAdd: { name: 'Room' },
  moduleAdd: { name: 'Lamp', driver_id: 'driver-mock' },
  driverAdd: { name: 'Mock', builtin: 'mock' },
  zoneAdd: { name: 'Floor' },
  systemUpdate: {},
  systemReplace: {},
  moduleUpdate: {},
  moduleReplace: {},
  driverUpdate: {},
  driverReplace: {},
  triggerAdd: { name: 'Night' },
  triggerUpdate: {},
  triggerReplace: {},
  zoneUpdate: {},
  zoneReplace: {},
  settingsUpdate: { settings_string: '{"volume":5}' },
  settingsReplace: { settings_string: '{}' },
  metadataPut: { name: 'bindings', details: [1] },
  olderExec: { module: 'Display', index: 1, method: 'nothing', args: [] },
};
const queries: Partial<Record<RouteName, string>> = {
  metadataRemove: 'name=colour',
  olderSystemCount: 'module=Display',
  olderState: 'module=Display&index=1&lookup=power',
  olderFunctions: 'module=Display',
};

let server: TestServer;
let keys: Record<Caller, string | null>;
beforeEach(async () => {
  server = await startTestServer({ requestsPerMinute: 100_000 });
  server.node.methods.set('nothing', async () => null);
  server.node.inFlight.push(requestView('request-1'));
  const { node, clock } = server;
  await node.rollouts.start({ commit: 'main', locations: [], canaries: 1, dryRun: false, by: 'olga' }, new AbortController().signal);
  let drawn = 0;
  const maker = { store: node.store, clock, random: { next: () => 0, hex: (bytes: number) => (drawn += 1).toString(16).padStart(bytes * 2, 'f') } };
  const issue = (user: string, role: Role, expires_in: number) => createToken(maker, { user, role, expires_in, issued_by: 'key-1' });
  const expired = await issue('eve', 'admin', 1);
  const revoked = await issue('mallory', 'admin', 1_000_000);
  await revokeCredential(node.store, 'token', revoked.id);
  await clock.advance(1_000);
  await addSite(node, 'olga');
  keys = {
    nobody: null,
    wrong: `${server.keys.admin}0`,
    revoked: revoked.token,
    expired: expired.token,
    viewer: server.keys.viewer,
    operator: server.keys.operator,
    listed: (await issue('olga', 'operator', 1_000_000)).token,
    admin: server.keys.admin,
  };
});
afterEach(() => server.close());

interface Wrong {
  id?: string;
  query?: string;
  body?: string;
}

/** The status of one request; streams are left at once. */
async function ask(name: RouteName, caller: Caller, wrong: Wrong = {}): Promise<{ status: number; text: string }> {
  const route: Route = routes[name];
  const id = spare[name] ?? ids.find(([path]) => path.test(route.path))?.[1] ?? '';
  const path = pathOf(route, { id: wrong.id ?? id, module: 'Display_1', method: 'nothing', key: 'power', secret: WEBHOOK_SECRET });
  const query = wrong.query ?? queries[name];
  const body = wrong.body ?? (bodies[name] === undefined ? undefined : JSON.stringify(bodies[name]));
  const key = keys[caller];
  const abort = new AbortController();
  const answer = await fetch(`${server.http.origin}${path}${query === undefined ? '' : `?${query}`}`, {
    method: route.method,
    headers: { ...(key === null ? {} : { authorization: `Bearer ${key}` }), 'content-type': 'application/json', 'x-webhook-secret': WEBHOOK_SECRET },
    ...(body === undefined ? {} : { body }),
    signal: abort.signal,
  });
  const text = route.answer === 'events' && answer.ok ? '' : await answer.text();
  abort.abort();
  return { status: answer.status, text };
}

/** The same as a `request` over a WebSocket. */
async function askBySocket(name: RouteName, caller: Caller): Promise<object> {
  const socket = await SocketClient.open(`${server.http.origin}/api/engine/v2/systems/control`, { 'x-api-key': keys[caller] ?? '' });
  const params = { id: spare[name] ?? ids.find(([path]) => path.test(routes[name].path))?.[1] ?? '', module: 'Display_1', method: 'nothing', key: 'power' };
  const request = {
    params: Object.fromEntries(Object.entries(params).filter(([field]) => routes[name].path.includes(`:${field}`))),
    query: Object.fromEntries(new URLSearchParams(queries[name])),
    body: bodies[name],
  };
  const answer = await socket.ask({ id: 1, cmd: 'request', route: name, ...request });
  socket.close();
  return typeof answer === 'string' ? { answer } : answer;
}

describe('every route', () => {
  it('is in the table of this test', () => {
    expect(Object.values(mayBe).flat().toSorted()).toEqual(Object.keys(routes).toSorted());
  });

  it('has a method and path of its own', () => {
    const all = Object.values<Route>(routes).map(({ method, path }) => `${method} ${path.replaceAll(/:\w+/g, ':')}`);
    expect(all.filter((one, i) => all.indexOf(one) !== i)).toEqual([]);
  });

  it('refuses an unknown field of its body, but where others fill it, and ignores those of its query, as docs/api.md says', () => {
    for (const name of Object.values(mayBe).flat()) {
      const { body, query }: Route = routes[name];
      expect([name, body.safeParse(Object.assign({ foo: 1 }, bodies[name])).success]).toEqual([name, takesMore.test(name)]);
      expect([name, query.safeParse({ ...Object.fromEntries(new URLSearchParams(queries[name])), foo: '1' }).success]).toEqual([name, true]);
    }
  });

  it('says which field it does not know', async () => {
    expect((await ask('pause', 'admin', { query: 'foo=1' })).status).toBe(200);
    const { status, text } = await ask('pause', 'admin', { body: '{"foo":1}' });
    expect([status, JSON.parse(text)]).toEqual([422, expect.objectContaining({ facts: { field: 'body', problem: 'Unrecognized key: "foo"' } })]);
    expect((await ask('olderExec', 'admin', { body: '{"module":"Display","method":"nothing","foo":1}' })).status).toBe(200);
  });

  for (const [who, names] of Object.entries(mayBe) as [keyof typeof mayBe, readonly RouteName[]][]) {
    for (const name of names) {
      if (routes[name].answer === 'json' && who !== 'anybody') {
        it(`${name} is for ${who} over a WebSocket too`, async () => {
          for (const caller of callers.slice(callers.indexOf('viewer'))) {
            const may = callers.indexOf(caller) >= callers.indexOf(least[who]);
            const answer = may ? { type: 'success', status: routes[name].status } : { type: 'error', code: 2, error: { code: 'FORBIDDEN' } };
            expect({ caller, ...(await askBySocket(name, caller)) }).toMatchObject({ caller, ...answer });
          }
        });
      }
      it(`${name} is for ${who}, takes right input and refuses wrong input`, async () => {
        const route: Route = routes[name];
        const from = callers.indexOf(least[who]);
        for (const [i, caller] of callers.entries()) {
          const { status, text } = await ask(name, caller);
          const refused = i < callers.indexOf('viewer') ? 401 : 403;
          expect([caller, status, i < from ? '' : text.slice(0, 200)]).toEqual([caller, i < from ? refused : route.status, i < from ? '' : text.slice(0, 200)]);
        }
        for (const wrong of wrongInput(route)) {
          const { status, text } = await ask(name, 'admin', wrong);
          expect([wrong, status, JSON.parse(text)]).toEqual([wrong, 422, expect.objectContaining({ code: 'INPUT_INVALID', failures: [expect.anything()] })]);
        }
      });
    }
  }
});

function wrongInput(route: Route): Wrong[] {
  const wrong: Wrong[] = [];
  if (route.path.includes(':id')) wrong.push({ id: 'a/b' });
  for (const field of ['limit', 'timeout_ms', 'index']) {
    if (!route.query.safeParse({ module: 'Display', [field]: '0' }).success) wrong.push({ query: `module=Display&${field}=0` });
  }
  if (route.method !== 'GET') wrong.push({ body: '"text"' });
  return wrong;
}

describe('at an edge', () => {
  it('what changes documents is refused with the code that names the master, for every such route', async () => {
    const edge = await startTestServer({ role: 'edge' });
    const asked = Object.values<Route>(routes).filter((route) => route.masterOnly);
    for (const route of asked) {
      const path = pathOf(route, { id: 'x', module: 'Display_1' });
      const answer = await fetch(`${edge.http.origin}${path}`, { method: route.method, headers: { 'x-api-key': edge.keys.admin } });
      expect([route.path, answer.status, await answer.json()]).toEqual([route.path, 409, expect.objectContaining({ code: 'MASTER_ONLY' })]);
    }
    expect(asked.length).toBeGreaterThan(30);
    await edge.close();
  });
});
