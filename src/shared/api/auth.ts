import { createHash, timingSafeEqual } from 'node:crypto';
import type { ApiKeyDocument } from '../model/documents.ts';
import { HoldfastError } from '../model/errors.ts';
import { limits } from '../model/limits.ts';
import { roles } from '../client-api/schemas.ts';
import type { Role } from '../client-api/schemas.ts';
import type { DocumentStore } from '../ports/document-store.ts';

/** Whose key a request carries. */
export interface Caller {
  id: string;
  name: string;
  role: Role;
}

export type RequestHeaders = Readonly<Record<string, string | string[] | undefined>>;

const digest = (secret: string): Buffer => createHash('sha256').update(secret, 'utf8').digest();
export const hashSecret = (secret: string): string => digest(secret).toString('hex');

/** Compared with when the id is unknown, so that known and unknown ids take the same time. */
const NO_HASH = '0'.repeat(64);

export const hasRole = (caller: Caller, needs: Role): boolean => roles.indexOf(caller.role) >= roles.indexOf(needs);

/** `<id>.<secret>` from `X-API-Key` or `Authorization: Bearer`. Secrets hold no dot, ids may. */
export function credentialOf(headers: RequestHeaders): { id: string; secret: string } | null {
  const key = headers['x-api-key'];
  const authorization = headers['authorization'];
  const text = typeof key === 'string' ? key : typeof authorization === 'string' ? /^Bearer +(\S+)$/i.exec(authorization)?.[1] : undefined;
  const dot = text?.lastIndexOf('.') ?? -1;
  if (text === undefined || dot < 1 || dot === text.length - 1 || text.length > 300) return null;
  return { id: text.slice(0, dot), secret: text.slice(dot + 1) };
}

/** Checks API keys against the store, with a cache that every commit of the store empties. */
export class Authenticator {
  readonly #store: DocumentStore;
  readonly #cache = new Map<string, ApiKeyDocument | null>();
  readonly #stop: () => void;
  #commits = 0;

  constructor(store: DocumentStore, onChange: () => void) {
    this.#store = store;
    this.#stop = store.onChange(() => {
      this.#commits += 1;
      this.#cache.clear();
      onChange();
    });
  }

  /** null: no credential, or not a valid one. */
  async identify(headers: RequestHeaders): Promise<Caller | null> {
    const credential = credentialOf(headers);
    if (credential === null) return null;
    const key = await this.#find(credential.id);
    const equal = timingSafeEqual(digest(credential.secret), Buffer.from(key?.secret_hash ?? NO_HASH, 'hex'));
    if (key === null || key.revoked || !equal) return null;
    return { id: key.id, name: key.name, role: key.role };
  }

  /** Is this still the same caller? Asked of open streams after a commit. */
  async stillValid(caller: Caller): Promise<boolean> {
    const key = await this.#find(caller.id);
    return key !== null && !key.revoked && key.role === caller.role;
  }

  /** Orders: administrators, and operators whom the location lists. */
  async requireLocationAdmin(caller: Caller, location: string): Promise<void> {
    if (hasRole(caller, 'admin')) return;
    const stored = await this.#store.get(location);
    if (stored?.document.type === 'edge' && stored.document.admins.includes(caller.id)) return;
    throw new HoldfastError('FORBIDDEN', { needs: `the role admin, or a place among the admins of ${location}` });
  }

  close(): void {
    this.#stop();
  }

  async #find(id: string): Promise<ApiKeyDocument | null> {
    const cached = this.#cache.get(id);
    if (cached !== undefined) return cached;
    const commits = this.#commits;
    const stored = await this.#store.get(id);
    const key = stored?.document.type === 'api_key' ? stored.document : null;
    // A commit while we read may have revoked this very key: then what we read is not kept.
    if (commits === this.#commits) {
      if (this.#cache.size >= limits.apiKeyCache) this.#cache.clear();
      this.#cache.set(id, key);
    }
    return key;
  }
}
