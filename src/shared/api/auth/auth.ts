import { createHash, timingSafeEqual } from 'node:crypto';
import type { CredentialDocument } from '../../model/documents.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import { roles } from '../../client-api/schemas.ts';
import type { Role } from '../../client-api/schemas.ts';
import type { Clock } from '../../ports/clock.ts';
import type { DocumentStore } from '../../ports/document-store.ts';
import type { CredentialText } from './credential-text.ts';

/** Whose key or token a request carries. */
export interface Caller {
  /** Of the key or token. */
  id: string;
  /** Whom a token speaks for; a key speaks for itself. */
  user: string;
  name: string;
  role: Role;
  /** Unix milliseconds; null: a key, which does not end by itself. */
  expiresMs: number | null;
}

export type RequestHeaders = Readonly<Record<string, string | string[] | undefined>>;

const digest = (secret: string): Buffer => createHash('sha256').update(secret, 'utf8').digest();
export const hashSecret = (secret: string): string => digest(secret).toString('hex');

/** In a time that says nothing of how much of it was right. */
export const sameSecret = (given: string, expected: string): boolean => timingSafeEqual(digest(given), digest(expected));

/** Compared with when the id is unknown, so that known and unknown ids take the same time. */
const NO_HASH = '0'.repeat(64);

const sameHash = (secret: string, found: CredentialDocument | null): boolean =>
  timingSafeEqual(digest(secret), Buffer.from(found?.secret_hash ?? NO_HASH, 'hex'));

export const hasRole = (caller: Caller, needs: Role): boolean => roles.indexOf(caller.role) >= roles.indexOf(needs);

/**
 * Checks keys and tokens against the store of this node. What was read once is kept until a commit touches it: whether
 * a request is answered does not hang on a disk that is busy with other documents.
 */
export class Authenticator {
  readonly #store: DocumentStore;
  readonly #clock: Pick<Clock, 'wallMs'>;
  readonly #cache = new Map<string, CredentialDocument | null>();
  readonly #stop: () => void;
  #commits = 0;

  /** `onTouched`: is called with a test whether a caller's credential may have changed. */
  constructor(store: DocumentStore, clock: Pick<Clock, 'wallMs'>, onTouched: (isTouched: (caller: Caller) => boolean) => void) {
    this.#store = store;
    this.#clock = clock;
    this.#stop = store.onChange((_head, touched) => {
      this.#commits += 1;
      if (touched === null) this.#cache.clear();
      for (const id of touched ?? []) this.#cache.delete(id);
      onTouched(({ id }) => touched === null || touched.has(id));
    });
  }

  /** null: no credential, or not a valid one. */
  async identify(credential: CredentialText | null): Promise<Caller | null> {
    if (credential === null) return null;
    const found = await this.#find(credential.id);
    return found === null || !sameHash(credential.secret, found) || !this.#isInForce(found) ? null : callerOf(found);
  }

  /** Why `identify` found nobody. Only who proves the secret of a token hears that it has expired. */
  async refusalOf(credential: CredentialText | null): Promise<HoldfastError> {
    const found = credential === null ? null : await this.#find(credential.id);
    const proved = sameHash(credential?.secret ?? '', found);
    if (!proved || found?.type !== 'token' || found.revoked) return new HoldfastError('UNAUTHORISED', {});
    return new HoldfastError('TOKEN_EXPIRED', { token: found.id, at: new Date(found.expires_at * 1_000).toISOString() });
  }

  /** Is this still the same caller? Asked of open streams after a commit. */
  async stillValid(caller: Caller): Promise<boolean> {
    const found = await this.#find(caller.id);
    return found !== null && this.#isInForce(found) && found.role === caller.role;
  }

  /** Administrators, and operators whom each of the locations lists, by their credential or their user. */
  async requireLocationAdmin(caller: Caller, locations: Iterable<string>): Promise<void> {
    if (hasRole(caller, 'admin')) return;
    for (const location of locations) {
      const stored = await this.#store.get(location);
      const admins = stored?.document.type === 'edge' ? stored.document.admins : [];
      if (admins.includes(caller.id) || admins.includes(caller.user)) continue;
      throw new HoldfastError('FORBIDDEN', { needs: `the role admin, or a place among the admins of ${location}` });
    }
  }

  close(): void {
    this.#stop();
  }

  #isInForce(credential: CredentialDocument): boolean {
    if (credential.revoked) return false;
    return credential.type === 'api_key' || this.#clock.wallMs() < credential.expires_at * 1_000;
  }

  async #find(id: string): Promise<CredentialDocument | null> {
    const cached = this.#cache.get(id);
    if (cached !== undefined) return cached;
    const commits = this.#commits;
    const document = (await this.#store.get(id))?.document;
    const found = document?.type === 'api_key' || document?.type === 'token' ? document : null;
    // A commit while we read may have revoked this very key: then what we read is not kept.
    if (commits === this.#commits) {
      if (this.#cache.size >= limits.apiKeyCache) this.#cache.clear();
      this.#cache.set(id, found);
    }
    return found;
  }
}

function callerOf(credential: CredentialDocument): Caller {
  const { id, role } = credential;
  if (credential.type === 'api_key') return { id, user: id, name: credential.name, role, expiresMs: null };
  return { id, user: credential.user, name: credential.user, role, expiresMs: credential.expires_at * 1_000 };
}
