import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';

/** The server's side of SCRAM (RFC 5802), which clients use over plain TCP. */

const digests = { 'SCRAM-SHA512': 'sha512', 'SCRAM-SHA256': 'sha256', 'SCRAM-SHA1': 'sha1' } as const;
export type Mechanism = keyof typeof digests;
export const isMechanism = (name: string): name is Mechanism => Object.hasOwn(digests, name);

const field = (message: string, name: string): string => message.split(',').find((part) => part.startsWith(`${name}=`))?.slice(2) ?? '';

export class ScramServer {
  readonly #digest: string;
  readonly #password: (user: string) => string | null;
  #user = '';
  #firstBare = '';
  #challenge = '';
  #salt: Buffer = randomBytes(16);

  constructor(mechanism: Mechanism, password: (user: string) => string | null) {
    this.#digest = digests[mechanism];
    this.#password = password;
  }

  /** The client's first message; answers with the challenge. */
  begin(message: string): string {
    this.#firstBare = message.slice(message.indexOf('n='));
    this.#user = field(this.#firstBare, 'n');
    this.#challenge = `r=${field(this.#firstBare, 'r')}${randomBytes(12).toString('hex')},s=${this.#salt.toString('base64')},i=4096`;
    return this.#challenge;
  }

  /** The client's proof; null: it is wrong, or there is no such user. */
  finish(message: string): string | null {
    const password = this.#password(this.#user);
    if (password === null) return null;
    const bytes = createHash(this.#digest).digest().length;
    const salted = pbkdf2Sync(password, this.#salt, 4_096, bytes, this.#digest);
    const hmac = (key: Buffer, text: string): Buffer => createHmac(this.#digest, key).update(text).digest();
    const clientKey = hmac(salted, 'Client Key');
    const withoutProof = message.slice(0, message.lastIndexOf(',p='));
    const signed = `${this.#firstBare},${this.#challenge},${withoutProof}`;
    const signature = hmac(createHash(this.#digest).update(clientKey).digest(), signed);
    const wanted = Buffer.from(clientKey.map((byte, i) => byte ^ (signature[i] ?? 0)));
    const given = Buffer.from(field(message, 'p'), 'base64');
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return null;
    return `v=${hmac(hmac(salted, 'Server Key'), signed).toString('base64')}`;
  }
}
