import { HoldfastError } from '../../model/errors.ts';
import type { ApiKeyDocument, CredentialDocument, TokenDocument } from '../../model/documents.ts';
import type { Role } from '../../client-api/schemas.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Change, DocumentStore } from '../../ports/document-store.ts';
import type { Random } from '../../ports/random.ts';
import { hashSecret } from './auth.ts';
import { listAll, listStored } from '../lists.ts';

/** What new credentials are made with. */
export interface CredentialMaker {
  store: DocumentStore;
  random: Random;
  clock: Pick<Clock, 'wallMs'>;
}

export interface NewApiKey {
  id: string;
  name: string;
  role: Role;
  /** `<id>.<secret>`: shown once, never stored. */
  key: string;
}

export interface NewToken {
  id: string;
  user: string;
  role: Role;
  /** Unix seconds. */
  expires_at: number;
  /** `<id>.<secret>`: shown once, never stored. */
  token: string;
}

/** Stores a new API key and returns it, for the only time. */
export async function createApiKey({ store, random, clock }: CredentialMaker, { name, role }: { name: string; role: Role }): Promise<NewApiKey> {
  const { fields, secret } = draw('key', random, clock);
  const document: ApiKeyDocument = { ...fields, type: 'api_key', name, role };
  await store.apply([{ op: 'put', document, expect: null }]);
  return { id: fields.id, name, role, key: `${fields.id}.${secret}` };
}

/**
 * Stores a new token and returns it, for the only time. `expires_in` in seconds. Tokens that ended more than a day ago
 * go in the same commit: whoever asks for tokens all the time does not fill the store.
 */
export async function createToken(
  { store, random, clock }: CredentialMaker,
  { user, role, expires_in, issued_by }: { user: string; role: Role; expires_in: number; issued_by: string },
): Promise<NewToken> {
  const { fields, secret } = draw('token', random, clock);
  const expires_at = fields.created_at + expires_in;
  const document: TokenDocument = { ...fields, type: 'token', user, role, expires_at, issued_by };
  await store.apply([{ op: 'put', document, expect: null }, ...(await longEnded(store, fields.created_at))]);
  return { id: fields.id, user, role, expires_at, token: `${fields.id}.${secret}` };
}

/** How often somebody else may be faster: each time another key was revoked. */
const TRIES = 20;

/**
 * Revokes a key or a token; the document stays, so that its id still explains old audit lines. Throws NOT_FOUND,
 * LAST_ADMIN_KEY, and VERSION_CONFLICT where far too many are revoked at once.
 */
export async function revokeCredential(store: DocumentStore, type: CredentialDocument['type'], id: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const stored = await store.get(id);
    if (stored?.document.type !== type) throw new HoldfastError('NOT_FOUND', { kind: type === 'token' ? 'token' : 'API key', id });
    const revoke: Change = { op: 'put', document: { ...stored.document, revoked: true }, expect: stored.version };
    const changes = isAdminKey(stored.document) ? [revoke, await keepAnother(store, id)] : [revoke];
    try {
      await store.apply(changes);
      return;
    } catch (error) {
      if (attempt === TRIES || !(error instanceof HoldfastError) || error.code !== 'VERSION_CONFLICT') throw error;
    }
  }
}

const isAdminKey = (document: CredentialDocument): boolean => document.type === 'api_key' && document.role === 'admin' && !document.revoked;

/** Tokens do not count: they end. The key is written as it is, so that of two revocations at once one finds it changed, and looks again. */
async function keepAnother(store: DocumentStore, id: string): Promise<Change> {
  const other = (await listStored(store, 'api_key')).find(({ document }) => document.id !== id && isAdminKey(document));
  if (other === undefined) throw new HoldfastError('LAST_ADMIN_KEY', { id });
  return { op: 'put', document: other.document, expect: other.version };
}

const KEPT_SECONDS = 86_400;

async function longEnded(store: DocumentStore, now: number): Promise<Change[]> {
  const ended = (await listAll(store, 'token')).filter(({ expires_at }) => expires_at + KEPT_SECONDS < now);
  const stored = await Promise.all(ended.map(({ id }) => store.get(id)));
  return stored.flatMap((found) => (found === null ? [] : [{ op: 'remove' as const, id: found.document.id, expect: found.version }]));
}

function draw(kind: 'key' | 'token', random: Random, clock: Pick<Clock, 'wallMs'>) {
  const id = `${kind}-${random.hex(6)}`;
  const secret = random.hex(32);
  const created_at = Math.floor(clock.wallMs() / 1_000);
  return { fields: { id, secret_hash: hashSecret(secret), created_at, revoked: false }, secret };
}
