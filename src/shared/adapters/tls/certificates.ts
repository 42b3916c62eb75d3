import 'reflect-metadata';
import { createHash, createPrivateKey, webcrypto, X509Certificate as NodeCertificate } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
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
  await mkdir(options.folder, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw storeFailed(options.folder, error);
  });
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
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(ca.certificate.publicKey),
      new SubjectAlternativeNameExtension(hosts.map((value) => ({ type: isAddress(value) ? ('ip' as const) : ('dns' as const), value }))),
    ],
  });
  return { certificate, pem: certificate.toString('pem'), key: await exportKey(keys.privateKey) };
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
const serial = (random: Random): string => `1${random.hex(8)}`.slice(0, 16);

function isGood({ certificate, pem }: KeyedCertificate, ca: KeyedCertificate, options: CertificateOptions): boolean {
  const names = certificate.getExtension(SubjectAlternativeNameExtension)?.names.items.map(({ value }) => value) ?? [];
  return (
    certificate.notAfter.getTime() - options.wallMs > RENEW_DAYS * DAY_MS &&
    certificate.notBefore.getTime() <= options.wallMs &&
    options.hosts.every((host) => names.includes(host)) &&
    new NodeCertificate(pem).verify(new NodeCertificate(ca.pem).publicKey)
  );
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
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

/** Null: there is no such file. */
async function readText(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw storeFailed(path, error);
  }
}

/** The key first: a certificate without its key is of no use, a key without a certificate is made again. */
async function save(folder: string, name: string, made: KeyedCertificate): Promise<KeyedCertificate> {
  try {
    await replace(join(folder, `${name}.key`), made.key, 0o600);
    await replace(join(folder, `${name}.pem`), made.pem, 0o644);
    await syncFolder(folder);
  } catch (error) {
    throw storeFailed(join(folder, `${name}.pem`), error);
  }
  return { ...made, pem: made.pem.trim() };
}

async function replace(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.new`;
  await writeFile(temporary, text, { mode, flush: true });
  await chmod(temporary, mode);
  await rename(temporary, path);
}

/** The names of the files are durable too before anybody pins this CA. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const hasCode = (error: unknown, code: string): boolean => error instanceof Error && 'code' in error && error.code === code;

function storeFailed(path: string, error: unknown): HoldfastError {
  if (hasCode(error, 'ENOSPC')) return new HoldfastError('STORE_FULL', { path }, { cause: error });
  return new HoldfastError('STORE_FAILED', { path, problem: error instanceof Error ? error.message : String(error) }, { cause: error });
}
