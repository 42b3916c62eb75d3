import { once } from 'node:events';
import { request } from 'node:http';
import { request as requestTls } from 'node:https';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { ScramClient, secretIdOf } from '../../src/shared/link/scram.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { Connection } from '../../src/shared/ports/transport.ts';
import {
  clock,
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
  type TestMaster,
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

/** Both ends of one proved link. */
async function linked(): Promise<{ master: TestMaster; edge: TestEdge; near: Connection; far: Connection }> {
  const master = await startMaster(scope, tempFolder());
  const edge = await enrolledEdge(master);
  const near = await edge.dial(master.address);
  return { master, edge, near, far: master.connections.at(1)! };
}

/** Whatever was on its way over loopback has come: a whole new link was made and closed since. */
async function fence({ master, edge }: { master: TestMaster; edge: TestEdge }): Promise<void> {
  await hangUp(await edge.dial(master.address));
}

describe('a connection', () => {
  it('passes frames on in order, both ways', async () => {
    const { near, far } = await linked();
    const [atEdge, atMaster] = [collect(near), collect(far)];
    const sent = Array.from({ length: 1_000 }, (_, i) => `frame ${i} ${'ü'.repeat(i % 50)}`);
    for (const frame of sent) {
      near.send(frame);
      far.send(frame);
    }
    await expect.poll(() => [atEdge.frames.length, atMaster.frames.length]).toEqual([1_000, 1_000]);
    expect(atEdge.frames).toEqual(sent);
    expect(atMaster.frames).toEqual(sent);
  });

  it('lets the frames of one turn leave together', async () => {
    const chunks: number[] = [];
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolledEdge(master);
    const relay = await startRelay(scope, master, {
      toMaster: (chunk) => {
        chunks.push(chunk.length);
        return chunk;
      },
    });
    const near = await edge.dial(relay);
    const atMaster = collect(master.connections.at(1)!);
    chunks.length = 0;
    for (let i = 0; i < 100; i += 1) near.send('x'.repeat(50));
    expect(near.bufferedBytes()).toBeGreaterThan(5_000);
    await expect.poll(() => atMaster.frames.length).toBe(100);
    // A frame has 6 bytes of its own, a TLS record 22: there was one record.
    expect(chunks.reduce((sum, bytes) => sum + bytes, 0)).toBe(100 * 56 + 22);
    expect(near.bufferedBytes()).toBe(0);
  });

  it('delivers frames that came in the same read as the last of the proof, and before anybody listened', async () => {
    const early = Array.from({ length: 300 }, (_, i) => `early ${i}`);
    const onConnection = (connection: Connection): void => {
      for (const text of early) connection.send(text);
    };
    const master = await startMaster(scope, tempFolder(), { onConnection });
    const edge = await enrolledEdge(master);
    // From the last of the proof on, what the master sends arrives in one piece.
    let held = Buffer.alloc(0);
    let passed = false;
    const relay = await startRelay(scope, master, {
      toEdge: (chunk) => {
        if (master.connections.length < 2) return chunk;
        held = Buffer.concat([held, chunk]);
        passed = held.length > early.join('').length;
        return passed ? held : Buffer.alloc(0);
      },
    });
    const near = await edge.dial(relay);
    expect(passed).toBe(true);
    await fence({ master, edge });
    const { frames } = collect(near);
    await expect.poll(() => frames.length).toBe(300);
    expect(frames).toEqual(early);
  });

  it('delivers frames that came in one TLS record with the last of the proof', async () => {
    const master = await startMaster(scope, tempFolder());
    await master.authority.setSecret('berlin', 'correct-horse-battery');
    const socket = await stranger(scope, master.address);
    // The socket below the WebSocket, to write both at once.
    const tls = (socket as unknown as { _socket: TLSSocket })._socket;
    const binding = tls.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0));
    const user = `link:berlin:${await secretIdOf('berlin', 'correct-horse-battery')}`;
    const scram = new ScramClient({ user, secret: 'correct-horse-battery', nonce: 'n'.repeat(36), binding });
    const answer = once(socket, 'message');
    socket.send(JSON.stringify({ proof: scram.first() }));
    const { proof } = JSON.parse(String((await answer).at(0))) as { proof: string };
    const final = await scram.final(proof);
    tls.cork();
    for (const frame of [JSON.stringify({ proof: final }), 'one', 'two']) socket.send(frame);
    tls.uncork();
    await expect.poll(() => master.connections.length).toBe(1);
    const { frames } = collect(master.connections.at(0)!);
    socket.send('three');
    await expect.poll(() => frames).toEqual(['one', 'two', 'three']);
  });

  it('reads nothing while nobody listens: the sender keeps what it has', async () => {
    const { near, far } = await linked();
    const atMaster = collect(far);
    for (let i = 0; i < 40; i += 1) far.send('x'.repeat(1024 * 1024));
    let before = -1;
    const settled = (): boolean => {
      const same = far.bufferedBytes() === before;
      before = far.bufferedBytes();
      return same;
    };
    await expect.poll(settled, { interval: 100, timeout: 20_000 }).toBe(true);
    expect(before).toBeGreaterThan(20 * 1024 * 1024);
    expect(atMaster.drained()).toBe(0);
    const atEdge = collect(near);
    await expect.poll(() => atEdge.frames.length, { timeout: 20_000 }).toBe(40);
    await expect.poll(() => far.bufferedBytes()).toBe(0);
    expect(atMaster.drained()).toBeGreaterThan(0);
  });

  it('says once why it closed, on both ends, and passes nothing on after that', async () => {
    const { near, far, ...others } = await linked();
    const [atEdge, atMaster] = [collect(near), collect(far)];
    far.send('before');
    far.close('replaced');
    far.send('after');
    far.close('again');
    near.send('too late');
    expect(await atMaster.closed).toBe('replaced');
    expect(await atEdge.closed).toBe('replaced');
    near.close('again');
    await fence(others);
    expect([atEdge.frames, atMaster.frames]).toEqual([['before'], []]);
    expect([atEdge.closings, atMaster.closings]).toEqual([['replaced'], ['replaced']]);
  });

  it('tells whoever listens later that it has closed', async () => {
    const { near, far, ...others } = await linked();
    far.close('enough');
    await fence(others);
    expect(await collect(far).closed).toBe('enough');
    expect(await collect(near).closed).toBe('enough');
  });

  it('stops delivering when its listener closes it in the middle of the early frames', async () => {
    const { near, far, ...others } = await linked();
    for (const text of ['one', 'two', 'three']) far.send(text);
    await fence(others);
    const heard: string[] = [];
    near.listen({
      frame: (text) => {
        heard.push(text);
        near.close('enough');
      },
      drained: () => undefined,
      closed: (reason) => void heard.push(`closed: ${reason}`),
    });
    await expect.poll(() => heard).toEqual(['one', 'closed: enough']);
  });

  it('closes at once, and for good within its grace, though the peer is silent', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolledEdge(master);
    let silent = false;
    const nothing = Buffer.alloc(0);
    const relay = await startRelay(scope, master, { toEdge: (chunk) => (silent ? nothing : chunk), toMaster: (chunk) => (silent ? nothing : chunk) });
    const near = await edge.dial(relay);
    const atMaster = collect(master.connections.at(1)!);
    const atEdge = collect(near);
    silent = true;
    const from = clock.monotonicMs();
    master.connections.at(1)!.close('revoked');
    expect(await atMaster.closed).toBe('revoked');
    expect(clock.monotonicMs() - from).toBeLessThan(limits.linkCloseMs);
    // The socket is cut off, which the edge sees: it never got the close frame.
    expect(await atEdge.closed).toBe('closed-1006');
    expect(clock.monotonicMs() - from).toBeLessThan(limits.linkCloseMs + 2_000);
  });

  it('ends with a reason when a frame is too large', async () => {
    const { master, edge, near, far } = await linked();
    const [atEdge, atMaster] = [collect(near), collect(far)];
    near.send('x'.repeat(limits.maxFrameBytes));
    await expect.poll(() => atMaster.frames.map(({ length }) => length), { timeout: 20_000 }).toEqual([limits.maxFrameBytes]);
    near.send('x'.repeat(limits.maxFrameBytes + 1));
    expect(await atMaster.closed).toBe('oversized-frame');
    expect(await atEdge.closed).toMatch(/^closed-10(09|06)$/);
    // The socket does not linger, and another link is as good as ever.
    await hangUp(await edge.dial(master.address));
    expect(atMaster.closings).toHaveLength(1);
  });

  it('gives a word of its own, never the text of the peer, when that is no word', async () => {
    const { near, far } = await linked();
    const atEdge = collect(near);
    collect(far);
    far.close('Nice try: {"label"}\nünïcödé '.repeat(20));
    expect(await atEdge.closed).toBe('closed-1000');
  });
});

describe('dialling', () => {
  it('says what failed', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolledEdge(master);
    await master.listener.close();
    await expect(edge.dial(master.address)).rejects.toMatchObject({ code: 'DIAL_FAILED', facts: { address: master.address, problem: 'ECONNREFUSED' } });
    for (const address of ['master', 'master:99999', '']) await expect(edge.dial(address)).rejects.toMatchObject({ code: 'DIAL_FAILED' });
  });

  it.each([
    ['nothing at all', () => null],
    ['plain text', () => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ])('ends when the other side answers with %s', async (_, answer) => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolledEdge(master);
    const relay = await startRelay(scope, master, { toEdge: answer });
    await expect(edge.dial(relay)).rejects.toMatchObject({ code: 'DIAL_FAILED' });
  });

  it('ends at the deadline wherever it hangs, with the reason of the deadline', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolledEdge(master);
    for (const passed of [0, 1, 2, 3]) {
      let chunks = 0;
      const relay = await startRelay(scope, master, {
        toEdge: (chunk) => {
          chunks += 1;
          return chunks > passed ? Buffer.alloc(0) : chunk;
        },
      });
      const deadline = new AbortController();
      const dial = edge.dialler.dial(relay, deadline.signal);
      const outcome = dial.then(() => 'connected', String);
      await expect.poll(() => chunks).toBeGreaterThan(passed);
      deadline.abort(new Error('too late'));
      expect(await outcome).toBe('Error: too late');
    }
    expect(edge.log.lines).toEqual([]);
  });
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

  it('closes its links when it closes, also when it is closed twice', async () => {
    const { master, near, far } = await linked();
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
