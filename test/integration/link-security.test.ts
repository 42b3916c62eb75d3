import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { createServer, loadCa } from '../../src/shared/adapters/tls/certificates.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { clock, collect, createEdge, memoryCredentials, random, startMaster } from '../support/link-world.ts';
import { tempFolders } from '../support/temp-folder.ts';

const refused = { code: 'LINK_REFUSED' };
const tempFolder = tempFolders();
let scope: Scope;
beforeEach(() => {
  scope = new Scope();
});
afterEach(async () => {
  await scope.close();
});

async function enrolled(master: Awaited<ReturnType<typeof startMaster>>, edge = 'berlin'): Promise<Awaited<ReturnType<typeof createEdge>>> {
  const { enrolment } = await master.authority.add(edge);
  return createEdge(enrolment);
}

describe('the link proves both sides, on this very connection', () => {
  it('enrols with a one-time token, then connects with the secret that the edge made', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolled(master);
    const connection = await edge.dial(master.address);
    expect(connection.peerId).toBe('master-1');
    expect(master.connections.map(({ peerId }) => peerId)).toEqual(['berlin']);

    const near = collect(connection);
    const far = collect(master.connections[0]!);
    connection.send('{"t":"x"}');
    await expect.poll(() => far.frames).toEqual(['{"t":"x"}']);
    master.connections[0]!.close('enough');
    expect(await near.closed).toBe('enough');
    expect(await far.closed).toBe('enough');
  });

  it('stores only verifiers at the master and logs no secret anywhere', async () => {
    const master = await startMaster(scope, tempFolder());
    const { enrolment } = await master.authority.add('berlin');
    const edge = await createEdge(enrolment);
    (await edge.dial(master.address)).close('done');
    const { secrets } = JSON.parse(edge.credentials.values.get('identity')!) as { secrets: { secret: string }[] };
    const token = (JSON.parse(Buffer.from(enrolment.slice('holdfast-enrol:'.length), 'base64url').toString()) as { token: string }).token;
    const kept = JSON.stringify([...master.credentials.values]) + master.log.text() + edge.log.text() + (await master.metrics.text());
    for (const secret of [secrets[0]!.secret, token, enrolment]) expect(kept).not.toContain(secret);
  });

  it('refuses a wrong secret and an unknown edge with the same words', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolled(master);
    await edge.dial(master.address);
    const stolen = memoryCredentials();
    const identity = JSON.parse(edge.credentials.values.get('identity')!) as { edge: string; secrets: { secret: string }[] };
    identity.secrets[0]!.secret = 'guessed';
    stolen.values.set('identity', JSON.stringify(identity));
    const wrongSecret = await createEdge(null, stolen);
    await expect(wrongSecret.dial(master.address)).rejects.toMatchObject({ ...refused, facts: { reason: 'refused-by-peer' } });

    const unknown = memoryCredentials();
    unknown.values.set('identity', JSON.stringify({ ...identity, edge: 'atlantis' }));
    await expect((await createEdge(null, unknown)).dial(master.address)).rejects.toMatchObject({ ...refused, facts: { reason: 'refused-by-peer' } });
    expect(master.metrics.read('holdfast_link_refused_total', { reason: 'wrong-secret' })).toBe(1);
    expect(master.metrics.read('holdfast_link_refused_total', { reason: 'unknown-edge' })).toBe(1);
    expect(master.log.lines.filter(({ event }) => event === 'proof-failed')).toHaveLength(2);
  });

  it('refuses a master of a foreign CA before it sends anything, expired or not', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolled(master);
    const foreign = await startMaster(scope, tempFolder());
    await expect(edge.dial(foreign.address)).rejects.toMatchObject({ ...refused, facts: { reason: 'foreign-ca' } });
    const folder = tempFolder();
    await startMaster(scope, folder);
    const ca = (await loadCa(folder))!;
    const expired = await createServer(ca, { folder, hosts: ['127.0.0.1'], random, wallMs: clock.wallMs() - 900 * 86_400_000, days: 1 });
    const old = await startMaster(scope, folder, { chain: `${expired.pem}\n${ca.pem}`, key: expired.key });
    await expect(edge.dial(old.address)).rejects.toMatchObject({ ...refused, facts: { reason: 'foreign-ca' } });
    // The foreign master saw a TLS connection end, and not a word of a proof.
    expect(await foreign.metrics.text()).not.toMatch(/holdfast_link_refused_total\{reason="(?!tls)/);
  });

  it('accepts an expired certificate of the pinned CA, with a warning', async () => {
    const folder = tempFolder();
    const master = await startMaster(scope, folder);
    const ca = (await loadCa(folder))!;
    const expired = await createServer(ca, { folder, hosts: ['127.0.0.1'], random, wallMs: clock.wallMs() - 900 * 86_400_000, days: 1 });
    const old = await startMaster(scope, folder, { chain: `${expired.pem}\n${ca.pem}`, key: expired.key });
    const edge = await enrolled(old);
    const connection = await edge.dial(old.address);
    expect(connection.peerId).toBe('master-1');
    expect(edge.log.lines.map(({ event }) => event)).toContain('certificate-expired');
    expect(master.connections).toHaveLength(0);
  });

  it('does not let someone in the middle through, even with a certificate of the pinned CA', async () => {
    const folder = tempFolder();
    const master = await startMaster(scope, folder);
    const edge = await enrolled(master);
    (await edge.dial(master.address)).close('enrolled');
    const ca = (await loadCa(folder))!;
    const stolen = await createServer(ca, { folder, hosts: ['127.0.0.1'], random, wallMs: clock.wallMs() });
    let relayed = 0;
    const interceptor = createTlsServer({ cert: `${stolen.pem}\n${ca.pem}`, key: stolen.key, minVersion: 'TLSv1.3' }, (near: TLSSocket) => {
      const far = connectTls({ host: '127.0.0.1', port: Number(master.address.split(':')[1]), rejectUnauthorized: false });
      for (const socket of [near, far]) socket.on('error', () => undefined);
      near.on('data', (bytes: Buffer) => {
        relayed += bytes.length;
      });
      near.pipe(far).pipe(near);
      scope.defer('interceptor sockets', () => {
        near.destroy();
        far.destroy();
      });
    });
    interceptor.listen(0, '127.0.0.1');
    await once(interceptor, 'listening');
    scope.defer('interceptor', () => void interceptor.close());
    const { port } = interceptor.address() as { port: number };
    const before = master.connections.length;
    await expect(edge.dial(`127.0.0.1:${port}`)).rejects.toMatchObject({ ...refused, facts: { reason: 'refused-by-peer' } });
    // It did relay the whole proof, and only the binding gave it away.
    expect(relayed).toBeGreaterThan(300);
    expect(master.metrics.read('holdfast_link_refused_total', { reason: 'wrong-secret' }) + master.metrics.read('holdfast_link_refused_total', { reason: 'wrong-binding' })).toBe(1);
    expect(master.connections).toHaveLength(before);
    expect((await edge.dial(master.address)).peerId).toBe('master-1');
  });
});

describe('enrolment', () => {
  it('takes each token once', async () => {
    const master = await startMaster(scope, tempFolder());
    const { enrolment } = await master.authority.add('berlin');
    await (await createEdge(enrolment)).dial(master.address);
    await expect((await createEdge(enrolment)).dial(master.address)).rejects.toMatchObject(refused);
    expect(master.metrics.read('holdfast_link_refused_total', { reason: 'token-spent' })).toBe(1);
  });

  it('survives a crash between the offer and its answer', async () => {
    const master = await startMaster(scope, tempFolder());
    const { enrolment } = await master.authority.add('berlin');
    const credentials = memoryCredentials();
    await (await createEdge(enrolment, credentials)).dial(master.address);
    // As if the answer had been lost: the offer is noted, the token is still there, the master has spent it.
    const identity = JSON.parse(credentials.values.get('identity')!) as object;
    credentials.values.set('identity', JSON.stringify({ ...identity, token: 'f'.repeat(64), offered: true }));
    expect((await (await createEdge(enrolment, credentials)).dial(master.address)).peerId).toBe('master-1');
  });

  it('keeps the old secret valid until the edge has used the new one', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolled(master);
    await edge.dial(master.address);
    const { enrolment } = await master.authority.rotate('berlin');
    await edge.dial(master.address);
    const before = new Map(edge.credentials.values);
    const rotated = await createEdge(enrolment, edge.credentials);
    await rotated.dial(master.address);
    const former = memoryCredentials();
    for (const [key, value] of before) former.values.set(key, value);
    await expect((await createEdge(null, former)).dial(master.address)).rejects.toMatchObject(refused);
  });

  it('closes the live link of a revoked edge and lets it in no more', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolled(master);
    const near = collect(await edge.dial(master.address));
    await master.authority.revoke('berlin');
    expect(await near.closed).toBe('revoked');
    await expect(edge.dial(master.address)).rejects.toMatchObject(refused);
  });

  it('refuses a string for another edge than the data directory belongs to', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolled(master);
    const { enrolment } = await master.authority.add('lisbon');
    await expect(createEdge(enrolment, edge.credentials)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

describe('whoever is no edge', () => {
  const raw = async (address: string): Promise<WebSocket> => {
    const socket = new WebSocket(`wss://${address}/link`, { rejectUnauthorized: false });
    socket.on('error', () => undefined);
    await once(socket, 'open');
    scope.defer('raw socket', () => socket.terminate());
    return socket;
  };

  it('is closed after garbage, and after a proof without the channel binding', async () => {
    const master = await startMaster(scope, tempFolder());
    for (const text of ['{', '{"proof":"n,,n=link:berlin:x,r=abcdefabcdefabcdef"}', '{"proof":5}', `{"proof":"${'x'.repeat(9_000)}"}`]) {
      const socket = await raw(master.address);
      const closed = once(socket, 'close');
      socket.send(text);
      expect((await closed)[0]).toBe(1008);
    }
    expect(master.metrics.read('holdfast_link_refused_total', { reason: 'malformed-proof' })).toBe(3);
    expect(master.metrics.read('holdfast_link_refused_total', { reason: 'binding-required' })).toBe(1);
  });

  it('is closed when it proves nothing in time', async () => {
    const master = await startMaster(scope, tempFolder());
    const socket = await raw(master.address);
    const from = clock.monotonicMs();
    expect((await once(socket, 'close'))[0]).toBe(1008);
    expect(clock.monotonicMs() - from).toBeGreaterThan(limits.proofMs - 100);
  });

  it('is slowed down after ten failed proofs', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolled(master);
    await edge.dial(master.address);
    const identity = JSON.parse(edge.credentials.values.get('identity')!) as { secrets: { secret: string }[] };
    identity.secrets[0]!.secret = 'guessed';
    const stolen = memoryCredentials();
    stolen.values.set('identity', JSON.stringify(identity));
    const guesser = await createEdge(null, stolen);
    for (let i = 0; i < 12; i += 1) await expect(guesser.dial(master.address)).rejects.toMatchObject(refused);
    expect(master.metrics.read('holdfast_link_refused_total', { reason: 'rate-limited' })).toBeGreaterThan(0);
  });

  it('gets no plain HTTP from the link port, and nothing else over HTTPS', async () => {
    const master = await startMaster(scope, tempFolder());
    const port = Number(master.address.split(':')[1]);
    const plain = request({ host: '127.0.0.1', port, path: '/link' });
    plain.end();
    await expect(once(plain, 'response')).rejects.toThrow();
    const tls = connectTls({ host: '127.0.0.1', port, maxVersion: 'TLSv1.2', rejectUnauthorized: false });
    await expect(once(tls, 'secureConnect')).rejects.toThrow();
  });

  it('cannot send a frame larger than a frame may be', async () => {
    const master = await startMaster(scope, tempFolder());
    const edge = await enrolled(master);
    const connection = await edge.dial(master.address);
    const far = collect(master.connections[0]!);
    connection.send('x'.repeat(limits.maxFrameBytes + 1));
    expect(await far.closed).toBe('oversized-frame');
  });
});

describe('the CA of a master', () => {
  it('keeps its keys readable by the owner only and its CA over restarts', async () => {
    const folder = tempFolder();
    const first = await startMaster(scope, folder);
    const second = await startMaster(scope, folder);
    expect(second.identity.caFingerprint).toBe(first.identity.caFingerprint);
    expect(await readFile(join(folder, 'server.key'), 'utf8')).toContain('PRIVATE KEY');
    const { stat } = await import('node:fs/promises');
    for (const name of ['ca.key', 'server.key']) expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);
  });
});
