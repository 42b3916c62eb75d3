import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { documentSchemas } from '../../src/shared/model/documents.ts';
import type { AnyDocument } from '../../src/shared/model/documents.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { triggerSchema } from '../../src/shared/model/trigger.ts';
import { requestsTo, startTestServer } from '../support/api-server.ts';
import type { TestServer } from '../support/api-server.ts';
import { cli } from '../support/cli-run.ts';
import { SINCE_MS } from '../support/fake-node.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { socketClientsOf } from '../support/socket-client.ts';

const SECRET = 'a-secret-of-its-own';
const HOOK = '/api/engine/v2/webhook/trig-1~sys-1/notify';
const trigger = triggerSchema.parse({
  id: 'trig-1',
  type: 'trigger',
  name: 'Night',
  enable_webhook: true,
  webhook_secret: SECRET,
  actions: { functions: [{ mod: 'Display_1', method: 'power', args: [false] }], webhooks: [{ url: 'https://hooks.example.org/PATH', headers: { authorization: 'Bearer HEADER' } }] },
});
const system = documentSchemas.sys.parse({ id: 'sys-1', type: 'sys', name: 'Room 1', edge_control_id: 'edge-1', triggers: ['trig-1'] });

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
  await server.node.store.apply([trigger, system].map((document: AnyDocument) => ({ op: 'put', document, expect: null })));
});
afterEach(() => server.close());

const { as, get, post } = requestsTo(() => server);
const send = (method: string, path: string, body: unknown) =>
  fetch(`${server.http.origin}${path}`, { method, headers: { ...as('admin'), 'content-type': 'application/json' }, body: JSON.stringify(body) });

describe('a webhook', () => {
  const call = (path: string, headers: Record<string, string> = {}) => fetch(`${server.http.origin}${path}`, { method: 'POST', headers });

  it('needs no key but its secret, by header or in the path, and names its call', async () => {
    const first = await call(HOOK, { 'x-webhook-secret': SECRET, 'x-request-id': 'call-1' });
    expect([first.status, await first.json()]).toEqual([202, { id: 'trig-1~sys-1', result: 'fires' }]);
    expect((await call(`${HOOK}/${SECRET}`, { 'x-request-id': 'call-2' })).status).toBe(202);
    expect(server.node.called).toEqual(['trig-1~sys-1 call-1', 'trig-1~sys-1 call-2']);
  });

  it('takes no place of those who have a key, whatever it sends', async () => {
    const { api } = server;
    const start = { headers: {}, requestId: 'x', remote: '::1', params: {}, query: {}, url: '' };
    const stranger = await api.begin({ ...start, route: 'webhook' });
    const admin = await api.begin({ ...start, route: 'apply', headers: as('admin') });
    while (true) {
      try {
        api.admitBody(stranger, limits.bodyBytes);
      } catch (error) {
        expect(error).toMatchObject({ code: 'LIMIT_REACHED', facts: { limit: limits.strangersBodiesBytes } });
        break;
      }
    }
    for (let bytes = 0; bytes < limits.largeBodiesBytes; bytes += limits.bodyBytes) api.admitBody(admin, limits.bodyBytes);
    expect(() => api.admitBody(admin, limits.bodyBytes)).toThrow(expect.objectContaining({ code: 'LIMIT_REACHED' }) as Error);
  });

  it('without its secret, with a wrong one, or of nothing that is there is refused, always in the same words', async () => {
    const bare = triggerSchema.parse({ ...trigger, id: 'trig-bare', webhook_secret: '' });
    const off = triggerSchema.parse({ ...trigger, id: 'trig-off', enabled: false });
    const closed = triggerSchema.parse({ ...trigger, id: 'trig-closed', enable_webhook: false });
    const stored = await server.node.store.get('sys-1');
    const document = { ...system, triggers: ['trig-1', 'trig-bare', 'trig-off', 'trig-closed'] };
    await server.node.store.apply([
      ...[bare, off, closed].map((made) => ({ op: 'put' as const, document: made, expect: null })),
      { op: 'put', document, expect: stored?.version ?? null },
    ]);
    const asked: [string, Record<string, string>][] = [
      [HOOK, {}], [HOOK, { 'x-webhook-secret': '' }], [HOOK, { 'x-webhook-secret': `${SECRET}x` }], [HOOK, as('admin')], [`${HOOK}/wrong`, {}],
      ...['trig-bare~sys-1', 'trig-off~sys-1', 'trig-closed~sys-1', 'trig-1~sys-2', 'nothing~sys-1', 'sys-1~trig-1'].map((id): [string, Record<string, string>] => [
        `/api/engine/v2/webhook/${id}/notify`, { 'x-webhook-secret': id === 'trig-bare~sys-1' ? '' : SECRET },
      ]),
    ];
    for (const [path, headers] of asked) {
      const answer = await call(path, headers);
      expect([path, answer.status, await answer.json()]).toMatchObject([path, 403, { code: 'WEBHOOK_REFUSED' }]);
    }
    expect(server.node.called).toEqual([]);
    expect(server.log.filter(({ event }) => event === 'access-refused')).not.toEqual([]);
  });

  it('is looked up once for each call', async () => {
    const { store } = server.node;
    const lookUp = store.get.bind(store);
    let reads = 0;
    store.get = async (id) => {
      if (id === 'trig-1') reads += 1;
      return await lookUp(id);
    };
    expect((await call(`${HOOK}/${SECRET}`)).status).toBe(202);
    expect(reads).toBe(1);
  });

  it('needs its secret over a WebSocket, too', async () => {
    const socket = await socketClientsOf(() => server)('admin');
    const params = { id: 'trig-1~sys-1', secret: 'wrong' };
    expect(await socket.ask({ id: 1, cmd: 'request', route: 'webhookWithSecret', params })).toMatchObject({ type: 'error', error: { code: 'WEBHOOK_REFUSED' } });
    expect(await socket.ask({ id: 2, cmd: 'request', route: 'webhook', params: { id: params.id } })).toMatchObject({ error: { code: 'WEBHOOK_REFUSED' } });
    expect(server.node.called).toEqual([]);
    const right = { ...params, secret: SECRET };
    expect(await socket.ask({ id: 3, cmd: 'request', route: 'webhookWithSecret', params: right })).toMatchObject({ status: 202, body: { result: 'fires' } });
  });

  it('leaves its secret in no log, whichever way it came', async () => {
    await call(`${HOOK}/${SECRET}`);
    await call(`${HOOK}/${SECRET}-almost`);
    await call(HOOK, { 'x-webhook-secret': SECRET });
    const audits = server.log.filter(({ event }) => event === 'command' || event === 'refused');
    expect(audits.map(({ facts }) => [facts['result'], facts['params']])).toMatchObject([['ok', { id: 'trig-1~sys-1' }], ['WEBHOOK_REFUSED', {}], ['ok', {}]]);
    expect(JSON.stringify(server.log)).not.toContain(SECRET);
  });
});

describe('documents of triggers', () => {
  it('are read without what lets somebody in: secrets, headers and addresses', async () => {
    for (const path of ['/api/engine/v2/triggers', '/api/engine/v2/triggers/trig-1', '/control/api/triggers']) {
      const text = await (await get(path, as('viewer'))).text();
      expect(text).toContain('hooks.example.org');
      expect(text).not.toMatch(/PATH|HEADER|a-secret/);
    }
  });

  it('are made and changed as published clients do it; what these do not know stays', async () => {
    const fresh = { name: 'New', conditions: { comparisons: [], time_dependents: [] }, actions: { functions: [{ mod: 'Display_1', method: 'off', args: {} }], mailers: [] }, debounce_period: 500 };
    const made = await send('POST', '/api/engine/v2/triggers', fresh);
    expect([made.status, await made.json()]).toMatchObject([201, { name: 'New', debounce_period: 500, actions: { functions: [{ args: [] }] } }]);
    const changed = await send('PATCH', '/api/engine/v2/triggers/trig-1', { description: 'd', actions: { functions: [], mailers: [] } });
    expect(changed.status).toBe(200);
    expect((await server.node.store.get('trig-1'))?.document).toMatchObject({ webhook_secret: SECRET, actions: { functions: [], webhooks: trigger.actions.webhooks } });
  });

  it.each([
    ['a webhook without its secret', { name: 'x', enable_webhook: true }, 'body.webhook_secret'],
    ['a secret that can be guessed', { name: 'x', enable_webhook: true, webhook_secret: 'short' }, 'body.webhook_secret'],
    ['a wrong cron', { name: 'x', conditions: { time_dependents: [{ type: 'cron', cron: 'never' }] } }, 'body.conditions.time_dependents[0].cron'],
    ['an address that is not encrypted', { name: 'x', actions: { webhooks: [{ url: 'http://example.org' }] } }, 'body.actions.webhooks.0.url'],
    ['mails', { name: 'x', actions: { mailers: [{}] } }, 'body.actions.mailers'],
  ])('%s is refused with a reason, and nothing is changed', async (_, body, field) => {
    const before = await server.node.store.head();
    const answer = await send('POST', '/api/engine/v2/triggers', body);
    expect([answer.status, await answer.json()]).toMatchObject([422, { code: 'INPUT_INVALID', facts: { field } }]);
    expect(await server.node.store.head()).toEqual(before);
  });

  it('that a system lists cannot be removed', async () => {
    const answer = await fetch(`${server.http.origin}/api/engine/v2/triggers/trig-1`, { method: 'DELETE', headers: as('admin') });
    expect([answer.status, await answer.json()]).toMatchObject([409, { code: 'IN_USE' }]);
  });

  it('need an administrator', async () => {
    expect((await post('/api/engine/v2/triggers', '{"name":"x"}', as('operator'))).status).toBe(403);
  });
});

describe('triggers in systems', () => {
  beforeEach(() => {
    const firings = [{ occurrence: 'rise-2', epoch: { generation: 0, number: 4 }, wallMs: SINCE_MS }];
    const memory = { instance: 'trig-1~sys-1', epoch: { generation: 0, number: 4 }, revision: 3, timesUntilMs: 0, met: true, rises: 2, count: 2, firings };
    server.node.triggerViews.push({ id: 'trig-1~sys-1', trigger, system, location: 'edge-1', memory, nextMs: null });
    server.node.triggerViews.push({ id: 'trig-2~sys-2', trigger: { ...trigger, id: 'trig-2', enabled: false }, system: { ...system, id: 'sys-2' }, location: 'master', memory: null, nextMs: SINCE_MS });
  });

  it('say what they did last and who drives, all of them, of one trigger and of one system', async () => {
    const first = { id: 'trig-1~sys-1', trigger_id: 'trig-1', control_system_id: 'sys-1', state: 'met', activated_count: 2, occurrence: 'rise-2', epoch: '0.4', served_by: 'edge', last_fired: SINCE_MS / 1_000 };
    const all = await get('/api/engine/v2/triggers/instances', as('viewer'));
    expect([all.headers.get('x-total-count'), await all.json()]).toMatchObject(['2', [first, { state: 'off', served_by: 'master', last_fired: null, next: SINCE_MS / 1_000 }]]);
    expect(await (await get('/api/engine/v2/triggers/trig-1/instances', as('viewer'))).json()).toMatchObject([first]);
    expect(await (await get('/api/engine/v2/systems/sys-1/triggers', as('viewer'))).json()).toMatchObject([first]);
    expect((await get('/api/engine/v2/triggers/none/instances', as('viewer'))).status).toBe(404);
  });

  it('are listed by the command line', async () => {
    const env = { HOLDFAST_SERVER: server.http.origin, HOLDFAST_KEY: server.keys.viewer };
    const { code, out } = await cli({ clock: new FakeClock(SINCE_MS), env }, 'trigger', 'list');
    expect([code, out]).toEqual([0, `
TRIGGER  SYSTEM  STATE  LAST FIRED            NEXT                  EPOCH  SERVED BY
trig-1   sys-1   met    2025-01-01T12:00:00Z  -                     0.4    edge
trig-2   sys-2   off    -                     2025-01-01T12:00:00Z  -      master
`.trimStart()]);
    const json = await cli({ clock: new FakeClock(SINCE_MS), env }, '-o', 'json', 'trigger', 'list');
    expect(JSON.parse(json.out)).toHaveLength(2);
  });
});
