import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { ClientWebSocket } from '../../src/shared/adapters/client-ws/client-web-socket.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { startTestServer, type TestServer, until } from '../support/api-server.ts';
import { type SocketClient, socketClientsOf } from '../support/socket-client.ts';

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.close());
const open = socketClientsOf(() => server);

const meta = { sys: 'sys-1', mod: 'Display', index: 1, name: 'power' };
const power = (value: unknown) => ({ system: 'sys-1', module: 'Display', index: 1, key: 'power', value: value as never });

describe('limits of WebSockets', () => {
  it('a thousand binds are fine; beyond the limit there is a coded error', async () => {
    const client = await open();
    for (let n = 0; n < 1_000; n += 1) client.send({ id: n, cmd: 'bind', ...meta, name: `variable-${n}` });
    await client.find((frame) => frame['id'] === 999 && frame['type'] === 'success', 'the last bind');
    expect(server.node.watchers).toBe(1_000);
    for (let n = 1_000; n <= limits.clientSocketBindings; n += 1) client.send({ id: n, cmd: 'bind', ...meta, name: `variable-${n}` });
    const refused = await client.find((frame) => frame['id'] === limits.clientSocketBindings, 'the refusal');
    expect(refused).toMatchObject({ type: 'error', code: 3, error: { code: 'LIMIT_REACHED' } });
    client.close();
    await until(() => server.node.watchers === 0, 'nobody watches');
  });

  it('commands that come too fast get an error each, and later ones are answered again', async () => {
    const client = await open();
    const unbind = { cmd: 'unbind', ...meta };
    for (let id = 1; id <= limits.clientSocketCommandBurst; id += 1) client.send({ id, ...unbind });
    client.send({ id: 'too-fast', ...unbind });
    expect(await client.find((frame) => frame['id'] === 'too-fast', 'the refusal')).toMatchObject({ code: 3, error: { code: 'RATE_LIMITED' } });
    await server.clock.advance(1_000);
    client.send({ id: 'later', ...unbind });
    expect(await client.find((frame) => frame['id'] === 'later', 'the answer')).toMatchObject({ type: 'success' });
  });

  it.each(['ping', 'pong'] as const)('%s frames that come too fast end the socket, which is read no more; those of a slow line do not', async (frame) => {
    const heard = vi.spyOn(ClientWebSocket.prototype, 'emit');
    onTestFinished(() => heard.mockRestore());
    const [client, other] = [await open(), await open()];
    for (let i = 0; i < limits.socketPingBurst; i += 1) client.socket[frame]();
    expect(await client.ask('ping')).toBe('pong');
    await server.clock.advance(1_000);
    for (let i = 0; i < limits.socketPingsPerSecond; i += 1) client.socket[frame]();
    expect(await client.ask('ping')).toBe('pong');
    // It does not answer the close frame, and goes on.
    client.socket.pause();
    client.socket[frame]();
    expect(await other.ask('ping')).toBe('pong');
    for (let more = 0; more < 3; more += 1) {
      client.socket[frame]();
      expect(await other.ask('ping')).toBe('pong');
    }
    const allowed = limits.socketPingBurst + limits.socketPingsPerSecond;
    expect(heard.mock.calls.filter(([event]) => event === frame)).toHaveLength(allowed + 1);
    client.socket.resume();
    expect(await client.untilClosed()).toEqual({ code: 1008, reason: 'too-many-pings' });
    expect(await other.ask('ping')).toBe('pong');
  });

  it('large commands under way are bounded by their bytes, on a socket and on the server; small ones are not counted', async () => {
    const finish: (() => void)[] = [];
    server.node.methods.set('wait', () => new Promise((resolve) => finish.push(() => resolve(null))));
    const bytes = 200_000;
    const large = (id: number) => ({ id, cmd: 'exec', ...meta, name: 'wait', args: ['x'.repeat(bytes)] });
    const perSocket = Math.floor(limits.clientSocketLargeBytes / bytes);
    const onServer = Math.floor(limits.largeCommandsBytes / bytes);
    const several: SocketClient[] = [];
    for (let n = 0; n < onServer; n += 1) {
      if (n % perSocket === 0) several.push(await open());
      several.at(-1)?.send(large(n));
    }
    await until(() => server.node.execs.length === onServer, 'all run');
    const refused = (where: string) => ({ type: 'error', code: 3, error: { code: 'LIMIT_REACHED', facts: { what: `bytes of large requests may be under way on one ${where}` } } });
    const [first, last] = [several[0], await open()];
    expect(await first?.ask(large(-1))).toMatchObject({ id: -1, ...refused('socket') });
    expect(await last.ask(large(-2))).toMatchObject({ id: -2, ...refused('server') });
    last.send({ ...large(-3), args: ['x'.repeat(limits.smallRequestBytes - 200)] });
    await until(() => server.node.execs.length === onServer + 1, 'the small one runs');
    // Answered, or given up because their client has gone: their place is free.
    for (const end of finish) end();
    for (let n = 0; n < perSocket; n += 1) await first?.next();
    first?.close();
    await last.next();
    const again = await open();
    for (let n = 0; n < perSocket; n += 1) again.send(large(n));
    await until(() => server.node.execs.length === onServer + 1 + perSocket, 'they run');
    again.close();
    const after = await open();
    for (let n = 0; n < perSocket; n += 1) after.send(large(n));
    await until(() => server.node.execs.length === onServer + 1 + 2 * perSocket, 'they run too');
  });

  it('a client that reads nothing keeps one value of each variable, is cut off with a reason, and delays nobody', async () => {
    const [deaf, reader] = [await open(), await open()];
    for (const client of [deaf, reader]) {
      await client.ask({ id: 1, cmd: 'bind', ...meta });
      await client.next();
    }
    deaf.socket.pause();
    const long = 'x'.repeat(100_000);
    for (let n = 0; n < 200; n += 1) {
      server.node.setStatus(power(`${n} ${long}`));
      await reader.find((frame) => String(frame['value']).startsWith(`${n} `), `value ${n}`);
    }
    await server.clock.advance(limits.clientSocketStalledMs + limits.clientSocketBeatMs);
    deaf.socket.resume();
    expect(await deaf.untilClosed()).toMatchObject({ code: 1008, reason: 'reads-nothing' });
    expect(deaf.frames.length).toBeLessThan(150);
    await reader.alive();
    expect(server.node.watchers).toBe(1);
  });

  it('of many clients that do not read, the one goes for which most waits, before it is too much for the server', () => {
    const megabyte = 1024 * 1024;
    const caller = { id: 'key-1', user: 'key-1', name: 'panel', role: 'operator', expiresMs: null } as const;
    const closed: string[] = [];
    /** A client for whom so much waits. */
    const behind = (name: string, bytes: number) => {
      const quiet = (): void => undefined;
      const close = (_: number, reason: string): void => void closed.push(`${name} ${reason}`);
      return server.api.sockets.open(caller, { send: quiet, sendStatus: quiet, ping: quiet, receiveRest: quiet, queuedBytes: () => bytes, close }, 'here');
    };
    const most = limits.clientSocketsQueueBytes / megabyte;
    const sessions = Array.from({ length: most / 2 - 2 }, (_, n) => behind(String(n), 2 * megabyte));
    const slowest = behind('slowest', 3 * megabyte);
    for (const session of [...sessions, slowest]) session.receive('ping');
    // Who was behind and has caught up counts no more, nor who has gone.
    sessions[0]?.drained();
    sessions[1]?.closed();
    expect(closed).toEqual([]);
    for (const name of ['one more', 'two']) behind(name, 2 * megabyte).receive('ping');
    expect(closed).toEqual([]);
    behind('three', 2 * megabyte).receive('ping');
    expect(closed).toEqual(['slowest reads-too-slowly']);
    for (const session of sessions.slice(2)) session.closed();
  });

  it('a client that falls behind and catches up has the newest value', async () => {
    const client = await open();
    await client.ask({ id: 1, cmd: 'bind', ...meta });
    client.socket.pause();
    const long = 'x'.repeat(100_000);
    for (let n = 0; n < 200; n += 1) {
      server.node.setStatus(power(`${n} ${long}`));
      await new Promise((resolve) => setImmediate(resolve));
    }
    client.socket.resume();
    await client.find((frame) => String(frame['value']).startsWith('199 '), 'the newest value');
    expect(client.frames.length).toBeLessThan(150);
  });
});
