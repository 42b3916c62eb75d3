import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { z } from 'zod';
import { HoldfastError } from '../model/errors.ts';

/**
 * SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677) with `tls-exporter` channel binding (RFC 9266).
 * Both sides prove that they know the secret, and that they mean this very TLS connection. Pure: nonces are handed in.
 */

const derive = promisify(pbkdf2);
const ITERATIONS = 4_096;
const base64 = z.string().regex(/^[A-Za-z0-9+/]+={0,2}$/);

/** What the server stores instead of the secret. */
export const verifierSchema = z.strictObject({
  salt: base64.max(100),
  iterations: z.int().min(4_096).max(1_000_000),
  storedKey: base64.max(100),
  serverKey: base64.max(100),
});
export type Verifier = z.output<typeof verifierSchema>;

const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();
const hash = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();
const xor = (a: Buffer, b: Buffer): Buffer => Buffer.from(a.map((byte, i) => byte ^ (b[i] ?? 0)));
const equal = (a: Buffer, b: Buffer): boolean => a.length === b.length && timingSafeEqual(a, b);
const refuse = (reason: string): HoldfastError => new HoldfastError('LINK_REFUSED', { reason });

export async function createVerifier(secret: string, saltBytes: Buffer, iterations = ITERATIONS): Promise<Verifier> {
  const salted = await derive(secret, saltBytes, iterations, 32, 'sha256');
  return {
    salt: saltBytes.toString('base64'),
    iterations,
    storedKey: hash(hmac(salted, 'Client Key')).toString('base64'),
    serverKey: hmac(salted, 'Server Key').toString('base64'),
  };
}

/** The id of a secret that was set by hand on both sides, who thus need not agree on one. As slow to guess from as the verifier. */
export async function secretIdOf(edge: string, secret: string): Promise<string> {
  return (await derive(secret, `secret id ${edge}`, ITERATIONS, 4, 'sha256')).toString('hex');
}

/** Always the same salt for a name, known or not: asking for salts tells nobody which names exist. */
export const saltOf = (serverSecret: Buffer, user: string): Buffer => hmac(serverSecret, `salt ${user}`).subarray(0, 16);

/** A verifier that nothing matches, the same for each name: an unknown name must look like a wrong secret. */
export function fakeVerifier(serverSecret: Buffer, user: string): Verifier {
  const part = (label: string): string => hmac(serverSecret, `${label} ${user}`).toString('base64');
  return { salt: saltOf(serverSecret, user).toString('base64'), iterations: ITERATIONS, storedKey: part('stored'), serverKey: part('server') };
}

/** The exported keying material of the connection, or null for the variant without binding (test vectors only). */
export type ChannelBinding = Buffer | null;

const gs2Header = (binding: ChannelBinding): string => (binding === null ? 'n,,' : 'p=tls-exporter,,');

/** The values of `n=1,r=2` for the names n and r: exactly these, in this order. An extension (`m=`) is refused, as the RFC wants. */
function attributes<const Names extends readonly string[]>(message: string, names: Names): Record<Names[number], string> {
  const parts = message.split(',');
  if (parts.length !== names.length) throw refuse('malformed-proof');
  const values: Record<string, string> = {};
  for (const [i, name] of names.entries()) {
    const part = parts[i] ?? '';
    if (!part.startsWith(`${name}=`)) throw refuse('malformed-proof');
    values[name] = part.slice(2);
  }
  return values;
}

/** Names are ids of ours: no character that SCRAM would have to escape. */
const USER = /^[A-Za-z0-9_.:-]{1,200}$/;
/** Printable, no comma: RFC 5802. */
const NONCE = /^[\x21-\x2b\x2d-\x7e]{16,200}$/;
const MAX_ITERATIONS = 1_000_000;

export class ScramClient {
  readonly #user: string;
  readonly #secret: string;
  readonly #nonce: string;
  readonly #binding: ChannelBinding;
  #expectedSignature: Buffer | null = null;

  constructor(options: { user: string; secret: string; nonce: string; binding: ChannelBinding }) {
    this.#user = options.user;
    this.#secret = options.secret;
    this.#nonce = options.nonce;
    this.#binding = options.binding;
  }

  first(): string {
    return `${gs2Header(this.#binding)}${this.#bare()}`;
  }

  /** Throws LINK_REFUSED when the server's message is not an answer to ours. */
  async final(serverFirst: string): Promise<string> {
    const { r: nonce, s: salt, i: count } = attributes(serverFirst, ['r', 's', 'i']);
    const iterations = /^[1-9]\d{0,8}$/.test(count) ? Number(count) : 0;
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length) throw refuse('wrong-nonce');
    // Fewer would let someone in the middle make the secret cheap to guess; far more would keep this process busy.
    if (iterations < ITERATIONS || iterations > MAX_ITERATIONS) throw refuse('malformed-proof');
    const salted = await derive(this.#secret, Buffer.from(salt, 'base64'), iterations, 32, 'sha256');
    const withoutProof = `c=${channelInput(this.#binding)},r=${nonce}`;
    const authMessage = `${this.#bare()},${serverFirst},${withoutProof}`;
    const clientKey = hmac(salted, 'Client Key');
    const proof = xor(clientKey, hmac(hash(clientKey), authMessage));
    this.#expectedSignature = hmac(hmac(salted, 'Server Key'), authMessage);
    return `${withoutProof},p=${proof.toString('base64')}`;
  }

  /** Throws LINK_REFUSED unless the server knows the secret too. */
  verify(serverFinal: string): void {
    const signature = Buffer.from(attributes(serverFinal, ['v']).v, 'base64');
    if (this.#expectedSignature === null || !equal(signature, this.#expectedSignature)) throw refuse('server-not-proved');
  }

  #bare(): string {
    return `n=${this.#user},r=${this.#nonce}`;
  }
}

const channelInput = (binding: ChannelBinding): string =>
  Buffer.concat([Buffer.from(gs2Header(binding)), binding ?? Buffer.alloc(0)]).toString('base64');

export class ScramServer {
  readonly #nonce: string;
  readonly #binding: ChannelBinding;
  #clientBare = '';
  #serverFirst = '';
  #fullNonce = '';
  #verifier: Verifier | null = null;

  constructor(options: { nonce: string; binding: ChannelBinding }) {
    this.#nonce = options.nonce;
    this.#binding = options.binding;
  }

  /** The name that the client gives. Throws LINK_REFUSED, also when the client would do without the binding. */
  user(clientFirst: string): string {
    const header = gs2Header(this.#binding);
    if (!clientFirst.startsWith(header)) throw refuse('binding-required');
    this.#clientBare = clientFirst.slice(header.length);
    const { n: user, r: nonce } = attributes(this.#clientBare, ['n', 'r']);
    if (!USER.test(user) || !NONCE.test(nonce)) throw refuse('malformed-proof');
    this.#fullNonce = nonce + this.#nonce;
    return user;
  }

  first(verifier: Verifier): string {
    this.#verifier = verifier;
    this.#serverFirst = `r=${this.#fullNonce},s=${verifier.salt},i=${verifier.iterations}`;
    return this.#serverFirst;
  }

  /** Throws LINK_REFUSED unless the client knows the secret and means this connection. */
  final(clientFinal: string): string {
    const verifier = this.#verifier;
    if (verifier === null) throw refuse('malformed-proof');
    const { c: channel, r: nonce, p } = attributes(clientFinal, ['c', 'r', 'p']);
    const proof = Buffer.from(p, 'base64');
    const withoutProof = `c=${channel},r=${nonce}`;
    if (nonce !== this.#fullNonce) throw refuse('wrong-nonce');
    const authMessage = `${this.#clientBare},${this.#serverFirst},${withoutProof}`;
    const storedKey = Buffer.from(verifier.storedKey, 'base64');
    const clientKey = xor(proof, hmac(storedKey, authMessage));
    const proved = proof.length === 32 && equal(hash(clientKey), storedKey);
    // Someone in the middle has another connection to each side, and so another binding.
    const bound = equal(Buffer.from(channel), Buffer.from(channelInput(this.#binding)));
    if (!proved) throw refuse('wrong-secret');
    if (!bound) throw refuse('wrong-binding');
    return `v=${hmac(Buffer.from(verifier.serverKey, 'base64'), authMessage).toString('base64')}`;
  }
}
