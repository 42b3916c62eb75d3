import { createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { canonicalHost, type CertificateRequest, isLoopbackHost } from '../../link/certificate-request.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Random } from '../../ports/random.ts';
import { DAY_MS, fingerprint, hostsOf, loadCa } from './certificates.ts';
import { makeFolder, readText, replaceFile, storeFailed, syncFolder } from './pem-files.ts';

export interface CertifierOptions {
  /** Where the CA is. */
  folder: string;
  /** PEM of the master's own chain: its names are not for edges. */
  chain: string;
  /** Takes the names for this edge until then. Throws INPUT_INVALID when they are another edge's. */
  claim(edge: string, hosts: readonly string[], untilMs: number): Promise<void>;
  clock: Clock;
  random: Random;
  log: Log;
}

/**
 * Signs the certificates of edges: PEM of the certificate followed by the CA. Throws INPUT_INVALID.
 *
 * Whoever has a certificate for the name of the master or of another edge could pose as that one to its clients and read their keys.
 */
export function createCertifier(options: CertifierOptions): (edge: string, request: CertificateRequest) => Promise<string> {
  const { folder, chain, claim, clock, random, log } = options;
  const reserved = new Set(hostsOf(new X509Certificate(chain)).map(canonicalHost).filter((host) => !isLoopbackHost(host)));
  return async (edge, { publicKey, hosts }) => {
    // The common name counts too: some clients read it when no other name is in the certificate.
    const taken = [...hosts, canonicalHost(edge)].filter((host) => reserved.has(host));
    if (taken.length > 0) {
      log.warn('certificate-refused', { edge, hosts, taken });
      const problem = `${taken.join(', ')} belongs to the master; an edge gets a certificate for its own names only`;
      throw new HoldfastError('INPUT_INVALID', { field: 'certificate.hosts', problem });
    }
    const ca = await loadCa(folder);
    if (ca === null) throw new HoldfastError('STORE_DAMAGED', { path: join(folder, 'ca.pem'), problem: 'there is no CA any more' });
    const { readPublicKey, signEdge } = await import('./signing.ts');
    const key = await readPublicKey(publicKey);
    const wallMs = clock.wallMs();
    await claim(edge, hosts, wallMs + limits.edgeCertificateMs).catch((error: unknown) => {
      log.warn('certificate-refused', { edge, hosts, error });
      throw error;
    });
    const pem = await signEdge(ca, edge, { hosts, publicKey: key, random, wallMs, days: limits.edgeCertificateMs / DAY_MS });
    log.info('audit', { action: 'certificate', edge, hosts, until: new Date(new X509Certificate(pem).validTo).toISOString() });
    return `${pem}\n${ca.pem}\n`;
  };
}

/** Key and certificate of an edge, in its data directory. */
export interface EdgeCertificateFiles {
  /** SPKI, PEM. */
  readonly publicKey: string;
  /** PEM of what can be served; null: no certificate has come yet. */
  readonly served: { cert: string; key: string } | null;
  /** Unix milliseconds of the end of what is served; null: nothing is. */
  readonly endsMs: number | null;
  /** There is none, a third of its time is over, it is for other hosts, or of another CA than the one this edge trusts. */
  isDue(hosts: readonly string[], wallMs: number): boolean;
  /** Stores what the master signed. Throws LINK_PROTOCOL when it is not for this key and these hosts, STORE_FAILED, STORE_FULL. */
  accept(chain: string, hosts: readonly string[]): Promise<void>;
}

/** The key is made at the first start and never leaves. Throws STORE_FAILED, STORE_FULL. */
export async function openEdgeCertificate({ folder, caFingerprint }: { folder: string; caFingerprint: string }): Promise<EdgeCertificateFiles> {
  const paths = { key: join(folder, 'edge.key'), chain: join(folder, 'edge.pem') };
  await makeFolder(folder);
  const key = readKey(await readText(paths.key)) ?? (await createKey(folder, paths.key));
  let served: { cert: string; key: string } | null = null;
  let shown: Shown | null = null;

  const use = (chain: string): void => {
    shown = readChain(chain, key);
    served = shown === null ? null : { cert: chain, key };
  };
  const isFor = (what: Shown, hosts: readonly string[]): boolean =>
    what.caFingerprint === caFingerprint && what.hosts.length === hosts.length && hosts.every((host) => what.hosts.includes(canonicalHost(host)));

  const stored = await readText(paths.chain);
  if (stored !== null) use(stored);
  return {
    publicKey: createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString(),
    get served() {
      return served;
    },
    get endsMs() {
      return shown?.endsMs ?? null;
    },
    isDue: (hosts, wallMs) => shown === null || shown.endsMs - wallMs < limits.edgeCertificateRenewMs || !isFor(shown, hosts),
    async accept(chain, hosts) {
      const got = readChain(chain, key);
      if (got === null || !isFor(got, hosts)) {
        throw new HoldfastError('LINK_PROTOCOL', { problem: 'the certificate is not what this edge asked for' });
      }
      await write(folder, paths.chain, chain, 0o644);
      use(chain);
    },
  };
}

interface Shown {
  hosts: string[];
  caFingerprint: string;
  endsMs: number;
}

/** Null: this is not a certificate of this key with its CA behind it. */
function readChain(chain: string, key: string): Shown | null {
  const [leafPem, caPem] = chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (leafPem === undefined || caPem === undefined) return null;
  try {
    const leaf = new X509Certificate(leafPem);
    const ca = new X509Certificate(caPem);
    if (!leaf.checkPrivateKey(createPrivateKey(key)) || !leaf.verify(ca.publicKey)) return null;
    return { hosts: hostsOf(leaf), caFingerprint: fingerprint(ca.raw), endsMs: Date.parse(leaf.validTo) };
  } catch {
    return null;
  }
}

/** Null: there is none, or it is damaged; then another one is made, and certified anew. */
function readKey(pem: string | null): string | null {
  if (pem === null) return null;
  try {
    const { asymmetricKeyDetails } = createPrivateKey(pem);
    return asymmetricKeyDetails?.namedCurve === 'prime256v1' ? pem : null;
  } catch {
    return null;
  }
}

async function createKey(folder: string, path: string): Promise<string> {
  const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  await write(folder, path, pem, 0o600);
  return pem;
}

async function write(folder: string, path: string, text: string, mode: number): Promise<void> {
  try {
    await replaceFile(path, text, mode);
    await syncFolder(folder);
  } catch (error) {
    throw storeFailed(path, error);
  }
}
