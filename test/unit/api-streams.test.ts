import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { routes } from '../../src/client-sdk/index.ts';
import type { StreamEvent } from '../../src/client-sdk/index.ts';
import { parseEvents } from '../../src/client-sdk/event-parser.ts';
import { EventBuffer } from '../../src/shared/api/event-buffer.ts';
import { startHttpServer } from '../../src/shared/adapters/http/server.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { startTestServer, until } from '../support/api-server.ts';
import type { TestServer } from '../support/api-server.ts';

const display = { system: 'sys-1', module: 'Display', index: 1 };
const power = { params: { id: 'sys-1', module: 'Display_1', key: 'power' } };

describe('an event stream', () => {
  let server: TestServer;
  const aborts: AbortController[] = [];
  beforeEach(async () => {
    server = await startTestServer();
  });
  afterEach(async () => {
    for (const abort of aborts.splice(0)) abort.abort();
    await server.close();
  });
  const abortable = (): AbortController => {
    const abort = new AbortController();
    aborts.push(abort);
    return abort;
  };
  const watch = async (): Promise<AsyncIterator<StreamEvent<unknown>>> => {
    const stream = await server.client(server.keys.viewer).stream(routes.watch, power, { signal: abortable().signal });
    return stream[Symbol.asyncIterator]();
  };

  it('brings a variable now and on each change', async () => {
    server.node.setStatus({ ...display, key: 'power', value: false });
    const events = await watch();
    expect((await events.next()).value).toEqual({ kind: 'event', data: { ...display, key: 'power', value: false } });
    server.node.setStatus({ ...display, key: 'volume', value: 3 });
    server.node.setStatus({ ...display, key: 'power', value: true });
    expect((await events.next()).value).toMatchObject({ data: { key: 'power', value: true } });
  });

  it('brings moves of control', async () => {
    const stream = await server.client(server.keys.viewer).stream(routes.events, {}, { signal: abortable().signal });
    const events = stream[Symbol.asyncIterator]();
    server.say('control', { location: 'edge-1', from: 'suspect', state: 'taking-over', holder: 'master', reason: 'timeout', epoch: '1.5' });
    const facts = { location: 'edge-1', holder: 'master', state: 'taking-over', reason: 'timeout', epoch: '1.5' };
    expect((await events.next()).value).toMatchObject({ kind: 'event', data: { kind: 'control', ...facts } });
  });

  it('lets go of the node when its reader leaves', async () => {
    const abort = abortable();
    await server.client(server.keys.viewer).stream(routes.watch, power, { signal: abort.signal });
    expect(server.node.watchers).toBe(1);
    abort.abort();
    await until(() => server.node.watchers === 0, 'the watch ends');
  });

  it('ends with the server, and the reader sees an orderly end', async () => {
    const events = await watch();
    const next = events.next();
    await server.http.close();
    expect((await next).done).toBe(true);
    expect(server.node.watchers).toBe(0);
  });

  it('beats while nothing happens', async () => {
    const answer = await fetch(`${server.http.origin}/api/engine/v2/events`, { headers: { 'x-api-key': server.keys.viewer } });
    expect(answer.headers.get('content-type')).toBe('text/event-stream');
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f]{16}$/);
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    expect((await reader?.read())?.value).toMatch(/^: open\n\n/);
    await server.clock.advance(limits.apiStreamHeartbeatMs);
    expect((await reader?.read())?.value).toBe(': heartbeat\n\n');
    await reader?.cancel();
  });

  it('of a reader that reads nothing keeps the last value only, and is cut off in the end', async () => {
    const { port } = new URL(server.http.origin);
    let peer: Socket | null = null as Socket | null;
    server.http.server.once('connection', (accepted) => (peer = accepted));
    const socket = connect(Number(port), '127.0.0.1');
    socket.pause();
    socket.on('error', () => undefined);
    socket.write(`GET /api/engine/v2/systems/sys-1/Display_1/power/watch HTTP/1.1\r\nhost: x\r\nx-api-key: ${server.keys.viewer}\r\n\r\n`);
    await until(() => server.node.watchers === 1, 'the watch begins');
    const value = 'x'.repeat(1024 * 1024);
    for (let i = 0; i < 64; i += 1) {
      server.node.setStatus({ ...display, key: 'power', value });
      await new Promise((resolve) => setImmediate(resolve));
    }
    // One value that does not fit, not sixty-four.
    expect(peer?.writableLength).toBeGreaterThan(0);
    expect(peer?.writableLength).toBeLessThan(3 * value.length);
    await server.clock.advance(limits.apiStreamStalledMs + limits.apiStreamHeartbeatMs);
    await until(() => server.node.watchers === 0, 'the stalled reader is cut off');
    socket.destroy();
  });

  it('is refused when too many are open', async () => {
    const [client, other] = [server.client(server.keys.viewer), server.client(server.keys.operator)];
    const open = (by: typeof client) => by.stream(routes.events, {}, { signal: abortable().signal });
    for (let i = 0; i < limits.apiStreams; i += 1) await open(i < limits.apiStreamsPerKey ? client : other);
    await expect(open(other)).rejects.toMatchObject({ code: 'STREAMS_FULL' });
    aborts.shift()?.abort();
    const another = (): Promise<boolean> => open(other).then(() => true, () => false);
    await expect.poll(another, { message: 'one has left' }).toBe(true);
  });
});

describe('an event buffer', () => {
  it('keeps the last value of a key and all others in order', () => {
    const buffer = new EventBuffer(10);
    buffer.push(1, 'a');
    buffer.push(2);
    buffer.push(3, 'a');
    buffer.push(4);
    expect([buffer.take(), buffer.take(), buffer.take(), buffer.take()]).toEqual([3, 2, 4, undefined]);
  });

  it('drops the oldest when it is full, and says how many', () => {
    const buffer = new EventBuffer(2);
    for (const value of [1, 2, 3, 4]) buffer.push(value);
    expect([buffer.takeDropped(), buffer.takeDropped(), buffer.take(), buffer.take()]).toEqual([2, 0, 3, 4]);
  });

  it('wakes its reader for events and for the end, and takes nothing after it', () => {
    const buffer = new EventBuffer(2);
    let woken = 0;
    buffer.listen(() => (woken += 1));
    buffer.push(1);
    buffer.close();
    buffer.close();
    buffer.push(2);
    expect([woken, buffer.take(), buffer.take(), buffer.closed]).toEqual([3, 1, undefined, true]);
  });
});

describe('the parser of event streams', () => {
  const parse = async (chunks: string[]): Promise<unknown[]> => {
    const found: unknown[] = [];
    for await (const event of parseEvents((async function* () { yield* chunks; })())) found.push(event);
    return found;
  };

  it('gives the same events however the text is cut', async () => {
    const text = ': open\n\nevent: status\ndata: {"a":1}\n\n: heartbeat\n\nevent: status\ndata: {"b":"é"}\n\n';
    const whole = await parse([text]);
    expect(whole).toEqual([{ event: 'status', data: '{"a":1}' }, { event: 'status', data: '{"b":"é"}' }]);
    expect(await parse(text.split(''))).toEqual(whole);
    expect(await parse([text.slice(0, 30), text.slice(30)])).toEqual(whole);
  });

  it('gives nothing for an event that was cut off', async () => {
    expect(await parse(['event: status\ndata: {"a":1}\n'])).toEqual([]);
  });
});

describe('the HTTP server', () => {
  it('serves plain HTTP on loopback only', async () => {
    const server = await startTestServer();
    const { api, clock } = server;
    const random = { next: () => 0, hex: () => 'ab' };
    for (const host of ['0.0.0.0', '::', '192.0.2.1', '1270.0.0.1', '127.0.0.1.example.org']) {
      await expect(startHttpServer({ api, clock, random, host, port: 0 })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    }
    const other = await startHttpServer({ api, clock, random, host: 'localhost', port: 0 });
    expect(other.origin).toMatch(/^http:\/\/localhost:\d+$/);
    await other.close();
    await server.close();
  });

  it('gives a slow client a limited time', async () => {
    const server = await startTestServer();
    const { headersTimeout, requestTimeout, maxConnections } = server.http.server;
    expect([headersTimeout, requestTimeout, maxConnections]).toEqual([limits.apiHeadersMs, limits.apiRequestMs, limits.apiConnections]);
    await server.close();
  });

  it.each([
    ['headers', 'x-slow: '],
    ['body', 'content-type: application/json\r\ncontent-length: 1000\r\n\r\n'],
  ])('cuts off one that sends its %s a byte at a time, says why, and serves the others', async (_, rest) => {
    const timeouts = { headersTimeout: 200, requestTimeout: 300, connectionsCheckingInterval: 50 };
    const server = await startTestServer({ timeouts });
    const beginning = `POST /api/engine/v2/edges/edge-1/pause HTTP/1.1\r\nhost: x\r\nx-api-key: ${server.keys.admin}\r\n${rest}`;
    // One that does not leave by itself when it has its answer.
    const socket = connect({ host: '127.0.0.1', port: Number(new URL(server.http.origin).port), allowHalfOpen: true });
    socket.write(beginning);
    let text = '';
    socket.on('data', (data) => (text += data.toString()));
    socket.on('error', () => undefined);
    while (!socket.destroyed) {
      expect((await fetch(`${server.http.origin}/health/live`)).status).toBe(200);
      socket.write(' ');
      if (text !== '') await server.clock.advance(limits.clientSocketCloseMs);
    }
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    expect(text).toContain('request: came too slowly');
    await server.close();
  });

  it('takes some requests of a client that does not wait for answers, and gives all of them up when it leaves', async () => {
    const server = await startTestServer();
    let [begun, givenUp] = [0, 0];
    server.node.methods.set('wait', (_, signal) => new Promise((_resolve, reject) => {
      begun += 1;
      signal.addEventListener('abort', () => {
        givenUp += 1;
        reject(new HoldfastError('CANCELLED', { fate: 'unknown' }));
      });
    }));
    const line = `POST /api/engine/v2/systems/sys-1/Display_1/wait HTTP/1.1\r\nhost: x\r\nx-api-key: ${server.keys.admin}\r\ncontent-length: 0\r\n\r\n`;
    const socket = connect(Number(new URL(server.http.origin).port), '127.0.0.1', () => socket.write(line.repeat(limits.apiPipelined + 50)));
    await until(() => begun === limits.apiPipelined, 'as many as may run');
    // Another one is served, and those are not more.
    expect((await fetch(`${server.http.origin}/health/live`)).status).toBe(200);
    expect([begun, givenUp]).toEqual([limits.apiPipelined, 0]);
    socket.destroy();
    await until(() => givenUp === limits.apiPipelined, 'all are given up');
    // Nor is the shutdown waiting for one of them: it would take until the clock says so.
    await server.close();
  });

  it('does not count the bodies of clients that left before their keys were looked up', async () => {
    const server = await startTestServer();
    const { store } = server.node;
    const lookUp = store.get.bind(store);
    let [asked, goOn] = [0, (): void => undefined];
    const held = new Promise<void>((resolve) => (goOn = resolve));
    store.get = async (id) => {
      asked += 1;
      await held;
      return lookUp(id);
    };
    const apply = '/api/engine/v2/documents/apply';
    const request = (length: number): string =>
      `POST ${apply} HTTP/1.1\r\nhost: x\r\nx-api-key: ${server.keys.admin}\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`;
    const many = Math.floor(limits.largeBodiesBytes / limits.bodyBytes);
    // Node says nothing of the second request of a connection: its turn never came.
    const clients = await Promise.all(Array.from({ length: many + 1 }, async () => {
      const socket = connect(Number(new URL(server.http.origin).port), '127.0.0.1');
      socket.write(request(0) + request(limits.bodyBytes));
      return socket;
    }));
    await until(() => asked >= 2 * clients.length, 'all keys are looked up');
    for (const socket of clients) socket.destroy();
    await expect.poll(() => new Promise((resolve) => server.http.server.getConnections((_, count) => resolve(count)))).toBe(0);
    goOn();
    store.get = lookUp;
    const body = JSON.stringify({ text: 'x'.repeat(limits.smallRequestBytes), dry_run: true });
    const headers = { 'x-api-key': server.keys.admin, 'content-type': 'application/json' };
    expect((await fetch(`${server.http.origin}${apply}`, { method: 'POST', headers, body })).status).toBe(200);
    await server.close();
  });

  it('takes large bodies of so many bytes at a time, small ones always, and others again when those are answered or gone', async () => {
    const server = await startTestServer();
    const admitBody = server.api.admitBody.bind(server.api);
    let admitted = 0;
    server.api.admitBody = (...given) => {
      const ended = admitBody(...given);
      admitted += 1;
      return ended;
    };
    /** In chunks, `chunk` is the first; otherwise of that length. */
    const post = (body: number | { chunk: string }, path = 'documents/apply'): Promise<Socket> => new Promise((resolve) => {
      const size = typeof body === 'number' ? `content-length: ${body}` : 'transfer-encoding: chunked';
      const first = typeof body === 'number' ? '' : `${body.chunk.length.toString(16)}\r\n${body.chunk}\r\n`;
      const head = `POST /api/engine/v2/${path} HTTP/1.1\r\nhost: x\r\nx-api-key: ${server.keys.admin}\r\ncontent-type: application/json\r\n${size}\r\n\r\n`;
      const socket = connect(Number(new URL(server.http.origin).port), '127.0.0.1', () => socket.write(head + first, () => resolve(socket)));
    });
    const answerOf = (socket: Socket): Promise<string> => new Promise((resolve) => socket.once('data', (data: Buffer) => resolve(data.toString())));
    const many = Math.floor(limits.largeBodiesBytes / limits.bodyBytes);
    const begun = { chunk: ' '.repeat(limits.smallRequestBytes + 1) };
    const large = await Promise.all(Array.from({ length: many }, (_, n) => (n % 2 === 0 ? post(limits.bodyBytes) : post(begun, 'edges/edge-1/pause'))));
    await until(() => admitted === many, 'all of them count');
    const refusal = await answerOf(await post(limits.smallRequestBytes + 1));
    expect(refusal).toMatch(/^HTTP\/1\.1 503 /);
    expect(refusal).toContain('bytes of large requests may be under way on one server');
    const apply = (text: string): Promise<Response> => fetch(`${server.http.origin}/api/engine/v2/documents/apply`, {
      method: 'POST', headers: { 'x-api-key': server.keys.admin, 'content-type': 'application/json' }, body: JSON.stringify({ text, dry_run: true }),
    });
    expect((await apply('small')).status).toBe(200);
    // As long as it is short: it counts as what has come of it.
    const inChunks = await post({ chunk: JSON.stringify({ text: 'small', dry_run: true }) });
    inChunks.write('0\r\n\r\n');
    expect(await answerOf(inChunks)).toMatch(/^HTTP\/1\.1 200 /);
    const tooMuch = await post(begun);
    expect(await answerOf(tooMuch)).toMatch(/^HTTP\/1\.1 503 /);
    for (const socket of large) socket.destroy();
    const long = 'x'.repeat(limits.bodyBytes - 100);
    await expect.poll(async () => (await apply(long)).status).toBe(200);
    for (let n = 0; n <= many; n += 1) expect((await apply(long)).status).toBe(200);
    await server.close();
  });

  it('says which address is taken', async () => {
    const server = await startTestServer();
    const port = Number(new URL(server.http.origin).port);
    const random = { next: () => 0, hex: () => 'ab' };
    const second = startHttpServer({ api: server.api, clock: server.clock, random, host: '127.0.0.1', port });
    await expect(second).rejects.toMatchObject({ code: 'CONFIG_INVALID', facts: { problem: expect.stringContaining(String(port)) as string } });
    await server.close();
  });

  it('answers what is not HTTP in the same shape, and goes on', async () => {
    const server = await startTestServer();
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(Number(new URL(server.http.origin).port), '127.0.0.1', () => socket.write('\u0000\u0001 hello\r\n\r\n'));
      let text = '';
      socket.on('data', (data) => (text += data.toString()));
      socket.on('close', () => resolve(text));
    });
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(JSON.parse(answer.split('\r\n\r\n')[1] ?? '')).toMatchObject({ code: 'INPUT_INVALID', error: 'request: is not HTTP' });
    expect((await fetch(`${server.http.origin}/health/live`)).status).toBe(200);
    await server.close();
  });

  it('closes at once although a client holds a connection without a request', async () => {
    const server = await startTestServer();
    const socket = connect(Number(new URL(server.http.origin).port), '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    // Makes sure that the server has accepted it.
    await fetch(`${server.http.origin}/health/live`);
    const ended = new Promise((resolve) => socket.once('close', resolve));
    socket.resume();
    await server.close();
    await ended;
  });
});
