import { createHash } from 'node:crypto';
import { z } from 'zod';
import { enrolUser, linkUser, parseEnrolment } from '../link/enrolment.ts';
import { createVerifier } from '../link/scram.ts';
import { HoldfastError } from '../model/errors.ts';
import type { CredentialStore } from '../ports/credential-store.ts';
import type { Random } from '../ports/random.ts';
import type { NewSecret } from './link-authority.ts';

const identitySchema = z.strictObject({
  edge: z.string(),
  addresses: z.array(z.string()),
  caFingerprint: z.string(),
  /** Newest first. */
  secrets: z.array(z.strictObject({ id: z.string(), secret: z.string() })).max(2),
  /** The one-time token, until the newest secret has worked. */
  token: z.string().nullable(),
  /** Hashes of enrolment strings that were taken up: the same one in the environment is not taken up again. */
  enrolments: z.array(z.string()).max(100),
  /** The verifier of the newest secret may have reached the master. */
  offered: z.boolean(),
});
type Identity = z.output<typeof identitySchema>;

const KEY = 'identity';

/** How the next connection is proved. */
export type Proof =
  | { purpose: 'link'; user: string; secret: string; secretId: string }
  | { purpose: 'enrol'; user: string; secret: string; offer: NewSecret };

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
  static async open(credentials: CredentialStore, random: Random, enrolment: string | null): Promise<EdgeIdentity> {
    const text = credentials.get(KEY);
    const known = text === null ? null : identitySchema.parse(JSON.parse(text));
    const hash = enrolment === null ? null : createHash('sha256').update(enrolment).digest('hex');
    if (enrolment !== null && hash !== null && known?.enrolments.includes(hash) !== true) {
      const { addresses, ca, edge, token } = parseEnrolment(enrolment);
      if (known !== null && known.edge !== edge) {
        throw new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_ENROL', problem: `is for edge ${edge}, but this data directory belongs to ${known.edge}` });
      }
      const secret = { id: random.hex(4), secret: random.hex(32) };
      const identity = new EdgeIdentity(credentials, random, {
        edge,
        addresses,
        caFingerprint: ca,
        secrets: [secret, ...(known?.secrets ?? [])].slice(0, 2),
        token,
        enrolments: [...(known?.enrolments ?? []), hash].slice(-100),
        offered: false,
      });
      await identity.#save();
      return identity;
    }
    if (known === null) {
      throw new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_ENROL', problem: 'is needed at the first start; `holdfast edge add` at the master prints it' });
    }
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
