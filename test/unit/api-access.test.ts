import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createApiKey, revokeCredential } from '../../src/shared/api/auth/credentials.ts';
import { credentialIn } from '../../src/shared/api/auth/credential-text.ts';
import { Authenticator } from '../../src/shared/api/auth/auth.ts';
import type { CommitListener, DocumentStore } from '../../src/shared/ports/document-store.ts';
import { requestsTo, startTestServer } from '../support/api-server.ts';
import type { TestServer } from '../support/api-server.ts';

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.close());

const { as, get, post } = requestsTo(() => server);

describe('access', () => {
  it('takes a key as X-API-Key or as a bearer token', async () => {
    expect((await get('/api/engine/v2/edges', { authorization: `Bearer ${server.keys.viewer}` })).status).toBe(200);
    expect((await get('/api/engine/v2/edges', { authorization: `bearer ${server.keys.viewer}` })).status).toBe(200);
    const id = server.keys.viewer.split('.')[0] ?? '';
    for (const key of ['', '.', 'x', `${id}.`, `.${id}`, `${id}.wrong`, `edge-1.secret`, '__proto__.x', `${id}.${'x'.repeat(1_000)}`]) {
      expect([key, (await get('/api/engine/v2/edges', { 'x-api-key': key })).status]).toEqual([key, 401]);
    }
  });

  it('is refused again as soon as the commit that revokes a key is there, also to open streams', async () => {
    const id = server.keys.viewer.split('.')[0] ?? '';
    const open = await get('/api/engine/v2/events', as('viewer'));
    const other = await get('/api/engine/v2/events', as('operator'));
    const stored = await server.node.store.get(id);
    if (stored?.document.type !== 'api_key') throw new Error('no key');
    await server.node.store.apply([{ op: 'put', document: { ...stored.document, revoked: true }, expect: stored.version }]);
    expect((await get('/api/engine/v2/edges', as('viewer'))).status).toBe(401);
    expect(await open.text()).toMatch(/^: open\n\nid: \S+\n\n$/);
    await other.body?.cancel();
  });

  it('is limited per key, and per address without a valid one', async () => {
    const small = await startTestServer({ requestsPerMinute: 3 });
    const ask = (key: string): Promise<Response> => fetch(`${small.http.origin}/api/engine/v2/edges`, { headers: { 'x-api-key': key } });
    // Guessing with somebody's id does not use up the share of that key.
    for (let i = 0; i < 3; i += 1) expect((await ask(`${small.keys.admin}0`)).status).toBe(401);
    const refused = await ask('nobody.x');
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await refused.json()).toMatchObject({ code: 'RATE_LIMITED' });
    for (let i = 0; i < 3; i += 1) expect((await ask(small.keys.admin)).status).toBe(200);
    expect((await ask(small.keys.admin)).status).toBe(429);
    expect((await ask(small.keys.viewer)).status).toBe(200);
    expect((await fetch(`${small.http.origin}/health/live`)).status).toBe(200);
    expect((await fetch(`${small.http.origin}/nowhere`)).status).toBe(429);
    await small.close();
  });
});

describe('audit', () => {
  const audits = (word = 'audit'): Record<string, unknown>[] => server.log.filter((line) => line.event === word).map((line) => line.facts);

  it('is one line per request that changes something, with who, what and the result', async () => {
    await post('/api/engine/v2/edges/edge-1/pause', '{"dry_run":true}', { ...as('admin'), 'x-request-id': 'ticket-7' });
    expect(audits()).toEqual([
      {
        who: server.keys.admin.split('.')[0],
        user: server.keys.admin.split('.')[0],
        role: 'admin',
        what: 'POST /api/engine/v2/edges/:id/pause',
        params: { id: 'edge-1' },
        location: 'edge-1',
        dryRun: true,
        summary: 'pause of edge-1',
        result: 'ok',
        status: 200,
        remote: '127.0.0.1',
        requestId: 'ticket-7',
      },
    ]);
  });

  it('of a key or token that was made for others still says who made it', async () => {
    await post('/api/engine/v2/api_keys', '{"name":"panel","role":"viewer"}');
    await post('/api/engine/v2/tokens', '{"user":"anna","role":"viewer"}');
    const admin = { user: server.keys.admin.split('.')[0], role: 'admin' };
    expect(audits()).toMatchObject([
      { ...admin, keyRole: 'viewer', name: 'panel' },
      { ...admin, tokenUser: 'anna', tokenRole: 'viewer' },
    ]);
  });

  it('also of what was refused, at whatever step', async () => {
    await post('/api/engine/v2/edges/edge-1/takeover', undefined, {});
    await post('/api/engine/v2/edges/edge-1/takeover', '{}', as('viewer'));
    await post('/api/engine/v2/edges/edge-1/takeover', '{', as('admin'));
    await post('/api/engine/v2/edges/edge-1/takeover', '{"dryrun":true}', as('admin'));
    await post('/api/engine/v2/edges/edge-2/takeover', '{}', as('admin'));
    const results = (word: string) => audits(word).map(({ who, result }) => [who === 'nobody', result]);
    expect(results('refused')).toEqual([[true, 'UNAUTHORISED'], [false, 'FORBIDDEN']]);
    expect(results('audit')).toEqual([[false, 'INPUT_INVALID'], [false, 'INPUT_INVALID'], [false, 'ORDER_REFUSED']]);
  });

  it('not of reading, and never with a secret or an argument', async () => {
    server.node.methods.set('login', async () => 'in');
    await get('/api/engine/v2/edges');
    await post('/api/engine/v2/api_keys', '{"name":"panel","role":"viewer"}');
    await post('/api/engine/v2/systems/sys-1/Display_1/login', '["hunter2"]');
    expect(audits().map((facts) => facts['what'])).toEqual(['POST /api/engine/v2/api_keys']);
    expect(audits('command').map((facts) => facts['what'])).toEqual(['POST /api/engine/v2/systems/:id/:module/:method']);
    const text = JSON.stringify(server.log);
    expect(text).not.toContain('hunter2');
    for (const key of Object.values(server.keys)) expect(text).not.toContain(key.split('.')[1]);
  });
});

describe('the last key of an administrator', () => {
  const idOf = (key: string): string => key.split('.')[0] ?? '';
  const revoke = async (key: string) => {
    const answer = await fetch(`${server.http.origin}/api/engine/v2/api_keys/${idOf(key)}`, { method: 'DELETE', headers: as('admin') });
    return { status: answer.status, body: (await answer.json()) as { code?: string; help?: string } };
  };
  const add = async (role: 'viewer' | 'admin'): Promise<string> => {
    const answer = await post('/api/engine/v2/api_keys', JSON.stringify({ name: 'another', role }));
    return ((await answer.json()) as { key: string }).key;
  };

  it('is not revoked, and the refusal says what to do first; tokens and keys that are revoked do not count', async () => {
    await post('/api/engine/v2/tokens', '{"user":"anna","role":"admin"}');
    await add('viewer');
    const another = await add('admin');
    expect((await revoke(another)).status).toBe(200);
    const refused = await revoke(server.keys.admin);
    expect([refused.status, refused.body.code, refused.body.help]).toEqual([409, 'LAST_ADMIN_KEY', expect.stringContaining('holdfast key add')]);
    expect((await get('/api/engine/v2/users/current')).status).toBe(200);
    // What is revoked already may be so again.
    expect((await revoke(another)).status).toBe(200);
    await add('admin');
    expect((await revoke(server.keys.admin)).status).toBe(200);
  });

  it('is left by any number of revocations at once', async () => {
    const { store } = server.node;
    const keys = [server.keys.admin, await add('admin'), await add('admin')].map(idOf);
    const outcomes = await Promise.allSettled(keys.map((id) => revokeCredential(store, 'api_key', id)));
    // Whoever came second looked again: nobody is told of a conflict.
    const codes = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [(outcome.reason as { code: string }).code] : []));
    expect(codes).toEqual(['LAST_ADMIN_KEY']);
    const left = (await Promise.all(keys.map((id) => store.get(id)))).filter((stored) => stored?.document.type === 'api_key' && !stored.document.revoked);
    expect(left).toHaveLength(1);
  });

  it('does not keep others from going at the same moment', async () => {
    const keys = await Promise.all(Array.from({ length: 15 }, () => add('admin')));
    await Promise.all(keys.map((key) => revokeCredential(server.node.store, 'api_key', idOf(key))));
    expect((await revoke(server.keys.admin)).body.code).toBe('LAST_ADMIN_KEY');
  });
});

describe('the cache of keys', () => {
  it('reads a key once, and again after a commit, also after one that came in between', async () => {
    const { store } = server.node;
    const reads: (() => void)[] = [];
    const slow = Object.create(store, {
      // Reads at once and answers when told to, as a busy disk would.
      get: { value: async (id: string) => (await Promise.all([store.get(id), new Promise<void>((resolve) => reads.push(resolve))]))[0] },
      onChange: { value: (listener: CommitListener) => store.onChange(listener) },
    }) as DocumentStore;
    const auth = new Authenticator(slow, server.clock, () => undefined);
    const answer = (): void => reads.at(-1)?.();

    const before = auth.identify(credentialIn(as('viewer'), {}, false));
    await revokeCredential(store, 'api_key', server.keys.viewer.split('.')[0] ?? '');
    answer();
    expect(await before).toMatchObject({ role: 'viewer' });
    const after = auth.identify(credentialIn(as('viewer'), {}, false));
    answer();
    expect(await after).toBe(null);
    expect(reads.length).toBe(2);
    expect(await auth.identify(credentialIn(as('viewer'), {}, false))).toBe(null);
    expect(reads.length).toBe(2);
    // Others' documents are none of its business: the store need not even answer.
    const random = { next: () => 0.5, hex: (bytes: number) => 'f'.repeat(bytes * 2) };
    await createApiKey({ store, random, clock: server.clock }, { name: 'other', role: 'viewer' });
    expect(await auth.identify(credentialIn(as('viewer'), {}, false))).toBe(null);
    expect(reads.length).toBe(2);
    auth.close();
  });
});
