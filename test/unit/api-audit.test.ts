import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { requestsTo, startTestServer } from '../support/api-server.ts';
import type { TestServer } from '../support/api-server.ts';
import { addSite } from '../support/api-site.ts';

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer({ requestsPerMinute: 100_000 });
  await addSite(server.node, 'olga');
});
afterEach(() => server.close());

const { url, as, get } = requestsTo(() => server);
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
    expect(await last()).toMatchObject({ name: 'floor', result: 'ok' });
    expect(await send('DELETE', '/metadata/sys-1?name=floor')).toBe(202);
    expect(await last()).toMatchObject({ name: 'floor', result: 'ok' });
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
