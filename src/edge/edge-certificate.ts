import type { EdgeCertificateFiles } from '../shared/adapters/tls/edge-certificates.ts';
import type { Json } from '../shared/foundation/json.ts';
import { canonicalHost, isHost, MAX_CERTIFICATE_HOSTS, parseCertificateAnswer } from '../shared/link/certificate-request.ts';
import { HoldfastError, isLinkLoss } from '../shared/model/errors.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { Log } from '../shared/ports/log.ts';

const NO_LINK_RETRY_MS = 1_000;
const REFUSED_RETRY_MS = 60_000;
const CHECK_MS = 3_600_000;

/** PEM. */
export type ServedCertificate = NonNullable<EdgeCertificateFiles['served']>;

export interface EdgeCertificateOptions {
  clock: Clock;
  log: Log;
  files: EdgeCertificateFiles;
  /** What clients dial; it may change while the edge runs. */
  hosts(): readonly string[];
  /** Asks the master over the link. */
  request(body: Json, signal: AbortSignal): Promise<Json>;
}

/**
 * The certificate of an edge's client API: asked of the master, stored, renewed in time. Without a master the stored one serves,
 * also after its end: clients decide whether they believe it, and an edge that fell silent would help nobody.
 */
export class EdgeCertificate {
  readonly #options: EdgeCertificateOptions;
  #warnedMs = -Infinity;

  constructor(options: EdgeCertificateOptions) {
    this.#options = options;
  }

  get missing(): boolean {
    return this.#options.files.served === null;
  }

  /** At once with a stored one, else once a master has signed. It waits for ever, but for `signal`: there is nothing to serve without it. */
  async first(signal: AbortSignal): Promise<ServedCertificate> {
    const { clock, log, files, hosts } = this.#options;
    if (files.served === null) log.info('waiting-for-certificate', { hosts: hosts() });
    for (;;) {
      if (files.served !== null) return files.served;
      const pauseMs = await this.#renew(signal);
      if (this.missing) await clock.sleep(pauseMs, signal);
    }
  }

  /** Until `signal` aborts: renews before it ends, and when the hosts of this machine have changed. */
  async keep(signal: AbortSignal, use: (certificate: ServedCertificate) => void): Promise<void> {
    const { clock, files, hosts } = this.#options;
    while (!signal.aborted) {
      const before = files.served;
      const pauseMs = files.isDue(hosts(), clock.wallMs()) ? await this.#renew(signal) : CHECK_MS;
      if (files.served !== null && files.served !== before) use(files.served);
      this.#warnOfEnd();
      await clock.sleep(pauseMs, signal).catch(() => undefined);
    }
  }

  #warnOfEnd(): void {
    const { clock, log, files } = this.#options;
    const nowMs = clock.monotonicMs();
    if (files.endsMs === null || files.endsMs > clock.wallMs() || nowMs - this.#warnedMs < CHECK_MS) return;
    this.#warnedMs = nowMs;
    log.warn('own-certificate-expired', { ended: new Date(files.endsMs).toISOString() });
  }

  /** Milliseconds until there is something to do again. */
  async #renew(signal: AbortSignal): Promise<number> {
    const { log, files, request } = this.#options;
    const hosts = [...this.#options.hosts()];
    try {
      const chain = parseCertificateAnswer(await request({ publicKey: files.publicKey, hosts }, signal));
      await files.accept(chain, hosts);
      log.info('certificate-stored', { hosts });
      return CHECK_MS;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      if (isLinkLoss(error) || signal.aborted) return NO_LINK_RETRY_MS;
      log.warn('certificate-not-renewed', { error });
      return REFUSED_RETRY_MS;
    }
  }
}

const isWildcard = (host: string): boolean => host === '0.0.0.0' || /^[0:]+$/.test(host);

/** What clients may dial: the host that the API is bound to, or with a wildcard every name and address of the machine. */
export function certificateHosts(bound: string, machine: { hostname: string; addresses: readonly string[] }): string[] {
  const all = isWildcard(bound) ? [machine.hostname, 'localhost', ...machine.addresses] : [bound];
  const usable = all.map(canonicalHost).filter((host) => isHost(host) && !isLinkLocal(host));
  return [...new Set(usable)].slice(0, MAX_CERTIFICATE_HOSTS);
}

/** Means another machine on every network. */
const isLinkLocal = (host: string): boolean => /^fe[89ab][0-9a-f]:/.test(host);
