import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { ScramClient, secretIdOf } from '../../src/shared/link/scram.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { Connection } from '../../src/shared/ports/transport.ts';
import {
  clock,
  collect,
  enrolledEdge,
  expectNoSecretLeaked,
  hangUp,
  startMaster,
  startRelay,
  stranger,
  type TestEdge,
  type TestMaster,
} from '../support/link-world.ts';
import { tempFolders } from '../support/temp-folder.ts';

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

  it('lets the first frame of a turn leave at once, and the others together as soon as they are 4 KiB', async () => {
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
    // A frame has 6 bytes of its own, a TLS record 22: there were three records.
    expect(chunks.reduce((sum, bytes) => sum + bytes, 0)).toBe(100 * 56 + 3 * 22);
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
    await master.authority.add('berlin', 'correct-horse-battery');
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
    const left = atMaster.drained();
    const atEdge = collect(near);
    await expect.poll(() => atEdge.frames.length, { timeout: 20_000 }).toBe(40);
    await expect.poll(() => far.bufferedBytes()).toBe(0);
    expect(atMaster.drained()).toBeGreaterThan(left);
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
