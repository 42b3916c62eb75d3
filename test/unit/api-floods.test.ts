import { createServer, IncomingMessage, ServerResponse } from 'node:http';
import { connect, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { ConnectionRoom } from '../../src/shared/adapters/http/connection-room.ts';
import { openApi } from '../../src/shared/client-api/openapi.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { startTestServer, until, type TestServer } from '../support/api-server.ts';
import { socketClientsOf } from '../support/socket-client.ts';

/** What anybody may ask for, without a key, must not cost the links their heartbeats, nor operators their place. */

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.close());

/** A connection that says something, and what it has heard. */
function client(origin: string, text: string, localAddress = '127.0.0.1') {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(origin).port), allowHalfOpen: true, localAddress });
  onTestFinished(() => void socket.destroy());
  const heard = { socket, text: '', ended: false };
  socket.on('data', (data) => (heard.text += data.toString()));
  socket.on('end', () => (heard.ended = true));
  socket.on('close', () => (heard.ended = true));
  socket.on('error', () => undefined);
  socket.write(text);
  return heard;
}
const head = (line: string, ...headers: string[]): string => `${[`${line} HTTP/1.1`, 'host: x', ...headers].join('\r\n')}\r\n\r\n`;
const LIVE = head('GET /health/live');
const times = (text: string, part: RegExp): number => text.match(part)?.length ?? 0;

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

describe('requests that nobody waits for', () => {
  it('beyond those that may be under way are not even read: one is refused when the others are answered, and the connection ends', async () => {
    const answers: ((value: number) => void)[] = [];
    server.node.methods.set('wait', () => new Promise((resolve) => answers.push(resolve)));
    let read = 0;
    server.http.server.on('request', () => (read += 1));
    const command = head('POST /api/engine/v2/systems/sys-1/Display_1/wait', `x-api-key: ${server.keys.admin}`, 'content-length: 0');
    const flood = client(server.http.origin, command.repeat(limits.apiPipelined) + LIVE.repeat(1_500));
    await until(() => answers.length === limits.apiPipelined, 'as many as may run');
    flood.socket.write(LIVE.repeat(1_500));
    expect((await fetch(`${server.http.origin}/health/live`)).status).toBe(200);
    expect([read, flood.text]).toEqual([limits.apiPipelined + 1, '']);
    for (const answer of answers) answer(1);
    await until(() => flood.ended, 'the connection ends');
    expect([times(flood.text, /HTTP\/1\.1 200 /g), times(flood.text, /HTTP\/1\.1 /g)]).toEqual([limits.apiPipelined, limits.apiPipelined + 1]);
    expect(flood.text).toMatch(/HTTP\/1\.1 503 Refused\r\n[^{]*connection: close\r\n\r\n\{.*"code":"LIMIT_REACHED"/s);
  });

  it.each([
    ['that name no server', 'GET / HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 400 [^{]*connection: close\r\n[^{]*\{.*"field":"host"/is],
    ['that expect what nobody knows', head('GET /health/live', 'expect: a miracle'), /^HTTP\/1\.1 200 /],
  ])('%s count like all others', async (_, text, answer) => {
    let read = 0;
    server.http.server.on('request', () => (read += 1));
    const flood = client(server.http.origin, text.repeat(1_500));
    await until(() => flood.ended, 'the connection ends');
    expect(read).toBe(limits.apiPipelined);
    expect(flood.text).toMatch(answer);
    expect(times(flood.text, /HTTP\/1\.1 /g)).toBeLessThanOrEqual(limits.apiPipelined + 1);
  });

  it('are worked at in turns, also those to nowhere', async () => {
    let begun = 0;
    const { origins } = server.api;
    const headersFor = origins.headersFor.bind(origins);
    origins.headersFor = (headers) => {
      begun += 1;
      return headersFor(headers);
    };
    const many = limits.clientTurnMessages + 50;
    for (let n = 0; n < many; n += 1) {
      const request = Object.assign(new IncomingMessage(new Socket()), { method: 'GET', url: n % 2 === 0 ? '/nowhere' : '/health/live', headers: { host: 'x' } });
      server.http.server.emit('request', request, new ServerResponse(request));
    }
    expect(begun).toBe(limits.clientTurnMessages);
    await until(() => begun === many, 'the others have their turn');
  });

  it('a CONNECT is cut off', async () => {
    const tunnel = client(server.http.origin, head('CONNECT x:1'));
    await until(() => tunnel.ended, 'it is over');
    expect(tunnel.text).toBe('');
  });
});

describe('a server that is nearly full', () => {
  it('lets the stranger go who has asked for nothing for longest, not who has shown a key, nor who is being answered', async () => {
    const most = 16;
    const small = await startTestServer({ connections: most });
    onTestFinished(() => small.close());
    const { store } = small.node;
    const lookUp = store.get.bind(store);
    const known = client(small.http.origin, head('GET /api/engine/v2/edges', `x-api-key: ${small.keys.viewer}`));
    await until(() => known.text !== '', 'the operator is answered');
    store.get = async (id) => (id === 'key-slow' ? new Promise(() => undefined) : lookUp(id));
    const busy = client(small.http.origin, head('GET /api/engine/v2/edges', 'x-api-key: key-slow.x'));
    const idle: ReturnType<typeof client>[] = [];
    const ask = async (): Promise<void> => {
      const next = client(small.http.origin, LIVE);
      idle.push(next);
      await until(() => next.text !== '', 'it is answered');
    };
    while (idle.length < most - 3) await ask();
    expect(idle.filter(({ ended }) => ended)).toEqual([]);
    // Whoever asks again is idle for less long than the others.
    idle[0]?.socket.write(LIVE);
    await until(() => times(idle[0]?.text ?? '', /HTTP/g) === 2, 'it is answered again');
    for (let n = 0; n < 3; n += 1) await ask();
    await until(() => idle.filter(({ ended }) => ended).length === 3, 'three have made room');
    expect(idle.map(({ ended }) => ended).slice(0, 5)).toEqual([false, true, true, true, false]);
    expect([known.ended, busy.ended]).toEqual([false, false]);
    busy.socket.destroy();
  });

  it('takes no place from who has few connections for those who have many', async () => {
    const most = 16;
    const small = await startTestServer({ connections: most });
    onTestFinished(() => small.close());
    const ask = async (address: string): Promise<ReturnType<typeof client>> => {
      const next = client(small.http.origin, LIVE, address);
      await until(() => next.text !== '' || next.ended, 'it is answered');
      return next;
    };
    const few = [await ask('127.0.0.1'), await ask('127.0.0.2')];
    const many: ReturnType<typeof client>[] = [];
    while (many.length < 2 * most) many.push(await ask('127.0.0.3'));
    await until(() => many.filter(({ ended }) => !ended).length === most - 1 - few.length, 'the crowd makes room for itself');
    expect(few.map(({ ended }) => ended)).toEqual([false, false]);
    expect(many.at(-1)?.ended).toBe(false);
  });

  it('keeps so many connections of one key, and the rest of it makes room like strangers', () => {
    const listening = createServer().removeAllListeners('connection');
    const most = Math.ceil(((limits.apiConnectionsPerKey + 5) * 64) / 63);
    const room = new ConnectionRoom(listening, { isAnswering: () => false }, most);
    let port = 0;
    const arrive = (): Socket => {
      const socket = Object.defineProperties(new Socket(), { remoteAddress: { value: '::1' }, remotePort: { value: (port += 1) } });
      listening.emit('connection', socket);
      return socket;
    };
    const own = Array.from({ length: limits.apiConnectionsPerKey + 1 }, arrive);
    for (const socket of own) room.proved(socket, 'key-1');
    for (let n = 0; n < 30; n += 1) room.proved(arrive(), `key-${n + 2}`);
    expect(own.filter(({ destroyed }) => destroyed)).toEqual(own.slice(-1));
  });
});

describe('a body that nobody asked for', () => {
  it.each(['POST /nowhere', 'DELETE /health/live', 'OPTIONS /anything'])('of %s is refused before it has come', async (line) => {
    const asked = client(server.http.origin, head(line, 'content-type: application/json', 'transfer-encoding: chunked'));
    await until(() => asked.text !== '', 'it is answered');
    expect(asked.text).toMatch(line.startsWith('OPTIONS') ? /^HTTP\/1\.1 403 / : /^HTTP\/1\.1 404 [^{]*\{.*"code":"NOT_FOUND"/s);
  });

  it('of a webhook is refused before it has come when the secret is wrong', async () => {
    const hook = '/api/engine/v2/webhook/trigger-1~sys-1/notify';
    for (const [path, header] of [[hook, 'x-webhook-secret: wrong'], [`${hook}/wrong`, 'x: y']] as const) {
      const asked = client(server.http.origin, head(`POST ${path}`, header, 'content-type: application/json', 'transfer-encoding: chunked'));
      await until(() => asked.text !== '', 'it is answered');
      expect(asked.text).toContain('"code":"WEBHOOK_REFUSED"');
    }
  });
});
