import { once } from 'node:events';
import { createServer as createHttpsServer } from 'node:https';
import type { Server } from 'node:net';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { createServer, loadCa } from '../../src/shared/adapters/tls/certificates.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { createVerifier, ScramClient } from '../../src/shared/link/scram.ts';
import {
  clock,
  collect,
  createEdge,
  enrolledEdge,
  expectNoSecretLeaked,
  hangUp,
  impostorOf,
  memoryCredentials,
  random,
  startMaster,
  stranger,
  type TestMaster,
} from '../support/link-world.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { tempFolders } from '../support/temp-folder.ts';

const DAY_MS = 86_400_000;
const refused = { code: 'LINK_REFUSED', facts: { reason: 'refused-by-peer' } };
const foreign = { code: 'LINK_REFUSED', facts: { reason: 'foreign-ca' } };
const tempFolder = tempFolders();
let scope: Scope;
beforeEach(() => {
  scope = new Scope();
});
afterEach(async () => {
  expect(await scope.close()).toEqual([]);
  await expectNoSecretLeaked();
});

const serverCertificate = async (folder: string, wallMs: number, days?: number): Promise<{ chain: string; cert: string; key: string }> => {
  const ca = (await loadCa(folder))!;
  const { pem, key } = await createServer(ca, { folder, hosts: ['127.0.0.1'], random, wallMs, ...(days === undefined ? {} : { days }) });
  const chain = `${pem}\n${ca.pem}`;
  return { chain, cert: chain, key };
};
const expiredCertificate = (folder: string): Promise<{ chain: string; key: string }> => serverCertificate(folder, clock.wallMs() - 900 * DAY_MS, 1);

describe('the link proves both sides to each other', () => {
  it('enrols with a one-time token, then connects with the secret that the edge made', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await createEdge((await master.authority.add('berlin')).enrolment);
    const connection = await edge.dial(master.address);
    expect(connection.peerId).toBe('master-1');
    expect(master.connections.map(({ peerId }) => peerId)).toEqual(['berlin']);
    const again = await (await createEdge(null, edge.credentials)).dial(master.address);
    expect(again.peerId).toBe('master-1');
    expect(master.connections).toHaveLength(2);
  });

  it('tells the lines of one process from those of a copy of its machine', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await createEdge((await master.authority.add('berlin')).enrolment);
    for (const { dial } of [edge, edge]) await dial(master.address);
    await (await createEdge(null, edge.credentials)).dial(master.address);
    const [first, again, other] = master.connections.map(({ peerProcess }) => peerProcess);
    expect(first).not.toBe('');
    expect([again === first, other === first]).toEqual([true, false]);
  });

  it('connects with a secret that an operator set on both sides', async () => {
    const master = await startMaster(scope, tempFolder());
    const first = await master.authority.add('berlin', 'correct-horse-battery');
    const edge = await createEdge(first.enrolment, memoryCredentials(), 'correct-horse-battery');
    await hangUp(await edge.dial(master.address));
    await expect((await impostorOf(edge)).dial(master.address)).rejects.toMatchObject(refused);
    // It is in the edge's own store now: neither string nor file is needed any more.
    await hangUp(await (await createEdge(first.enrolment, edge.credentials)).dial(master.address));

    // The next secret overlaps with the first until it was used.
    const next = await master.authority.rotate('berlin', 'another-horse-battery');
    await hangUp(await edge.dial(master.address));
    await hangUp(await (await createEdge(next.enrolment, edge.credentials, 'another-horse-battery')).dial(master.address));
    await expect((await createEdge(first.enrolment, memoryCredentials(), 'correct-horse-battery')).dial(master.address)).rejects.toMatchObject(refused);
    for (const weak of ['short', 'with spaces in the middle', 'ünïcödé-ünïcödé-ünïcödé']) {
      await expect(master.authority.add('berlin', weak)).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    }
    await expect(master.authority.rotate('lisbon', 'correct-horse-battery')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it.each([
    ['no secret', null],
    ['another secret', 'correct-horse-buttery'],
  ])('takes up no enrolment of a secret set by hand with %s beside it, and never says what it was', async (_, secret) => {
    const master = await startMaster(scope, tempFolder());
    const { enrolment } = await master.authority.add('berlin', 'correct-horse-battery');
    expect(Buffer.from(enrolment.split(':')[1] ?? '', 'base64url').toString()).not.toContain('horse');
    const credentials = memoryCredentials();
    const failure: unknown = await createEdge(enrolment, credentials, secret).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'CONFIG_INVALID', facts: { variable: 'HOLDFAST_SECRET_FILE' } });
    expect(String(failure)).not.toContain('horse');
    expect(credentials.values.size).toBe(0);
  });

  it('refuses a wrong secret and an unknown edge with the same words', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolledEdge(master);
    await expect((await impostorOf(edge)).dial(master.address)).rejects.toMatchObject(refused);
    await expect((await impostorOf(edge, { edge: 'atlantis' })).dial(master.address)).rejects.toMatchObject(refused);
    expect([master.refused('wrong-secret'), master.refused('unknown-edge')]).toEqual([1, 1]);
    expect(master.connections).toHaveLength(1);
  });

  it('asks an unknown edge the same as a known one, each time', async () => {
    const master = await startMaster(scope, tempFolder());
    const challenge = async (user: string): Promise<string> => {
      const socket = await stranger(scope, master.address);
      const { proof } = await firstAnswer(socket, user);
      socket.terminate();
      return proof.replace(/^r=[^,]+/, (nonce) => `r=${'x'.repeat(nonce.length - 2)}`);
    };
    const before = await challenge('enrol:berlin');
    await master.authority.add('berlin');
    const [known, unknown, sameUnknown] = [await challenge('enrol:berlin'), await challenge('enrol:lisbon'), await challenge('enrol:lisbon')];
    expect(known).toBe(before);
    expect(unknown).toBe(sameUnknown);
    expect(unknown.length).toBe(known.length);
    expect(unknown.split(',')[2]).toBe(known.split(',')[2]);
  });

  it('does not believe a master that cannot prove the secret, though its certificate is good', async () => {
    const folder = tempFolder();
    const edge = await enrolledEdge(await startMaster(scope, folder));
    const pretender = createHttpsServer(await serverCertificate(folder, clock.wallMs()));
    const heard: string[] = [];
    new WebSocketServer({ server: pretender }).on('connection', (socket) => {
      socket.on('message', (data: Buffer) => {
        const { proof } = JSON.parse(String(data)) as { proof: string };
        heard.push(proof);
        const nonce = /r=([^,]+)/.exec(proof)!.at(1)!;
        const challenge = { proof: `r=${nonce}more,s=${Buffer.alloc(16).toString('base64')},i=4096` };
        socket.send(JSON.stringify(heard.length === 1 ? challenge : { proof: `v=${Buffer.alloc(32).toString('base64')}`, master: 'master-1' }));
      });
    });
    await expect(edge.dial(await listen(pretender))).rejects.toMatchObject({ code: 'LINK_REFUSED', facts: { reason: 'server-not-proved' } });
    expect(heard).toHaveLength(2);
  });

  it('does not let someone in the middle through, even with a certificate of the pinned CA', async () => {
    const folder = tempFolder();
    const master = await startMaster(scope, folder);
    const edge = await enrolledEdge(master);
    const interceptor = await startInterceptor(master, await serverCertificate(folder, clock.wallMs()));
    await expect(edge.dial(interceptor.address)).rejects.toMatchObject(refused);
    // It relayed the whole proof, the secret was right, and only the binding gave it away.
    expect(interceptor.heard()).toMatch(/"proof":"p=tls-exporter,,n=link:berlin:/);
    expect(interceptor.heard()).toMatch(/"proof":"c=[^"]+,p=/);
    expect(master.refused('wrong-binding')).toBe(1);
    expect(master.connections).toHaveLength(1);
    // Nor an enrolment: the token of an edge that was not there yet is still good afterwards.
    const { enrolment } = await master.authority.add('lisbon');
    await expect((await createEdge(enrolment)).dial(interceptor.address)).rejects.toMatchObject(refused);
    expect(master.refused('wrong-binding')).toBe(2);
    expect((await (await createEdge(enrolment)).dial(master.address)).peerId).toBe('master-1');
  });
});

describe('the certificate of a master', () => {
  it('of a foreign CA is refused before a word is sent, expired or not', async () => {
    const edge = await enrolledEdge(await startMaster(scope, tempFolder()));
    const folder = tempFolder();
    const other = await startMaster(scope, folder);
    const expired = await startMaster(scope, folder, { identity: await expiredCertificate(folder) });
    for (const { address, port } of [other, expired]) {
      const interceptor = await startInterceptor({ port }, address === other.address ? other.identity : await expiredCertificate(folder));
      await expect(edge.dial(interceptor.address)).rejects.toMatchObject(foreign);
      expect(interceptor.heard()).toBe('');
      await expect(edge.dial(address)).rejects.toMatchObject(foreign);
    }
    expect(other.refused('proof-timeout') + other.refused('wrong-secret') + other.refused('unknown-edge')).toBe(0);
  });

  it('of the pinned CA is accepted when it has expired, with a warning', async () => {
    const folder = tempFolder();
    const edge = await enrolledEdge(await startMaster(scope, folder));
    const credentials = memoryCredentials();
    const old = await startMaster(scope, folder, { identity: await expiredCertificate(folder), credentials });
    const late = await createEdge((await old.authority.add('lisbon')).enrolment);
    expect((await late.dial(old.address)).peerId).toBe('master-1');
    expect(late.log.lines.map(({ level, event }) => [level, event])).toContainEqual(['warn', 'certificate-expired']);
    expect(edge.log.lines).toEqual([]);
  });

  it('is not asked for by TLS below 1.3', async () => {
    const master = await startMaster(scope, tempFolder());
    const tls = connectTls({ host: '127.0.0.1', port: master.port, maxVersion: 'TLSv1.2', rejectUnauthorized: false });
    await expect(once(tls, 'secureConnect')).rejects.toThrow();
    await expect.poll(() => master.refused('tls')).toBe(1);
    const old = createTlsServer({ cert: master.identity.chain, key: master.identity.key, maxVersion: 'TLSv1.2' });
    const edge = await enrolledEdge(master);
    await expect(edge.dial(await listen(old))).rejects.toMatchObject({ code: 'DIAL_FAILED' });
  });
});

describe('rotation and revocation', () => {
  it('keeps the old secret valid until the edge has used the new one', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolledEdge(master);
    const former = memoryCredentials(new Map(edge.credentials.values));
    const { enrolment } = await master.authority.rotate('berlin');
    await hangUp(await edge.dial(master.address));
    await hangUp(await (await createEdge(enrolment, edge.credentials)).dial(master.address));
    await expect((await createEdge(null, former)).dial(master.address)).rejects.toMatchObject(refused);
    expect(master.refused('unknown-secret')).toBe(1);
    // The same string in the environment of the next start is not taken up again.
    await hangUp(await (await createEdge(enrolment, edge.credentials)).dial(master.address));
  });

  it('keeps an edge connected that was given a string which has expired or was replaced', async () => {
    const fake = new FakeClock(clock.wallMs());
    const master = await startMaster(scope, tempFolder(), { clock: fake });
    const edge = await enrolledEdge(master);
    const replaced = (await master.authority.rotate('berlin')).enrolment;
    const expired = (await master.authority.rotate('berlin')).enrolment;
    await fake.advance(8 * DAY_MS);
    for (const enrolment of [replaced, expired]) {
      const given = await createEdge(enrolment, edge.credentials);
      await hangUp(await given.dial(master.address));
    }
    expect(master.refused('token-expired')).toBe(2);
    const good = (await master.authority.rotate('berlin')).enrolment;
    await hangUp(await (await createEdge(good, edge.credentials)).dial(master.address));
    await expect((await impostorOf(edge)).dial(master.address)).rejects.toMatchObject(refused);
  });

  it('revocation closes the live link and lets the edge in no more', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolledEdge(master);
    const near = collect(await edge.dial(master.address));
    const far = collect(master.connections.at(1)!);
    await master.authority.revoke('berlin');
    expect(await far.closed).toBe('revoked');
    expect(await near.closed).toBe('revoked');
    await expect(edge.dial(master.address)).rejects.toMatchObject(refused);
    expect(master.refused('unknown-edge')).toBe(1);
    await expect(master.authority.revoke('berlin')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(master.authority.rotate('berlin')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('revocation stops an edge whose proof is under way, also when the edge is added anew at once', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolledEdge(master);
    master.authority.afterClaim = async () => {
      master.authority.afterClaim = () => Promise.resolve();
      await master.authority.revoke('berlin');
      await master.authority.add('berlin');
    };
    const near = collect(await edge.dial(master.address));
    expect(await near.closed).toBe('revoked');
    expect(master.connections).toHaveLength(1);
  });

  it('a full disk at either end keeps no enrolled edge away', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolledEdge(master);
    const rotated = await createEdge((await master.authority.rotate('berlin')).enrolment, edge.credentials);
    const full = (): never => {
      throw new HoldfastError('STORE_FULL', { path: 'credentials.db' });
    };
    // The new secret cannot be offered without a note of it.
    edge.credentials.beforeWrite = full;
    await expect(rotated.dial(master.address)).rejects.toMatchObject({ code: 'STORE_FULL' });
    // It can be noted, but then neither side can forget the old one.
    const room = [1];
    edge.credentials.beforeWrite = () => void (room.pop() ?? full());
    const roomAtMaster = [1];
    master.credentials.beforeWrite = () => void (roomAtMaster.pop() ?? full());
    expect((await rotated.dial(master.address)).peerId).toBe('master-1');
    for (const log of [rotated.log, master.log]) expect(log.lines.map(({ event }) => event)).toContain('old-secret-kept');
    expect(secretsAt(master)).toBe(2);
    edge.credentials.beforeWrite = () => undefined;
    master.credentials.beforeWrite = () => undefined;
    await hangUp(await (await createEdge(null, edge.credentials)).dial(master.address));
    expect(secretsAt(master)).toBe(1);
  });
});

describe('nothing that the other side sends ends the process or opens the door', () => {
  it('refuses a proof that skips, repeats or forges a step', async () => {
    const master = await startMaster(scope, tempFolder());
    const { enrolment } = await master.authority.add('berlin');
    const { token } = JSON.parse(Buffer.from(enrolment.slice('holdfast-enrol:'.length), 'base64url').toString()) as { token: string };
    const offer = JSON.stringify({ offer: { id: '0a1b2c3d', verifier: await createVerifier('x', Buffer.alloc(16)) } });
    for (const frames of [[offer], ['{"enrolled":true}'], ['{"refused":true}'], ['{"proof":"c=biws,r=x,p=AAAA"}']]) {
      const socket = await stranger(scope, master.address);
      const closed = once(socket, 'close');
      for (const frame of frames) socket.send(frame);
      expect((await closed)[0]).toBe(1008);
    }
    // The offer comes before the token was proved.
    const socket = await stranger(scope, master.address);
    await firstAnswer(socket, 'enrol:berlin');
    const closed = once(socket, 'close');
    socket.send(offer);
    expect((await closed)[0]).toBe(1008);
    expect(JSON.stringify([...master.credentials.values])).not.toContain('0a1b2c3d');
    expect(token).toHaveLength(64);
  });
});

/** Opens the proof as a client with the right binding would, and gives the master's answer. */
async function firstAnswer(socket: Awaited<ReturnType<typeof stranger>>, user: string): Promise<{ proof: string }> {
  const scram = new ScramClient({ user, secret: 'unknown', nonce: 'n'.repeat(36), binding: Buffer.alloc(32) });
  const answer = once(socket, 'message');
  socket.send(JSON.stringify({ proof: scram.first() }));
  return JSON.parse(String(((await answer) as [Buffer])[0])) as { proof: string };
}

const secretsAt = (master: TestMaster): number =>
  (JSON.parse(master.credentials.values.get('edge:berlin') ?? '{"secrets":[]}') as { secrets: unknown[] }).secrets.length;

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  scope.defer('server', () => void server.close());
  const address = server.address();
  return `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
}

/** Ends TLS towards the edge with a certificate of its own, and passes every byte on, both ways. */
async function startInterceptor(
  target: { port: number },
  { chain, key }: { chain: string; key: string },
): Promise<{ address: string; heard: () => string }> {
  let heard = '';
  const server = createTlsServer({ cert: chain, key, minVersion: 'TLSv1.3' }, (near: TLSSocket) => {
    const far = connectTls({ host: '127.0.0.1', port: target.port, rejectUnauthorized: false });
    for (const socket of [near, far]) socket.on('error', () => undefined);
    let masked = Buffer.alloc(0);
    near.on('data', (bytes: Buffer) => {
      masked = Buffer.concat([masked, bytes]);
      heard = unmask(masked);
    });
    near.pipe(far).pipe(near);
    scope.defer('interceptor', () => {
      near.destroy();
      far.destroy();
    });
  });
  return { address: await listen(server), heard: () => heard };
}

/** What a WebSocket client has sent: the text of its frames, after the request. */
function unmask(bytes: Buffer): string {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return bytes.toString('latin1');
  let text = '';
  let at = end + 4;
  while (at + 6 <= bytes.length) {
    const short = bytes.readUInt8(at + 1) & 0x7f;
    const [length, header] = short === 126 ? [bytes.readUInt16BE(at + 2), 4] : [short, 2];
    const mask = bytes.subarray(at + header, at + header + 4);
    const body = bytes.subarray(at + header + 4, at + header + 4 + length);
    text += Buffer.from(body.map((byte, i) => byte ^ mask.readUInt8(i % 4))).toString();
    at += header + 4 + length;
  }
  return text;
}
