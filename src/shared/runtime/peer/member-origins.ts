import { z } from 'zod';
import type { Json } from '../../foundation/json.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { CredentialStore } from '../../ports/credential-store.ts';
import type { Log } from '../../ports/log.ts';

const bodySchema = z.strictObject({
  origin: z.string().max(300).regex(/^https?:\/\/[A-Za-z0-9._:[\]-]+$/, 'must be an origin such as https://edge.example.org:8443'),
});

export interface MemberOriginsOptions {
  location: string;
  /** Keeps the other's origin, for a node that restarts while the link is down. */
  credentials: Pick<CredentialStore, 'get' | 'set'>;
  log: Log;
  post(body: Json): void;
}

/** Where clients reach the two ends of a link. Each end tells its own when the link opens, and keeps the other's. */
export class MemberOrigins {
  readonly #options: MemberOriginsOptions;
  readonly #key: string;
  #own: string | null = null;
  #other: string | null;
  #storing = false;

  constructor(options: MemberOriginsOptions) {
    this.#options = options;
    this.#key = `origin/${options.location}`;
    this.#other = options.credentials.get(this.#key);
  }

  /** null until they were heard. */
  get own(): string | null {
    return this.#own;
  }

  get other(): string | null {
    return this.#other;
  }

  set(own: string | null): void {
    this.#own = own;
    this.announce();
  }

  /** To be called when the link opens: what was told while it was down is lost. */
  announce(): void {
    if (this.#own !== null) this.#options.post({ origin: this.#own });
  }

  /** Throws INPUT_INVALID. */
  heard(body: Json): void {
    const parsed = bodySchema.safeParse(body);
    if (!parsed.success) throw new HoldfastError('INPUT_INVALID', { field: 'origin', problem: parsed.error.issues[0]?.message ?? 'invalid' });
    const { origin } = parsed.data;
    if (origin === this.#other) return;
    this.#other = origin;
    if (!this.#storing) void this.#store(origin);
  }

  /** One write at a time, then the newest: who says ever others must not fill the queue of the disk. */
  async #store(origin: string): Promise<void> {
    const { credentials, log, location } = this.#options;
    this.#storing = true;
    try {
      await credentials.set(this.#key, origin);
    } catch (error) {
      log.warn('member-origin-not-stored', { location, error: String(error) });
    }
    this.#storing = false;
    if (this.#other !== null && this.#other !== origin) void this.#store(this.#other);
  }
}
