import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
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
import { DAY_MS, EDGE_UNIT, type KeyedCertificate } from './certificates.ts';

/** Makes certificates, which Node cannot. Loaded when one is to be made: its library takes longer to load than a master has to spare at its start. */

cryptoProvider.set(webcrypto);

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const CA_DAYS = 3_650 * 2;
const SERVER_DAYS = 825;

interface Validity {
  random: Random;
  wallMs: number;
  days?: number;
}

export async function signCa({ random, wallMs }: Validity): Promise<KeyedCertificate> {
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
  return { pem: certificate.toString('pem'), key: await exportKey(keys.privateKey) };
}

export async function signServer(ca: KeyedCertificate, options: Validity & { hosts: readonly string[] }): Promise<KeyedCertificate> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const pem = await issue(ca, { ...options, subject: [{ CN: ['Holdfast'] }], publicKey: keys.publicKey });
  return { pem, key: await exportKey(keys.privateKey) };
}

/** For a key that the edge keeps to itself. PEM. */
export function signEdge(ca: KeyedCertificate, edge: string, options: Omit<IssueOptions, 'subject'>): Promise<string> {
  return issue(ca, { ...options, subject: [{ CN: [edge] }, { OU: [EDGE_UNIT] }] });
}

interface IssueOptions extends Validity {
  hosts: readonly string[];
  subject: JsonName;
  publicKey: webcrypto.CryptoKey;
}

/** Good for one thing: to be the server of these hosts. */
async function issue(ca: KeyedCertificate, options: IssueOptions): Promise<string> {
  const { subject, publicKey, hosts, random, wallMs, days = SERVER_DAYS } = options;
  const issuer = new X509Certificate(ca.pem);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial(random),
    subject,
    issuer: issuer.subject,
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
      await AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      new SubjectAlternativeNameExtension(hosts.map((value) => ({ type: isAddress(value) ? ('ip' as const) : ('dns' as const), value }))),
    ],
  });
  return certificate.toString('pem');
}

const isAddress = (host: string): boolean => /^[\d.]+$/.test(host) || host.includes(':');

const serial = (random: Random): string => `1${random.hex(8)}`.slice(0, 16);

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(pem), ALGORITHM, true, ['sign']);
}

/** SPKI in PEM. Throws INPUT_INVALID. */
export async function readPublicKey(pem: string): Promise<webcrypto.CryptoKey> {
  try {
    return await webcrypto.subtle.importKey('spki', PemConverter.decodeFirst(pem), ALGORITHM, true, ['verify']);
  } catch (error) {
    throw new HoldfastError('INPUT_INVALID', { field: 'certificate.publicKey', problem: 'is not the public key of an EC P-256 pair' }, { cause: error });
  }
}
