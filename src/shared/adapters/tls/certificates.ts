import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { canonicalHost } from '../../link/certificate-request.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { Random } from '../../ports/random.ts';
import { makeFolder, readText, replaceFile, storeFailed, syncFolder } from './pem-files.ts';

export const DAY_MS = 86_400_000;
const RENEW_DAYS = 60;
/** Organisational unit in the certificates of edges. */
export const EDGE_UNIT = 'Holdfast edge';

export interface ServerIdentity {
  /** PEM: the server's certificate followed by that of its CA. */
  chain: string;
  key: string;
  caPem: string;
  /** Hex SHA-256 of the CA's certificate: what an edge pins. */
  caFingerprint: string;
}

export interface CertificateOptions {
  folder: string;
  /** Names and addresses that clients dial. */
  hosts: readonly string[];
  random: Random;
  wallMs: number;
}

/** Both PEM. */
export interface KeyedCertificate {
  pem: string;
  key: string;
}

/** The CA and the server certificate of a master: made at the first start, renewed under the same CA. */
export async function openServerIdentity(options: CertificateOptions): Promise<ServerIdentity> {
  await makeFolder(options.folder);
  const ca = (await loadCa(options.folder)) ?? (await save(options.folder, 'ca', await createCa(options)));
  const known = await load(options.folder, 'server');
  const server = known !== null && isGood(known, ca, options) ? known : await save(options.folder, 'server', await createServer(ca, options));
  return { chain: `${server.pem}\n${ca.pem}\n`, key: server.key, caPem: ca.pem, caFingerprint: fingerprint(new X509Certificate(ca.pem).raw) };
}

export const fingerprint = (der: Buffer): string => createHash('sha256').update(der).digest('hex');

/**
 * What an edge thinks of the certificate that a master shows. The signature is checked against the pinned CA by us:
 * no error text of the TLS library is interpreted.
 *
 * `expired` is a warning: an edge that was offline for a year must come back, and the proof of the secret still stands.
 * Edges have certificates of the same CA for their own API, and none of them may stand in for a master: it would be
 * given proofs to guess secrets from. Throws LINK_REFUSED `foreign-ca`, `not-a-master`.
 */
export function verifyPinned(options: { certificate: Buffer; caFingerprint: string; ca: Buffer; wallMs: number }): { expired: boolean } {
  const foreign = new HoldfastError('LINK_REFUSED', { reason: 'foreign-ca' });
  if (fingerprint(options.ca) !== options.caFingerprint) throw foreign;
  let shown: X509Certificate;
  let ca: X509Certificate;
  try {
    shown = new X509Certificate(options.certificate);
    ca = new X509Certificate(options.ca);
  } catch {
    throw foreign;
  }
  if (!ca.ca || !shown.checkIssued(ca) || !shown.verify(ca.publicKey)) throw foreign;
  if (shown.toLegacyObject().subject.OU === EDGE_UNIT) throw new HoldfastError('LINK_REFUSED', { reason: 'not-a-master' });
  return { expired: Date.parse(shown.validTo) < options.wallMs || Date.parse(shown.validFrom) > options.wallMs };
}

async function createCa({ random, wallMs }: CertificateOptions): Promise<KeyedCertificate> {
  const { signCa } = await import('./signing.ts');
  return signCa({ random, wallMs });
}

/** A certificate of this CA for these hosts; exported for tests that play a master with an expired one, or a man in the middle. */
export async function createServer(ca: KeyedCertificate, options: CertificateOptions & { days?: number }): Promise<KeyedCertificate> {
  const { signServer } = await import('./signing.ts');
  return signServer(ca, options);
}

/** The CA of a folder; null: none was made yet. A new one in place of a damaged one would lock every edge out: STORE_DAMAGED. */
export async function loadCa(folder: string): Promise<KeyedCertificate | null> {
  const ca = await load(folder, 'ca');
  if (ca !== null) return ca;
  // The key is written first: alone it was never used. A certificate may be pinned already.
  const path = join(folder, 'ca.pem');
  if ((await readText(path)) === null) return null;
  throw new HoldfastError('STORE_DAMAGED', { path, problem: 'the certificate or its key is missing, unreadable, or of another pair' });
}

/** What a certificate was issued for, in canonical form. */
export function hostsOf(certificate: X509Certificate): string[] {
  const names = certificate.subjectAltName ?? '';
  // Node quotes a name that could be taken for several: no host looks like that.
  if (names === '' || names.includes('"')) return [];
  return names.split(', ').map((name) => canonicalHost(name.slice(name.indexOf(':') + 1)));
}

function isGood({ pem }: KeyedCertificate, ca: KeyedCertificate, { hosts, wallMs }: CertificateOptions): boolean {
  const certificate = new X509Certificate(pem);
  const names = hostsOf(certificate);
  return (
    Date.parse(certificate.validTo) - wallMs > RENEW_DAYS * DAY_MS &&
    Date.parse(certificate.validFrom) <= wallMs &&
    hosts.every((host) => names.includes(canonicalHost(host))) &&
    certificate.verify(new X509Certificate(ca.pem).publicKey)
  );
}

/** Null: missing, unreadable, or not a pair (a crash between the two files). */
async function load(folder: string, name: string): Promise<KeyedCertificate | null> {
  const [pem, key] = await Promise.all([readText(join(folder, `${name}.pem`)), readText(join(folder, `${name}.key`))]);
  if (pem === null || key === null) return null;
  try {
    if (!new X509Certificate(pem).checkPrivateKey(createPrivateKey(key))) return null;
    return { pem: pem.trim(), key };
  } catch {
    return null;
  }
}

/** The key first: a certificate without its key is of no use, a key without a certificate is made again. */
async function save(folder: string, name: string, made: KeyedCertificate): Promise<KeyedCertificate> {
  try {
    await replaceFile(join(folder, `${name}.key`), made.key, 0o600);
    await replaceFile(join(folder, `${name}.pem`), made.pem, 0o644);
    // Before anybody pins this CA.
    await syncFolder(folder);
  } catch (error) {
    throw storeFailed(join(folder, `${name}.pem`), error);
  }
  return { ...made, pem: made.pem.trim() };
}
