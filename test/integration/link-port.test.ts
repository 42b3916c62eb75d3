import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { request } from 'node:http';
import { request as requestTls } from 'node:https';
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { limits } from '../../src/shared/model/limits.ts';
import {
  collect,
  createEdge,
  enrolledEdge,
  expectNoSecretLeaked,
  hangUp,
  impostorOf,
  startMaster,
  startRelay,
  stranger,
  type TestEdge,
} from '../support/link-world.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { tempFolders } from '../support/temp-folder.ts';

const refused = { code: 'LINK_REFUSED', facts: { reason: 'refused-by-peer' } };
const tempFolder = tempFolders();
let scope: Scope;
beforeEach(() => {
  scope = new Scope();
});
afterEach(async () => {
  expect(await scope.close()).toEqual([]);
  await expectNoSecretLeaked();
});

describe('the link port', () => {
  it('closes a WebSocket that proves nothing in five seconds, and not before', async () => {
    const fake = new FakeClock();
    const master = await startMaster(scope, tempFolder(), { clock: fake });
    const socket = await stranger(scope, master.address);
    const closed = once(socket, 'close');
    await fake.advance(limits.proofMs - 1);
    expect(socket.readyState).toBe(socket.OPEN);
    await fake.advance(1);
    expect((await closed)[0]).toBe(1008);
    expect(master.refused('proof-timeout')).toBe(1);
    expect(fake.pendingTimers).toBe(0);
  });

  it('counts these five seconds from accept: a slow TLS handshake or request is no way around', async () => {
    const fake = new FakeClock();
    const master = await startMaster(scope, tempFolder(), { clock: fake });
    const silent = connect(master.port, '127.0.0.1');
    await once(silent, 'connect');
    const halfRequest = connectTls({ host: '127.0.0.1', port: master.port, rejectUnauthorized: false });
    await once(halfRequest, 'secureConnect');
    halfRequest.write('GET /link HTTP/1.1\r\n');
    await expect.poll(() => fake.pendingTimers).toBe(2);
    const late = [silent, halfRequest].map((socket: Socket) => {
      socket.on('error', () => undefined).resume();
      return once(socket, 'close');
    });
    await fake.advance(limits.proofMs - 1);
    const socket = await stranger(scope, master.address);
    await fake.advance(1);
    await Promise.all(late);
    expect(master.refused('proof-timeout')).toBe(2);
    expect(socket.readyState).toBe(socket.OPEN);
  });

  it('takes a TLS hello that comes byte by byte, and forgets who leaves without a byte', async () => {
    const fake = new FakeClock();
    const master = await startMaster(scope, tempFolder(), { clock: fake });
    const silent = connect(master.port, '127.0.0.1');
    await expect.poll(() => fake.pendingTimers).toBe(1);
    silent.end();
    await once(silent.resume(), 'close');
    await expect.poll(() => fake.pendingTimers).toBe(0);

    const raw = connect({ port: master.port, host: '127.0.0.1', noDelay: true });
    const slowly = new Duplex({
      read: () => undefined,
      write(chunk: Buffer, _, done) {
        const next = (at: number): void => {
          if (at === chunk.length) return done();
          raw.write(chunk.subarray(at, at + 1), () => setImmediate(next, at + 1));
        };
        next(0);
      },
    });
    raw.on('data', (chunk) => slowly.push(chunk));
    const tls = connectTls({ socket: slowly, rejectUnauthorized: false });
    await once(tls, 'secureConnect');
    raw.destroy();
    tls.destroy();
    await expect.poll(() => fake.pendingTimers).toBe(0);
  });

  it('lets a proved link live on', async () => {
    const fake = new FakeClock();
    const master = await startMaster(scope, tempFolder(), { clock: fake });
    const edge = await enrolledEdge(master);
    const { closings } = collect(await edge.dial(master.address));
    const { frames } = collect(master.connections.at(1)!);
    await expect.poll(() => fake.pendingTimers).toBe(0);
    await fake.advance(60_000);
    (await edge.dial(master.address)).send('still here');
    collect(master.connections.at(2)!);
    expect([closings, frames]).toEqual([[], []]);
  });

  it('makes room for new sockets by dropping the oldest that has proved nothing', async () => {
    const fake = new FakeClock();
    const master = await startMaster(scope, tempFolder(), { clock: fake });
    const edge = await enrolledEdge(master);
    const idle: Socket[] = [];
    for (let i = 0; i < limits.unprovedSockets; i += 1) {
      const socket = connect(master.port, '127.0.0.1').on('error', () => undefined).resume();
      scope.defer('idle', () => void socket.destroy());
      idle.push(socket);
      if (i % 100 === 99) await once(socket, 'connect');
    }
    await expect.poll(() => fake.pendingTimers).toBe(limits.unprovedSockets);
    await hangUp(await edge.dial(master.address));
    await expect.poll(() => idle.at(0)!.destroyed).toBe(true);
    expect(idle.at(-1)!.destroyed).toBe(false);
  });

  it('refuses garbage, a proof without binding, and frames that are no text', async () => {
    const master = await startMaster(scope, tempFolder());
    const garbage = [
      '',
      '{',
      'null',
      '[]',
      '{"proof":5}',
      '{"proof":"x","more":1}',
      '{"hello":1}',
      `{"proof":"${'x'.repeat(9_000)}"}`,
      '{"proof":"p=tls-exporter,,n=..,r=abcdefabcdefabcdefabcdef"}',
      '{"proof":"p=tls-exporter,,n=root:berlin,r=abcdefabcdefabcdefabcdef"}',
      '{"proof":"p=tls-exporter,,n=link:berlin,r=abcdefabcdefabcdefabcdef"}',
      Buffer.from('{"proof":"x"}'),
    ];
    for (const sent of garbage) {
      const socket = await stranger(scope, master.address);
      const closed = once(socket, 'close');
      socket.send(sent);
      expect([sent, (await closed)[0]]).toEqual([sent, 1008]);
    }
    expect(master.refused('malformed-proof')).toBe(garbage.length);
    const socket = await stranger(scope, master.address);
    const closed = once(socket, 'close');
    socket.send('{"proof":"n,,n=link:berlin:0a1b2c3d,r=abcdefabcdefabcdef"}');
    expect((await closed)[0]).toBe(1008);
    expect(master.refused('binding-required')).toBe(1);
  });

  it('does not collect a large frame from somebody who has proved nothing', async () => {
    const master = await startMaster(scope, tempFolder());
    let received = 0;
    const relay = await startRelay(scope, master, {
      toMaster: (chunk) => {
        received += chunk.length;
        return chunk;
      },
    });
    const socket = await stranger(scope, relay);
    const closed = once(socket, 'close');
    // Never finished: only what has come can give it away.
    const stream = (socket as unknown as { _socket: Socket })._socket;
    stream.write(Buffer.concat([Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0x70, 0, 0, 1, 2, 3, 4]), Buffer.alloc(limits.proofBytes)]));
    await closed;
    expect(master.refused('malformed-proof')).toBe(1);
    expect(received).toBeLessThan(limits.proofBytes * 2);
  });

  it('speaks no plain HTTP, and over HTTPS says only that there is nothing', async () => {
    const master = await startMaster(scope, tempFolder());
    const plain = request({ host: '127.0.0.1', port: master.port, path: '/link' });
    plain.end();
    await expect(once(plain, 'response')).rejects.toThrow();
    await expect.poll(() => master.refused('tls')).toBe(1);
    for (const path of ['/', '/link', '/api']) {
      const secure = requestTls({ host: '127.0.0.1', port: master.port, path, method: 'POST', rejectUnauthorized: false });
      secure.end('body');
      const [response] = (await once(secure, 'response')) as [{ statusCode: number; resume(): void }];
      response.resume();
      expect([path, response.statusCode]).toEqual([path, 404]);
    }
    const elsewhere = requestTls({
      host: '127.0.0.1',
      port: master.port,
      path: '/other',
      rejectUnauthorized: false,
      headers: { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' },
    });
    elsewhere.end();
    const [answer] = (await once(elsewhere, 'response')) as [{ statusCode: number; resume(): void }];
    answer.resume();
    expect(answer.statusCode).toBe(400);
  });

  it.each([
    ['whole ones', 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'],
    ['those without a host', 'GET / HTTP/1.1\r\n\r\n'],
    ['those that expect what nobody knows', 'GET / HTTP/1.1\r\nhost: x\r\nexpect: a miracle\r\n\r\n'],
  ])('reads one request of a connection, for to read thousands would keep it from its links: %s', async (_, request) => {
    const master = await startMaster(scope, tempFolder());
    let read = 0;
    const count = (): void => void (read += 1);
    subscribe('http.server.request.start', count);
    onTestFinished(() => void unsubscribe('http.server.request.start', count));
    const client = connectTls({ host: '127.0.0.1', port: master.port, rejectUnauthorized: false });
    client.on('error', () => undefined).resume();
    client.write(request.repeat(1_000));
    await once(client, 'close');
    expect(read).toBe(1);
  });

  it('closes its links when it closes, also when it is closed twice', async () => {
    const master = await startMaster(scope, tempFolder());
    const near = await (await enrolledEdge(master)).dial(master.address);
    const far = master.connections.at(1)!;
    const silent = connect(master.port, '127.0.0.1').on('error', () => undefined).resume();
    await once(silent, 'connect');
    const gone = once(silent, 'close');
    const [atEdge, atMaster] = [collect(near), collect(far)];
    await master.listener.close();
    await master.listener.close();
    expect([await atEdge.closed, await atMaster.closed]).toEqual(['shutting-down', 'shutting-down']);
    await gone;
  });
});

describe('failed proofs', () => {
  const fails = async (edge: TestEdge, address: string): Promise<void> => expect(edge.dial(address)).rejects.toMatchObject(refused);

  it('are limited per edge, for a minute', async () => {
    const fake = new FakeClock();
    const master = await startMaster(scope, tempFolder(), { clock: fake });
    const edge = await enrolledEdge(master);
    const impostor = await impostorOf(edge);
    const elsewhere = await startRelay(scope, master, { from: '127.0.0.2' });
    for (let i = 0; i < limits.proofFailures + 3; i += 1) await fails(impostor, elsewhere);
    expect([master.refused('wrong-secret'), master.refused('rate-limited')]).toEqual([limits.proofFailures, 3]);
    // Also from another address, and also with the right secret: who guesses must not learn that it was right.
    await fails(edge, await startRelay(scope, master, { from: '127.0.0.3' }));
    expect(master.refused('rate-limited')).toBe(4);
    await fake.advance(limits.proofFailureWindowMs);
    await hangUp(await edge.dial(await startRelay(scope, master, { from: '127.0.0.3' })));
  });

  it('of somebody elsewhere do not keep the edge itself away', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolledEdge(master);
    const impostor = await impostorOf(edge);
    const elsewhere = await startRelay(scope, master, { from: '127.0.0.2' });
    for (let i = 0; i < limits.proofFailures + 1; i += 1) await fails(impostor, elsewhere);
    await hangUp(await edge.dial(master.address));
    // A guesser at the address of the edge is limited too.
    for (let i = 0; i < limits.proofFailures + 1; i += 1) await fails(impostor, master.address);
    expect(master.refused('rate-limited')).toBe(2);
  });

  it('are limited per address, whatever names are tried; known neighbours there still get in', async () => {
    const fake = new FakeClock();
    const master = await startMaster(scope, tempFolder(), { clock: fake });
    const edge = await enrolledEdge(master);
    for (let i = 0; i < limits.proofFailuresPerAddress; i += 1) {
      await fails(await impostorOf(edge, { edge: `guess-${i}` }), master.address);
    }
    expect(master.refused('rate-limited')).toBe(0);
    for (let i = 0; i < 5; i += 1) await fails(await impostorOf(edge, { edge: `other-${i}` }), master.address);
    expect([master.refused('unknown-edge'), master.refused('rate-limited')]).toEqual([limits.proofFailuresPerAddress, 5]);
    await hangUp(await edge.dial(master.address));
    // A new neighbour waits for the window to end.
    const { enrolment } = await master.authority.add('lisbon');
    await fails(await createEdge(enrolment), master.address);
    await fake.advance(limits.proofFailureWindowMs);
    await hangUp(await (await createEdge(enrolment)).dial(master.address));
  });

  it('are not what a bad line causes: an edge gets in as soon as the line is good', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolledEdge(master);
    let chunks = 0;
    const badLine = await startRelay(scope, master, {
      toEdge: (chunk) => {
        chunks += 1;
        return chunk.length < 300 && chunks > 2 ? null : chunk;
      },
    });
    await expect.poll(async () => {
      chunks = 0;
      await expect(edge.dial(badLine)).rejects.toThrow();
      return master.refused('closed-during-proof');
    }).toBeGreaterThan(limits.proofFailures);
    await hangUp(await edge.dial(master.address));
  });

  it('of an edge that is set up wrongly do not use up the allowance of its address', async () => {
    const master = await startMaster(scope, tempFolder());
    const wrong = await impostorOf(await enrolledEdge(master));
    const router = await startRelay(scope, master, { from: '127.0.0.2' });
    for (let i = 0; i < limits.proofFailuresPerAddress + 10; i += 1) await fails(wrong, router);
    const { enrolment } = await master.authority.add('lisbon');
    await hangUp(await (await createEdge(enrolment)).dial(router));
  });

  it('are forgiven an edge that proves itself', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolledEdge(master);
    const impostor = await impostorOf(edge);
    for (let round = 0; round < 3; round += 1) {
      for (let i = 1; i < limits.proofFailures; i += 1) await fails(impostor, master.address);
      await hangUp(await edge.dial(master.address));
    }
    expect(master.refused('rate-limited')).toBe(0);
  });

  it('are logged once in a while for each edge and reason, and for made-up names once for their address', async () => {
    const fake = new FakeClock();
    const master = await startMaster(scope, tempFolder(), { clock: fake });
    const edge = await enrolledEdge(master);
    const lines = (): object[] => master.log.lines.filter(({ event }) => event === 'link-refused').map(({ facts }) => facts);
    for (let i = 0; i < 5; i += 1) await fails(await impostorOf(edge), master.address);
    expect(lines()).toEqual([{ edge: 'berlin', remote: '127.0.0.1', reason: 'wrong-secret' }]);
    for (let i = 0; i < 5; i += 1) await fails(await impostorOf(edge, { edge: `guess-${i}` }), master.address);
    expect(lines()).toHaveLength(2);
    expect(lines()[1]).toEqual({ edge: 'guess-0', remote: '127.0.0.1', reason: 'unknown-edge' });
    await fake.advance(limits.proofFailureWindowMs);
    await fails(await impostorOf(edge), master.address);
    expect(lines()).toHaveLength(3);
  });
});
