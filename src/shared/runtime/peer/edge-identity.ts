import { createHash } from 'node:crypto';
import { z } from 'zod';
import { enrolUser, linkUser, parseEnrolment } from '../../link/enrolment.ts';
import { createVerifier, secretIdOf } from '../../link/scram.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { CredentialStore } from '../../ports/credential-store.ts';
import type { Random } from '../../ports/random.ts';
import type { NewSecret } from './link-authority.ts';

/** The newest, one that was offered without an answer, and the last that surely worked. */
const MAX_SECRETS = 3;
const MAX_ENROLMENTS = 100;

const identitySchema = z.strictObject({
  edge: z.string(),
  addresses: z.array(z.string()),
  caFingerprint: z.string(),
  /** Newest first. */
  secrets: z.array(z.strictObject({ id: z.string(), secret: z.string() })).max(MAX_SECRETS),
  /** The one-time token, until the newest secret has worked. */
  token: z.string().nullable(),
  /** Hashes of enrolment strings that were taken up: the same one in the environment is not taken up again. */
  enrolments: z.array(z.string()).max(MAX_ENROLMENTS),
  /** The verifier of the newest secret may have reached the master. */
  offered: z.boolean(),
});
type Identity = z.output<typeof identitySchema>;

const KEY = 'identity';

/** What an operator has put beside the enrolment string; null: nothing. */
export type ReadSecret = () => Promise<string | null>;

/** How the next connection is proved. */
export type Proof =
  | { purpose: 'link'; user: string; secret: string; secretId: string }
  | { purpose: 'enrol'; user: string; secret: string; offer: NewSecret };

function load(credentials: CredentialStore): Identity | null {
  const text = credentials.get(KEY);
  return text === null ? null : identitySchema.parse(JSON.parse(text));
}

/** Whom an edge is, and which masters it dials and trusts: what is not secret of its identity. */
export type EdgeAccess = Pick<Identity, 'edge' | 'addresses' | 'caFingerprint'>;

/** From the text in its credentials; null: there is none. */
export function edgeAccess(text: string | null): EdgeAccess | null {
  if (text === null) return null;
  const { edge, addresses, caFingerprint } = identitySchema.parse(JSON.parse(text));
  return { edge, addresses, caFingerprint };
}

/** Which edge this is, or is about to be. Throws CONFIG_INVALID when nobody has said yet. */
export function edgeOf(credentials: CredentialStore, enrolment: string | null): string {
  const known = load(credentials);
  if (known !== null) return known.edge;
  if (enrolment === null) throw notEnrolled();
  return parseEnrolment(enrolment).edge;
}

const notEnrolled = (): HoldfastError =>
  new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_ENROL', problem: 'is needed at the first start; `holdfast edge add` at the master prints it' });

/** One data directory, one edge: its journal and documents would lie about another one. */
function checkOwner(known: Identity | null, edge: string): void {
  if (known === null || known.edge === edge) return;
  throw new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_ENROL', problem: `is for edge ${edge}, but this data directory belongs to ${known.edge}` });
}

/** The secret that an operator has set at the master too. Throws CONFIG_INVALID when it is not that one; the text is never repeated. */
async function setByHand(edge: string, id: string, readSecret: ReadSecret): Promise<Identity['secrets'][number]> {
  const secret = await readSecret();
  const bad = (problem: string): HoldfastError => new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_SECRET_FILE', problem });
  if (secret === null) throw bad('is needed: the secret of this enrolment was set by hand');
  if ((await secretIdOf(edge, secret)) !== id) throw bad(`does not hold the secret that was set for ${edge} at the master`);
  return { id, secret };
}

/** Secrets that the master may know. One that was never offered would only push out a good one. */
function usable(known: Identity | null): Identity['secrets'] {
  if (known === null) return [];
  return known.token === null || known.offered ? known.secrets : known.secrets.slice(1);
}

/** Who this edge is and how it proves that: stored before it is used, so that a crash at any point leaves a way in. */
export class EdgeIdentity {
  readonly #credentials: CredentialStore;
  readonly #random: Random;
  #identity: Identity;

  private constructor(credentials: CredentialStore, random: Random, identity: Identity) {
    this.#credentials = credentials;
    this.#random = random;
    this.#identity = identity;
  }

  /** From the store, or from an enrolment string at its first use. Throws CONFIG_INVALID when there is neither. */
  static async open(
    credentials: CredentialStore,
    random: Random,
    enrolment: string | null,
    readSecret: ReadSecret = async () => null,
  ): Promise<EdgeIdentity> {
    const known = load(credentials);
    const hash = enrolment === null ? null : createHash('sha256').update(enrolment).digest('hex');
    if (enrolment !== null && hash !== null && known?.enrolments.includes(hash) !== true) {
      const { addresses, ca, edge, token, secretId } = parseEnrolment(enrolment);
      checkOwner(known, edge);
      const secret = secretId === null ? { id: random.hex(4), secret: random.hex(32) } : await setByHand(edge, secretId, readSecret);
      const identity = new EdgeIdentity(credentials, random, {
        edge,
        addresses,
        caFingerprint: ca,
        secrets: [secret, ...usable(known).filter(({ id }) => id !== secret.id)].slice(0, MAX_SECRETS),
        token,
        enrolments: [...(known?.enrolments ?? []), hash].slice(-MAX_ENROLMENTS),
        offered: false,
      });
      await identity.#save();
      return identity;
    }
    if (known === null) throw notEnrolled();
    return new EdgeIdentity(credentials, random, known);
  }

  get edge(): string {
    return this.#identity.edge;
  }

  get addresses(): readonly string[] {
    return this.#identity.addresses;
  }

  get caFingerprint(): string {
    return this.#identity.caFingerprint;
  }

  /** What to prove next, most promising first. An offer is noted durably before it can reach anybody. */
  async proofs(): Promise<Proof[]> {
    const { edge, secrets, token, offered } = this.#identity;
    const links = secrets.map(({ id, secret }): Proof => ({ purpose: 'link', user: linkUser(edge, id), secret, secretId: id }));
    if (token === null) return links;
    const newest = secrets[0];
    if (newest === undefined) return [];
    const verifier = await createVerifier(newest.secret, Buffer.from(this.#random.hex(16), 'hex'));
    const enrol: Proof = { purpose: 'enrol', user: enrolUser(edge), secret: token, offer: { id: newest.id, verifier } };
    // An offer whose answer was lost may have been taken: then the token is spent and the secret works.
    return offered ? [...links.slice(0, 1), enrol, ...links.slice(1)] : [enrol, ...links.slice(1)];
  }

  async offering(): Promise<void> {
    this.#identity = { ...this.#identity, offered: true };
    await this.#save();
  }

  /** This secret worked: with the newest, the token and older secrets end. */
  async worked(secretId: string): Promise<void> {
    const { secrets, token } = this.#identity;
    const newest = secrets[0];
    if (newest?.id !== secretId || (token === null && secrets.length === 1)) return;
    this.#identity = { ...this.#identity, token: null, secrets: [newest] };
    await this.#save();
  }

  async #save(): Promise<void> {
    await this.#credentials.set(KEY, JSON.stringify(this.#identity));
  }
}
