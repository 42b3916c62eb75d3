import { X509Certificate } from 'node:crypto';
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { createSystemRandom } from '../../../src/shared/adapters/random/system-random.ts';
import { createServer, loadCa, openServerIdentity, type ServerIdentity, verifyPinned } from '../../../src/shared/adapters/tls/certificates.ts';
import { tempFolders } from '../../support/temp-folder.ts';

const tempFolder = tempFolders();
const random = createSystemRandom();
const DAY_MS = 86_400_000;
const NOW = Date.UTC(2025, 5, 1);
const foreign = { code: 'LINK_REFUSED', facts: { reason: 'foreign-ca' } };
const damaged = { code: 'STORE_DAMAGED' };

const openAt = (folder: string, wallMs = NOW, hosts = ['master.example.org', '127.0.0.1']): Promise<ServerIdentity> =>
  openServerIdentity({ folder, hosts, random, wallMs });

/** The two certificates of a chain as they come over TLS. */
function shown({ chain }: Pick<ServerIdentity, 'chain'>): { certificate: Buffer; ca: Buffer } {
  const der = (chain.match(/-----BEGIN[^]+?-----END CERTIFICATE-----/g) ?? []).map((pem) => new X509Certificate(pem).raw);
  return { certificate: der.at(0)!, ca: der.at(1)! };
}
const leaf = ({ chain }: ServerIdentity): X509Certificate => new X509Certificate(chain);

describe('the certificates of a master', () => {
  it('are made at the first start: a CA, and a certificate of it for the names that edges dial', async () => {
    const folder = tempFolder();
    const identity = await openAt(folder);
    const ca = new X509Certificate(identity.caPem);
    expect(ca.ca).toBe(true);
    expect(leaf(identity).ca).toBe(false);
    expect(leaf(identity).verify(ca.publicKey)).toBe(true);
    expect(leaf(identity).checkHost('master.example.org')).toBe('master.example.org');
    expect(leaf(identity).checkIP('127.0.0.1')).toBe('127.0.0.1');
    expect(identity.caFingerprint).toBe(ca.fingerprint256.replaceAll(':', '').toLowerCase());
    expect(() => createSecureContext({ cert: identity.chain, key: identity.key })).not.toThrow();
  });

  it('hide their keys from everybody but the owner', async () => {
    const folder = tempFolder();
    await openAt(folder);
    for (const name of ['ca.key', 'server.key']) expect([name, statSync(join(folder, name)).mode & 0o777]).toEqual([name, 0o600]);
  });

  it('stay the same over restarts', async () => {
    const folder = tempFolder();
    const first = await openAt(folder);
    expect(await openAt(folder, NOW + 30 * DAY_MS)).toEqual(first);
  });

  it('are renewed under the same CA before they expire, and when a name is added', async () => {
    const folder = tempFolder();
    const first = await openAt(folder);
    const later = await openAt(folder, NOW + (825 - 59) * DAY_MS);
    expect(later.caFingerprint).toBe(first.caFingerprint);
    expect(leaf(later).serialNumber).not.toBe(leaf(first).serialNumber);
    expect(Date.parse(leaf(later).validTo)).toBeGreaterThan(NOW + 1_500 * DAY_MS);
    const renamed = await openAt(folder, NOW + 800 * DAY_MS, ['master.example.org', '2001:db8::7']);
    expect(renamed.caFingerprint).toBe(first.caFingerprint);
    expect(leaf(renamed).checkIP('2001:db8::7')).toBe('2001:db8::7');
    expect(verifyPinned({ ...shown(renamed), caFingerprint: first.caFingerprint, wallMs: NOW + 800 * DAY_MS })).toEqual({ expired: false });
  });

  it('are renewed when a clock that had been wrong is right again', async () => {
    const folder = tempFolder();
    const future = await openAt(folder, NOW + 400 * DAY_MS);
    const present = await openAt(folder, NOW);
    expect(leaf(present).serialNumber).not.toBe(leaf(future).serialNumber);
    expect(present.caFingerprint).toBe(future.caFingerprint);
  });

  it('are made again after a crash between the files of the server', async () => {
    const folder = tempFolder();
    const first = await openAt(folder);
    // The key of a renewal arrived, its certificate did not.
    const other = tempFolder();
    await openAt(other);
    writeFileSync(join(folder, 'server.key'), readFileSync(join(other, 'server.key')));
    const second = await openAt(folder);
    expect(second.caFingerprint).toBe(first.caFingerprint);
    expect(() => createSecureContext({ cert: second.chain, key: second.key })).not.toThrow();
    writeFileSync(join(folder, 'server.pem'), 'not a certificate');
    expect((await openAt(folder)).caFingerprint).toBe(first.caFingerprint);
  });

  it('are begun anew when only the key of a CA was written: nobody can have pinned it', async () => {
    const folder = tempFolder();
    const first = await openAt(folder);
    rmSync(join(folder, 'ca.pem'));
    expect((await openAt(folder)).caFingerprint).not.toBe(first.caFingerprint);
  });

  it('never get another CA because the key of the first is missing, damaged or of another pair', async () => {
    const folder = tempFolder();
    await openAt(folder);
    const other = tempFolder();
    await openAt(other);
    const pem = readFileSync(join(folder, 'ca.pem'), 'utf8');
    for (const spoil of [
      () => writeFileSync(join(folder, 'ca.key'), readFileSync(join(other, 'ca.key'))),
      () => writeFileSync(join(folder, 'ca.key'), 'not a key'),
      () => rmSync(join(folder, 'ca.key')),
    ]) {
      spoil();
      await expect(openAt(folder)).rejects.toMatchObject(damaged);
      expect(readFileSync(join(folder, 'ca.pem'), 'utf8')).toBe(pem);
    }
  });

  it('say what is wrong when their folder cannot be used', async () => {
    const folder = tempFolder();
    writeFileSync(join(folder, 'tls'), 'a file, not a folder');
    await expect(openAt(join(folder, 'tls'))).rejects.toMatchObject({ code: 'STORE_FAILED', facts: { path: join(folder, 'tls') } });
  });
});

describe('what an edge thinks of a certificate', () => {
  it('good: signed by the pinned CA, in its time', async () => {
    const identity = await openAt(tempFolder());
    expect(verifyPinned({ ...shown(identity), caFingerprint: identity.caFingerprint, wallMs: NOW })).toEqual({ expired: false });
  });

  it('good with a warning: of the pinned CA, but expired, or not valid yet by the clock here', async () => {
    const identity = await openAt(tempFolder());
    const check = (wallMs: number): unknown => verifyPinned({ ...shown(identity), caFingerprint: identity.caFingerprint, wallMs });
    expect(check(NOW + 2_000 * DAY_MS)).toEqual({ expired: true });
    expect(check(NOW - 100 * DAY_MS)).toEqual({ expired: true });
  });

  it('foreign: of another CA, expired or not', async () => {
    const pinned = await openAt(tempFolder());
    const other = await openAt(tempFolder());
    for (const wallMs of [NOW, NOW + 2_000 * DAY_MS]) {
      expect(() => verifyPinned({ ...shown(other), caFingerprint: pinned.caFingerprint, wallMs })).toThrow(expect.objectContaining(foreign));
    }
  });

  it('foreign: of another CA, but shown together with the pinned one', async () => {
    const pinned = await openAt(tempFolder());
    const other = await openAt(tempFolder());
    const mixed = { certificate: shown(other).certificate, ca: shown(pinned).ca };
    expect(() => verifyPinned({ ...mixed, caFingerprint: pinned.caFingerprint, wallMs: NOW })).toThrow(expect.objectContaining(foreign));
  });

  it('foreign: of a CA that bears the name of the pinned one', async () => {
    const folder = tempFolder();
    const pinned = await openAt(folder);
    const otherFolder = tempFolder();
    await openAt(otherFolder);
    const [pinnedCa, otherCa] = [(await loadCa(folder))!, (await loadCa(otherFolder))!];
    // Issuer and key id of the pinned CA, signed with another key.
    const forged = await createServer({ ...pinnedCa, key: otherCa.key }, { folder, hosts: ['127.0.0.1'], random, wallMs: NOW });
    const certificate = new X509Certificate(forged.pem);
    expect(certificate.checkIssued(new X509Certificate(pinned.caPem))).toBe(true);
    expect(() => verifyPinned({ certificate: certificate.raw, ca: shown(pinned).ca, caFingerprint: pinned.caFingerprint, wallMs: NOW })).toThrow(
      expect.objectContaining(foreign),
    );
  });

  it('foreign: signed by a certificate of the pinned CA that is no CA itself', async () => {
    const folder = tempFolder();
    const pinned = await openAt(folder);
    for (const ending of ['pem', 'key']) renameSync(join(folder, `server.${ending}`), join(folder, `ca.${ending}`));
    const asCa = (await loadCa(folder))!;
    const forged = new X509Certificate((await createServer(asCa, { folder, hosts: ['127.0.0.1'], random, wallMs: NOW })).pem);
    for (const ca of [leaf(pinned).raw, shown(pinned).ca]) {
      expect(() => verifyPinned({ certificate: forged.raw, ca, caFingerprint: pinned.caFingerprint, wallMs: NOW })).toThrow(
        expect.objectContaining(foreign),
      );
    }
  });

  it('foreign: bytes that are no certificate, and one with a changed byte', async () => {
    const pinned = await openAt(tempFolder());
    const { certificate, ca } = shown(pinned);
    const flipped = Buffer.from(certificate);
    flipped.writeUInt8(flipped.readUInt8(flipped.length - 1) ^ 1, flipped.length - 1);
    for (const bytes of [Buffer.from('nonsense'), flipped, Buffer.alloc(0)]) {
      expect(() => verifyPinned({ certificate: bytes, ca, caFingerprint: pinned.caFingerprint, wallMs: NOW })).toThrow(expect.objectContaining(foreign));
    }
  });
});
