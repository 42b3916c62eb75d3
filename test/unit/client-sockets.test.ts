import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { revokeCredential } from '../../src/shared/api/auth/credentials.ts';
import { socketCommands } from '../../src/shared/client-api/socket.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { startTestServer, type TestServer, until } from '../support/api-server.ts';
import { SocketClient, socketClientsOf } from '../support/socket-client.ts';

const NEWER = '/api/engine/v2/systems/control';
const OLDER = '/control/websocket';

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.close());
const open = socketClientsOf(() => server);

const meta = { sys: 'sys-1', mod: 'Display', index: 1, name: 'power' };
const power = (value: unknown) => ({ system: 'sys-1', module: 'Display', index: 1, key: 'power', value: value as never });

describe('who may open a WebSocket', () => {
  it('anybody, so often: by address without a valid key, by key with one', async () => {
    const open = (address: string, key: string): Promise<string> =>
      server.api.sockets.admit({ address, headers: { 'x-api-key': key }, query: {} }).then(
        () => 'open',
        (error: unknown) => (error instanceof HoldfastError ? error.code : 'unknown'),
      );
    for (let i = 0; i < limits.apiRequestsPerMinute; i += 1) await open('192.0.2.1', 'no key');
    expect(await open('192.0.2.1', 'no key')).toBe('RATE_LIMITED');
    expect(await open('192.0.2.2', 'no key')).toBe('UNAUTHORISED');
    expect(await open('192.0.2.1', server.keys.viewer)).toBe('open');
    await server.clock.advance(60_000);
    expect(await open('192.0.2.1', 'no key')).toBe('UNAUTHORISED');
  });

  it('needs a credential on either path', async () => {
    expect(await SocketClient.refused(`${server.http.origin}${NEWER}`)).toBe(401);
    expect(await SocketClient.refused(`${server.http.origin}${OLDER}`, { 'x-api-key': 'key-1.wrong' })).toBe(401);
    expect(await (await open('viewer', OLDER)).ask('ping')).toBe('pong');
  });

  it('finds nothing at another path, and refuses while the node starts', async () => {
    expect(await SocketClient.refused(`${server.http.origin}/elsewhere`, { 'x-api-key': server.keys.admin })).toBe(404);
    server.node.ready = { started: true, ready: false, waitingFor: ['edge berlin'] };
    expect(await SocketClient.refused(`${server.http.origin}${NEWER}`, { 'x-api-key': server.keys.admin })).toBe(503);
  });

  it.each(['/elsewhere', NEWER])('cuts off whom it refuses at %s, also one that does not leave', async (path) => {
    const head = `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`;
    const socket = connect({ host: '127.0.0.1', port: Number(new URL(server.http.origin).port), allowHalfOpen: true });
    socket.write(head);
    onTestFinished(() => void socket.destroy());
    let text = '';
    socket.on('data', (data) => (text += data.toString()));
    socket.on('error', () => undefined);
    await until(() => text !== '', 'the answer');
    await server.clock.advance(limits.clientSocketCloseMs);
    await until(() => {
      socket.write('x');
      return socket.destroyed;
    }, 'it is cut off');
    expect(text).toMatch(/^HTTP\/1\.1 40[14] /);
  });

  it('takes the credential of a query or a cookie, and writes it down nowhere', async () => {
    const key = server.keys.operator;
    for (const [query, headers] of [[`?fixed_device=true&api-key=${key}`, {}], [`?bearer_token=${key}`, {}], [`?panel=a?b&api-key=${key}`, {}], ['', { cookie: `a=b; api-key=${key}` }], ['', { cookie: `bearer_token=${key}` }]] as const) {
      const client = await SocketClient.open(`${server.http.origin}${NEWER}${query}`, headers);
      expect(await client.ask('ping')).toBe('pong');
      await client.ask({ id: 1, cmd: 'exec', ...meta, name: 'nothing' });
      client.close();
    }
    await SocketClient.refused(`${server.http.origin}${NEWER}?api-key=${key}x`);
    expect(JSON.stringify(server.log)).not.toContain(key.split('.')[1]);
  });

  it('refuses a page of another origin, and lets a page of its own in', async () => {
    const as = (origin: string) => ({ 'x-api-key': server.keys.viewer, origin });
    expect(await SocketClient.refused(`${server.http.origin}${NEWER}`, as('https://evil.example.org'))).toBe(403);
    const client = await SocketClient.open(`${server.http.origin}${NEWER}`, as(server.http.origin));
    onTestFinished(() => client.close());
    expect(await client.ask('ping')).toBe('pong');
  });

  it('ends with the key, once what is under way is answered', async () => {
    const revoked = await open('operator');
    const other = await open('viewer');
    server.node.methods.set('wait', (_, signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', () =>
      reject(new HoldfastError('CANCELLED', { fate: 'unknown' })),
    )));
    revoked.send({ id: 1, cmd: 'exec', ...meta, name: 'wait' });
    await until(() => server.node.execs.length === 1, 'it runs');
    await revokeCredential(server.node.store, 'api_key', server.keys.operator.split('.')[0] ?? '');
    expect(await revoked.next()).toMatchObject({ id: 1, error: { code: 'CANCELLED' } });
    expect(await revoked.untilClosed()).toEqual({ code: 1008, reason: 'key-revoked' });
    expect(await other.ask('ping')).toBe('pong');
  });
});

describe('bind', () => {
  it('answers success, then the value, then each change', async () => {
    server.node.setStatus(power(true));
    const client = await open('viewer');
    expect(await client.ask({ id: 7, cmd: 'bind', ...meta })).toEqual({ id: 7, type: 'success', meta });
    expect(await client.next()).toEqual({ type: 'notify', value: true, revision: server.node.revision, meta });
    server.node.setStatus(power(false));
    server.node.setStatus(power(true));
    expect(await client.next()).toEqual({ type: 'notify', value: false, revision: server.node.revision, meta });
    expect(await client.next()).toEqual({ type: 'notify', value: true, revision: server.node.revision, meta });
  });

  it('tells null of a variable that was never set', async () => {
    const client = await open();
    await client.ask({ id: 1, cmd: 'bind', ...meta });
    expect(await client.next()).toEqual({ type: 'notify', value: null, revision: null, meta });
  });

  it('echoes the id with its type, and takes 1 for a missing index', async () => {
    const client = await open();
    expect(await client.ask({ id: 'a-1', cmd: 'bind', sys: 'sys-1', mod: 'Display', name: 'power' })).toEqual({ id: 'a-1', type: 'success', meta });
  });

  it('takes a second bind of the same thing, and sends each value once', async () => {
    const client = await open();
    await client.ask({ id: 1, cmd: 'bind', ...meta });
    await client.next();
    expect(await client.ask({ id: 2, cmd: 'bind', ...meta })).toEqual({ id: 2, type: 'success', meta });
    server.node.setStatus(power(5));
    await client.ask('ping');
    expect(client.frames.filter((frame) => typeof frame === 'object' && frame['value'] === 5)).toHaveLength(1);
    expect(server.node.watchers).toBe(1);
  });

  it('waits for a module that is not there yet', async () => {
    const client = await open();
    const lamp = { ...meta, mod: 'Lamp' };
    expect(await client.ask({ id: 1, cmd: 'bind', ...lamp })).toEqual({ id: 1, type: 'success', meta: lamp });
    server.node.setStatus({ ...power(3), module: 'Lamp' });
    expect(await client.next()).toEqual({ type: 'notify', value: 3, revision: server.node.revision, meta: lamp });
  });

  it('answers error 5 for a system that does not exist', async () => {
    const client = await open();
    const answer = await client.ask({ id: 1, cmd: 'bind', ...meta, sys: 'nowhere' });
    expect(answer).toMatchObject({ id: 1, type: 'error', code: 5, error_code: 5, error: { code: 'NOT_FOUND' } });
  });

  it('shares one watch and one frame between clients, until the last one leaves', async () => {
    const [first, second] = [await open(), await open()];
    for (const client of [first, second]) {
      await client.ask({ id: 1, cmd: 'bind', ...meta });
      await client.next();
    }
    expect(server.node.watchers).toBe(1);
    server.node.setStatus(power('both'));
    for (const client of [first, second]) expect(await client.next()).toMatchObject({ value: 'both' });
    expect(await first.ask({ id: 2, cmd: 'unbind', ...meta })).toEqual({ id: 2, type: 'success', meta });
    server.node.setStatus(power('second only'));
    expect(await second.next()).toMatchObject({ value: 'second only' });
    expect(await first.ask('ping')).toBe('pong');
    second.close();
    await until(() => server.node.watchers === 0, 'nobody watches');
  });
});

describe('exec', () => {
  it('answers with the value', async () => {
    server.node.methods.set('echo', async ({ args, user }) => [...args, user]);
    const client = await open();
    const answer = await client.ask({ id: 3, cmd: 'exec', ...meta, name: 'echo', args: [1, { a: null }] });
    const value = [1, { a: null }, server.keys.operator.split('.')[0]];
    expect(answer).toEqual({ id: 3, type: 'success', value, served_by: 'master-under-test', meta: { ...meta, name: 'echo' } });
  });

  it('answers with coded errors', async () => {
    server.node.methods.set('fail', async () => {
      throw new HoldfastError('DEVICE_OFFLINE', { module: 'mod-1' });
    });
    server.node.methods.set('gone', async () => {
      throw new HoldfastError('NOT_FOUND', { kind: 'module', id: 'sys-1/Lamp_1' });
    });
    server.node.methods.set('bug', async () => {
      throw new TypeError('undefined is not a function');
    });
    const client = await open();
    const codeOf = async (name: string): Promise<unknown> => {
      const answer = await client.ask({ id: 1, cmd: 'exec', ...meta, name });
      return typeof answer === 'object' ? [answer['code'], answer['error_code']] : answer;
    };
    expect(await codeOf('fail')).toEqual([3, 3]);
    expect(await codeOf('gone')).toEqual([6, 6]);
    expect(await codeOf('bug')).toEqual([7, 7]);
    expect(JSON.stringify(client.frames)).not.toContain('undefined is not');
  });

  it('is not for viewers', async () => {
    const client = await open('viewer');
    expect(await client.ask({ id: 1, cmd: 'exec', ...meta })).toMatchObject({ id: 1, type: 'error', code: 2 });
    expect(await client.ask({ id: 2, cmd: 'debug', ...meta })).toMatchObject({ id: 2, type: 'error', code: 2 });
    expect(server.node.execs).toEqual([]);
  });

  it('has a limit of commands under way, and is cancelled when its client leaves', async () => {
    let cancelled = 0;
    server.node.methods.set('wait', (_, signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => {
      cancelled += 1;
      reject(new Error('gone'));
    })));
    const client = await open();
    for (let id = 1; id <= limits.clientSocketCommands; id += 1) client.send({ id, cmd: 'exec', ...meta, name: 'wait' });
    expect(await client.ask({ id: 9_999, cmd: 'exec', ...meta, name: 'wait' })).toMatchObject({ id: 9_999, code: 3, error: { code: 'LIMIT_REACHED' } });
    client.close();
    await until(() => cancelled === limits.clientSocketCommands, 'all cancelled');
  });
});

describe('roles', () => {
  const least = { bind: 'viewer', unbind: 'viewer', exec: 'operator', debug: 'operator', ignore: 'operator', request: 'viewer' } as const;
  const roles = ['viewer', 'operator', 'admin'] as const;

  it.each(roles.flatMap((role) => Object.entries(least).map(([cmd, needs]) => [role, cmd, roles.indexOf(role) >= roles.indexOf(needs)] as const)))(
    '%s, %s: %s',
    async (role, cmd, allowed) => {
      server.node.methods.set('power', async () => null);
      const client = await open(role);
      const about = cmd === 'request' ? { route: 'edgeList', params: {}, query: {} } : meta;
      const answer = await client.ask({ id: 1, cmd, ...about });
      expect(answer).toMatchObject(allowed ? { type: 'success' } : { type: 'error', code: 2, error: { code: 'FORBIDDEN' } });
    },
  );

  it('are all walked', () => {
    expect(Object.keys(least).toSorted()).toEqual(Object.keys(socketCommands).toSorted());
  });

  it('who ran what is on record, with who served, and where', async () => {
    server.node.methods.set('power', async () => null);
    server.node.located.set('mod-1', 'edge-1').set('sys-1', 'edge-2');
    const client = await open('operator');
    await client.ask({ id: 1, cmd: 'exec', ...meta });
    const audit = server.log.find(({ event }) => event === 'command')?.facts;
    const who = server.keys.operator.split('.')[0];
    expect(audit).toMatchObject({ who, role: 'operator', what: 'socket exec', params: meta, location: 'edge-1', result: 'ok', servedBy: 'master-under-test', remote: '127.0.0.1' });
    // Of a module that is not there, the location of its system.
    await client.ask({ id: 2, cmd: 'exec', ...meta, index: 9, name: 'none' });
    expect(server.log.findLast(({ event }) => event === 'command')?.facts).toMatchObject({ location: 'edge-2', result: 'METHOD_NOT_FOUND' });
    const facts = { by: 'olga', fate: 'unknown', who: 'token-olga' };
    server.node.methods.set('power', () => Promise.reject(new HoldfastError('COMMAND_CANCELLED', facts)));
    await client.ask({ id: 3, cmd: 'exec', ...meta });
    expect(server.log.findLast(({ event }) => event === 'command')?.facts).toMatchObject({ who, cancelledBy: { user: 'olga', who: 'token-olga' } });
  });
});

describe('what is refused on a socket', () => {
  it('is on record: who may not, and each command, also one that is not understood', async () => {
    const viewer = await open('viewer');
    const who = server.keys.viewer.split('.')[0];
    expect(await viewer.ask({ id: 1, cmd: 'exec', ...meta })).toMatchObject({ code: 2 });
    expect(await viewer.ask({ id: 2, cmd: 'debug', ...meta })).toMatchObject({ code: 2 });
    expect(await (await open()).ask({ id: 3, cmd: 'exec', ...meta, name: 'hunter2\n' })).toMatchObject({ code: 1 });
    const of = (word: string) => server.log.filter(({ event }) => event === word).map(({ facts }) => facts);
    const params = { sys: 'sys-1', mod: 'Display', index: 1, name: 'power' };
    expect(of('refused')).toMatchObject([{ who, what: 'socket exec', params, result: 'FORBIDDEN', remote: '127.0.0.1' }]);
    expect(of('command')).toMatchObject([{ what: 'socket exec', params: null, result: 'INPUT_INVALID' }]);
    // Once a minute for each address and reason.
    expect(of('access-refused')).toMatchObject([{ who, what: 'socket exec', reason: 'forbidden', remote: '127.0.0.1' }]);
    expect(JSON.stringify(server.log)).not.toContain('hunter2');
  });
});

describe('request', () => {
  const pause = { cmd: 'request', route: 'pause', params: { id: 'edge-1' }, body: { dry_run: true } };
  const codes = (answer: unknown) => answer as { code: number; error: { code: string; facts: object } };

  it('is carried out, refused and audited as over REST', async () => {
    const client = await open('admin');
    expect(await client.ask({ id: 4, ...pause })).toMatchObject({ id: 4, type: 'success', status: 200, body: { dry_run: true } });
    expect(await client.ask({ id: 5, cmd: 'request', route: 'takeover', params: { id: 'edge-2' } })).toMatchObject({ id: 5, type: 'error', code: 3, error: { code: 'ORDER_REFUSED' } });
    const viewer = await open('viewer');
    expect(await viewer.ask({ id: 6, ...pause })).toMatchObject({ id: 6, type: 'error', code: 2, error: { code: 'FORBIDDEN' } });
    const of = (word: string) => server.log.filter(({ event }) => event === word).map(({ facts }) => facts);
    expect(of('audit')).toMatchObject([
      { who: server.keys.admin.split('.')[0], what: 'POST /api/engine/v2/edges/:id/pause', params: { id: 'edge-1' }, dryRun: true, result: 'ok', remote: '127.0.0.1' },
      { what: 'POST /api/engine/v2/edges/:id/takeover', result: 'ORDER_REFUSED' },
    ]);
    expect(of('refused')).toMatchObject([{ who: server.keys.viewer.split('.')[0], what: 'POST /api/engine/v2/edges/:id/pause', result: 'FORBIDDEN' }]);
  });

  it('knows the routes that are answered in JSON, and what they take', async () => {
    const client = await open('admin');
    for (const route of ['events', 'metrics', 'apiPage', 'nothing', '__proto__', '']) {
      expect([route, codes(await client.ask({ id: 1, cmd: 'request', route }))]).toMatchObject([route, { code: 1, error: { code: 'INPUT_INVALID', facts: { field: 'route' } } }]);
    }
    for (const wrong of [{ params: { id: 'a/b' } }, { params: 'edge-1' }, { body: { dryrun: true } }, { body: 'text' }]) {
      expect(codes(await client.ask({ id: 1, ...pause, ...wrong }))).toMatchObject({ code: 1, error: { code: 'INPUT_INVALID' } });
    }
    // As text: in a literal of ours it would be the prototype.
    for (const [field, key, text] of [
      ['body', '__proto__', '{"dry_run":true,"__proto__":{"a":1}}'],
      ['body', 'constructor.prototype', '{"a":[{"constructor":{"prototype":{}}}]}'],
      ['query', '__proto__', '{"__proto__":{}}'],
    ] as const) {
      client.send(`{"id":"${key}","cmd":"request","route":"pause","params":{"id":"edge-1"},"${field}":${text}}`);
      const facts = { field, problem: `must not have the key ${key}, which would change what is inherited` };
      expect(await client.next()).toMatchObject({ id: key, code: 1, error: { code: 'INPUT_INVALID', facts } });
    }
    expect(await client.ask({ id: 2, cmd: 'request', route: 'moduleList', query: { limit: '1' } })).toMatchObject({ type: 'success', status: 200 });
  });

  it('is held to the rate of its key, over all sockets of it', async () => {
    const sockets = [await open(), await open()];
    const asking = async (client: SocketClient, times: number): Promise<unknown> => {
      let last: unknown = null;
      for (let id = 1; id <= times; id += 1) {
        client.send({ id, cmd: 'request', route: 'nothing' });
        if (id % limits.clientSocketCommands === 0 || id === times) last = (await client.find((frame) => frame['id'] === id, 'an answer'))['error'];
      }
      return last;
    };
    // To open each was an attempt, too.
    for (const socket of sockets) expect(await asking(socket, limits.apiRequestsPerMinute / 2 - 1)).toMatchObject({ code: 'INPUT_INVALID' });
    const another = await open('viewer');
    expect(await asking(another, 1)).toMatchObject({ code: 'INPUT_INVALID' });
    for (const socket of sockets) {
      socket.send({ id: 'more', cmd: 'request', route: 'nothing' });
      expect(await socket.find(({ id }) => id === 'more', 'an answer')).toMatchObject({ error: { code: 'RATE_LIMITED' } });
    }
  });

  it('counts as a command under way, and is cancelled when its client leaves', async () => {
    let cancelled = 0;
    server.node.methods.set('wait', (_, signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => {
      cancelled += 1;
      reject(new HoldfastError('CANCELLED', { fate: 'unknown' }));
    })));
    const client = await open();
    const wait = { cmd: 'request', route: 'exec', params: { id: 'sys-1', module: 'Display_1', method: 'wait' }, body: [] };
    for (let id = 1; id <= limits.clientSocketCommands; id += 1) client.send({ id, ...wait });
    expect(await client.ask({ id: 9_999, ...wait })).toMatchObject({ id: 9_999, code: 3, error: { code: 'LIMIT_REACHED' } });
    client.close();
    await until(() => cancelled === limits.clientSocketCommands, 'all cancelled');
  });
});

describe('what is malformed', () => {
  it.each([
    ['{"id":1,', { id: null, code: 0 }],
    ['', { id: null, code: 0 }],
    ['null', { id: null, code: 1 }],
    ['[1,2]', { id: null, code: 1 }],
    ['"bind"', { id: null, code: 1 }],
    ['{"cmd":"bind"}', { id: null, code: 1 }],
    ['{"id":{"a":1},"cmd":"bind"}', { id: null, code: 1 }],
    ['{"id":1}', { id: 1, code: 1 }],
    ['{"id":1,"cmd":7}', { id: 1, code: 1 }],
    ['{"id":1,"cmd":"dance"}', { id: 1, code: 4 }],
    ['{"id":1,"cmd":"__proto__"}', { id: 1, code: 4 }],
    ['{"id":1,"cmd":"constructor"}', { id: 1, code: 4 }],
    ['{"id":"x","cmd":"bind","sys":5,"mod":"Display","name":"power"}', { id: 'x', code: 1 }],
    ['{"id":2,"cmd":"bind","sys":"sys-1","mod":"Display","index":"1","name":"power"}', { id: 2, code: 1 }],
    ['{"id":2,"cmd":"bind","sys":"sys-1","mod":"Display","index":0,"name":"power"}', { id: 2, code: 1 }],
    ['{"id":2,"cmd":"bind","sys":"sys-1","mod":"Display"}', { id: 2, code: 1 }],
    ['{"id":3,"cmd":"exec","sys":"sys-1","mod":"Display","name":"power","args":"on"}', { id: 3, code: 1 }],
    ['{"id":4,"cmd":"bind","sys":"__proto__","mod":"constructor","name":"toString"}', { id: 4, code: 5 }],
    ['{"id":5,"cmd":"exec","sys":"sys-1","mod":"Display","name":"__proto__"}', { id: 5, code: 3 }],
  ])('%s gets an error, and the socket lives on', async (text, error) => {
    const client = await open();
    expect(await client.ask(text)).toMatchObject({ type: 'error', ...error, error_code: error.code });
    expect(await client.ask('ping')).toBe('pong');
  });

  it('names the field', async () => {
    const answer = await (await open()).ask({ id: 1, cmd: 'bind', sys: 'sys-1', mod: 'Display' });
    expect(answer).toMatchObject({ error: { code: 'INPUT_INVALID', facts: { field: 'request.name' } } });
  });

  it('a binary frame is an error, and the socket lives on', async () => {
    const client = await open();
    client.socket.send(Buffer.from('{"id":1}'));
    expect(await client.next()).toMatchObject({ type: 'error', code: 0 });
    expect(await client.ask('ping')).toBe('pong');
  });

  it.each<[problem: string, code: number, send: (client: SocketClient) => void]>([
    ['frame-too-large', 1009, (client) => client.send('x'.repeat(limits.clientSocketFrameBytes + 1))],
    ['not-utf-8', 1007, ({ socket }) => socket.send(Buffer.from([0xff, 0xfe]), { binary: false })],
    ['protocol-error', 1002, (client) => client.stream.write(Buffer.of(0x83, 0x80, 0, 0, 0, 0))],
    ['too-many-fragments', 1008, (client) => {
      client.stream.write(Buffer.of(0x01, 0x80, 0, 0, 0, 0));
      for (let more = 0; more < limits.socketFragments; more += 1) client.stream.write(Buffer.of(0x00, 0x80, 0, 0, 0, 0));
    }],
  ])('%s ends the socket with code %i, once what is under way is answered; others see nothing', async (problem, code, send) => {
    server.node.methods.set('wait', (_, signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', () =>
      setImmediate(() => reject(new HoldfastError('CANCELLED', { fate: 'unknown' }))),
    )));
    const [client, other] = [await open(), await open()];
    for (const id of [1, 2]) client.send({ id, cmd: 'exec', ...meta, name: 'wait' });
    await until(() => server.node.execs.length === 2, 'both run');
    send(client);
    for (const id of [1, 2]) expect(await client.next()).toMatchObject({ id, type: 'error', error: { code: 'CANCELLED' } });
    expect(await client.untilClosed()).toEqual({ code, reason: problem });
    expect(await other.ask('ping')).toBe('pong');
  });
});

describe('the life of a socket', () => {
  it('says pong unasked every 80 s to a client that answers pings', async () => {
    const client = await open();
    for (let beat = 1; beat <= 4; beat += 1) {
      const asked = new Promise((resolve) => client.socket.once('ping', resolve));
      await server.clock.advance(limits.clientSocketBeatMs);
      await asked;
      await client.ask('ping');
    }
    // Four that were asked for, and one more.
    expect(await client.next()).toBe('pong');
    expect(client.frames).toHaveLength(5);
  });

  it('closes a socket on which nothing is heard', async () => {
    const client = await open('operator', NEWER, { autoPong: false });
    await server.clock.advance(limits.clientSocketSilentMs);
    expect(await client.untilClosed()).toEqual({ code: 1001, reason: 'silent' });
  });

  it('answers what is under way before the shutdown closes it', async () => {
    let finish: (value: string) => void = () => undefined;
    server.node.methods.set('slow', () => new Promise((resolve) => {
      finish = resolve;
    }));
    const [busy, idle] = [await open(), await open()];
    busy.send({ id: 1, cmd: 'exec', ...meta, name: 'slow' });
    await until(() => server.node.execs.length === 1, 'it runs');
    const closed = server.http.close();
    expect(await idle.untilClosed()).toEqual({ code: 1001, reason: 'shutting-down' });
    expect(await busy.ask({ id: 2, cmd: 'exec', ...meta, name: 'slow' })).toMatchObject({ id: 2, code: 3, error: { code: 'SHUTTING_DOWN' } });
    finish('done');
    expect(await busy.next()).toMatchObject({ id: 1, type: 'success', value: 'done' });
    expect(await busy.untilClosed()).toEqual({ code: 1001, reason: 'shutting-down' });
    await closed;
  });

  it('answers also what came in one go and waits for its turn', async () => {
    const last = 2 * limits.clientTurnMessages;
    let closed: Promise<void> = Promise.resolve();
    // The server is told to stop when all has come, and before the next turn of the event loop.
    server.node.methods.set('last', () => new Promise((resolve) => queueMicrotask(() => {
      closed = server.http.close();
      resolve(null);
    })));
    const client = await open();
    client.stream.cork();
    for (let id = 1; id <= last; id += 1) client.send({ id, cmd: 'exec', ...meta, name: 'last' });
    client.stream.uncork();
    expect(await client.untilClosed()).toEqual({ code: 1001, reason: 'shutting-down' });
    const answers = client.frames.filter((frame) => typeof frame === 'object');
    expect(answers.map(({ id }) => id).toSorted((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: last }, (_, n) => n + 1));
    expect(answers.find(({ id }) => id === last)).toMatchObject({ type: 'error', error: { code: 'SHUTTING_DOWN' } });
    await closed;
  });

  it('answers CANCELLED to what is still under way when the shutdown has no more patience', async () => {
    server.node.methods.set('stuck', () => new Promise(() => undefined));
    const client = await open();
    client.send({ id: 1, cmd: 'exec', ...meta, name: 'stuck' });
    await until(() => server.node.execs.length === 1, 'it runs');
    const closed = server.http.close();
    await server.clock.advance(limits.shutdownStepMs);
    expect(await client.next()).toMatchObject({ id: 1, type: 'error', code: 3, error: { code: 'CANCELLED', facts: { fate: 'unknown' } } });
    expect(await client.untilClosed()).toMatchObject({ code: 1001 });
    await closed;
  });
});
