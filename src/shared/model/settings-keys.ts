import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import { assert } from '../foundation/assert.ts';
import type { Json, JsonObject } from '../foundation/json.ts';
import { limits } from './limits.ts';
import { sealedTexts, type SecretPlace } from './secrets.ts';

/** Keys that seal values of settings, and how. A key is written as a line: its id, a dot, 32 bytes in hex. */

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
export const SEAL_NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Sealed texts are filled up to a multiple of this, so that they do not tell how long a password is. */
const BLOCK_BYTES = 32;

interface SettingsKey {
  /** From the key itself: a mistyped key does not pass for another one. */
  id: string;
  bytes: Buffer;
}

export type Opened = { ok: true; value: Json } | { ok: false; problem: string };

const idOf = (bytes: Buffer): string => createHash('sha256').update('holdfast settings key ').update(bytes).digest('hex').slice(0, 8);

/** The line of a new key. `hex`: 32 random bytes. */
export function settingsKeyLine(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  assert(bytes.length === KEY_BYTES, 'a settings key has 32 bytes');
  return `${idOf(bytes)}.${hex}`;
}

/** Id of the key with which a text was sealed. */
export const keyIdOf = (sealed: string): string => sealed.split('.', 1)[0] ?? '';

/** How many values in settings are sealed with which key. */
export function sealedWith(settings: JsonObject): Map<string, number> {
  const counts = new Map<string, number>();
  for (const key of sealedTexts(settings).map(keyIdOf)) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}

/** The keys of a server: the first seals, each opens what it sealed. Its problems and answers never repeat a key or a value. */
export class KeyRing {
  readonly #keys: readonly SettingsKey[];

  private constructor(keys: readonly SettingsKey[]) {
    this.#keys = keys;
  }

  static readonly none = new KeyRing([]);

  /** A key a line, or separated by commas; lines may be empty or begin with `#`. What is wrong, if it is no such text. */
  static parse(text: string): KeyRing | { problem: string } {
    const keys: SettingsKey[] = [];
    const lines = text.split(/[\n,]/).map((line) => line.trim());
    for (const [index, line] of lines.entries()) {
      if (line === '' || line.startsWith('#')) continue;
      const [, id, hex = ''] = /^([0-9a-f]{8})\.([0-9a-f]{64})$/.exec(line) ?? [];
      const bytes = Buffer.from(hex, 'hex');
      if (id === undefined) return { problem: `has no key in line ${index + 1}; copy the whole line that \`holdfast settings new-key\` printed` };
      if (idOf(bytes) !== id) return { problem: `has a key in line ${index + 1} that was changed since it was made: it is not ${id}` };
      if (keys.some((key) => key.id === id)) return { problem: `has the key ${id} twice` };
      keys.push({ id, bytes });
    }
    if (keys.length === 0) return { problem: 'has no key; make one with `holdfast settings new-key`' };
    if (keys.length > limits.settingsKeys) return { problem: `has more than ${limits.settingsKeys} keys` };
    return new KeyRing(keys);
  }

  /** The first is the one that seals. */
  get ids(): string[] {
    return this.#keys.map(({ id }) => id);
  }

  /** Seals under the first key, for this place only. `nonce`: 12 random bytes in hex, never the same twice. */
  seal(value: Json, place: SecretPlace, nonce: string): string {
    const [key] = this.#keys;
    assert(key !== undefined, 'without a key nothing is sealed');
    const iv = Buffer.from(nonce, 'hex');
    assert(iv.length === SEAL_NONCE_BYTES, 'a nonce has 12 bytes');
    const cipher = createCipheriv(CIPHER, key.bytes, iv).setAAD(boundTo(place));
    const plain = Buffer.from(JSON.stringify(value));
    // Space after JSON is part of JSON.
    const filled = Buffer.alloc(Math.ceil(plain.length / BLOCK_BYTES) * BLOCK_BYTES, ' ');
    plain.copy(filled);
    const body = Buffer.concat([iv, cipher.update(filled), cipher.final(), cipher.getAuthTag()]);
    return `${key.id}.${body.toString('base64url')}`;
  }

  open(sealed: string, place: SecretPlace): Opened {
    const [, id, body = ''] = /^([0-9a-f]{8})\.([\w-]+)$/.exec(sealed) ?? [];
    if (id === undefined) return { ok: false, problem: 'is not sealed text, or not all of it' };
    const key = this.#keys.find((known) => known.id === id);
    if (key === undefined) {
      const missing = `is sealed with the settings key ${id}, which this server does not have`;
      return { ok: false, problem: `${missing}: put its line into HOLDFAST_SETTINGS_KEYS_FILE` };
    }
    const bytes = Buffer.from(body, 'base64url');
    const tagAt = bytes.length - TAG_BYTES;
    try {
      const decipher = createDecipheriv(CIPHER, key.bytes, bytes.subarray(0, SEAL_NONCE_BYTES), { authTagLength: TAG_BYTES });
      decipher.setAAD(boundTo(place)).setAuthTag(bytes.subarray(tagAt));
      const plain = Buffer.concat([decipher.update(bytes.subarray(SEAL_NONCE_BYTES, tagAt)), decipher.final()]);
      // What this very function sealed; a Json it was.
      return { ok: true, value: JSON.parse(plain.toString()) as Json };
    } catch {
      return { ok: false, problem: 'was sealed for another document or field, or was changed since: sealed text stays where it was made' };
    }
  }
}

const boundTo = (place: SecretPlace): Buffer => Buffer.from(JSON.stringify(place));
