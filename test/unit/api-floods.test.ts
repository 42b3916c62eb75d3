import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openApi } from '../../src/shared/client-api/openapi.ts';
import { startTestServer, type TestServer } from '../support/api-server.ts';
import { socketClientsOf } from '../support/socket-client.ts';

/** What anybody may ask for, without a key, must not cost the links their heartbeats. */

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.close());

describe('the description of the API', () => {
  it('is made once, and its text kept', async () => {
    const start = { route: 'openApi', headers: {}, requestId: 'x', remote: '::1', params: {}, query: {}, url: '' } as const;
    const ask = async () => server.api.run(await server.api.begin(start), { query: {}, body: undefined, gone: new AbortController().signal });
    const [first, second] = [await ask(), await ask()];
    expect(first).toMatchObject({ kind: 'json', status: 200, body: { text: JSON.stringify(openApi('1.2.3')) } });
    expect('body' in first && 'body' in second && first.body === second.body).toBe(true);
  });

  it('is the same over REST and over a WebSocket', async () => {
    const answer = await fetch(`${server.http.origin}/openapi.json`);
    expect([answer.headers.get('content-type'), await answer.json()]).toEqual(['application/json; charset=utf-8', openApi('1.2.3')]);
    const socket = await socketClientsOf(() => server)('viewer');
    expect(await socket.ask({ id: 7, cmd: 'request', route: 'openApi' })).toEqual({ id: 7, type: 'success', status: 200, body: openApi('1.2.3') });
  });
});
