import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError, routes } from '../../src/client-sdk/index.ts';
import { requestsTo, startTestServer } from '../support/api-server.ts';
import type { TestServer } from '../support/api-server.ts';
import { addSite } from '../support/api-site.ts';
import { systemDocument } from '../support/sample-documents.ts';

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer({ requestsPerMinute: 100_000 });
  await addSite(server.node, 'olga');
});
afterEach(() => server.close());

const { url, as, get } = requestsTo(() => server);
const API = '/api/engine/v2';
const send = async (method: string, path: string, body: unknown, headers: Record<string, string> = {}) => {
  const answer = await fetch(url(`${API}${path}`), {
    method,
    headers: { ...as('admin'), 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown>, headers: answer.headers };
};
const list = async (path: string): Promise<string[]> => ((await (await get(`${API}${path}`)).json()) as { id: string }[]).map(({ id }) => id);

describe('documents, one by one', () => {
  it('are made, changed and removed, each time with a new version', async () => {
    const made = await send('POST', '/zones', { name: 'Garden', tags: ['outside'] });
    expect([made.status, made.body['name'], typeof made.body['id']]).toEqual([201, 'Garden', 'string']);
    const id = String(made.body['id']);
    expect(made.headers.get('etag')).toBe(`"${String(made.body['version'])}"`);
    const changed = await send('PATCH', `/zones/${id}`, { name: 'Park' });
    expect([changed.status, changed.body]).toEqual([200, { ...made.body, name: 'Park', version: changed.body['version'] }]);
    expect(changed.body['version']).not.toBe(made.body['version']);
    expect((await send('DELETE', `/zones/${id}`, undefined)).status).toBe(202);
    expect((await send('DELETE', `/zones/${id}`, undefined)).status).toBe(404);
    expect((await send('POST', '/zones', { id: 'zone-1', name: 'Twice' })).status).toBe(409);
  });

  it('are not changed on top of a change that the client has not seen, however it names the version', async () => {
    const seen = (await send('PATCH', '/systems/sys-1', {})).body;
    await send('PATCH', '/systems/sys-1', { description: 'by somebody else' });
    const version = String(seen['version']);
    const stale = [
      await send('PUT', '/systems/sys-1', { ...seen, name: 'Mine' }),
      await send('PATCH', `/systems/sys-1?version=${version}`, { name: 'Mine' }),
      await send('PATCH', '/systems/sys-1', { name: 'Mine' }, { 'if-match': `"${version}"` }),
      await send('DELETE', `/systems/sys-1?version=${version}`, undefined),
      await send('PATCH', '/settings/sys-1', { settings_string: '{}', version }),
      await send('PUT', '/metadata/sys-1', { name: 'x', details: 1, version }),
    ];
    expect(stale.map(({ status, body }) => [status, body['code']])).toEqual(stale.map(() => [409, 'VERSION_CONFLICT']));
    const fresh = (await send('PATCH', '/systems/sys-1?version=0', { name: 'Ours' })).body;
    expect((await send('PUT', '/systems/sys-1', { ...fresh, name: 'Mine' }, { 'if-match': '*' })).status).toBe(200);
  });

  it('keep what a published client does not know, and ignore what this server does not keep', async () => {
    // As `@placeos/ts-client` sends a system and a module that it has read.
    const system = { name: 'Board', images: [], playlists: [], settings: [null, null, null, null], version: 0, edge_id: 'edge-1', zones: ['zone-1'] };
    expect((await send('PUT', '/systems/sys-1', system)).body).toMatchObject({ name: 'Board', zones: ['zone-1'], modules: ['mod-1', 'mod-2', 'mod-logic'] });
    const module = { driver_id: 'driver-mock', role: 1, connected: true, settings: [null], port: 23, ip: '192.0.2.8', edge_id: 'edge-1' };
    expect((await send('PUT', '/modules/mod-1', module)).body).toMatchObject({ port: 23, name: 'Display', edge_id: 'edge-1', role: 1 });
    expect((await server.node.store.get('mod-1'))?.document).toMatchObject({ settings: { password: 'hunter2' } });
    expect((await send('POST', '/drivers', { name: 'L', builtin: 'mock', role: 99 })).body).toMatchObject({ role: 99 });
  });

  it('obey the rules of files: references, drivers, locations', async () => {
    const cases: [method: string, path: string, body: object, field: string][] = [
      ['POST', '/systems', { name: 'x', zones: ['zone-9'] }, 'body.zones[0]'],
      ['POST', '/modules', { name: 'Lamp', driver_id: 'zone-1' }, 'body.driver_id'],
      ['POST', '/modules', { name: 'no-letters', driver_id: 'driver-mock' }, 'body.name'],
      ['POST', '/drivers', { name: 'x', builtin: 'mok' }, 'body.builtin'],
      ['POST', '/zones', { name: 'x', parent_id: 'zone-9' }, 'body.parent_id'],
      ['PATCH', '/systems/sys-1', { edge_control_id: 'edge-9' }, 'body.edge_control_id'],
      ['PATCH', '/modules/mod-1', { port: 99_999 }, 'body.port'],
      ['PATCH', '/settings/mod-1', { settings_string: '[1]' }, 'body.settings_string'],
      ['PATCH', '/settings/mod-1', { settings_string: '{' }, 'body.settings_string'],
    ];
    for (const [method, path, body, field] of cases) {
      const answer = await send(method, path, body);
      expect([path, answer.status, answer.body['failures']]).toEqual([path, 422, [{ field, reason: expect.any(String) as string }]]);
    }
  });

  it('that others refer to stay', async () => {
    for (const [path, by] of [['/zones/zone-2', 'sys-1'], ['/zones/zone-1', 'sys-1'], ['/modules/mod-1', 'sys-1'], ['/drivers/driver-mock', 'mod-1']]) {
      const answer = await send('DELETE', path ?? '', undefined);
      expect([path, answer.status, answer.body]).toEqual([path, 409, expect.objectContaining({ code: 'IN_USE', facts: expect.objectContaining({ by }) as object })]);
    }
  });

  it('take no prototype key, anywhere', async () => {
    for (const [path, text] of [['/zones', '{"name":"x","__proto__":{"role":"admin"}}'], ['/metadata/sys-1', '{"name":"x","details":{"constructor":{"prototype":1}}}']]) {
      const method = path === '/zones' ? 'POST' : 'PUT';
      const answer = await fetch(url(`${API}${path}`), { method, headers: { ...as('admin'), 'content-type': 'application/json' }, body: text ?? '' });
      const problem = `must not have the key ${path === '/zones' ? '__proto__' : 'constructor.prototype'}, which would change what is inherited`;
      expect([answer.status, await answer.json()]).toMatchObject([422, { code: 'INPUT_INVALID', facts: { field: 'body', problem } }]);
    }
    for (const text of ['{"__proto__":{"a":1}}', '{"a":[{"__proto__":1}]}', '{"a":{"constructor":{"prototype":1}}}']) {
      const refused = await send('PATCH', '/settings/mod-1', { settings_string: text });
      expect([refused.status, refused.body]).toMatchObject([422, { code: 'INPUT_INVALID', facts: { field: 'body.settings_string' } }]);
    }
    expect((await server.node.store.get('mod-1'))?.document).toMatchObject({ settings: { password: 'hunter2' } });
    expect((await send('PUT', '/metadata/sys-1', { name: '__proto__', details: 1 })).status).toBe(422);
    expect((await get(`${API}/metadata/sys-1?name=constructor`)).status).toBe(200);
    expect((await send('DELETE', '/metadata/sys-1?name=constructor', undefined)).status).toBe(404);
    expect(Object.hasOwn(Object.prototype, 'details')).toBe(false);
  });
});

describe('lists', () => {
  it('are filtered', async () => {
    expect(await list('/systems?zone_id=zone-9,zone-2')).toEqual(['sys-1']);
    expect(await list('/systems?zone_id=zone-9')).toEqual([]);
    expect(await list('/systems?module_id=mod-2&email=boardroom@example.org&capacity=12&bookable=false&edge_id=edge-1')).toEqual(['sys-1']);
    for (const none of ['email=x@example.org', 'capacity=13', 'bookable=true', 'edge_id=edge-2', 'module_id=mod-spare']) {
      expect([none, await list(`/systems?${none}`)]).toEqual([none, []]);
    }
    expect(await list('/modules?control_system_id=sys-1&driver_id=driver-logic')).toEqual(['mod-logic']);
    expect(await list('/modules?edge_id=edge-2&running=true')).toEqual(['mod-spare']);
    server.node.setStatus({ system: '', module: 'mod-1', index: 0, key: 'connected', value: true });
    expect(await list('/modules?connected=true')).toEqual(['mod-1']);
    expect(await list('/drivers?role=99')).toEqual(['driver-logic']);
    expect(await list('/zones?tags=level,x')).toEqual(['zone-1']);
    expect(await list('/zones?parent_id=zone-1')).toEqual(['zone-2']);
    expect(await list('/settings?parent_id=mod-1')).toEqual(['mod-1']);
  });

  it('keep their filters in the link to the next page, and never a credential', async () => {
    const answer = await get(`${API}/modules?q=mod&limit=1&edge_id=edge-1,edge-2&api-key=${server.keys.admin}`, {});
    expect(answer.headers.get('link')).toBe(`<${API}/modules?limit=1&offset=1&q=mod&edge_id=edge-1%2Cedge-2>; rel="next"`);
  });

  it('take a thousand parameters, and no more than a request line holds', async () => {
    const many = Array.from({ length: 1_000 }, (_, i) => `x${i}=1`).join('&');
    expect((await get(`${API}/systems?${many}`)).status).toBe(200);
    expect((await get(`${API}/systems?${many}${'&y=1'.repeat(5_000)}`)).status).toBe(431);
    expect((await get(`${API}/systems?__proto__=1&constructor=1&zone_id=a&zone_id=b`)).status).toBe(422);
  });
});

describe('systems and modules', () => {
  it('complete=true brings the modules and zones along', async () => {
    const detail = await server.client(server.keys.viewer).call(routes.systemShow, { params: { id: 'sys-1' }, query: { complete: 'true' } });
    expect(detail.module_data?.map(({ id, role, edge_id }) => [id, role, edge_id])).toEqual([['mod-1', 1, 'edge-1'], ['mod-2', 1, 'edge-1'], ['mod-logic', 99, 'edge-1']]);
    expect(detail.zone_data?.map(({ id }) => id)).toEqual(['zone-1', 'zone-2']);
    expect(await list('/systems/sys-1/zones')).toEqual(['zone-1', 'zone-2']);
    expect(await (await get(`${API}/systems/sys-1/types`)).json()).toEqual({ Display: 2, Room: 1 });
    expect(await (await get(`${API}/systems/sys-1/count?module=Display`)).json()).toEqual({ count: 2 });
    expect(await (await get(`${API}/systems/sys-1/count?module=constructor`)).json()).toEqual({ count: 0 });
  });

  it('are started and stopped by their documents, all but those that are left alone', async () => {
    expect((await send('POST', '/systems/sys-1/stop', undefined)).body).toEqual({ id: 'sys-1', changed: 2, modules: 2 });
    expect(await list('/modules?running=false')).toEqual(['mod-1', 'mod-logic']);
    expect((await send('POST', '/modules/mod-1/start', undefined)).body).toEqual({ id: 'mod-1', changed: 1, modules: 1 });
    expect((await send('POST', '/modules/mod-1/start', undefined)).body).toEqual({ id: 'mod-1', changed: 0, modules: 1 });
    expect((await send('POST', '/systems/sys-1/start', undefined)).body).toEqual({ id: 'sys-1', changed: 1, modules: 2 });
  });

  it('are only for operators of their location', async () => {
    for (const path of ['/modules/mod-spare/stop', '/systems/sys-1/stop', '/modules/mod-1/start']) {
      expect([path, (await send('POST', path, undefined, as('operator'))).status]).toEqual([path, 403]);
    }
  });

  it('are only for operators of every location that a system or a driver spans', async () => {
    const { body } = await send('POST', '/tokens', { user: 'olga', role: 'operator' });
    const olga = { authorization: `Bearer ${String(body['token'])}` };
    const status = async (path: string) => (await fetch(url(`${API}${path}`), { method: 'POST', headers: olga })).status;
    // She is listed in edge-1. Each of these has a part of somebody else's: a module, all but a module, the whole.
    const spanning = [
      systemDocument('sys-span', { edge_control_id: 'edge-1', modules: ['mod-1', 'mod-spare'] }),
      systemDocument('sys-abroad', { edge_control_id: 'edge-2', modules: ['mod-1'] }),
      systemDocument('sys-central', { modules: ['mod-1'] }),
    ];
    await server.node.store.apply(spanning.map((document) => ({ op: 'put', document, expect: null })));
    for (const { id } of spanning) {
      for (const action of ['start', 'stop', 'expire']) expect([id, action, await status(`/systems/${id}/${action}`)]).toEqual([id, action, 403]);
    }
    for (const locations of [['edge-1', 'edge-2'], ['edge-2', 'edge-1']]) {
      server.node.driverLocations = locations;
      for (const action of ['reload', 'revert']) expect([locations, action, await status(`/drivers/driver-mock/${action}`)]).toEqual([locations, action, 403]);
    }
    expect(server.node.reloaded).toEqual([]);
    expect(await status('/systems/sys-1/stop')).toBe(200);
  });

  it('a module answers by its id too', async () => {
    server.node.setStatus({ system: '', module: 'mod-1', index: 0, key: 'connected', value: true });
    server.node.methods.set('add', async ({ args }) => Number(args[0]) + 1);
    expect(await (await get(`${API}/modules/mod-1/state/connected`)).json()).toBe(true);
    expect((await send('POST', '/modules/mod-1/exec/add', [1])).body).toBe(2);
    expect((await send('POST', '/modules/mod-1/ping', undefined)).body).toEqual({ host: '192.0.2.7', pingable: true });
    expect(await (await get(`${API}/modules/mod-1/error`)).json()).toEqual([]);
    server.node.setStatus({ system: '', module: 'mod-1', index: 0, key: 'problem', value: 'it throws\nat line 3' });
    expect(await (await get(`${API}/modules/mod-1/error`)).json()).toEqual(['it throws', 'at line 3']);
    for (const path of ['state', 'error']) expect((await get(`${API}/modules/mod-9/${path}`)).status).toBe(404);
    expect(await (await get(`${API}/systems/sys-1/functions/Display_1`)).json()).toMatchObject({ power: { arity: 1 } });
  });

  it('get the newest code of their driver: a driver is reloaded, everywhere or in one location, a module is loaded', async () => {
    const failure = { location: 'edge-2', error: new HoldfastError('LINK_DOWN', { peer: 'edge-2' }) };
    server.node.reloads = { ...server.node.reloads, failures: [failure] };
    const loaded = { id: 'mod-1', location: 'edge-1', problem: null, paused: 0.004, served_by: 'edge-1' };
    expect((await send('POST', '/drivers/driver-mock/reload?x=1', undefined)).body).toEqual({
      id: 'driver-mock',
      modules: [loaded],
      failures: [{ location: 'edge-2', code: 'LINK_DOWN', message: failure.error.message }],
    });
    await send('POST', '/drivers/driver-mock/reload?location=edge-1', undefined);
    expect((await send('POST', '/modules/mod-1/load', undefined)).body).toEqual(loaded);
    expect(server.node.reloaded).toMatchObject([
      { driver: 'driver-mock', location: null, user: expect.any(String) },
      { driver: 'driver-mock', location: 'edge-1' },
      { module: 'mod-1' },
    ]);
    expect((await send('POST', '/drivers/driver-mock/reload?location=../x', undefined)).status).toBe(422);
  });

  it('are reloaded by who may operate every location that it concerns', async () => {
    const { body } = await send('POST', '/tokens', { user: 'olga', role: 'operator' });
    const olga = { authorization: `Bearer ${String(body['token'])}` };
    server.node.driverLocations = ['edge-1', 'edge-2'];
    const status = async (path: string, who: Record<string, string>) => (await fetch(url(`${API}${path}`), { method: 'POST', headers: who })).status;
    // She is listed in edge-1; modules of the driver are in edge-2, too.
    expect(await status('/drivers/driver-mock/reload', olga)).toBe(403);
    expect(await status('/drivers/driver-mock/reload?location=edge-2', olga)).toBe(403);
    expect(await status('/drivers/driver-mock/reload?location=edge-1', as('operator'))).toBe(403);
    expect(server.node.reloaded).toEqual([]);
    expect(await status('/drivers/driver-mock/reload?location=edge-1', olga)).toBe(200);
    expect(await status('/modules/mod-1/load', olga)).toBe(200);
  });

  it('have settings for administrators, and metadata for everybody', async () => {
    const settings = (await (await get(`${API}/modules/mod-1/settings`)).json()) as { parent_id: string; settings_string: string }[];
    expect(settings.map(({ parent_id, settings_string }) => [parent_id, settings_string])).toEqual([['mod-1', '{"password":"hunter2"}'], ['driver-mock', '{}']]);
    await send('PUT', '/metadata/sys-1', { name: 'bindings', details: { a: [1] } });
    expect(await (await get(`${API}/systems/sys-1/metadata`)).json()).toMatchObject({ colour: { details: { wall: 'red' }, parent_id: 'sys-1' }, bindings: { details: { a: [1] } } });
    expect(Object.keys((await (await get(`${API}/metadata/sys-1?name=bindings`)).json()) as object)).toEqual(['bindings']);
    expect(await (await get(`${API}/metadata/zone-1/children`)).json()).toMatchObject([{ zone: { id: 'zone-2' }, metadata: {} }]);
    expect((await send('DELETE', '/metadata/sys-1?name=bindings', undefined)).status).toBe(202);
    expect((await get(`${API}/metadata/mod-1`)).status).toBe(404);
  });
});

describe('the older generation', () => {
  const OLD = '/control/api';
  const old = async (path: string): Promise<unknown> => (await get(`${OLD}${path}`)).json();

  it('lists with total and results, without headers of the newer, and with its own numbers of roles', async () => {
    const answer = await get(`${OLD}/modules?limit=2&q=mod`);
    expect(await answer.json()).toMatchObject({ total: 4, results: [{ id: 'mod-1', role: 1 }, { id: 'mod-2' }] });
    for (const header of ['link', 'x-total-count', 'content-range']) expect([header, answer.headers.has(header)]).toEqual([header, false]);
    expect(await old('/modules/mod-logic')).toMatchObject({ role: 3 });
    expect(await old('/dependencies?q=logic')).toMatchObject({ total: 1, results: [{ id: 'driver-logic', role: 3 }] });
    expect(await old('/systems/sys-1?complete=true')).toMatchObject({ module_data: [{ role: 1 }, { role: 1 }, { role: 3 }] });
    expect(await old('/nodes')).toMatchObject({ total: 2, results: [{ id: 'edge-1', holder: 'edge' }, { id: 'edge-2' }] });
    expect(await old('/triggers')).toMatchObject({ total: 2, results: [{ id: 'trig-1', name: 'Night' }, { id: 'trig-spare' }] });
    expect(await (await get('/api/engine/v2/modules/mod-logic')).json()).toMatchObject({ role: 99 });
  });

  it('runs methods and reads state with the module in body or query', async () => {
    server.node.methods.set('add', async ({ args }) => Number(args[0]) + 1);
    const answer = await fetch(url(`${OLD}/systems/sys-1/exec`), {
      method: 'POST',
      headers: { ...as('operator'), 'content-type': 'application/json' },
      body: JSON.stringify({ module: 'Display', index: 2, method: 'add', args: [1] }),
    });
    expect([await answer.json(), answer.headers.get('x-holdfast-served-by')]).toEqual([[2], 'master-under-test']);
    server.node.setStatus({ system: 'sys-1', module: 'Display', index: 1, key: 'power', value: true });
    expect(await old('/systems/sys-1/state?module=Display&index=1')).toEqual({ power: true });
    expect(await old('/systems/sys-1/state?module=Display&index=1&lookup=power')).toBe(true);
    expect(await old('/systems/sys-1/count?module=Display')).toEqual({ count: 2 });
    expect(await old('/systems/sys-1/funcs?module=Display&index=1')).toMatchObject({ power: { arity: 1 } });
  });
});
