const REDACTED = '[redacted]';

/** Names of fields whose values nobody else may read. The id of a key is hidden with it: better too much than too little. */
const SECRET_NAME = /pass|pwd|secret|token|key|\bpin\b|credential|auth|community|enrol/i;

/** What secrets look like inside a text. The first group, if there is one, stays. */
const SECRET_TEXTS: readonly RegExp[] = [
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[^]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
  /(holdfast-enrol:)\S+/g,
  // Before the names: `Authorization: Bearer x` has its value after the second word.
  /\b((?:Bearer|Basic|Digest)\s+)[^\s"',]+/gi,
  /([a-z][a-z0-9+.-]*:\/\/)[^\s/@]+@/gi,
  /([\w-]*(?:pass|pwd|secret|token|api[-_]?key|hub[-_]?key|community|credential)[\w-]*["']?\s*[:=]\s*["']?)[^\s"',;&]+/gi,
  /(\b[\w-]+\.)[0-9a-f]{32,}\b/gi,
  /\b[0-9a-f]{64}\b/gi,
];

/** Shorter ones would tear words apart, and guard nothing. */
const SHORTEST = 4;
/** So many digits and more are hidden wherever they stand, as words are. */
const LONG_NUMBER = 6;

/** A PIN stands alone, or it is a part of a time, a version, an id: these are left whole. */
const alone = (digits: string): RegExp => new RegExp(`(?<!\\w|\\d\\.)${digits}(?!\\w|\\.\\d)`, 'g');

const patternOf = (secret: string): string | RegExp => (/^\d+$/.test(secret) && secret.length < LONG_NUMBER ? alone(secret) : secret);

/** Takes secrets out of texts and values. `known`: secrets that would not be recognised by their looks. */
export class Redactor {
  readonly #known: readonly (string | RegExp)[];

  constructor(known: Iterable<string>) {
    const long = [...new Set(known)].filter((secret) => secret.length >= SHORTEST);
    this.#known = long.toSorted((a, b) => b.length - a.length).map(patternOf);
  }

  text(text: string): string {
    const without = this.#known.reduce((rest: string, secret) => rest.replaceAll(secret, REDACTED), text);
    const hide = (...match: unknown[]): string => `${typeof match[1] === 'string' ? match[1] : ''}${REDACTED}`;
    return SECRET_TEXTS.reduce((rest, pattern) => rest.replaceAll(pattern, hide), without);
  }

  /** A line of a log: its fields are judged by their names when it is JSON. */
  line(line: string): unknown {
    try {
      return this.value(JSON.parse(line));
    } catch {
      return this.text(line);
    }
  }

  value(value: unknown, name = ''): unknown {
    if (SECRET_NAME.test(name) && value !== null && typeof value !== 'boolean') return REDACTED;
    if (typeof value === 'string') return this.text(value);
    if (typeof value === 'number') return this.text(String(value)) === String(value) ? value : REDACTED;
    if (Array.isArray(value)) return value.map((item) => this.value(item));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [this.text(key), this.value(inner, key)]));
  }
}

/** Texts and numbers under names of secrets, however deep: what to look for elsewhere. */
export function secretsIn(value: unknown, name = ''): string[] {
  if (typeof value === 'string' || typeof value === 'number') return SECRET_NAME.test(name) ? [String(value)] : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => secretsIn(inner, SECRET_NAME.test(name) ? name : key));
}
