import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { parseEvents } from '../../src/client-sdk/event-parser.ts';
import { routes } from '../../src/shared/client-api/routes.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { requestsTo, startTestServer, until } from '../support/api-server.ts';
import type { TestServer } from '../support/api-server.ts';
import { addSite, WEBHOOK_SECRET } from '../support/api-site.ts';
import { cli, startCli } from '../support/cli-run.ts';
import { FakeClock } from '../support/fake-clock.ts';

const EVENTS = '/api/engine/v2/events';
const LOG = `${EVENTS}/log`;

let server: TestServer;
const { as, get, post, url } = requestsTo(() => server);
const aborts: AbortController[] = [];
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(async () => {
  for (const abort of aborts.splice(0)) abort.abort();
  await server.close();
});

const down = (location = 'edge-1'): void => server.say('link-down', { location, peer: location, reason: 'silent' });

interface Seen {
  event: string;
  data: Record<string, unknown>;
}

/** Reads `count` events of a stream, then leaves. */
async function read(count: number, search = '', headers: Record<string, string> = as('admin')): Promise<Seen[]> {
  const abort = new AbortController();
  aborts.push(abort);
  const { body } = await fetch(url(`${EVENTS}${search}`), { headers, signal: abort.signal });
  if (body === null) throw new Error('no stream');
  const found: Seen[] = [];
  for await (const { event, data } of parseEvents(body.pipeThrough(new TextDecoderStream()))) {
    found.push({ event, data: JSON.parse(data) as Record<string, unknown> });
    if (found.length === count) break;
  }
  abort.abort();
  return found;
}
const idsOf = (seen: readonly Seen[]): unknown[] => seen.map(({ data }) => data['id']);
const page = async (search = '', role: 'viewer' | 'operator' | 'admin' = 'admin') =>
  (await (await get(`${LOG}${search}`, as(role))).json()) as { events: Record<string, unknown>[]; next: string; missing: number | null };

describe('events over the API', () => {
  it('go on after the Last-Event-ID of a reader that comes back, whatever it asked for at first', async () => {
    for (let i = 0; i < 4; i += 1) down();
    const first = await read(4, '?since=0');
    expect(first.map(({ event }) => event)).toEqual(['link', 'link', 'link', 'link']);
    for (let i = 0; i < 3; i += 1) {
      const back = await read(3 - i, '?since=0', { ...as('admin'), 'last-event-id': String(first[i]?.data['id']) });
      expect(idsOf(back)).toEqual(idsOf(first).slice(i + 1));
    }
  });

  it('tell a reader of another log, or one that comes too late, what is missing, and then what there is', async () => {
    down();
    const { next } = await page('?limit=1');
    for (let i = 0; i < limits.eventEntries + 9; i += 1) down();
    const [gap, first] = await read(2, `?since=${next}`);
    expect(gap).toEqual({ event: 'gap', data: { kind: 'gap', missing: 9 } });
    expect(first?.data['event']).toBe('link-down');
    for (const id of ['ffffffff.1.1', 'nonsense']) {
      const [foreign] = await read(1, '', { ...as('admin'), 'last-event-id': id });
      expect(foreign?.data).toEqual({ kind: 'gap', missing: null });
    }
  });

  it('begin anew for a reader whose place is ahead of a log that was put back from an older copy', async () => {
    down();
    const [log = '', epoch = ''] = (await page()).next.split('.');
    for (const ahead of [`${log}.${epoch}.99`, `${log}.${Number(epoch) + 1}.1`]) {
      expect(await page(`?since=${ahead}`)).toMatchObject({ missing: null, events: [{ event: 'link-down' }] });
      const [gap, first] = await read(2, '', { ...as('admin'), 'last-event-id': ahead });
      expect([gap?.data, first?.data['event']]).toEqual([{ kind: 'gap', missing: null }, 'link-down']);
    }
  });

  it('say the place after a gap that nothing follows, so that the next return is not told it again', async () => {
    down();
    const abort = new AbortController();
    aborts.push(abort);
    const headers = { ...as('admin'), 'last-event-id': 'ffffffff.1.1' };
    const { body } = await fetch(url(`${EVENTS}?location=edge-2`), { headers, signal: abort.signal });
    let text = '';
    const reading = (async () => {
      for await (const part of body?.pipeThrough(new TextDecoderStream()) ?? []) text += part;
    })().catch(() => undefined);
    await until(() => text.includes('gap'), 'the gap');
    await until(() => /^id: ?\S+$/m.test(text), 'the place');
    abort.abort();
    await reading;
    const [, id = ''] = /^id: ?(\S+)$/m.exec(text) ?? [];
    expect(id).toBe((await page()).next);
    down('edge-2');
    expect((await read(1, '?location=edge-2', { ...as('admin'), 'last-event-id': id }))[0]?.event).toBe('link');
  });

  it('have the time of the server in unix seconds, in the page and in the stream', async () => {
    await server.clock.advance(1_234);
    down();
    await server.clock.advance(2_000);
    down();
    // The clock of tests begins with the year 2025.
    const times = [1_735_689_601.234, 1_735_689_603.234];
    expect((await page()).events.map(({ time }) => time)).toEqual(times);
    expect((await read(2, '?since=0')).map(({ data }) => data['time'])).toEqual(times);
  });

  it('are a page too, which says where the stream goes on', async () => {
    down();
    down('edge-2');
    const { events, next, missing } = await page('?location=edge-2');
    expect([events, missing]).toEqual([[expect.objectContaining({ kind: 'link', event: 'link-down', location: 'edge-2', who: null, reason: 'silent' })], 0]);
    expect((await page(`?since=${next}`)).events).toEqual([]);
    down('edge-2');
    expect(idsOf(await read(1, `?since=${next}`))).toEqual([(await page(`?since=${next}`)).events[0]?.['id']]);
  });

  it('show audits and refused access to administrators only, and orders to operators', async () => {
    await post('/api/engine/v2/edges/edge-1/pause', '{}');
    await get('/api/engine/v2/edges', {});
    server.say('order', { location: 'edge-1', order: 'pause', by: 'anna' });
    down();
    const kinds = async (role: 'viewer' | 'operator' | 'admin') => (await page('', role)).events.map(({ kind }) => kind);
    expect(await kinds('admin')).toEqual(['audit', 'access', 'operator', 'link']);
    expect(await kinds('operator')).toEqual(['operator', 'link']);
    expect(await kinds('viewer')).toEqual(['link']);
    expect((await read(1, '?since=0', as('viewer')))[0]?.event).toBe('link');
    for (const kind of ['audit', 'access', 'refused', 'link,audit']) {
      expect([(await get(`${LOG}?kind=${kind}`, as('operator'))).status, (await get(`${EVENTS}?kind=${kind}`, as('viewer'))).status]).toEqual([403, 403]);
    }
  });

  it('refuse a kind, a place and a time that are none', async () => {
    for (const search of ['kind=links', 'since=yesterday', 'since=1.2.3', 'limit=0', `location=${'x'.repeat(200)}`]) {
      expect([search, (await get(`${LOG}?${search}`)).status]).toEqual([search, 422]);
    }
  });
});

describe('the audit', () => {
  it('has every route that changes something', () => {
    // A ping asks whether a device is there.
    const silent = Object.entries(routes).filter(([, { method, audited }]) => method !== 'GET' && !audited);
    expect(silent.map(([name]) => name)).toEqual(['modulePing', 'olderModulePing']);
  });

  it('says who, what, with which result, and from where', async () => {
    await post('/api/engine/v2/edges/edge-1/pause', '{}');
    await post('/api/engine/v2/edges/nowhere/pause', '{}');
    const { events } = await page('?kind=audit');
    const who = server.keys.admin.split('.')[0];
    const what = { kind: 'audit', who, role: 'admin', what: 'POST /api/engine/v2/edges/:id/pause', remote: '127.0.0.1', requestId: expect.any(String) as string };
    expect(events).toEqual([
      expect.objectContaining({ ...what, params: { id: 'edge-1' }, result: 'ok', status: 200 }),
      expect.objectContaining({ ...what, params: { id: 'nowhere' }, result: 'NOT_FOUND', status: 404 }),
    ]);
    expect((await page('?kind=audit&location=edge-1')).events).toEqual([expect.objectContaining({ location: 'edge-1', result: 'ok' })]);
  });

  it('says of which location a system or a module is, of commands too, and of what is gone afterwards', async () => {
    await addSite(server.node, 'olga');
    const { located, methods } = server.node;
    located.set('sys-1', 'edge-1').set('mod-far', 'edge-2');
    server.node.named.set('sys-1/Far_1', 'mod-far');
    methods.set('power', async () => null);
    const API = '/api/engine/v2';
    await post(`${API}/systems/sys-1/Far_1/power`, '[]');
    await post(`${API}/systems/sys-1/Display_1/power`, '[]');
    await post(`${API}/systems/sys-1/Display_1/none`, '[]');
    await post(`${API}/modules/mod-2/exec/power`, '[]');
    await post('/control/api/systems/sys-1/exec', JSON.stringify({ module: 'Display', index: 1, method: 'power', args: [] }));
    await post(`${API}/webhook/trig-1~sys-1/notify/${WEBHOOK_SECRET}`);
    const of = async (kind: string, location: string) => (await page(`?kind=${kind}&location=${location}`)).events.map(({ what }) => what);
    const exec = `POST ${API}/systems/:id/:module/:method`;
    expect(await of('command', 'edge-2')).toEqual([exec]);
    const older = 'POST /control/api/systems/:id/exec';
    const hook = `POST ${API}/webhook/:id/notify/:secret`;
    expect(await of('command', 'edge-1')).toEqual([exec, exec, `POST ${API}/modules/:id/exec/:method`, older, hook]);

    await post(`${API}/systems/sys-1/stop`);
    await post(`${API}/modules/mod-1/start`);
    await fetch(url(`${API}/modules/mod-2`), { method: 'PATCH', headers: { ...as('admin'), 'content-type': 'application/json' }, body: '{"port":7}' });
    await post(`${API}/edges/edge-1/rotate`, '{}');
    // The directory has heard of it when the answer is made.
    const forget = server.node.store.onChange(() => void located.delete('sys-1'));
    await fetch(url(`${API}/systems/sys-1`), { method: 'DELETE', headers: as('admin') });
    forget();
    expect(await of('audit', 'edge-1')).toEqual([
      `POST ${API}/systems/:id/stop`, `POST ${API}/modules/:id/start`, `PATCH ${API}/modules/:id`, `POST ${API}/edges/:id/rotate`, `DELETE ${API}/systems/:id`,
    ]);
  });

  it('sees a scanner, and is not flooded by it', async () => {
    for (let i = 0; i < 50; i += 1) await get('/api/engine/v2/edges', { 'x-api-key': `key-${i}.wrong` });
    const socket = new WebSocket(`${server.http.origin.replace('http', 'ws')}/api/engine/v2/systems/control`);
    await new Promise((resolve) => socket.once('error', resolve));
    const refused = (await page('?kind=access')).events;
    expect(refused).toEqual([expect.objectContaining({ event: 'access-refused', who: null, reason: 'unauthorised', remote: '127.0.0.1' })]);
  });

  it('holds no secret, wherever one was put', async () => {
    const secret = 'hunter2hunter2';
    const key = server.keys.admin;
    const enrolment = `holdfast-enrol:${secret}`;
    const document = { name: 'Lamp', driver_id: 'driver-mock', settings: { password: secret } };
    await get(`/api/engine/v2/edges?api-key=${key}`, {});
    await get('/api/engine/v2/edges', { 'x-api-key': `key-1.${secret}`, cookie: `api-key=${secret}`, authorization: `Bearer ${secret}` });
    await post(`/api/engine/v2/modules?bearer_token=${key}`, JSON.stringify(document));
    await post('/api/engine/v2/edges', JSON.stringify({ id: 'edge-9', secret: `${secret}${secret}` }));
    await post(`/api/engine/v2/edges/${enrolment}/pause`, '{}');
    await post('/api/engine/v2/documents/apply', JSON.stringify({ text: `password: ${secret}`, dry_run: false }));
    await post('/api/engine/v2/systems/sys-1/Display_1/login', JSON.stringify([secret]));
    await fetch(url(`/api/engine/v2/api_keys/${key}`), { method: 'DELETE', headers: as('admin') });
    await fetch(url(`/api/engine/v2/systems/sys-1/Display_1/${secret}%20`), { method: 'POST', headers: as('admin') });
    const text = JSON.stringify((await page('?limit=100')).events);
    expect(text).toContain('DELETE /api/engine/v2/api_keys/:id');
    expect(text).not.toContain(secret);
    expect(text).not.toContain(key.split('.')[1]);
  });
});

describe('holdfast events', () => {
  const env = () => ({ HOLDFAST_SERVER: server.http.origin, HOLDFAST_KEY: server.keys.admin });

  it('prints a table of what happened, or one object a line', async () => {
    const clock = new FakeClock(server.clock.wallMs());
    server.say('control', { location: 'edge-1', from: 'suspect', state: 'taking-over', holder: 'master', reason: 'edge-lost', epoch: '0.3' });
    down('edge-2');
    const table = await cli({ clock, env: env() }, 'events');
    expect(table.out.split('\n').map((line) => line.replace(/^\S+ +/, ''))).toEqual([
      'KIND     LOCATION  WHO  WHAT',
      'control  edge-1         suspect → taking-over: edge-lost; held by master, epoch 0.3',
      'link     edge-2         link to edge-2 is down: silent',
      '',
    ]);
    const lines = (await cli({ clock, env: env() }, '-o', 'json', 'events', '--kind', 'link', '--since', '1h')).out.trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([expect.objectContaining({ event: 'link-down', location: 'edge-2' })]);
    expect((await cli({ clock, env: env() }, 'events', '--since', 'lately')).code).toBe(2);
    expect(await cli({ clock, env: env() }, 'events', '--kind', 'links')).toMatchObject({ code: 2 });
  });

  it('takes those of a location, and those since a duration, a date or an id', async () => {
    const said = ['edge-1', 'edge-2', 'edge-1', 'edge-2'];
    for (const location of said) {
      down(location);
      await server.clock.advance(60_000);
    }
    const clock = new FakeClock(server.clock.wallMs());
    /** Which of those four, by their times: each a minute after the one before. */
    const shown = async (...argv: string[]): Promise<[indexes: number[], notes: string]> => {
      const { out, err } = await cli({ clock, env: env() }, '-o', 'json', 'events', ...argv);
      const lines = out.trimEnd().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as { time: number; location: string });
      const indexes = lines.map(({ time }) => (time * 1_000 - Date.UTC(2025, 0, 1)) / 60_000);
      expect(lines.map(({ location }) => location)).toEqual(indexes.map((index) => said[index]));
      return [indexes, err];
    };
    const ids = (await page()).events.map(({ id }) => String(id));
    expect(await shown('--location', 'edge-2')).toEqual([[1, 3], '']);
    expect(await shown('--location', 'edge-2', '--since', '150s')).toEqual([[3], '']);
    expect(await shown('--location', 'edge-3')).toEqual([[], '']);
    // What happened at that very moment counts; an id is what one has already.
    for (const date of ['2025-01-01T00:02:00Z', '2025-01-01T01:02:00+01:00', '2025-01-01T00:01:00.001Z']) expect([date, await shown('--since', date)]).toEqual([date, [[2, 3], '']]);
    expect(await shown('--since', '2025-01-01')).toEqual([[0, 1, 2, 3], '']);
    expect(await shown('--since', ids[1] ?? '')).toEqual([[2, 3], '']);
    expect(await shown('--since', ids[1] ?? '', '--location', 'edge-1')).toEqual([[2], '']);
    expect(await shown('--since', ids[0] ?? '', '-n', '2')).toEqual([[2, 3], '']);
    expect(await shown('--since', ids[3] ?? '')).toEqual([[], '']);
    expect(await shown('--since', 'ffffffff.1.1')).toEqual([[0, 1, 2, 3], 'the log of this server does not have that place: what follows is all that it keeps\n']);
    for (const when of ['1969-12-31', '2025-13-01', 'ffffffff.1', '5', 'May 5', '1.5h']) expect([when, (await cli({ clock, env: env() }, 'events', '--since', when)).code]).toEqual([when, 2]);
  });

  it('reads all pages since a place, and goes on with the same location', async () => {
    const abort = new AbortController();
    down();
    const { next } = await page('?limit=1');
    for (let i = 0; i < 601; i += 1) down(i < 600 ? 'edge-1' : 'edge-2');
    const argv = ['-o', 'json', 'events', '--since', next, '--location', 'edge-1'];
    expect((await cli({ clock: new FakeClock(), env: env() }, ...argv)).out.trimEnd().split('\n')).toHaveLength(600);
    const running = startCli({ clock: new FakeClock(), env: env(), signal: abort.signal }, ...argv, '-f');
    const locations = (): string[] => running.out().trimEnd().split('\n').filter((line) => line !== '').map((line) => (JSON.parse(line) as { location: string }).location);
    await until(() => locations().length === 600, 'both pages');
    down('edge-2');
    down('edge-1');
    await until(() => locations().length > 600, 'what happens');
    abort.abort();
    await running.done;
    expect(locations()).toEqual(Array.from({ length: 601 }, () => 'edge-1'));
  });

  it('shows as many of the newest as were asked for, also more than a page', async () => {
    for (let i = 0; i < 1_203; i += 1) down(i % 2 === 0 ? 'edge-1' : 'edge-2');
    const shown = async (...argv: string[]): Promise<string[]> => {
      const { out, err } = await cli({ clock: new FakeClock(), env: env() }, '-o', 'json', 'events', ...argv);
      expect(err).toBe('');
      return out.trimEnd().split('\n').map((line) => (JSON.parse(line) as { id: string }).id);
    };
    const all = await shown('--since', '1970-01-01');
    expect(all).toHaveLength(1_203);
    for (const limit of [500, 501, 1_100, 5_000]) expect(await shown('-n', String(limit))).toEqual(all.slice(-limit));
    expect(await shown('-n', '550', '--location', 'edge-1')).toHaveLength(550);
    expect(await shown('-n', '3')).toEqual(all.slice(-3));
  });

  it('follows, and after an interruption goes on where it was', async () => {
    const abort = new AbortController();
    const clock = new FakeClock();
    down();
    const running = startCli({ clock, env: env(), signal: abort.signal }, '-o', 'json', 'events', '-f', '--kind', 'link');
    const seen = (): unknown[] => running.out().trimEnd().split('\n').filter((line) => line !== '').map((line) => (JSON.parse(line) as { id: string }).id);
    await until(() => seen().length === 1, 'what was there');
    down();
    await until(() => seen().length === 2, 'what happens');
    server.http.server.closeAllConnections();
    await until(() => running.err().includes('trying again'), 'the interruption');
    for (let i = 0; i < 3; i += 1) down();
    await clock.advance(2_000);
    await until(() => seen().length === 5, 'what happened meanwhile');
    abort.abort();
    await running.done;
    expect(seen()).toEqual((await page('?kind=link')).events.map(({ id }) => id));
  });
});
