import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { requestsTo, startTestServer } from '../support/api-server.ts';
import type { TestServer } from '../support/api-server.ts';
import { addSite } from '../support/api-site.ts';
import { socketClientsOf } from '../support/socket-client.ts';

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer({ requestsPerMinute: 100_000 });
  await addSite(server.node, 'olga');
});
afterEach(() => server.close());

const { url, as, get, post } = requestsTo(() => server);
const API = '/api/engine/v2';
const send = async (method: string, path: string, body?: unknown): Promise<number> => {
  const json = body === undefined ? {} : { body: JSON.stringify(body) };
  return (await fetch(url(`${API}${path}`), { method, headers: { ...as('admin'), 'content-type': 'application/json' }, ...json })).status;
};
const audits = async (search = ''): Promise<Record<string, unknown>[]> =>
  ((await (await get(`${API}/events/log?kind=audit${search}`)).json()) as { events: Record<string, unknown>[] }).events;
const last = async (): Promise<Record<string, unknown>> => (await audits()).at(-1) ?? {};

describe('a whole key where its id belongs', () => {
  it.each([['DELETE', '/api_keys/KEY'], ['DELETE', '/tokens/KEY'], ['POST', '/edges/KEY/pause'], ['DELETE', '/systems/KEY']])('is in no line of the log: %s %s', async (method, path) => {
    const key = `key-1.${'0123456789abcdef'.repeat(4)}`;
    await send(method, path.replace('KEY', key));
    const lines = server.log.filter(({ event }) => event === 'audit');
    expect(lines).toEqual([expect.objectContaining({ facts: expect.objectContaining({ params: { id: 'key-1.…' } }) as unknown })]);
    expect(JSON.stringify([server.log, await audits()])).not.toContain('0123456789abcdef');
  });
});

describe('a whole key where something else belongs', () => {
  const secret = '0123456789abcdef'.repeat(4);
  const key = `key-1.${secret}`;
  const kept = async (): Promise<string> => JSON.stringify([server.log, await (await get(`${API}/events/log?limit=500`)).text()]);

  it.each([
    ['exec', { sys: key, mod: 'Display' }], ['exec', { sys: 'sys-1', mod: key }], ['exec', { sys: 'sys-1', mod: 'Display', name: key }],
    ['exec', { sys: 'sys-1', mod: 'Display', args: [key] }], ['debug', { sys: key, mod: 'Display' }], ['debug', { sys: 'sys-1', mod: key }],
    ['debug', { sys: 'sys-1', mod: 'Display', name: key }], ['request', { route: 'exec', params: { id: 'sys-1', module: 'Display_1', method: key }, body: [key] }],
  ])('of a WebSocket is on no record: %s %o', async (cmd, given) => {
    for (const role of ['operator', 'viewer'] as const) {
      const socket = await socketClientsOf(() => server)(role);
      await socket.ask({ id: 1, cmd, name: 'power', ...given });
    }
    if (cmd !== 'debug') expect(server.log.filter(({ event }) => event === 'command' || event === 'refused')).not.toEqual([]);
    expect(await kept()).not.toContain(secret);
  });

  it('is in no line of a command that came from another server, which is left whole otherwise', async () => {
    const text = 'x'.repeat(2 * limits.eventTextLength);
    server.say('command-served', { what: 'exec', method: `${text} ${key}`, nodes: ['a', key], cut: `holdfast-enrol:${text}` });
    expect(server.log.at(-1)?.facts).toEqual({ what: 'exec', method: `${text} key-1.…`, nodes: ['a', 'key-1.…'], cut: 'holdfast-enrol:…' });
  });

  it('is no name of a request, and in no list of those under way', async () => {
    server.node.methods.set('power', async () => null);
    const method = await fetch(url(`${API}/systems/sys-1/Display_1/power`), { method: 'POST', headers: { ...as('operator'), 'x-request-id': key } });
    expect([method.status, method.headers.get('x-request-id')]).toEqual([200, expect.stringMatching(/^[0-9a-f]{16}$/)]);
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
    await fetch(url(`${API}/systems/sys-1/Display_1/power`), { method: 'POST', headers: { ...as('operator'), 'x-request-id': trace } });
    expect(await kept()).toContain(trace);
    const underWay = { id: 'x', user: key, location: 'edge-1', module: 'mod-1', method: key, entry: 'master', via: null, at: 'edge-1' };
    server.node.inFlight.push({ ...underWay, sinceMs: 0, ageMs: 0, leftMs: 0 });
    expect(await (await get(`${API}/requests`)).json()).toMatchObject([{ id: 'x', user: 'key-1.…', method: 'key-1.…' }]);
    expect(await kept()).not.toContain(secret);
  });
});

describe('the audit of an applied text', () => {
  const apply = (lines: string[], more: object = {}) => send('POST', '/documents/apply', { text: `${lines.join('\n')}\n`, ...more });

  it('names what changes, and how, and no contents; and the location when all are of one', async () => {
    const system = ['systems:', '  - id: sys-new', '    name: Kitchen', '    edge_control_id: edge-2'];
    const module = ['modules:', '  - id: mod-spare', '    name: Lamp', '    driver_id: driver-mock', '    edge_control_id: edge-2', '    ip: 192.0.2.99'];
    expect(await apply([...system, ...module], { dry_run: true })).toBe(200);
    expect(await last()).toMatchObject({ dryRun: true, changes: 2, documents: ['create sys-new', 'update mod-spare'], location: 'edge-2' });
    expect(await apply([...system, ...module])).toBe(200);
    expect(await last()).toMatchObject({ dryRun: false, documents: ['create sys-new', 'update mod-spare'], location: 'edge-2', result: 'ok' });
    expect(JSON.stringify(await audits())).not.toMatch(/Kitchen|192\.0\.2\.99/);
    // Of two locations, and of all of them.
    expect(await apply(system.with(3, '    edge_control_id: edge-1'))).toBe(200);
    expect(await last()).toMatchObject({ documents: ['update sys-new'], location: null });
    expect(await apply(['zones:', '  - id: zone-new', '    name: Roof'])).toBe(200);
    expect(await last()).toMatchObject({ documents: ['create zone-new'], location: null });
  });

  it('names so many and no more', async () => {
    const zones = Array.from({ length: limits.namedDocuments + 5 }, (_, i) => [`  - id: zone-n${i}`, `    name: N${i}`]).flat();
    expect(await apply(['zones:', ...zones])).toBe(200);
    const { changes, documents } = await last();
    expect([changes, documents]).toEqual([limits.namedDocuments + 5, expect.objectContaining({ length: limits.namedDocuments })]);
  });
});

describe('the audit of a document', () => {
  it('names the piece of metadata', async () => {
    expect(await send('PUT', '/metadata/sys-1', { name: 'floor', details: { plan: 'secret-plan' } })).toBe(200);
    expect(await last()).toMatchObject({ name: 'floor', location: 'edge-1', result: 'ok' });
    expect(await send('DELETE', '/metadata/sys-1?name=floor')).toBe(202);
    expect(await last()).toMatchObject({ name: 'floor', location: 'edge-1', result: 'ok' });
    expect(await send('PUT', '/metadata/zone-1', { name: 'floor', details: {} })).toBe(200);
    expect(await last()).toMatchObject({ name: 'floor', location: null, result: 'ok' });
    expect(await send('DELETE', '/metadata/sys-1?name=none')).toBe(404);
    expect(await last()).toMatchObject({ name: 'none', result: 'NOT_FOUND' });
    expect(JSON.stringify(await audits())).not.toContain('secret-plan');
  });

  it('names the fields that change, whatever else was sent, and never their contents', async () => {
    expect(await send('PATCH', '/modules/mod-1', { port: 7, ip: '192.0.2.7', settings: { volume: 'loudest' }, name: 'Display' })).toBe(200);
    const { fields } = await last();
    expect((fields as string[]).toSorted()).toEqual(['port', 'settings']);
    expect(await send('PUT', '/zones/zone-1', { name: 'Floor 2', tags: ['level'] })).toBe(200);
    expect(await last()).toMatchObject({ fields: ['name'], location: null });
    expect(JSON.stringify(await audits())).not.toMatch(/loudest|Floor 2/);
  });

  it('says where what is made, changed through its settings, and removed belongs', async () => {
    const at: [method: string, path: string, body: object | undefined, location: string | null][] = [
      ['POST', '/systems', { id: 'sys-a', name: 'A', edge_control_id: 'edge-2' }, 'edge-2'],
      ['POST', '/modules', { id: 'mod-a', name: 'Lamp', driver_id: 'driver-mock', edge_control_id: 'edge-2' }, 'edge-2'],
      ['POST', '/modules', { id: 'mod-m', name: 'Lamp', driver_id: 'driver-mock' }, 'master'],
      ['PATCH', '/settings/mod-1', { settings_string: '{}' }, 'edge-1'],
      ['PUT', '/settings/sys-a', { settings_string: '{}' }, 'edge-2'],
      ['PATCH', '/settings/zone-1', { settings_string: '{}' }, null],
      ['DELETE', '/modules/mod-spare', undefined, 'edge-2'],
      ['POST', '/edges', { id: 'edge-2' }, 'edge-2'],
    ];
    for (const [method, path, body, location] of at) {
      const status = await send(method, path, body);
      expect([path, status < 300, await last()]).toEqual([path, true, expect.objectContaining({ location, result: 'ok' })]);
    }
  });

  it('of a move is found at both locations', async () => {
    expect(await send('PATCH', '/modules/mod-spare', { edge_control_id: 'edge-1' })).toBe(200);
    const what = { what: `PATCH ${API}/modules/:id`, params: { id: 'mod-spare' }, fields: ['edge_control_id'], to: 'edge-1' };
    expect(await audits('&location=edge-2')).toMatchObject([{ ...what, location: 'edge-2' }]);
    expect(await audits('&location=edge-1')).toMatchObject([{ ...what, location: 'edge-1', from: 'edge-2' }]);
  });

  it('of a start or stop of a system is found at each location of it, and at the master of one that has none', async () => {
    const { spread } = server.node;
    const requests = [`${API}/systems/:id/stop`, `${API}/systems/:id/start`, `${API}/systems/:id/expire`, '/control/api/systems/:id/stop'];
    const ask = async (): Promise<void> => {
      for (const path of requests) expect((await post(path.replace(':id', 'sys-1'))).status).toBe(200);
    };
    spread.set('sys-1', ['edge-1', 'edge-2']);
    await ask();
    spread.set('sys-1', ['master']);
    await ask();
    const found = requests.map((path) => ({ what: `POST ${path}`, params: { id: 'sys-1' }, result: 'ok' }));
    for (const location of ['edge-1', 'edge-2', 'master']) expect(await audits(`&location=${location}`)).toMatchObject(found);
    // Whoever reaches too many locations does not fill the log with one request.
    spread.set('sys-1', Array.from({ length: limits.namedDocuments + 5 }, (_, i) => `edge-n${i}`));
    await post(`${API}/systems/sys-1/stop`);
    expect(server.log.filter(({ event, facts }) => event === 'audit' && String(facts['location']).startsWith('edge-n'))).toHaveLength(limits.namedDocuments);
    await post(`${API}/systems/sys-none/stop`);
    expect(await last()).toMatchObject({ location: null, result: 'NOT_FOUND' });
  });

  it('of a request that is cancelled says its location', async () => {
    const times = { sinceMs: 0, ageMs: 0, leftMs: null };
    server.node.inFlight.push({ id: 'r-1', user: 'anna', location: 'edge-1', module: 'mod-1', method: 'on', entry: 'm', via: null, at: 'm', ...times });
    expect(await send('DELETE', '/requests/r-1')).toBeLessThan(300);
    expect(await last()).toMatchObject({ location: 'edge-1', result: 'ok' });
  });
});

it('whoever a command is for, other servers are told whose credential it was', async () => {
  server.node.methods.set('power', async () => null);
  expect(await send('POST', '/modules/mod-1/exec/power', [])).toBe(200);
  expect(await send('POST', '/systems/sys-1/Display_1/power', [])).toBe(200);
  const who = server.keys.admin.split('.')[0];
  expect(server.node.execs.map((request) => request.who)).toEqual([who, who]);
});

it('the record of a command that was cancelled names who did it, with their credential', async () => {
  const facts = { by: 'olga', fate: 'unknown', who: 'token-olga' };
  server.node.methods.set('power', () => Promise.reject(new HoldfastError('COMMAND_CANCELLED', facts)));
  expect(await send('POST', '/modules/mod-1/exec/power', [])).toBe(409);
  const { events } = (await (await get(`${API}/events/log?kind=command`)).json()) as { events: Record<string, unknown>[] };
  expect(events).toMatchObject([{ who: server.keys.admin.split('.')[0], result: 'COMMAND_CANCELLED', cancelledBy: { user: 'olga', who: 'token-olga' } }]);
});

it('a command that runs under an id of its own is answered, and on record, under that one', async () => {
  server.node.methods.set('power', async ({ renamed }) => (renamed?.('own-1'), null));
  server.node.methods.set('fail', async ({ renamed }) => {
    renamed?.('own-2');
    throw new HoldfastError('DEVICE_OFFLINE', { module: 'mod-1' });
  });
  const headers = { ...as('admin'), 'x-request-id': 'given' };
  const older = JSON.stringify({ module: 'Display', index: 1, method: 'power', args: [] });
  const answers = [
    await post(`${API}/modules/mod-1/exec/power`, '[]', headers),
    await post(`${API}/systems/sys-1/Display_1/power`, '[]', headers),
    await post('/control/api/systems/sys-1/exec', older, headers),
    await post(`${API}/systems/sys-1/Display_1/fail`, '[]', headers),
    await post(`${API}/edges/edge-1/pause`, '{}', headers),
  ];
  const ids = ['own-1', 'own-1', 'own-1', 'own-2', 'given'];
  expect(answers.map((answer) => answer.headers.get('x-request-id'))).toEqual(ids);
  expect(server.log.filter(({ event }) => event === 'command' || event === 'audit').map(({ facts }) => facts['requestId'])).toEqual(ids);
});

it('who is refused fills a shelf of their own, with what they asked for', async () => {
  expect((await post(`${API}/edges/edge-1/pause`, '{}', {})).status).toBe(401);
  expect((await post(`${API}/systems/sys-1/Display_1/power`, '[]', as('viewer'))).status).toBe(403);
  expect((await post(`${API}/webhook/trig-1~sys-1/notify/wrong-secret-of-it`)).status).toBe(403);
  const { events } = (await (await get(`${API}/events/log?kind=audit,command,refused`)).json()) as { events: Record<string, unknown>[] };
  expect(events).toMatchObject([
    { kind: 'refused', who: 'nobody', what: `POST ${API}/edges/:id/pause`, params: { id: 'edge-1' }, location: 'edge-1', status: 401, remote: '127.0.0.1' },
    { kind: 'refused', who: server.keys.viewer.split('.')[0], role: 'viewer', what: `POST ${API}/systems/:id/:module/:method`, result: 'FORBIDDEN' },
    { kind: 'refused', what: `POST ${API}/webhook/:id/notify/:secret`, result: 'WEBHOOK_REFUSED' },
  ]);
  const small = await startTestServer({ requestsPerMinute: 1 });
  for (let i = 0; i < 2; i += 1) await fetch(`${small.http.origin}${API}/edges/edge-1/pause`, { method: 'POST', headers: { 'x-api-key': small.keys.admin } });
  const audited = small.log.flatMap(({ event, facts }) => (event === 'audit' || event === 'refused' ? [[event, facts['result']]] : []));
  expect(audited).toEqual([['audit', 'ok'], ['refused', 'RATE_LIMITED']]);
  await small.close();
});
