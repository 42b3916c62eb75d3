import 'reflect-metadata';
import { createHash, createPrivateKey, webcrypto, X509Certificate as NodeCertificate } from 'node:crypto';
import { join } from 'node:path';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonName,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { HoldfastError } from '../../model/errors.ts';
import type { Random } from '../../ports/random.ts';
import { makeFolder, readText, replaceFile, storeFailed, syncFolder } from './pem-files.ts';

cryptoProvider.set(webcrypto);

export const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
export const DAY_MS = 86_400_000;
const CA_DAYS = 3_650 * 2;
const SERVER_DAYS = 825;
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

export interface KeyedCertificate {
  certificate: X509Certificate;
  pem: string;
  key: string;
}

/** The CA and the server certificate of a master: made at the first start, renewed under the same CA. */
export async function openServerIdentity(options: CertificateOptions): Promise<ServerIdentity> {
  await makeFolder(options.folder);
  const ca = (await loadCa(options.folder)) ?? (await save(options.folder, 'ca', await createCa(options)));
  const known = await load(options.folder, 'server');
  const server = known !== null && isGood(known, ca, options) ? known : await save(options.folder, 'server', await createServer(ca, options));
  return { chain: `${server.pem}\n${ca.pem}\n`, key: server.key, caPem: ca.pem, caFingerprint: fingerprint(Buffer.from(ca.certificate.rawData)) };
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
  let shown: NodeCertificate;
  let ca: NodeCertificate;
  try {
    shown = new NodeCertificate(options.certificate);
    ca = new NodeCertificate(options.ca);
  } catch {
    throw foreign;
  }
  if (!ca.ca || !shown.checkIssued(ca) || !shown.verify(ca.publicKey)) throw foreign;
  if (shown.toLegacyObject().subject.OU === EDGE_UNIT) throw new HoldfastError('LINK_REFUSED', { reason: 'not-a-master' });
  return { expired: Date.parse(shown.validTo) < options.wallMs || Date.parse(shown.validFrom) > options.wallMs };
}

async function createCa({ random, wallMs }: CertificateOptions): Promise<KeyedCertificate> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(random),
    name: `CN=Holdfast CA ${random.hex(4)}`,
    notBefore: new Date(wallMs - DAY_MS),
    notAfter: new Date(wallMs + CA_DAYS * DAY_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate, pem: certificate.toString('pem'), key: await exportKey(keys.privateKey) };
}

/** A certificate of this CA for these hosts; exported for tests that play a master with an expired one, or a man in the middle. */
export async function createServer(ca: KeyedCertificate, options: CertificateOptions & { days?: number }): Promise<KeyedCertificate> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const certificate = await issue(ca, { ...options, subject: [{ CN: ['Holdfast'] }], publicKey: keys.publicKey });
  return { certificate, pem: certificate.toString('pem'), key: await exportKey(keys.privateKey) };
}

export interface IssueOptions extends Pick<CertificateOptions, 'hosts' | 'random' | 'wallMs'> {
  subject: JsonName;
  publicKey: webcrypto.CryptoKey;
  days?: number;
}

/** Good for one thing: to be the server of these hosts. */
export async function issue(ca: KeyedCertificate, options: IssueOptions): Promise<X509Certificate> {
  const { subject, publicKey, hosts, random, wallMs, days = SERVER_DAYS } = options;
  return X509CertificateGenerator.create({
    serialNumber: serial(random),
    subject,
    issuer: ca.certificate.subject,
    notBefore: new Date(wallMs - DAY_MS),
    notAfter: new Date(wallMs + days * DAY_MS),
    signingAlgorithm: ALGORITHM,
    publicKey,
    signingKey: await importKey(ca.key),
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      await SubjectKeyIdentifierExtension.create(publicKey),
      await AuthorityKeyIdentifierExtension.create(ca.certificate.publicKey),
      new SubjectAlternativeNameExtension(hosts.map((value) => ({ type: isAddress(value) ? ('ip' as const) : ('dns' as const), value }))),
    ],
  });
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

const isAddress = (host: string): boolean => /^[\d.]+$/.test(host) || host.includes(':');

/** What a certificate was issued for. */
export const hostsOf = (certificate: X509Certificate): string[] =>
  certificate.getExtension(SubjectAlternativeNameExtension)?.names.items.map(({ value }) => value) ?? [];

const serial = (random: Random): string => `1${random.hex(8)}`.slice(0, 16);

function isGood({ certificate, pem }: KeyedCertificate, ca: KeyedCertificate, options: CertificateOptions): boolean {
  const names = hostsOf(certificate);
  return (
    certificate.notAfter.getTime() - options.wallMs > RENEW_DAYS * DAY_MS &&
    certificate.notBefore.getTime() <= options.wallMs &&
    options.hosts.every((host) => names.includes(host)) &&
    new NodeCertificate(pem).verify(new NodeCertificate(ca.pem).publicKey)
  );
}

export async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(pem), ALGORITHM, true, ['sign']);
}

/** Null: missing, unreadable, or not a pair (a crash between the two files). */
async function load(folder: string, name: string): Promise<KeyedCertificate | null> {
  const [pem, key] = await Promise.all([readText(join(folder, `${name}.pem`)), readText(join(folder, `${name}.key`))]);
  if (pem === null || key === null) return null;
  try {
    if (!new NodeCertificate(pem).checkPrivateKey(createPrivateKey(key))) return null;
    return { certificate: new X509Certificate(pem), pem: pem.trim(), key };
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
