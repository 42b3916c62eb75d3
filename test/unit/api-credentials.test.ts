import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../src/shared/adapters/store-memory/memory-store.ts';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import { Authenticator } from '../../src/shared/api/auth/auth.ts';
import { credentialIn } from '../../src/shared/api/auth/credential-text.ts';
import { revokeCredential } from '../../src/shared/api/auth/credentials.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { Directory } from '../../src/shared/runtime/documents/directory.ts';
import { FeedSource, ReplicaFeed } from '../../src/shared/runtime/documents/replication.ts';
import { routes } from '../../src/client-sdk/index.ts';
import { requestsTo, startTestServer } from '../support/api-server.ts';
import type { TestServer } from '../support/api-server.ts';
import { SimRandom } from '../../src/sim/random.ts';
import { createMemoryLog } from '../support/memory-log.ts';
import { edgeDocument } from '../support/sample-documents.ts';
import { Origins } from '../../src/shared/api/auth/origins.ts';

const PANELS = 'https://panels.example.org';
let server: TestServer;
beforeEach(async () => {
  server = await startTestServer({ origins: [PANELS], requestsPerMinute: 100_000 });
});
afterEach(() => server.close());

const { url, as, get, post } = requestsTo(() => server);
const EDGES = '/api/engine/v2/edges';
const status = async (path: string, headers: Record<string, string>): Promise<number> => (await get(path, headers)).status;

describe('tokens', () => {
  const issue = (body: { user: string; role: 'viewer' | 'operator' | 'admin'; expires_in?: number }) =>
    server.client(server.keys.admin).call(routes.tokenIssue, { body });

  it('are good until they expire by the clock of this node, and never shown again', async () => {
    const { id, token, expires_at } = await issue({ user: 'anna', role: 'viewer', expires_in: 60 });
    const bearer = { authorization: `Bearer ${token}` };
    expect(expires_at).toBe(Math.floor(server.clock.wallMs() / 1_000) + 60);
    expect(await (await get('/api/engine/v2/users/current', bearer)).json()).toMatchObject({ id: 'anna', sys_admin: false });
    const listed = await (await get('/api/engine/v2/tokens')).text();
    expect(JSON.parse(listed)).toMatchObject([{ id, user: 'anna', role: 'viewer', expires_at, revoked: false }]);
    expect(listed).not.toContain(token.split('.')[1]);
    await server.clock.advance(59_000);
    expect(await status(EDGES, bearer)).toBe(200);
    await server.clock.advance(1_000);
    expect(await status(EDGES, bearer)).toBe(401);
  });

  it('that expired are called that, by REST and at a WebSocket, to who proves the secret and to nobody else', async () => {
    const { id, token } = await issue({ user: 'anna', role: 'viewer', expires_in: 60 });
    const revoked = await issue({ user: 'anna', role: 'viewer', expires_in: 60 });
    await server.client(server.keys.admin).call(routes.tokenRevoke, { params: { id: revoked.id } });
    await server.clock.advance(60_000);
    const expired = { code: 'TOKEN_EXPIRED', message: `The token ${id} expired at ${new Date(server.clock.wallMs()).toISOString()}`, help: expect.stringContaining('new one') as string };
    const answer = await get(EDGES, { 'x-api-key': token });
    expect([answer.status, await answer.json()]).toEqual([401, expect.objectContaining(expired)]);
    const admitted = (key: string) => server.api.sockets.admit({ address: '192.0.2.1', headers: { 'x-api-key': key }, query: {} });
    await expect(admitted(token)).rejects.toMatchObject({ code: 'TOKEN_EXPIRED' });
    for (const key of [`${id}.guess`, revoked.token, `token-none.${token.split('.')[1]}`]) {
      expect(await (await get(EDGES, { 'x-api-key': key })).text()).toContain('UNAUTHORISED');
      await expect(admitted(key)).rejects.toMatchObject({ code: 'UNAUTHORISED' });
    }
    // What needs no credential is answered with any.
    expect(await status('/health/live', { 'x-api-key': token })).toBe(200);
  });

  it('end with their revocation, and with them their streams; an expiry ends streams too', async () => {
    const first = await issue({ user: 'anna', role: 'viewer' });
    const second = await issue({ user: 'anna', role: 'viewer', expires_in: 60 });
    const streams = await Promise.all([first, second].map(({ token }) => get('/api/engine/v2/events', { 'x-api-key': token })));
    await server.client(server.keys.admin).call(routes.tokenRevoke, { params: { id: first.id } });
    expect(await streams[0]?.text()).toContain(': open');
    expect(await status(EDGES, { 'x-api-key': first.token })).toBe(401);
    await server.clock.advance(60_000);
    expect(await streams[1]?.text()).toContain(': open');
    expect((await fetch(url(`/api/engine/v2/tokens/${server.keys.viewer.split('.')[0]}`), { method: 'DELETE', headers: as('admin') })).status).toBe(404);
  });

  it('speak for their user, also where a location lists the user', async () => {
    await server.node.store.apply([{ op: 'put', document: edgeDocument('edge-1', { admins: ['anna'] }), expect: null }]);
    const anna = await issue({ user: 'anna', role: 'operator' });
    const bob = await issue({ user: 'bob', role: 'operator' });
    expect((await post(`${EDGES}/edge-1/pause`, '{}', { 'x-api-key': bob.token })).status).toBe(403);
    expect((await post(`${EDGES}/edge-1/pause`, '{}', { 'x-api-key': anna.token })).status).toBe(200);
    expect(server.node.orders.map(({ by }) => by)).toEqual(['anna']);
    const audits = server.log.filter(({ event, facts }) => event === 'audit' && facts['result'] === 'ok').map(({ facts }) => [facts['who'], facts['user']]);
    expect(audits.at(-1)).toEqual([anna.id, 'anna']);
    expect(JSON.stringify(server.log)).not.toContain(anna.token.split('.')[1]);
  });

  it('are good at an edge once they have replicated, whatever becomes of the link; so is their end', async () => {
    const { node, clock } = server;
    const replica = createMemoryStore({ generation: 'replica' });
    const [central, local] = [new Directory(node.store), new Directory(replica)];
    const stop = [await central.open(), await local.open()];
    const source = new FeedSource({ location: 'edge-1', store: node.store, directory: central });
    const request = (kind: 'replicate.pull' | 'replicate.snapshot', body: Json): Promise<Json> => source.serve(kind, body);
    const feed = new ReplicaFeed({ location: 'edge-1', directory: local, clock, random: new SimRandom('1'), log: createMemoryLog(), metrics: createPromMetrics(), store: replica, request });
    const replicate = async (): Promise<void> => {
      feed.wake(new AbortController().signal);
      for (let turn = 0; turn < 50; turn += 1) await clock.advance(0);
    };
    const atEdge = new Authenticator(replica, clock, () => undefined);
    const { id, token } = await issue({ user: 'anna', role: 'operator', expires_in: 60 });
    const credential = credentialIn({ 'x-api-key': token }, {}, false);
    await replicate();
    expect(await atEdge.identify(credential)).toMatchObject({ id, user: 'anna', role: 'operator' });
    await revokeCredential(node.store, 'token', id);
    expect(await atEdge.identify(credential)).toMatchObject({ id });
    await replicate();
    expect(await atEdge.identify(credential)).toBe(null);
    atEdge.close();
    for (const close of stop) close();
  });

  it('that ended more than a day ago go when the next is issued', async () => {
    await issue({ user: 'anna', role: 'viewer', expires_in: 60 });
    await server.clock.advance(60_000 + 86_400_000);
    await issue({ user: 'bob', role: 'viewer' });
    expect((await server.client(server.keys.admin).call(routes.tokenList, {})).map(({ user }) => user)).toEqual(['anna', 'bob']);
    await server.clock.advance(2_000);
    await issue({ user: 'carl', role: 'viewer' });
    expect((await server.client(server.keys.admin).call(routes.tokenList, {})).map(({ user }) => user)).toEqual(['bob', 'carl']);
  });

  it('last no longer than a year', async () => {
    for (const expires_in of [0, 1.5, 366 * 86_400 + 1]) {
      await expect(issue({ user: 'anna', role: 'viewer', expires_in })).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    }
  });
});

describe('credentials', () => {
  it('come in headers, in the query and in cookies; the first that is there counts', async () => {
    const { viewer } = server.keys;
    for (const query of [`api-key=${viewer}`, `bearer_token=${viewer}`, `limit=1&api-key=${viewer}`]) expect(await status(`${EDGES}?${query}`, {})).toBe(200);
    for (const cookie of [`api-key=${viewer}`, `a=b; bearer_token=${viewer}; c=d`]) expect(await status(EDGES, { cookie })).toBe(200);
    for (const cookie of ['api-key=', 'api-key', '=', ';;;', `x-api-key=${viewer}`]) expect(await status(EDGES, { cookie })).toBe(401);
    expect(await status(`${EDGES}?api-key=${viewer}`, { 'x-api-key': 'no.body' })).toBe(401);
    expect(await status(`${EDGES}?api-key=${viewer}&api-key=${viewer}`, {})).toBe(401);
  });

  it('in a query reach no log, no answer and no metric', async () => {
    const secret = server.keys.admin.split('.')[1] ?? '';
    const query = `api-key=${server.keys.admin}`;
    const asked = [
      ['GET', `${EDGES}?${query}&limit=1`], ['GET', `/nowhere?${query}`], ['GET', `${EDGES}/%zz?${query}`], ['GET', `${EDGES}?limit=x&${query}`],
      ['POST', `${EDGES}/edge-1/pause?${query}`], ['POST', `${EDGES}/edge-9/pause?${query}`], ['GET', `${EDGES}/${'x'.repeat(2_000)}?${query}`],
    ] as const;
    for (const [method, path] of asked) {
      const answer = await fetch(url(path), { method });
      const seen = JSON.stringify([[...answer.headers], await answer.text()]);
      expect([path.replace(secret, ''), seen.includes(secret)]).toEqual([path.replace(secret, ''), false]);
    }
    expect(server.log.some(({ event }) => event === 'audit')).toBe(true);
    expect(JSON.stringify(server.log)).not.toContain(secret);
  });
});

describe('pages of other origins', () => {
  const cookie = (): string => `api-key=${server.keys.admin}`;

  it('do not act with the cookies of a browser unless their origin is configured', async () => {
    const pause = async (origin: string | null): Promise<number> =>
      (await fetch(url(`${EDGES}/edge-1/pause`), { method: 'POST', headers: { cookie: cookie(), ...(origin === null ? {} : { origin }) } })).status;
    expect(await pause('https://evil.example.org')).toBe(401);
    expect(await pause('null')).toBe(401);
    expect(await pause(`${PANELS}.evil.example.org`)).toBe(401);
    expect(await pause(PANELS)).toBe(200);
    expect(await pause(server.http.origin)).toBe(200);
    expect(await pause(null)).toBe(200);
    // A key in a header is sent by nobody's browser on its own.
    expect(await status(EDGES, { ...as('viewer'), origin: 'https://evil.example.org' })).toBe(200);
  });

  it('of this server are those over the scheme that it serves, with its name', async () => {
    const { host } = new URL(server.http.origin);
    const trusts = (origin: string, scheme: 'http' | 'https') => new Origins([], scheme).trusts({ origin, host }, true);
    for (const origin of [`https://${host}`, host, `ftp://${host}`, `http://http://${host}`, `http://${host}/`, 'null', '']) {
      expect([origin, trusts(origin, 'http')]).toEqual([origin, false]);
      expect((await fetch(url(`${EDGES}/edge-1/pause`), { method: 'POST', headers: { cookie: cookie(), origin } })).status).toBe(401);
    }
    expect([trusts(`http://${host}`, 'http'), trusts(`https://${host}`, 'https'), trusts(`http://${host}`, 'https')]).toEqual([true, true, false]);
  });

  it('do not act by a link or an image either, whose GET has no origin', async () => {
    const ofPage = (site: string, origin: Record<string, string> = {}) => ({ cookie: cookie(), 'sec-fetch-site': site, ...origin });
    const changing = Object.values(routes).filter(({ method, audited }) => method === 'GET' && audited);
    expect(changing.map(({ path }) => path)).toContain(`${EDGES}/:id/token`);
    for (const { path } of changing) {
      for (const site of ['cross-site', 'same-site', 'of a later browser']) {
        expect([path, site, await status(path.replace(':id', 'edge-1'), ofPage(site))]).toEqual([path, site, 401]);
      }
    }
    expect(server.node.enrolments).toEqual([]);
    const token = `${EDGES}/edge-1/token`;
    for (const headers of [ofPage('same-origin'), ofPage('none'), { cookie: cookie() }, ofPage('cross-site', { origin: PANELS }), { ...as('admin'), 'sec-fetch-site': 'cross-site' }]) {
      expect([headers, await status(token, headers)]).toEqual([headers, 200]);
    }
    expect((await fetch(url(token), { method: 'HEAD', headers: as('admin') })).status).toBe(404);
    expect(server.node.enrolments.length).toBe(5);
    // What only reads may be linked to.
    expect(await status(EDGES, ofPage('cross-site'))).toBe(200);
  });

  it('read answers, also refusals, only if configured', async () => {
    for (const [headers, expected] of [[as('viewer'), 200], [{}, 401]] as const) {
      const answer = await get(EDGES, { ...headers, origin: PANELS });
      expect([answer.status, answer.headers.get('access-control-allow-origin'), answer.headers.get('vary')]).toEqual([expected, PANELS, 'Origin']);
      expect(answer.headers.get('access-control-expose-headers')).toContain('X-Total-Count, Link, Content-Range');
      expect((await get(EDGES, { ...headers, origin: 'https://evil.example.org' })).headers.has('access-control-allow-origin')).toBe(false);
    }
    const stream = await get('/api/engine/v2/events', { ...as('viewer'), origin: PANELS });
    expect(stream.headers.get('access-control-allow-origin')).toBe(PANELS);
    await stream.body?.cancel();
  });

  it('ask before they send', async () => {
    const ask = (origin: string): Promise<Response> =>
      fetch(url(`${EDGES}/edge-1/pause`), { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST' } });
    const allowed = await ask(PANELS);
    expect([allowed.status, allowed.headers.get('access-control-allow-origin')]).toEqual([204, PANELS]);
    expect(allowed.headers.get('access-control-allow-methods')).toContain('PATCH');
    expect(allowed.headers.get('access-control-allow-headers')).toContain('X-API-Key');
    expect((await ask('https://evil.example.org')).status).toBe(403);
  });
});

describe('what published clients ask first', () => {
  it('is answered without a credential', async () => {
    expect(await (await get('/auth/authority', {})).json()).toMatchObject({ version: expect.stringMatching(/^v2\.\d+\.\d+$/) as string, session: false });
    expect(await (await get('/api/engine/v2/version', {})).json()).toMatchObject({ service: 'holdfast', version: '1.2.3' });
    expect((await get('/api/engine/v2/', {})).status).toBe(200);
  });
});
