import { z } from 'zod';
import { checkOperatorSecret, type Enrolment, enrolUser, formatEnrolment, linkUser, parseUser, secretIdSchema } from '../../link/enrolment.ts';
import { createVerifier, fakeVerifier, saltOf, secretIdOf, type Verifier, verifierSchema } from '../../link/scram.ts';
import { HoldfastError } from '../../model/errors.ts';
import { idSchema } from '../../model/ids.ts';
import { limits } from '../../model/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { CredentialStore } from '../../ports/credential-store.ts';
import type { Log } from '../../ports/log.ts';
import type { Random } from '../../ports/random.ts';
import type { EdgeEnrolment } from '../node.ts';

/** The old secret and the new one, while a rotation is under way. */
const MAX_SECRETS = 2;

export const newSecretSchema = z.strictObject({ id: secretIdSchema, verifier: verifierSchema });
export type NewSecret = z.output<typeof newSecretSchema>;

const recordSchema = z.strictObject({
  /** Newest last. */
  secrets: z.array(newSecretSchema).max(MAX_SECRETS),
  token: z.strictObject({ verifier: verifierSchema, expiresMs: z.number() }).nullable(),
});
type EdgeRecord = z.output<typeof recordSchema>;

/** Whose proof this would be; `verifier` is a fake one when nobody's: an unknown name looks like a wrong secret. */
export interface Claimant {
  edge: string;
  purpose: 'link' | 'enrol';
  secretId: string;
  verifier: Verifier;
  /** Why it must fail although the proof goes on; null: a real verifier. */
  refusal: string | null;
}

export interface LinkAuthorityOptions {
  credentials: CredentialStore;
  random: Random;
  clock: Clock;
  log: Log;
  /** `host:port` that edges dial. */
  addresses(): string[];
  caFingerprint: string;
  /** Closes the live link of an edge. */
  closePeer(edge: string, reason: string): void;
}

const PREFIX = 'edge:';
const keyOf = (edge: string): string => `${PREFIX}${edge}`;

/** The edges that may connect, by the keys of the credentials. */
export const enrolledEdges = (keys: Iterable<string>): string[] => [...keys].filter((key) => key.startsWith(PREFIX)).map((key) => key.slice(PREFIX.length));

const SERVER_SECRET = 'server-secret';

function checkEdge(edge: string): void {
  const problem = idSchema.safeParse(edge).error?.issues[0]?.message;
  if (problem !== undefined) throw new HoldfastError('INPUT_INVALID', { field: 'edge', problem });
}

/** The master's memory of who may connect: verifiers only, never a secret. */
export class LinkAuthority implements EdgeEnrolment {
  readonly #options: LinkAuthorityOptions;

  constructor(options: LinkAuthorityOptions) {
    this.#options = options;
  }

  add(edge: string, secret: string | null = null): Promise<{ enrolment: string }> {
    return secret === null ? this.#issueToken(edge, 'edge-added') : this.#setSecret(edge, secret);
  }

  async rotate(edge: string, secret: string | null = null): Promise<{ enrolment: string }> {
    if (!this.isEnrolled(edge)) throw new HoldfastError('NOT_FOUND', { kind: 'enrolled edge', id: edge });
    return secret === null ? this.#issueToken(edge, 'edge-rotated') : this.#setSecret(edge, secret);
  }

  async revoke(edge: string): Promise<void> {
    const { log, closePeer } = this.#options;
    if (this.#read(edge).record === null) throw new HoldfastError('NOT_FOUND', { kind: 'enrolled edge', id: edge });
    await this.#change(edge, () => null);
    // A proof that is under way now is stopped by `accepts`, which the listener asks last.
    closePeer(edge, 'revoked');
    log.warn('edge-revoked', { edge });
  }

  /** An operator sets the same secret on both sides instead of enrolling. As with a rotation, the older one ends once the new one was used. */
  async #setSecret(edge: string, secret: string): Promise<{ enrolment: string }> {
    checkEdge(edge);
    checkOperatorSecret(secret);
    const id = await secretIdOf(edge, secret);
    const added = { id, verifier: await createVerifier(secret, saltOf(await this.#serverSecret(), linkUser(edge, id))) };
    await this.#change(edge, (record) => {
      const others = (record?.secrets ?? []).filter((other) => other.id !== id);
      return { secrets: [...others, added].slice(-MAX_SECRETS), token: null };
    });
    this.#options.log.info('edge-secret-set', { edge });
    return this.#enrolment(edge, { token: null, secretId: id });
  }

  /** Whose proof this is to be. Throws LINK_REFUSED when the name is none. */
  async claimant(user: string): Promise<Claimant> {
    const parsed = parseUser(user);
    if (parsed === null) throw new HoldfastError('LINK_REFUSED', { reason: 'malformed-proof' });
    const { kind: purpose, edge } = parsed;
    const fake = async (refusal: string): Promise<Claimant> => {
      return { edge, purpose, secretId: '', verifier: fakeVerifier(await this.#serverSecret(), user), refusal };
    };
    const { record } = this.#read(edge);
    if (record === null) return fake('unknown-edge');
    if (parsed.kind === 'enrol') {
      if (record.token === null) return fake('token-spent');
      if (record.token.expiresMs <= this.#options.clock.wallMs()) return fake('token-expired');
      return { edge, purpose, secretId: '', verifier: record.token.verifier, refusal: null };
    }
    const secret = record.secrets.find(({ id }) => id === parsed.secretId);
    return secret === undefined ? fake('unknown-secret') : { edge, purpose, secretId: secret.id, verifier: secret.verifier, refusal: null };
  }

  isEnrolled(edge: string): boolean {
    return this.#read(edge).record !== null;
  }

  /** Is this secret (still) good? Asked last, when a revocation would find the link among the live ones. */
  accepts(edge: string, secretId: string): boolean {
    return this.#read(edge).record?.secrets.some(({ id }) => id === secretId) ?? false;
  }

  /** The edge used this secret: with the newest, older ones end. Never throws: a full disk must not keep an edge away. */
  async used(edge: string, secretId: string): Promise<void> {
    try {
      await this.#change(edge, (record) => {
        if (record === null || record.secrets.length < 2 || record.secrets.at(-1)?.id !== secretId) return undefined;
        return { ...record, secrets: record.secrets.slice(-1) };
      });
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.#options.log.warn('old-secret-kept', { edge, error });
    }
  }

  /** Keeps the verifier of the secret that the edge made, and spends the token: in one step, once. */
  async enrol(edge: string, token: Verifier, secret: NewSecret): Promise<void> {
    await this.#change(edge, (record) => {
      // The token whose proof was seen, not one that was issued meanwhile.
      if (record?.token?.verifier.storedKey !== token.storedKey) throw new HoldfastError('LINK_REFUSED', { reason: 'token-spent' });
      return { secrets: [...record.secrets, secret].slice(-MAX_SECRETS), token: null };
    });
    this.#options.log.info('edge-enrolled', { edge });
  }

  async #issueToken(edge: string, event: string): Promise<{ enrolment: string }> {
    checkEdge(edge);
    const { random, clock, log } = this.#options;
    const token = random.hex(32);
    const verifier = await createVerifier(token, saltOf(await this.#serverSecret(), enrolUser(edge)));
    const expiresMs = clock.wallMs() + limits.enrolmentTokenMs;
    await this.#change(edge, (record) => ({ secrets: record?.secrets ?? [], token: { verifier, expiresMs } }));
    log.info(event, { edge });
    return this.#enrolment(edge, { token, secretId: null });
  }

  #enrolment(edge: string, secret: Pick<Enrolment, 'token' | 'secretId'>): { enrolment: string } {
    const { addresses, caFingerprint } = this.#options;
    return { enrolment: formatEnrolment({ v: 1, addresses: addresses(), ca: caFingerprint, edge, ...secret }) };
  }

  #read(edge: string): { text: string | null; record: EdgeRecord | null } {
    const text = this.#options.credentials.get(keyOf(edge));
    if (text === null) return { text, record: null };
    return { text, record: recordSchema.parse(JSON.parse(text)) };
  }

  /** Read, change, compare and set; again when somebody else was faster. `undefined`: nothing to change. */
  async #change(edge: string, change: (record: EdgeRecord | null) => EdgeRecord | null | undefined): Promise<void> {
    for (;;) {
      const { text, record } = this.#read(edge);
      const next = change(record);
      if (next === undefined) return;
      if (await this.#options.credentials.compareAndSet(keyOf(edge), text, next === null ? null : JSON.stringify(next))) return;
    }
  }

  async #serverSecret(): Promise<Buffer> {
    const { credentials, random } = this.#options;
    for (;;) {
      const known = credentials.get(SERVER_SECRET);
      if (known !== null) return Buffer.from(known, 'hex');
      await credentials.compareAndSet(SERVER_SECRET, null, random.hex(32));
    }
  }
}
