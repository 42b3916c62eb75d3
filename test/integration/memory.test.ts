import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { routes } from '../../src/client-sdk/index.ts';
import { socketPaths } from '../../src/shared/client-api/socket.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { command, startFederation, type TestFederation } from '../support/federation.ts';
import { type Frame, SocketClient } from '../support/socket-client.ts';

/**
 * The memory of real servers, as the operating system counts it, while clients without manners offer them several times what
 * they may grow by. Meanwhile others get their answers, and the link holds.
 */
const KILOBYTE = 1_024;
const MEGABYTE = 1_048_576;
const MAY_GROW = 384 * MEGABYTE;
const piece = Buffer.alloc(64 * KILOBYTE, 'x');

const scope = new Scope();
let world: TestFederation;
let peak = { master: 0, edge: 0 };
beforeAll(async () => {
  // `Display` is what they are after, `Projector` is for the others.
  world = await startFederation(scope, { sites: [{ id: 'berlin', name: 'Berlin', policy: 'available', timezone: 'UTC' }], devicesPerSite: 2 });
  await world.until('berlin', { holder: 'edge', state: 'standby', link: { state: 'up' } });
  await vi.waitFor(async () => expect(await command(world.client, 'berlin')).toBe('hello'), { timeout: 15_000, interval: 50 });
}, 180_000);
afterAll(() => scope.close('the tests end'));

// What is looked at

const residentBytes = (pid: number): number => Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * KILOBYTE;
function resident(): typeof peak {
  const { federation } = world;
  return { master: residentBytes(federation.master.process.pid), edge: residentBytes(federation.edge('berlin')?.process.pid ?? 0) };
}
function look(): void {
  const { master, edge } = resident();
  peak = { master: Math.max(peak.master, master), edge: Math.max(peak.edge, edge) };
}

/** Somebody else, with a device of the same site. */
const other = (): Promise<unknown> =>
  world.client.call(routes.exec, { params: { id: 'sys-berlin', module: 'Projector_1', method: 'echo' }, body: ['still here'] }, { timeoutMs: 15_000 });

/** Runs an attack that says how much it offered; null: many small things. */
async function withstands(attack: () => Promise<number | null>, mayGrow = MAY_GROW): Promise<void> {
  const before = resident();
  peak = before;
  const attacked = attack();
  expect(await other()).toBe('still here');
  const offered = await attacked;
  expect(await other()).toBe('still here');
  look();
  expect(offered ?? Infinity).toBeGreaterThan(1.5 * mayGrow);
  expect(peak.master - before.master).toBeLessThan(mayGrow);
  expect(peak.edge - before.edge).toBeLessThan(mayGrow);
  const log = readFileSync(join(world.federation.dataDir, 'master.log'), 'utf8');
  expect(log.match(/"event":"link-(?:up|down)"/g)).toEqual(['"event":"link-up"']);
}

// What clients without manners do

const times = async <T>(count: number, make: (n: number) => Promise<T>): Promise<T[]> => Promise.all(Array.from({ length: count }, (_, n) => make(n)));
const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);
const port = (origin: string): number => Number(new URL(origin).port);
const headers = (): Record<string, string> => ({ 'x-api-key': world.federation.apiKey });

/** Writes so much, or until the other side hangs up: what was on offer. */
async function pour(stream: Writable, bytes: number): Promise<number> {
  const closed = new Promise<void>((done) => stream.once('close', done).once('error', () => done()));
  for (let offered = 0; offered < bytes && !stream.destroyed; offered += piece.length) {
    if (!stream.write(piece)) await Promise.race([once(stream, 'drain').catch(() => undefined), closed]);
    look();
  }
  return bytes;
}

async function tcp(): Promise<Socket> {
  const socket = connect(port(world.federation.master.origin), '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

const webSocket = (): Promise<SocketClient> => SocketClient.open(`${world.federation.master.origin}${socketPaths[0] ?? ''}`, headers());

/** The head of a masked frame. */
const FIN = 0x80;
const TEXT = 0x01;
const LENGTH_IN_8_BYTES = 0xff;
function frameHead(first: number, length: number): Buffer {
  const head = Buffer.alloc(14);
  head.set([first, LENGTH_IN_8_BYTES]);
  head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}

const display = { sys: 'sys-berlin', mod: 'Display', index: 1 };
const exec = (id: number, name: string, args: unknown[]): Frame => ({ id, cmd: 'exec', ...display, name, args });

// The tests

it('bodies that never end', async () => {
  const { master } = world.federation;
  await withstands(async () => sum(await times(64, async () => {
    const upload = request(`${master.origin}${routes.apply.path}`, { method: 'POST', headers: { ...headers(), 'content-type': 'application/json' } });
    upload.on('error', () => undefined).on('response', (response) => response.resume());
    const offered = await pour(upload, 16 * MEGABYTE);
    upload.destroy();
    return offered;
  })));
}, 60_000);

it('headers that never end', async () => {
  await withstands(async () => sum(await times(128, async () => {
    const socket = await tcp();
    socket.resume().write('GET / HTTP/1.1\r\nhost: here\r\nx: ');
    const offered = await pour(socket, 8 * MEGABYTE);
    socket.destroy();
    return offered;
  })));
}, 60_000);

it('one frame that is too large, and a message in parts without an end', async () => {
  await withstands(async () => sum(await times(64, async (n) => {
    const client = await webSocket();
    const { stream } = client;
    if (n % 2 === 0) stream.write(frameHead(FIN | TEXT, 1_024 * MEGABYTE));
    else stream.write(frameHead(TEXT, 1));
    const offered = n % 2 === 0 ? await pour(stream, 16 * MEGABYTE) : await pourParts(stream, 16 * MEGABYTE);
    client.close();
    return offered;
  })));
}, 60_000);

async function pourParts(stream: Socket, bytes: number): Promise<number> {
  const part = Buffer.concat([frameHead(0, piece.length), piece]);
  stream.write(Buffer.from('x'));
  for (let offered = 0; offered < bytes && !stream.destroyed; offered += piece.length) {
    if (!stream.write(part)) await Promise.race([once(stream, 'drain'), once(stream, 'close')]).catch(() => undefined);
    look();
  }
  return bytes;
}

it('strangers at the link port that send instead of proving who they are', async () => {
  const [host, linkPort] = world.federation.master.link.split(':');
  await withstands(async () => sum(await times(128, async () => {
    const socket = connectTls({ host, port: Number(linkPort), rejectUnauthorized: false });
    socket.on('error', () => undefined);
    await Promise.race([once(socket, 'secureConnect'), once(socket, 'close')]).catch(() => undefined);
    const offered = await pour(socket, 8 * MEGABYTE);
    socket.destroy();
    return offered;
  })));
}, 60_000);

it('answers that nobody reads, of REST and of WebSockets; when their clients have gone, nothing of them stays', async () => {
  const large = 'x'.repeat(400 * KILOBYTE);
  const params = { id: 'sys-berlin', module: 'Display_1' };
  await world.client.call(routes.exec, { params: { ...params, method: 'set' }, body: ['large', large] }, { timeoutMs: 15_000 });
  const path = routes.variable.path.replace(':id', params.id).replace(':module', params.module).replace(':key', 'large');
  const lines = `GET ${path} HTTP/1.1\r\nhost: here\r\nx-api-key: ${world.federation.apiKey}\r\n\r\n`;
  for (let again = 0; again < 2; again += 1) {
    await withstands(async () => {
      const sockets = await times(64, tcp);
      for (const socket of sockets) socket.pause().write(lines.repeat(limits.apiPipelined));
      const clients = await times(32, webSocket);
      for (const { socket } of clients) socket.pause();
      for (let id = 0; id < 40; id += 1) for (const client of clients) client.send({ id, cmd: 'request', route: 'variable', params: { ...params, key: 'large' } });
      for (let n = 0; n < 12; n += 1) {
        expect(await other()).toBe('still here');
        look();
      }
      for (const socket of sockets) socket.destroy();
      for (const client of clients) client.close();
      return large.length * (64 * limits.apiPipelined + 32 * 40);
    });
  }
}, 60_000);

it('status that nobody reads', async () => {
  await withstands(async () => {
    const deaf = await times(64, webSocket);
    for (const client of deaf) {
      await client.ask({ id: 1, cmd: 'bind', ...display, name: 'changing' });
      client.socket.pause();
    }
    const client = await webSocket();
    for (let n = 0; n < 60; n += 1) {
      expect(await client.ask(exec(n, 'set', ['changing', `${n} ${'x'.repeat(200 * KILOBYTE)}`]))).toMatchObject({ id: n, type: 'success' });
      look();
    }
    for (const one of [client, ...deaf]) one.close();
    return deaf.length * 60 * 200 * KILOBYTE;
  });
}, 60_000);

it('large commands for a device that is busy: some wait for it, the others are refused at once', async () => {
  await withstands(async () => {
    const patient = await webSocket();
    patient.send(exec(1, 'slow', [5_000]));
    const clients = await times(32, webSocket);
    const frame = JSON.stringify(exec(1, 'echo', ['x'.repeat(200 * KILOBYTE)]));
    for (let sent = 0; sent < 60; sent += 1) {
      for (const client of clients) client.send(frame);
      while (clients.some(({ socket }) => socket.bufferedAmount > MEGABYTE)) {
        await new Promise((done) => setImmediate(done));
        look();
      }
    }
    for (const client of clients) await client.alive();
    const refused = clients.flatMap(({ frames }) => frames).filter((answer): answer is Frame => typeof answer === 'object' && answer['type'] === 'error');
    expect(refused.length).toBeGreaterThan(1_500);
    for (const answer of refused) expect(answer).toMatchObject({ error: { code: 'LIMIT_REACHED' } });
    for (const client of [patient, ...clients]) client.close();
    return frame.length * 32 * 60;
  }, 240 * MEGABYTE);
}, 120_000);

it('lists of thousands of documents, asked for by hundreds at once: some are answered, the others wait', async () => {
  const module = (n: number): object => ({ id: `mod-listed-${n}`, name: 'Listed', driver_id: 'driver-mock', running: false });
  await times(4, (n) =>
    world.client.call(routes.apply, { body: { text: JSON.stringify({ modules: Array.from({ length: 500 }, (_, i) => module(500 * n + i)) }), dry_run: false } }, { timeoutMs: 30_000 }),
  );
  await withstands(async () => {
    const sockets = await times(100, tcp);
    const seen = { length: 0, longestMs: 0 };
    for (const path of [routes.moduleList.path, routes.export.path, routes.settingsList.path]) {
      const line = `GET ${path}?limit=${limits.listMax} HTTP/1.1\r\nhost: here\r\nx-api-key: ${world.federation.apiKey}\r\n\r\n`;
      for (const socket of sockets) socket.write(line.repeat(3));
    }
    for (const socket of sockets) socket.on('data', (data) => (seen.length += data.length));
    while (seen.length < 2 * MEGABYTE) {
      const beganMs = performance.now();
      expect(await other()).toBe('still here');
      seen.longestMs = Math.max(seen.longestMs, performance.now() - beganMs);
      look();
    }
    expect(seen.longestMs).toBeLessThan(limits.linkDeadMs);
    for (const socket of sockets) socket.destroy();
    return null;
  });
}, 60_000);

it('as many bindings as 16 sockets may have: 4 KB each at most', async () => {
  const each = limits.clientSocketBindings;
  await withstands(async () => {
    const clients = await times(16, webSocket);
    for (let id = 1; id <= each; id += 1) for (const client of clients) client.send({ id, cmd: 'bind', ...display, name: `${'x'.repeat(190)} ${id}` });
    for (const client of clients) await client.find(({ id, type }) => id === each && type === 'success', 'the last binding');
    look();
    for (const client of clients) client.close();
    return null;
  }, 16 * each * 4 * KILOBYTE);
}, 60_000);
