import { HoldfastError } from '../model/errors.ts';
import type { ApiKeyDocument } from '../model/documents.ts';
import type { Role } from '../client-api/schemas.ts';
import type { Clock } from '../ports/clock.ts';
import type { DocumentStore } from '../ports/document-store.ts';
import type { Random } from '../ports/random.ts';
import { hashSecret } from './auth.ts';

export interface NewApiKey {
  id: string;
  name: string;
  role: Role;
  /** `<id>.<secret>`: shown once, never stored. */
  key: string;
}

/** Stores a new API key and returns it, for the only time. */
export async function createApiKey(
  store: DocumentStore,
  wanted: { name: string; role: Role },
  random: Random,
  clock: Pick<Clock, 'wallMs'>,
): Promise<NewApiKey> {
  const id = `key-${random.hex(6)}`;
  const secret = random.hex(32);
  const document: ApiKeyDocument = {
    id,
    type: 'api_key',
    name: wanted.name,
    secret_hash: hashSecret(secret),
    role: wanted.role,
    created_at: Math.floor(clock.wallMs() / 1_000),
    revoked: false,
  };
  await store.apply([{ op: 'put', document, expect: null }]);
  return { id, name: wanted.name, role: wanted.role, key: `${id}.${secret}` };
}

/** Revokes a key; the document stays, so that its id still explains old audit lines. */
export async function revokeApiKey(store: DocumentStore, id: string): Promise<void> {
  const stored = await store.get(id);
  if (stored?.document.type !== 'api_key') throw new HoldfastError('NOT_FOUND', { kind: 'API key', id });
  await store.apply([{ op: 'put', document: { ...stored.document, revoked: true }, expect: stored.version }]);
}
