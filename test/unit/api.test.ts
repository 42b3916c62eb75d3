import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { routes } from '../../src/client-sdk/index.ts';
import { AssertionError } from '../../src/shared/foundation/assert.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { requestsTo, startTestServer, until } from '../support/api-server.ts';
import type { TestServer } from '../support/api-server.ts';
import { locationView, SINCE_MS, requestView } from '../support/fake-node.ts';
import { edgeDocument, moduleDocument, systemDocument } from '../support/sample-documents.ts';

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.close());

const { url, as, get, post } = requestsTo(() => server);
const put = (...documents: Parameters<typeof edgeDocument>[]): Promise<unknown> =>
  server.node.store.apply(documents.map((given) => ({ op: 'put', document: edgeDocument(...given), expect: null })));

describe('locations', () => {
  it('are listed in order of id, with times in seconds and the epoch as text', async () => {
    const answer = await get('/api/engine/v2/edges');
    const body: unknown = await answer.json();
    expect(body).toMatchObject([{ id: 'edge-1' }, { id: 'edge-2' }]);
    expect(body).toHaveProperty('0', {
      id: 'edge-1',
      name: 'Name of edge-1',
      holder: 'edge',
      epoch: '0.4',
      reason: 'edge-kept-devices',
      since: SINCE_MS / 1_000,
      state: 'standby',
      link: { state: 'up' },
      policy: 'available',
      failover: true,
      timeout: 20,
      paused: false,
      window: {
        open: false,
        closes: null,
        next: SINCE_MS / 1_000 + 3_600,
        schedule: { start: '0 13 * * *', length: 3_600, timezone: 'UTC' },
      },
      due_in: null,
      hold_down: 0,
      dual_control_seconds: 0,
      modules: { total: 3, running: 2, failing: 1 },
      progress: null,
      edited: 0,
      commit: { wanted: null, actual: null, busy: false, problem: null },
    });
  });

  it('are counted in headers, with a link to the next page only when there is one', async () => {
    const first = await get('/api/engine/v2/edges?limit=1&q=EDGE');
    expect(first.headers.get('x-total-count')).toBe('2');
    expect(first.headers.get('content-range')).toBe('items 0-0/2');
    expect(first.headers.get('link')).toBe('</api/engine/v2/edges?limit=1&offset=1&q=EDGE>; rel="next"');
    const last = await get('/api/engine/v2/edges?limit=1&offset=1');
    expect(await last.json()).toMatchObject([{ id: 'edge-2' }]);
    expect(last.headers.has('link')).toBe(false);
  });

  it('have a history, newest first', async () => {
    const history = await server.client(server.keys.viewer).call(routes.edgeHistory, { params: { id: 'edge-1' } });
    expect(history.map((entry) => [entry.sequence, entry.epoch])).toEqual([[2, '0.4'], [1, '0.4']]);
  });

  it('that do not exist are 404, for every route about one', async () => {
    for (const path of ['', '/history']) expect((await get(`/api/engine/v2/edges/edge-9${path}`)).status).toBe(404);
    expect((await post('/api/engine/v2/edges/edge-9/takeover')).status).toBe(404);
  });
});

describe('orders', () => {
  it('are carried out for who gave them, and show before and after', async () => {
    const answer = await server.client(server.keys.admin).call(routes.takeover, { params: { id: 'edge-1' } });
    expect([answer.before.holder, answer.after.holder, answer.after.epoch, answer.dry_run]).toEqual(['edge', 'master', '0.5', false]);
    const [by] = server.keys.admin.split('.');
    expect(server.node.orders).toEqual([{ location: 'edge-1', kind: 'takeover', by, who: by, requestId: expect.any(String) as string, dryRun: false }]);
  });

  it('change nothing as a dry run', async () => {
    const answer = await server.client(server.keys.admin).call(routes.pause, { params: { id: 'edge-1' }, body: { dry_run: true } });
    expect([answer.after.paused, answer.dry_run]).toEqual([true, true]);
    expect(server.node.location('edge-1')?.paused).toBe(false);
  });

  it('that the node refuses come back with its reason', async () => {
    const answer = await post('/api/engine/v2/edges/edge-2/takeover');
    expect(answer.status).toBe(409);
    expect(await answer.json()).toMatchObject({ code: 'ORDER_REFUSED', facts: { location: 'edge-2', reason: 'failover is off' } });
  });

  it('are open to operators whom the location lists, and to no others', async () => {
    const id = server.keys.operator.split('.')[0] ?? '';
    await put(['edge-1', { admins: [id] }], ['edge-2']);
    for (const kind of ['takeover', 'handback', 'pause', 'resume']) {
      expect((await post(`/api/engine/v2/edges/edge-1/${kind}`, '{}', as('operator'))).status).toBe(200);
      expect((await post(`/api/engine/v2/edges/edge-2/${kind}`, '{}', as('operator'))).status).toBe(403);
      expect((await post(`/api/engine/v2/edges/edge-1/${kind}`, '{}', as('viewer'))).status).toBe(403);
    }
  });
});

describe('enrolment', () => {
  it('adds, rotates and revokes', async () => {
    const client = server.client(server.keys.admin);
    expect(await client.call(routes.edgeAdd, { body: { id: 'edge-3' } })).toEqual({ id: 'edge-3', enrolment: 'enrolment-of-edge-3' });
    expect((await client.call(routes.edgeRotate, { params: { id: 'edge-1' }, body: {} })).enrolment).toBe('new-enrolment-of-edge-1');
    expect(await client.call(routes.edgeRevoke, { params: { id: 'edge-1' } })).toEqual({ id: 'edge-1', revoked: true });
    expect(server.node.enrolments).toEqual(['add edge-3', 'rotate edge-1', 'revoke edge-1']);
  });
});

describe('systems', () => {
  it('are paged, searched and shown without their settings', async () => {
    const documents = [
      systemDocument('sys-1', { name: 'Boardroom', modules: ['mod-1', 'mod-gone', 'mod-2'], settings: { password: 'hunter2' } }),
      ...Array.from({ length: 25 }, (_, i) => systemDocument(`sys-x${String(i).padStart(2, '0')}`, { description: 'lecture hall' })),
      moduleDocument('mod-1'),
      moduleDocument('mod-2'),
    ];
    await server.node.store.apply(documents.map((document) => ({ op: 'put', document, expect: null })));
    const client = server.client(server.keys.viewer);
    expect((await client.call(routes.systemList, {})).length).toBe(20);
    expect((await client.all(routes.systemList)).length).toBe(26);
    expect((await client.call(routes.systemList, { query: { q: 'boardROOM' } })).map((system) => system.id)).toEqual(['sys-1']);
    expect((await client.all(routes.systemList, 'lecture')).length).toBe(25);
    const text = await (await get('/api/engine/v2/systems/sys-1', as('viewer'))).text();
    expect(JSON.parse(text)).toMatchObject({ name: 'Boardroom', module_names: ['Display_1', null, 'Display_2'] });
    expect(text).not.toContain('hunter2');
    expect((await get('/api/engine/v2/systems/mod-1')).status).toBe(404);
  });

  it('run methods: the body is the arguments, the answer the bare value', async () => {
    server.node.methods.set('add', async ({ args }) => Number(args[0]) + Number(args[1]));
    const answer = await post('/api/engine/v2/systems/sys-1/Display_2/add', '[1,2]', as('operator'));
    expect(await answer.text()).toBe('3');
    expect(answer.headers.get('x-holdfast-served-by')).toBe('master-under-test');
    const [id] = server.keys.operator.split('.');
    const by = { user: id, who: id, requestId: answer.headers.get('x-request-id'), renamed: expect.any(Function) as () => void };
    expect(server.node.execs).toEqual([{ system: 'sys-1', module: 'Display', index: 2, method: 'add', args: [1, 2], ...by, timeoutMs: limits.requestMs }]);
  });

  it('end a method that ignores its deadline', async () => {
    server.node.methods.set('hang', () => new Promise(() => undefined));
    const answer = post('/api/engine/v2/systems/sys-1/Display_1/hang?timeout_ms=50');
    await until(() => server.node.execs.length === 1, 'the method runs');
    await server.clock.advance(1_050);
    expect((await answer).status).toBe(504);
  });

  it('cancel a method when the client leaves', async () => {
    let cancelled = false;
    server.node.methods.set('hang', (_, signal) => new Promise(() => signal.addEventListener('abort', () => (cancelled = true))));
    const abort = new AbortController();
    const answer = fetch(url('/api/engine/v2/systems/sys-1/Display_1/hang'), { method: 'POST', headers: as('admin'), signal: abort.signal });
    answer.catch(() => undefined);
    await until(() => server.node.execs.length === 1, 'the method runs');
    abort.abort();
    await until(() => cancelled, 'the method is cancelled');
  });

  it('answer status, one variable or all', async () => {
    const display = { system: 'sys-1', module: 'Display', index: 1 };
    server.node.setStatus({ ...display, key: 'power', value: true });
    server.node.setStatus({ ...display, key: 'input source', value: { name: 'hdmi' } });
    const client = server.client(server.keys.viewer);
    const params = { id: 'sys-1', module: 'Display_1' };
    expect(await client.call(routes.moduleStatus, { params })).toEqual({ power: true, 'input source': { name: 'hdmi' } });
    expect(await client.call(routes.variable, { params: { ...params, key: 'input source' } })).toEqual({ name: 'hdmi' });
    expect(await client.call(routes.variable, { params: { ...params, key: 'constructor' } })).toBe(null);
    expect(await client.call(routes.variable, { params: { ...params, module: 'Display', key: 'power' } })).toBe(true);
  });
});

describe('documents and keys', () => {
  it('are planned by a dry run and changed without it', async () => {
    const client = server.client(server.keys.admin);
    const plan = await client.call(routes.apply, { body: { text: 'edges', dry_run: true } });
    expect([plan.changes.length, plan.dry_run, server.siteFiles.applied]).toEqual([1, true, []]);
    await client.call(routes.apply, { body: { text: 'edges' } });
    expect(server.siteFiles.applied).toEqual(['edges']);
    expect((await post('/api/engine/v2/documents/apply', '{"text":"conflict"}')).status).toBe(409);
    expect((await post('/api/engine/v2/documents/apply', '{"text":"bad"}')).status).toBe(422);
    expect(await client.call(routes.export, {})).toEqual({ text: 'edges: []\n' });
  });

  it('are backed up into the folder of the server only', async () => {
    const client = server.client(server.keys.admin);
    expect(await client.call(routes.backup, {})).toEqual({ path: '/data/backups/by-time' });
    expect(await client.call(routes.backup, { body: { name: 'before-upgrade.db' } })).toEqual({ path: '/data/backups/before-upgrade.db' });
    for (const name of ['../x', 'a/b', '', '.hidden', 'a\u0000']) {
      await expect(client.call(routes.backup, { body: { name } })).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    }
  });

  it('a new key works, is never shown again, and stops working when it is revoked', async () => {
    const admin = server.client(server.keys.admin);
    const made = await admin.call(routes.keyAdd, { body: { name: 'panel', role: 'viewer' } });
    const panel = server.client(made.key);
    expect((await panel.call(routes.edgeList, {})).length).toBe(2);
    const listed = await (await get('/api/engine/v2/api_keys')).text();
    expect(listed).toContain(made.id);
    expect(listed).not.toContain(made.key.split('.')[1]);
    expect(listed).not.toContain('hash');
    await admin.call(routes.keyRevoke, { params: { id: made.id } });
    await expect(panel.call(routes.edgeList, {})).rejects.toMatchObject({ code: 'UNAUTHORISED' });
    expect((await fetch(url('/api/engine/v2/api_keys/edge-1'), { method: 'DELETE', headers: as('admin') })).status).toBe(404);
  });
});

describe('health', () => {
  it('says what is missing, and the API waits with it', async () => {
    server.node.ready = { started: false, ready: false, waitingFor: ['the database', 'edge-1'] };
    expect((await get('/health/live', {})).status).toBe(200);
    for (const path of ['/health/ready', '/health/startup']) {
      const answer = await get(path, {});
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1']);
      expect(await answer.json()).toMatchObject({ status: 'starting', role: 'master', waiting_for: ['the database', 'edge-1'] });
    }
    const refused = await get('/api/engine/v2/edges');
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await refused.json()).toMatchObject({ code: 'NOT_READY', facts: { waitingFor: 'the database, edge-1' } });
    expect((await get('/metrics', as('viewer'))).status).toBe(200);

    server.node.ready = { started: true, ready: true, waitingFor: [] };
    expect((await get('/health/ready', {})).status).toBe(200);
    expect((await get('/health/startup', {})).status).toBe(200);
    expect((await fetch(url('/health/ready'), { method: 'HEAD' })).status).toBe(200);
  });

  it('metrics are the text that was handed in', async () => {
    const answer = await get('/metrics', as('viewer'));
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await answer.text()).toBe('# HELP holdfast_modules Modules\n');
  });
});

describe('bad input', () => {
  const cases: [what: string, path: string, body: string | undefined, status: number, field: string][] = [
    ['malformed JSON', '/edges/edge-1/pause', '{"dry_run":', 422, 'body'],
    ['a body of the wrong shape', '/edges/edge-1/pause', '[]', 422, 'body'],
    ['an unknown field', '/edges/edge-1/pause', '{"dry":1}', 422, 'body'],
    ['a field of the wrong type', '/edges/edge-1/pause', '{"dry_run":"yes"}', 422, 'body.dry_run'],
    ['a prototype key in the body', '/edges/edge-1/pause', '{"__proto__":{"dry_run":true}}', 422, 'body'],
    ['a prototype key in an argument', '/systems/sys-1/Display_1/set', '[{"__proto__":1}]', 422, 'body'],
    ['a missing field', '/edges', '{}', 422, 'body.id'],
    ['an id that is none', '/edges', '{"id":"../x"}', 422, 'body.id'],
    ['a prototype key as id', '/edges/__proto__/pause', '{}', 422, 'params.id'],
    ['an id with a slash', '/edges/a%2Fb/pause', '{}', 422, 'params.id'],
    ['a module that is none', '/systems/sys-1/__proto__/set', '[]', 422, 'params.module'],
    ['a module with index 0', '/systems/sys-1/Display_0/set', '[]', 422, 'params.module'],
    ['a method that is none', '/systems/sys-1/Display_1/a-b', '[]', 422, 'params.method'],
    ['arguments that are no array', '/systems/sys-1/Display_1/set', '{"a":1}', 422, 'body'],
    ['arguments without end', '/systems/sys-1/Display_1/set', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, 422, 'body.0'],
    ['a timeout out of range', '/systems/sys-1/Display_1/set?timeout_ms=0', '[]', 422, 'query.timeout_ms'],
    ['a role that is none', '/api_keys', '{"name":"x","role":"root"}', 422, 'body.role'],
  ];
  for (const [what, path, body, status, field] of cases) {
    it(`${what}: ${status} that names ${field}`, async () => {
      const answer = await post(`/api/engine/v2${path}`, body);
      const json = (await answer.json()) as { facts: { field: string; problem: string } };
      expect([answer.status, json.facts.field]).toEqual([status, field]);
      expect(json).toMatchObject({ code: 'INPUT_INVALID', failures: [{ field, reason: json.facts.problem }] });
      expect(json.facts.problem.length).toBeGreaterThan(3);
      expect(server.node.orders).toEqual([]);
    });
  }

  it('a query that is no number: 422', async () => {
    for (const query of ['limit=0', 'limit=501', 'limit=abc', 'limit=', 'limit=1&limit=2', 'offset=-1', 'offset=1.5']) {
      expect([query, (await get(`/api/engine/v2/systems?${query}`)).status]).toEqual([query, 422]);
    }
  });

  it('ids that are names of inherited properties are simply not found', async () => {
    for (const id of ['constructor', 'toString', 'hasOwnProperty']) {
      expect((await get(`/api/engine/v2/edges/${id}`)).status).toBe(404);
      expect((await get(`/api/engine/v2/systems/${id}`)).status).toBe(404);
    }
    expect((await post('/api/engine/v2/systems/sys-1/Display_1/constructor', '[]')).status).toBe(404);
    expect(await (await get('/api/engine/v2/systems/sys-1/constructor')).json()).toEqual({});
  });

  it('a number that is too large, and values that are nested too deep, are told apart', async () => {
    const problem = async (args: string): Promise<unknown> =>
      ((await (await post('/api/engine/v2/systems/sys-1/Display_1/set', args)).json()) as { facts: { problem: unknown } }).facts.problem;
    for (const args of ['[1e400]', '[[{"a":-1e999}]]']) expect(await problem(args)).toBe('must have no number that is too large for a double');
    expect(await problem(`[${'['.repeat(70)}${']'.repeat(70)}]`)).toBe('must be JSON, nested at most 64 deep');
  });

  it('a body over the limit: 413; a site file of an administrator may be larger', async () => {
    const send = async (path: string, bytes: number, role: 'admin' | 'operator'): Promise<unknown> => {
      const answer = await post(path, JSON.stringify({ text: `# ${'x'.repeat(bytes)}`, dry_run: true }), as(role));
      return { status: answer.status, ...((await answer.json()) as object) };
    };
    const apply = '/api/engine/v2/documents/apply';
    const tooLarge = (limitBytes: number) => ({ status: 413, code: 'BODY_TOO_LARGE', facts: { limitBytes } });
    expect(await send(apply, limits.bodyBytes, 'admin')).toMatchObject({ status: 200 });
    expect(await send(apply, limits.siteFileBytes, 'admin')).toMatchObject(tooLarge(limits.siteFileBytes));
    expect(await send(apply, limits.siteFileBytes, 'operator')).toMatchObject({ status: 403 });
    expect(await send('/api/engine/v2/edges/edge-1/pause', limits.bodyBytes, 'admin')).toMatchObject(tooLarge(limits.bodyBytes));
  });

  it('a body that is not JSON by its type: 422', async () => {
    const answer = await post('/api/engine/v2/edges/edge-1/pause', 'dry_run=true', { ...as('admin'), 'content-type': 'application/x-www-form-urlencoded' });
    expect(await answer.json()).toMatchObject({ code: 'INPUT_INVALID', facts: { field: 'content-type' } });
  });

  it('a body of nobody is not even read', async () => {
    const answer = await post('/api/engine/v2/documents/apply', '{"text":', {});
    expect(answer.status).toBe(401);
  });

  it('unknown routes, wrong methods and broken URLs are refused in the same shape', async () => {
    for (const [method, path, status] of [
      ['GET', '/nowhere', 404],
      ['DELETE', '/api/engine/v2/edges', 404],
      ['GET', '/api/engine/v2/edges/%zz', 422],
      ['GET', `/api/engine/v2/edges/${'x'.repeat(2_000)}`, 422],
    ] as const) {
      const answer = await fetch(url(path), { method, headers: as('admin') });
      const body = (await answer.json()) as Record<string, unknown>;
      expect([path, answer.status]).toEqual([path, status]);
      expect(Object.keys(body)).toEqual(expect.arrayContaining(['error', 'code', 'message', 'help', 'facts']));
      expect(body['error']).toBe(body['message']);
      expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f]{16}$/);
    }
  });
});

describe('every reply', () => {
  it('carries a request id: the one given, if it is harmless', async () => {
    const id = async (given: string): Promise<string | null> => (await get('/health/live', { 'x-request-id': given })).headers.get('x-request-id');
    expect(await id('ticket-42')).toBe('ticket-42');
    expect(await id('a b')).toMatch(/^[0-9a-f]{16}$/);
    expect(await id('x'.repeat(200))).toMatch(/^[0-9a-f]{16}$/);
  });

  it('is not cached, not sniffed and names no server', async () => {
    const { headers } = await get('/api/engine/v2/edges');
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(headers.has('server')).toBe(false);
    expect(headers.has('x-powered-by')).toBe(false);
  });

  it('to an unexpected failure says nothing about its inside; a broken invariant is passed on', async () => {
    server.node.methods.set('bug', async () => {
      throw new Error('secret detail');
    });
    server.node.methods.set('broken', async () => {
      throw new AssertionError('cannot be');
    });
    const answer = await post('/api/engine/v2/systems/sys-1/Display_1/bug', '[]', { ...as('admin'), 'x-request-id': 'abc' });
    const text = await answer.text();
    expect([answer.status, text.includes('secret detail')]).toEqual([500, false]);
    expect(JSON.parse(text)).toMatchObject({ code: 'INTERNAL', facts: { requestId: 'abc' } });
    expect(server.log.find((line) => line.event === 'api.failed')?.facts).toMatchObject({ requestId: 'abc', stack: expect.stringContaining('secret detail') as string });
    expect(server.programmerErrors).toEqual([]);
    await post('/api/engine/v2/systems/sys-1/Display_1/broken', '[]');
    expect(server.programmerErrors).toEqual([new AssertionError('cannot be')]);
  });
});

describe('starts and stops of modules', () => {
  it('are cancelled by those whom their location lists, commands by every operator', async () => {
    server.node.inFlight.push(requestView('command-1'), requestView('modules-edge-1', { user: '', method: 'start', module: '312/1000 modules, 4 failing', leftMs: null }));
    server.node.underWay.set('modules-edge-1', 'edge-1');
    expect(await (await get('/api/engine/v2/requests')).json()).toMatchObject([{ id: 'command-1', left: 7.5 }, { method: 'start', left: null }]);
    // With tokens, whose user is not their id, as of keys.
    const tokenOf = (user: string, role: 'operator' | 'admin') => server.client(server.keys.admin).call(routes.tokenIssue, { body: { user, role } });
    const [olga, ada] = [await tokenOf('olga', 'operator'), await tokenOf('ada', 'admin')];
    const cancel = async (id: string, { token }: { token: string }) =>
      (await fetch(url(`/api/engine/v2/requests/${id}`), { method: 'DELETE', headers: { authorization: `Bearer ${token}` } })).status;
    expect([await cancel('command-1', olga), await cancel('modules-edge-1', olga), await cancel('modules-edge-1', ada)]).toEqual([200, 403, 200]);
    expect(server.node.cancelledBy).toEqual([{ user: 'olga', who: olga.id }, { user: 'ada', who: ada.id }]);
  });
});

describe('orders and shutdown', () => {
  it('an order goes on when its client leaves, and is audited', async () => {
    let finish: () => void = () => undefined;
    const { node } = server;
    let aborted = false;
    node.order = (_, signal) => {
      signal.addEventListener('abort', () => (aborted = true));
      return new Promise((resolve) => {
        finish = () => resolve({ before: locationView('edge-1'), after: locationView('edge-1', { holder: 'master' }), summary: 'done' });
      });
    };
    const abort = new AbortController();
    const asked = fetch(url('/api/engine/v2/edges/edge-1/takeover'), { method: 'POST', headers: as('admin'), signal: abort.signal });
    asked.catch(() => undefined);
    await until(() => server.clock.pendingTimers > 0, 'the order runs');
    const sockets = new Promise((resolve) => server.http.server.once('connection', (socket) => socket.once('close', resolve)));
    abort.abort();
    // A connection made after the abort has come and gone: the abort was seen by then.
    await (await fetch(url('/health/live'), { headers: { connection: 'close' } })).text();
    await sockets;
    finish();
    await until(() => server.log.some((line) => line.event === 'audit'), 'the audit line');
    expect(aborted).toBe(false);
    expect(server.log.find((line) => line.event === 'audit')?.facts).toMatchObject({ result: 'ok', summary: 'done' });
  });

  it('lets requests under way finish, then cancels those that do not', async () => {
    let finish: (value: string) => void = () => undefined;
    server.node.methods.set('finishes', () => new Promise((resolve) => (finish = resolve)));
    server.node.methods.set('hangs', () => new Promise(() => undefined));
    const path = '/api/engine/v2/systems/sys-1/Display_1';
    const finishes = post(`${path}/finishes`, '[]');
    const hangs = post(`${path}/hangs`, '[]');
    await until(() => server.node.execs.length === 2, 'both run');
    const closed = server.http.close();
    finish('in time');
    expect(await (await finishes).text()).toBe('"in time"');
    await server.clock.advance(limits.shutdownStepMs);
    expect(((await (await hangs).json()) as { code: string }).code).toBe('CANCELLED');
    await closed;
  });
});
