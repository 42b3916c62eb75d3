import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { certificateHosts, EdgeCertificate } from '../../../src/edge/edge-certificate.ts';
import { createSystemRandom } from '../../../src/shared/adapters/random/system-random.ts';
import { openServerIdentity, verifyPinned } from '../../../src/shared/adapters/tls/certificates.ts';
import { createCertifier, type EdgeCertificateFiles, openEdgeCertificate } from '../../../src/shared/adapters/tls/edge-certificates.ts';
import type { Json } from '../../../src/shared/foundation/json.ts';
import { parseCertificateRequest } from '../../../src/shared/link/certificate-request.ts';
import { HoldfastError } from '../../../src/shared/model/errors.ts';
import { FakeClock } from '../../support/fake-clock.ts';
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
  const certify = createCertifier({ folder, chain: identity.chain, clock, random, log });
  const ask = (body: Json, edge = 'berlin'): Promise<string> => certify(edge, parseCertificateRequest(body));
  return { clock, log, identity, ask };
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
    expect(files.isDue(HOSTS, now + (825 - 61) * DAY_MS)).toBe(false);
    expect(files.isDue(HOSTS, now + (825 - 59) * DAY_MS)).toBe(true);
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

  it('is replaced while it serves: when the hosts have changed, and 60 days before its end', async () => {
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

    await clock.advance((825 - 61) * DAY_MS);
    expect(used).toHaveLength(1);
    await clock.advance(DAY_MS + HOUR_MS);
    await expect.poll(() => used.length).toBe(2);
    expect(Date.parse(certificatesOf(used[1] ?? '')[0]?.validTo ?? '')).toBeGreaterThan(clock.wallMs() + 800 * DAY_MS);
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
