import { z } from 'zod';
import { isSiteLocalHost } from '../../link/certificate-request.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { Clock } from '../../ports/clock.ts';
import type { CredentialStore } from '../../ports/credential-store.ts';

const ownerSchema = z.strictObject({ edge: z.string(), untilMs: z.number() });
type Owner = z.output<typeof ownerSchema>;

export interface CertifiedNamesOptions {
  credentials: CredentialStore;
  clock: Clock;
  isEnrolled(edge: string): boolean;
}

const keyOf = (host: string): string => `certified:${host}`;

/**
 * Which edge may have which host name in its certificate: a name belongs to the edge that was certified for it, until that
 * certificate has ended or the edge is revoked. docs/decisions/0009-certificates-of-edges.md.
 */
export class CertifiedNames {
  readonly #options: CertifiedNamesOptions;

  constructor(options: CertifiedNamesOptions) {
    this.#options = options;
  }

  /** Before signing: the names are this edge's until `untilMs`. Throws INPUT_INVALID when another has one, LINK_REFUSED when it was revoked. */
  async claim(edge: string, hosts: readonly string[], untilMs: number): Promise<void> {
    const { credentials, isEnrolled } = this.#options;
    const own = hosts.filter((host) => !isSiteLocalHost(host));
    // All are looked at before one is taken: a refused request takes nothing.
    for (const host of own) this.#check(edge, host);
    for (const host of own) {
      while (!(await credentials.compareAndSet(keyOf(host), this.#check(edge, host), JSON.stringify({ edge, untilMs } satisfies Owner)))) continue;
    }
    if (!isEnrolled(edge)) throw new HoldfastError('LINK_REFUSED', { reason: 'revoked' });
  }

  /** The record that this edge may replace. */
  #check(edge: string, host: string): string | null {
    const { credentials, clock, isEnrolled } = this.#options;
    const record = credentials.get(keyOf(host));
    const owner = record === null ? null : ownerSchema.parse(JSON.parse(record));
    if (owner === null || owner.edge === edge || owner.untilMs <= clock.wallMs() || !isEnrolled(owner.edge)) return record;
    const problem = `${host} belongs to edge ${owner.edge} until ${new Date(owner.untilMs).toISOString()}; use another name, or revoke that edge`;
    throw new HoldfastError('INPUT_INVALID', { field: 'certificate.hosts', problem });
  }
}
