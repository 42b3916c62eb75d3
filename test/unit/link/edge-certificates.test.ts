import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { certificateHosts, EdgeCertificate } from '../../../src/edge/edge-certificate.ts';
import { createSystemRandom } from '../../../src/shared/adapters/random/system-random.ts';
import { openServerIdentity, verifyPinned } from '../../../src/shared/adapters/tls/certificates.ts';
import { type CertifierOptions, createCertifier, type EdgeCertificateFiles, openEdgeCertificate } from '../../../src/shared/adapters/tls/edge-certificates.ts';
import type { Json } from '../../../src/shared/foundation/json.ts';
import { parseCertificateRequest } from '../../../src/shared/link/certificate-request.ts';
import { HoldfastError } from '../../../src/shared/model/errors.ts';
import { CertifiedNames } from '../../../src/shared/runtime/peer/certified-names.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { memoryCredentials } from '../../support/link-world.ts';
import { createMemoryLog } from '../../support/memory-log.ts';
import { tempFolders } from '../../support/temp-folder.ts';

const tempFolder = tempFolders();
const random = createSystemRandom();
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const HOSTS = ['edge.example.org', '10.0.0.7', 'fd00::7'];
const spki = (curve: string): string => generateKeyPairSync('ec', { namedCurve: curve }).publicKey.export({ type: 'spki', format: 'pem' }).toString();
const certificatesOf = (chain: string): X509Certificate[] =>
  (chain.match(/-----BEGIN[^]+?-----END CERTIFICATE-----/g) ?? []).map((pem) => new X509Certificate(pem));

async function masterAt(clock = new FakeClock(), folder = tempFolder()) {
  const log = createMemoryLog();
  const hosts = ['master.example.org', 'localhost', '127.0.0.1', '2001:db8::1'];
  const identity = await openServerIdentity({ folder, hosts, random, wallMs: clock.wallMs() });
  const enrolled = new Set(['berlin', 'lisbon', 'master.example.org']);
  const names = new CertifiedNames({ credentials: memoryCredentials(), clock, isEnrolled: (edge) => enrolled.has(edge) });
  const claim: CertifierOptions['claim'] = (edge, hosts, untilMs) => names.claim(edge, hosts, untilMs);
  const certify = createCertifier({ folder, chain: identity.chain, claim, clock, random, log });
  const ask = (body: Json, edge = 'berlin'): Promise<string> => certify(edge, parseCertificateRequest(body));
  return { clock, log, identity, ask, enrolled };
}

describe('what an edge may ask for', () => {
  it('is a certificate in its own name for its hosts, to be a server and nothing else', async () => {
    const { ask, identity, log } = await masterAt();
    const [leaf, ca] = certificatesOf(await ask({ publicKey: spki('P-256'), hosts: HOSTS })) as [X509Certificate, X509Certificate];
    expect(leaf?.toLegacyObject().subject.CN).toBe('berlin');
    expect(leaf?.subjectAltName).toBe('DNS:edge.example.org, IP Address:10.0.0.7, IP Address:FD00:0:0:0:0:0:0:7');
    expect(leaf?.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(leaf?.ca).toBe(false);
    expect(ca?.toString().trim()).toBe(identity.caPem);
    expect(leaf?.verify(ca.publicKey)).toBe(true);
    const audited = log.lines.filter(({ event }) => event === 'audit').map(({ facts }) => facts);
    expect(audited).toMatchObject([{ action: 'certificate', edge: 'berlin', hosts: HOSTS }]);
  });

  it.each([
    'master.example.org',
    'MASTER.example.org.',
    '2001:db8::1',
    '2001:DB8:0:0::0:1',
  ])('is not the name %s, which is the master’s in one spelling or another', async (host) => {
    const { ask, log } = await masterAt();
    const refused = { code: 'INPUT_INVALID', facts: { field: 'certificate.hosts' } };
    await expect(ask({ publicKey: spki('P-256'), hosts: ['edge.example.org', host] })).rejects.toMatchObject(refused);
    expect(log.lines.map(({ event }) => event)).toEqual(['certificate-refused']);
  });

  it('is not the master’s name by way of the edge’s id, which some clients read as a host', async () => {
    const { ask } = await masterAt();
    await expect(ask({ publicKey: spki('P-256'), hosts: ['10.0.0.7'] }, 'master.example.org')).rejects.toMatchObject({ code: 'INPUT_INVALID' });
  });

  it('is not a name that another edge was certified for, until that certificate has ended', async () => {
    const { ask, clock, log } = await masterAt();
    const hosts = ['edge.example.org', '2001:db8::7'];
    await ask({ publicKey: spki('P-256'), hosts });
    await ask({ publicKey: spki('P-256'), hosts });
    for (const host of ['EDGE.example.org.', '2001:DB8:0::7']) {
      const refused = { code: 'INPUT_INVALID', facts: { field: 'certificate.hosts', problem: expect.stringContaining('belongs to edge berlin') } };
      await expect(ask({ publicKey: spki('P-256'), hosts: ['lisbon.example.org', host] }, 'lisbon')).rejects.toMatchObject(refused);
    }
    expect(log.lines.filter(({ event }) => event === 'certificate-refused')).toHaveLength(2);
    // What was refused has taken nothing.
    await ask({ publicKey: spki('P-256'), hosts: ['lisbon.example.org'] }, 'berlin');
    await clock.advance(30 * DAY_MS);
    await ask({ publicKey: spki('P-256'), hosts }, 'lisbon');
    await expect(ask({ publicKey: spki('P-256'), hosts }, 'berlin')).rejects.toMatchObject({ code: 'INPUT_INVALID' });
  });

  it('may be the name of an edge that was revoked; a revoked edge gets nothing', async () => {
    const { ask, enrolled } = await masterAt();
    const request = { publicKey: spki('P-256'), hosts: ['edge.example.org'] };
    await ask(request, 'lisbon');
    enrolled.delete('lisbon');
    await ask(request, 'berlin');
    await expect(ask({ ...request, hosts: ['lisbon.example.org'] }, 'lisbon')).rejects.toMatchObject({ facts: { reason: 'revoked' } });
  });

  it('goes to one of two edges that ask for a name at the same moment', async () => {
    const { ask } = await masterAt();
    const request = { publicKey: spki('P-256'), hosts: ['edge.example.org'] };
    const outcomes = await Promise.allSettled([ask(request, 'berlin'), ask(request, 'lisbon')]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it.each(['10.0.0.7', '172.31.0.1', '192.168.1.10', '169.254.3.4', '100.64.0.1', 'fd00::7', 'fc00::1', 'localhost', '127.0.0.1', '::1'])(
    'may be %s for several edges: it means another machine at each site',
    async (host) => {
      const { ask } = await masterAt();
      for (const edge of ['berlin', 'lisbon']) await ask({ publicKey: spki('P-256'), hosts: [host] }, edge);
    },
  );

  it.each(['172.32.0.1', '100.128.0.1', '192.0.2.1', '11.0.0.1', 'fe.example.org', '2001:db8::fd00'])('is %s for one edge only', async (host) => {
    const { ask } = await masterAt();
    await ask({ publicKey: spki('P-256'), hosts: [host] }, 'berlin');
    await expect(ask({ publicKey: spki('P-256'), hosts: [host] }, 'lisbon')).rejects.toMatchObject({ code: 'INPUT_INVALID' });
  });

  it('may be the names that every machine has', async () => {
    const { ask } = await masterAt();
    const [leaf] = certificatesOf(await ask({ publicKey: spki('P-256'), hosts: ['localhost', '127.0.0.1', '::1'] }));
    expect(leaf?.checkHost('localhost')).toBe('localhost');
  });

  it.each([
    ['a wildcard', { hosts: ['*.example.org'] }],
    ['two spellings of one IPv4 address', { hosts: ['::ffff:10.0.0.1'] }],
    ['an impossible address', { hosts: ['10.0.0.256'] }],
    ['a network', { hosts: ['10.0.0.0/8'] }],
    ['no host', { hosts: [] }],
    ['more hosts than 20', { hosts: Array.from({ length: 21 }, (_, i) => `host-${i}`) }],
    ['a name with a line end', { hosts: ['edge\nmaster'] }],
    ['a key of another curve', { publicKey: spki('P-384') }],
    ['no key', { publicKey: 'secret' }],
    ['more than that', { ca: true }],
  ])('is refused with the field: %s', async (_, wrong) => {
    const { ask } = await masterAt();
    const attempt = async (): Promise<string> => ask({ publicKey: spki('P-256'), hosts: HOSTS, ...wrong });
    await expect(attempt()).rejects.toMatchObject({ code: 'INPUT_INVALID', facts: { field: expect.stringMatching(/^certificate/) } });
  });

  it('never makes an edge a master to other edges', async () => {
    const { ask, identity, clock } = await masterAt();
    const [leaf, ca] = certificatesOf(await ask({ publicKey: spki('P-256'), hosts: HOSTS })) as [X509Certificate, X509Certificate];
    const shown = { certificate: leaf.raw, ca: ca.raw, caFingerprint: identity.caFingerprint, wallMs: clock.wallMs() };
    expect(() => verifyPinned(shown)).toThrow(new HoldfastError('LINK_REFUSED', { reason: 'not-a-master' }));
  });
});

describe('the files of an edge', () => {
  it('keep key and certificate over restarts, the key for the owner only', async () => {
    const { ask, identity, clock } = await masterAt();
    const folder = tempFolder();
    const open = (): Promise<EdgeCertificateFiles> => openEdgeCertificate({ folder, caFingerprint: identity.caFingerprint });
    const files = await open();
    expect([files.served, files.isDue(HOSTS, clock.wallMs())]).toEqual([null, true]);
    const chain = await ask({ publicKey: files.publicKey, hosts: HOSTS });
    await files.accept(chain, HOSTS);
    expect(files.served).toEqual({ cert: chain, key: readFileSync(join(folder, 'edge.key'), 'utf8') });
    expect((await open()).served).toEqual(files.served);
    expect(statSync(join(folder, 'edge.key')).mode & 0o777).toBe(0o600);
  });

  it('are due before the end, for other hosts, and under another CA', async () => {
    const { ask, identity, clock } = await masterAt();
    const folder = tempFolder();
    const files = await openEdgeCertificate({ folder, caFingerprint: identity.caFingerprint });
    await files.accept(await ask({ publicKey: files.publicKey, hosts: HOSTS }), HOSTS);
    const now = clock.wallMs();
    expect(files.isDue([...HOSTS].toReversed(), now)).toBe(false);
    expect(files.isDue(HOSTS, now + 9 * DAY_MS)).toBe(false);
    expect(files.isDue(HOSTS, now + 11 * DAY_MS)).toBe(true);
    expect(files.isDue(HOSTS.slice(1), now)).toBe(true);
    expect(files.isDue([...HOSTS, '10.0.0.8'], now)).toBe(true);
    const moved = await openEdgeCertificate({ folder, caFingerprint: (await masterAt()).identity.caFingerprint });
    expect([moved.served === null, moved.isDue(HOSTS, now)]).toEqual([false, true]);
  });

  it('take nothing that is for another key, other hosts or from another CA', async () => {
    const { ask, identity } = await masterAt();
    const files = await openEdgeCertificate({ folder: tempFolder(), caFingerprint: identity.caFingerprint });
    const wrong = [
      await ask({ publicKey: spki('P-256'), hosts: HOSTS }),
      await ask({ publicKey: files.publicKey, hosts: ['10.0.0.8'] }),
      await (await masterAt()).ask({ publicKey: files.publicKey, hosts: HOSTS }),
      'nonsense',
    ];
    for (const chain of wrong) await expect(files.accept(chain, HOSTS)).rejects.toMatchObject({ code: 'LINK_PROTOCOL' });
    expect(files.served).toBeNull();
  });

  it.each(['edge.key', 'edge.pem'])('that are damaged (%s) are made anew', async (name) => {
    const { ask, identity } = await masterAt();
    const folder = tempFolder();
    const open = (): Promise<EdgeCertificateFiles> => openEdgeCertificate({ folder, caFingerprint: identity.caFingerprint });
    const files = await open();
    await files.accept(await ask({ publicKey: files.publicKey, hosts: HOSTS }), HOSTS);
    writeFileSync(join(folder, name), 'torn');
    const again = await open();
    expect(again.served).toBeNull();
    await again.accept(await ask({ publicKey: again.publicKey, hosts: HOSTS }), HOSTS);
    expect(again.served).not.toBeNull();
  });
});

describe('the certificate of an edge', () => {
  async function world() {
    const master = await masterAt();
    const { clock, log, identity, ask } = master;
    const state = { linked: true, hosts: HOSTS, asked: 0 };
    const files = await openEdgeCertificate({ folder: tempFolder(), caFingerprint: identity.caFingerprint });
    const request = async (body: Json): Promise<Json> => {
      state.asked += 1;
      if (!state.linked) throw new HoldfastError('LINK_DOWN', { peer: 'master' });
      return { chain: await ask(body) };
    };
    return { ...master, state, files, certificate: new EdgeCertificate({ clock, log, files, hosts: () => state.hosts, request }) };
  }

  it('is waited for while there is no link, and comes within a second of it', async () => {
    const { clock, state, log, certificate } = await world();
    state.linked = false;
    let came = false;
    const first = certificate.first(new AbortController().signal).then((served) => ((came = true), served));
    await clock.advance(30_000);
    expect([came, certificate.missing]).toEqual([false, true]);
    state.linked = true;
    await clock.advance(1_000);
    expect(certificatesOf((await first).cert)).toHaveLength(2);
    expect(certificate.missing).toBe(false);
    expect(log.lines.filter(({ event }) => event === 'waiting-for-certificate')).toHaveLength(1);
  });

  it('is asked for once a minute when the master refuses', async () => {
    const { clock, state, certificate } = await world();
    state.hosts = ['master.example.org'];
    const stop = new AbortController();
    const first = certificate.first(stop.signal);
    const failed = expect(first).rejects.toThrow('stop');
    await clock.advance(59_000);
    expect(state.asked).toBe(1);
    await clock.advance(60_000);
    expect(state.asked).toBe(2);
    stop.abort(new Error('stop'));
    await failed;
  });

  it('is replaced while it serves: when the hosts have changed, and after ten of its thirty days', async () => {
    const { clock, state, certificate, files } = await world();
    await certificate.first(new AbortController().signal);
    const stop = new AbortController();
    const used: string[] = [];
    const kept = certificate.keep(stop.signal, ({ cert }) => used.push(cert));
    await clock.advance(3 * HOUR_MS);
    expect(state.asked).toBe(1);

    state.hosts = [...HOSTS, '10.0.0.8'];
    state.linked = false;
    await clock.advance(HOUR_MS);
    expect(used).toEqual([]);
    state.linked = true;
    await clock.advance(1_000);
    // Signing takes real time.
    await expect.poll(() => used.length).toBe(1);
    expect(used).toEqual([files.served?.cert]);
    expect(certificatesOf(used[0] ?? '')[0]?.subjectAltName).toContain('10.0.0.8');

    await clock.advance(9 * DAY_MS);
    expect(used).toHaveLength(1);
    await clock.advance(DAY_MS + HOUR_MS);
    await expect.poll(() => used.length).toBe(2);
    const endsMs = Date.parse(certificatesOf(used[1] ?? '')[0]?.validTo ?? '');
    expect(Math.abs(endsMs - clock.wallMs() - 30 * DAY_MS)).toBeLessThan(2 * HOUR_MS);
    stop.abort();
    await kept;
  });

  it('goes on serving after its end when no master can be reached, with a warning an hour', async () => {
    const { clock, state, certificate, files, log } = await world();
    const served = await certificate.first(new AbortController().signal);
    state.linked = false;
    const stop = new AbortController();
    const kept = certificate.keep(stop.signal, () => undefined);
    const warnings = (): number => log.lines.filter(({ event }) => event === 'own-certificate-expired').length;
    // One jump of the clock: a second-wise retry through thirty days would take long.
    clock.jumpWall(29 * DAY_MS);
    await clock.advance(HOUR_MS);
    expect(warnings()).toBe(0);
    clock.jumpWall(DAY_MS);
    await clock.advance(HOUR_MS + 60_000);
    expect([warnings(), files.served]).toEqual([2, served]);
    state.linked = true;
    await clock.advance(1_000);
    await expect.poll(() => files.served).not.toEqual(served);
    stop.abort();
    await kept;
  });
});

describe('the hosts of an edge', () => {
  const machine = { hostname: 'Box-7', addresses: ['127.0.0.1', '192.0.2.7', 'fe80::7', 'FD00:0::7'] };

  it('are the one that it is bound to', () => {
    expect(certificateHosts('Edge.Example.org', machine)).toEqual(['edge.example.org']);
    expect(certificateHosts('192.0.2.7', machine)).toEqual(['192.0.2.7']);
  });

  it.each(['0.0.0.0', '::', '0:0:0:0:0:0:0:0'])('are all of the machine when it is bound to %s', (wildcard) => {
    expect(certificateHosts(wildcard, machine)).toEqual(['box-7', 'localhost', '127.0.0.1', '192.0.2.7', 'fd00::7']);
  });

  it('are never more than a master certifies', () => {
    const many = Array.from({ length: 40 }, (_, i) => `192.0.2.${i}`);
    expect(certificateHosts('0.0.0.0', { hostname: 'box', addresses: many })).toHaveLength(20);
  });
});
