import 'reflect-metadata';
import { createHash, webcrypto, X509Certificate as NodeCertificate } from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  BasicConstraintsExtension,
  cryptoProvider,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { HoldfastError } from '../../model/errors.ts';
import type { Random } from '../../ports/random.ts';

cryptoProvider.set(webcrypto);

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;
const CA_DAYS = 3_650 * 2;
const SERVER_DAYS = 825;
const RENEW_DAYS = 60;

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

interface KeyedCertificate {
  certificate: X509Certificate;
  pem: string;
  key: string;
}

/** The CA and the server certificate of a master: made at the first start, renewed under the same CA. */
export async function openServerIdentity(options: CertificateOptions): Promise<ServerIdentity> {
  await mkdir(options.folder, { recursive: true, mode: 0o700 });
  const ca = (await load(options.folder, 'ca')) ?? (await save(options.folder, 'ca', await createCa(options)));
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
 * Throws LINK_REFUSED `foreign-ca`.
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
    extensions: [new BasicConstraintsExtension(true, 0, true), new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true)],
  });
  return { certificate, pem: certificate.toString('pem'), key: await exportKey(keys.privateKey) };
}

/** A certificate of this CA for these hosts; exported for tests that play a master with an expired one, or a man in the middle. */
export async function createServer(ca: KeyedCertificate, options: CertificateOptions & { days?: number }): Promise<KeyedCertificate> {
  const { random, wallMs, hosts, days = SERVER_DAYS } = options;
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial(random),
    subject: 'CN=Holdfast',
    issuer: ca.certificate.subject,
    notBefore: new Date(wallMs - DAY_MS),
    notAfter: new Date(wallMs + days * DAY_MS),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: await importKey(ca.key),
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new SubjectAlternativeNameExtension(hosts.map((value) => ({ type: isAddress(value) ? ('ip' as const) : ('dns' as const), value }))),
    ],
  });
  return { certificate, pem: certificate.toString('pem'), key: await exportKey(keys.privateKey) };
}

/** The CA of a folder, for whoever signs another certificate with it. Null: none was made yet. */
export const loadCa = (folder: string): Promise<KeyedCertificate | null> => load(folder, 'ca');

const isAddress = (host: string): boolean => /^[\d.]+$/.test(host) || host.includes(':');
const serial = (random: Random): string => `1${random.hex(8)}`.slice(0, 16);

function isGood(server: KeyedCertificate, ca: KeyedCertificate, options: CertificateOptions): boolean {
  const names = server.certificate.getExtension(SubjectAlternativeNameExtension)?.names.items.map(({ value }) => value) ?? [];
  return (
    server.certificate.notAfter.getTime() - options.wallMs > RENEW_DAYS * DAY_MS &&
    options.hosts.every((host) => names.includes(host)) &&
    new NodeCertificate(server.pem).verify(new NodeCertificate(ca.pem).publicKey)
  );
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(pem), ALGORITHM, true, ['sign']);
}

async function load(folder: string, name: string): Promise<KeyedCertificate | null> {
  try {
    const [pem, key] = await Promise.all([readFile(join(folder, `${name}.pem`), 'utf8'), readFile(join(folder, `${name}.key`), 'utf8')]);
    return { certificate: new X509Certificate(pem), pem: pem.trim(), key };
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw new HoldfastError('STORE_DAMAGED', { path: join(folder, `${name}.pem`), problem: 'the certificate or its key cannot be read' }, { cause: error });
  }
}

/** The key first: a certificate without its key is of no use, a key without a certificate is made again. */
async function save(folder: string, name: string, made: KeyedCertificate): Promise<KeyedCertificate> {
  await replace(join(folder, `${name}.key`), made.key, 0o600);
  await replace(join(folder, `${name}.pem`), made.pem, 0o644);
  return { ...made, pem: made.pem.trim() };
}

async function replace(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.new`;
  await writeFile(temporary, text, { mode, flush: true });
  await chmod(temporary, mode);
  await rename(temporary, path);
}
