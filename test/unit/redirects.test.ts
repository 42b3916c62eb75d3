import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { routes } from '../../src/client-sdk/index.ts';
import { requestsTo, startTestServer, type TestServer } from '../support/api-server.ts';
import { SocketClient } from '../support/socket-client.ts';

const MASTER = 'https://master.example.org';
const EDGE = 'https://edge.example.org:8443';
const meta = { sys: 'sys-1', mod: 'Display', index: 1, name: 'power' };

let server: TestServer;
let clients: SocketClient[];
const start = async (role: 'edge' | 'master'): Promise<void> => {
  server = await startTestServer({ role });
  server.node.located.set('sys-1', 'edge-1').set('sys-2', 'edge-2');
  server.node.systems.add('sys-2');
  server.node.origins.push({ location: 'edge-1', edge: EDGE, master: MASTER }, { location: 'edge-2', edge: null, master: MASTER });
};
beforeEach(async () => {
  clients = [];
  await start('master');
});
afterEach(async () => {
  for (const client of clients) client.close();
  await server.close();
});

const bound = async (sys: string): Promise<SocketClient> => {
  const client = await SocketClient.open(`${server.http.origin}/control/websocket`, { 'x-api-key': server.keys.viewer });
  clients.push(client);
  await client.ask({ id: 1, cmd: 'bind', ...meta, sys });
  await client.alive();
  return client;
};
const isRedirect = (frame: unknown): boolean => typeof frame === 'object' && frame !== null && 'type' in frame && frame.type === 'redirect';
const redirectsOf = (client: SocketClient) => client.frames.filter(isRedirect).map((frame) => [Object(frame).reason, Object(frame).origin]);

describe('sockets', () => {
  it('bound to a system of a location hear who has control now, and others do not', async () => {
    const [here, elsewhere] = [await bound('sys-1'), await bound('sys-2')];
    server.node.move('edge-1', { holder: 'none', state: 'releasing', reason: 'window-open' });
    server.node.move('edge-1', { holder: 'master', state: 'holding', reason: 'edge-lost', epoch: { generation: 0, number: 5 } });
    server.node.move('edge-1', { holder: 'master', state: 'waiting-window', reason: 'edge-back' });
    server.node.move('edge-1', { holder: 'edge', state: 'standby', reason: 'window-open', epoch: { generation: 0, number: 6 } });
    await here.alive();
    await elsewhere.alive();
    expect(here.frames.filter(isRedirect)).toEqual([
      { type: 'redirect', reason: 'controlled-elsewhere', location: 'edge-1', sys: 'sys-1', origin: EDGE, alternatives: [MASTER], epoch: '0.4' },
      { type: 'redirect', reason: 'edge-lost', location: 'edge-1', sys: 'sys-1', origin: MASTER, alternatives: [EDGE], epoch: '0.5' },
      { type: 'redirect', reason: 'window-open', location: 'edge-1', sys: 'sys-1', origin: EDGE, alternatives: [MASTER], epoch: '0.6' },
    ]);
    expect(elsewhere.frames.filter(isRedirect)).toEqual([]);
  });

  it('at an edge that lost its lease hear of the master, which takes over without telling it, and of the edge when it holds again', async () => {
    await server.close();
    await start('edge');
    server.node.move('edge-1', { policy: 'exclusive', link: 'down' });
    const here = await bound('sys-1');
    server.node.move('edge-1', { holder: 'none', state: 'releasing', reason: 'lease-ended' });
    server.node.move('edge-1', { holder: 'none', state: 'connecting', reason: 'link-down' });
    const late = await bound('sys-1');
    server.node.move('edge-1', { holder: 'edge', state: 'holding', reason: 'granted', link: 'up' });
    server.node.move('edge-1', { holder: 'none', state: 'releasing', reason: 'ordered' });
    await late.alive();
    await here.alive();
    expect(redirectsOf(here)).toEqual([['lease-ended', MASTER], ['granted', EDGE]]);
    expect(redirectsOf(late)).toEqual([['controlled-elsewhere', MASTER], ['granted', EDGE]]);
  });

  it('hear it at their first binding to a system, and nothing where the server itself has control', async () => {
    const client = await bound('sys-1');
    await client.ask({ id: 2, cmd: 'bind', ...meta, name: 'volume' });
    await client.alive();
    expect(redirectsOf(client)).toEqual([['controlled-elsewhere', EDGE]]);
    // The edge may have let go already, without a word here.
    server.node.setAge('edge-1', 100);
    expect(redirectsOf(await bound('sys-1'))).toEqual([]);
    // Who is next to the edge can reach it.
    server.node.move('edge-1', { link: 'down' });
    expect(redirectsOf(await bound('sys-1'))).toEqual([['controlled-elsewhere', EDGE]]);
    server.node.move('edge-1', { holder: 'master', state: 'holding' });
    expect(redirectsOf(await bound('sys-1'))).toEqual([]);
    server.node.move('edge-1', { holder: 'none', state: 'releasing' });
    expect(redirectsOf(await bound('sys-1'))).toEqual([]);
  });

  it('are not sent to an edge whose lease runs out unheard: it would send them back', async () => {
    server.node.move('edge-1', { policy: 'exclusive', link: 'down' });
    server.node.setAge('edge-1', 4_000);
    const client = await bound('sys-1');
    expect(redirectsOf(client)).toEqual([]);
    server.node.move('edge-1', { link: 'up' });
    server.node.setAge('edge-1', null);
    await client.alive();
    expect(redirectsOf(client)).toEqual([['edge-kept-devices', EDGE]]);
  });

  it('hear that whoever has control is back although nobody was there when it was lost', async () => {
    server.node.setAge('edge-1', 3_000);
    server.node.move('edge-1', { link: 'up' });
    const client = await bound('sys-1');
    server.node.setAge('edge-1', null);
    await client.alive();
    expect(redirectsOf(client)).toEqual([['reached-again', EDGE]]);
  });

  it('hear it again when whoever has control was lost for a while and is back, once for each time', async () => {
    const client = await bound('sys-1');
    server.node.setAge('edge-1', 3_000);
    server.node.setAge('edge-1', null);
    server.node.setAge('edge-1', 3_000);
    server.node.move('edge-1', { holder: 'master', state: 'holding', reason: 'edge-lost' });
    server.node.setAge('edge-1', null);
    // A move says it all.
    server.node.setAge('edge-1', 100);
    server.node.move('edge-1', { holder: 'edge', state: 'standby', reason: 'window-open' });
    server.node.setAge('edge-1', null);
    await client.alive();
    expect(redirectsOf(client)).toEqual([['controlled-elsewhere', EDGE], ['reached-again', EDGE], ['edge-lost', MASTER], ['window-open', EDGE]]);
  });

  it('are never sent to an origin that is not known', async () => {
    server.node.move('edge-2', { holder: 'master' });
    const client = await bound('sys-2');
    server.node.move('edge-2', { holder: 'edge', state: 'standby' });
    await client.alive();
    expect(client.frames.filter(isRedirect)).toEqual([]);
  });

  it('hear where to go when the server stops', async () => {
    const client = await bound('sys-1');
    const closed = server.http.close();
    await client.untilClosed();
    expect(client.frames.at(-1)).toMatchObject({ type: 'redirect', reason: 'draining', origin: EDGE, alternatives: [MASTER] });
    await closed;
  });
});

describe('REST', () => {
  const { get, post, as, url } = requestsTo(() => server);

  it('says for how many seconds nobody was heard who drives what is asked for', async () => {
    const ageOf = async (path: string) => (await get(`/api/engine/v2/${path}`)).headers.get('x-holdfast-status-age');
    server.node.located.set('mod-1', 'edge-1');
    expect(await ageOf('modules/mod-1/state')).toBeNull();
    server.node.setAge('edge-1', 3_200);
    expect([await ageOf('modules/mod-1/state'), await ageOf('systems/sys-1'), await ageOf('systems/sys-2')]).toEqual(['4', '4', null]);
    // What was asked of another server brings its own.
    server.node.askedAgeMs = 61_000;
    const paths = ['modules/mod-1/state', 'modules/mod-1/state/power', 'systems/sys-1/Display_1', 'systems/sys-1/Display_1/power'];
    for (const path of paths) expect([path, await ageOf(path)]).toEqual([path, '61']);
    const older = await get('/control/api/systems/sys-1/state?module=Display&index=1');
    expect(older.headers.get('x-holdfast-status-age')).toBe('61');
  });

  it('says in each answer who has control', async () => {
    const answer = await get('/api/engine/v2/edges/edge-1');
    expect([answer.status, answer.headers.get('x-holdfast-origin')]).toEqual([200, EDGE]);
    server.node.located.set('mod-1', 'edge-1');
    for (const path of ['api/engine/v2/systems/sys-1', 'api/engine/v2/metadata/sys-1', 'api/engine/v2/modules/mod-1/state', 'control/api/nodes/edge-1', 'control/api/modules/mod-1']) {
      expect([path, (await get(`/${path}`)).headers.get('x-holdfast-origin')]).toEqual([path, EDGE]);
    }
    expect((await get('/api/engine/v2/modules/mod-9/state')).headers.get('x-holdfast-origin')).toBeNull();
    expect((await get('/api/engine/v2/edges')).headers.get('x-holdfast-origin')).toBeNull();
  });

  const prefer = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(url(path), { ...init, redirect: 'manual', headers: { ...as('admin'), prefer: 'redirect', 'content-type': 'application/json' } });

  it('sends nobody to an edge whose lease runs out unheard', async () => {
    expect((await prefer('/api/engine/v2/systems/sys-1')).status).toBe(307);
    server.node.move('edge-1', { policy: 'exclusive', link: 'down' });
    expect((await prefer('/api/engine/v2/systems/sys-1')).status).not.toBe(307);
  });

  it('sends clients of an edge that may hold no longer to the master, which says nothing', async () => {
    await server.close();
    await start('edge');
    server.node.move('edge-1', { policy: 'exclusive', link: 'down', holder: 'none', state: 'connecting' });
    const answer = await prefer('/api/engine/v2/systems/sys-1');
    expect([answer.status, answer.headers.get('location')]).toEqual([307, `${MASTER}/api/engine/v2/systems/sys-1?redirect_hops=1`]);
  });

  it('sends a client on that prefers it, with its method and query', async () => {
    const answer = await prefer('/api/engine/v2/systems/sys-1/Display_1/power?timeout_ms=500', { method: 'POST', body: '[true]' });
    expect([answer.status, answer.headers.get('location')]).toEqual([
      307,
      `${EDGE}/api/engine/v2/systems/sys-1/Display_1/power?timeout_ms=500&redirect_hops=1`,
    ]);
    expect(server.node.execs).toEqual([]);
  });

  it('serves it here when it does not prefer that, holds itself, knows no origin, or was sent on twice', async () => {
    server.node.methods.set('power', async () => 'here');
    const path = '/api/engine/v2/systems/sys-1/Display_1/power';
    expect(await (await post(path, '[]')).json()).toBe('here');
    expect((await prefer(`${path}?redirect_hops=2`, { method: 'POST', body: '[]' })).status).toBe(200);
    expect((await prefer(`${path}?redirect_hops=x`, { method: 'POST', body: '[]' })).status).toBe(200);
    expect((await prefer('/api/engine/v2/systems/sys-2/Display_1/power', { method: 'POST', body: '[]' })).status).toBe(200);
    server.node.move('edge-1', { holder: 'master', state: 'holding' });
    expect((await prefer(path, { method: 'POST', body: '[]' })).status).toBe(200);
  });

  it('serves here what no edge may do', async () => {
    const ofOne = Object.values(routes).filter(({ masterOnly, path }) => masterOnly && /\/(systems|edges|modules)\/:id/.test(path));
    expect(ofOne.length).toBeGreaterThan(5);
    server.node.located.set('mod-1', 'edge-1');
    for (const { method, path } of ofOne) {
      const id = path.includes('/systems/') ? 'sys-1' : path.includes('/modules/') ? 'mod-1' : 'edge-1';
      const { status } = await prefer(path.replace(':id', id), { method, ...(method === 'GET' ? {} : { body: '{}' }) });
      expect([path, status]).not.toEqual([path, 307]);
    }
  });

  it('keeps all of the query', async () => {
    const answer = await prefer('/api/engine/v2/systems/sys-1/Display_1/power?a=x?timeout_ms=5', { method: 'POST', body: '[]' });
    expect(answer.headers.get('location')).toBe(`${EDGE}/api/engine/v2/systems/sys-1/Display_1/power?a=x%3Ftimeout_ms%3D5&redirect_hops=1`);
  });

  it('sends nobody on with a credential in the query, which the answer would repeat', async () => {
    for (const name of ['api-key', 'bearer_token']) {
      for (const query of [`${name}=${server.keys.admin}`, `a=1&${name}=${server.keys.admin}`, `${name}=`]) {
        const answer = await prefer(`/api/engine/v2/edges/edge-1?${query}`);
        expect([name, answer.status, answer.headers.get('location')]).toEqual([name, 200, null]);
      }
    }
    expect((await prefer('/api/engine/v2/edges/edge-1?a=1')).status).toBe(307);
  });

  it('sends nobody on who may not ask', async () => {
    const answer = await fetch(url('/api/engine/v2/systems/sys-1'), { redirect: 'manual', headers: { prefer: 'redirect' } });
    expect(answer.status).toBe(401);
  });

  it('lists the members', async () => {
    expect(await (await get('/api/engine/v2/members')).json()).toEqual([
      { location: 'edge-1', edge: EDGE, master: MASTER },
      { location: 'edge-2', edge: null, master: MASTER },
    ]);
  });
});
