import { z } from 'zod';
import { parseAddress } from '../model/config.ts';
import { HoldfastError } from '../model/errors.ts';
import { idSchema } from '../model/ids.ts';

const PREFIX = 'holdfast-enrol:';

/** Ids of secrets: not secret, drawn by whoever makes one. */
export const secretIdSchema = z.string().regex(/^[0-9a-f]{8}$/);

const enrolmentSchema = z.strictObject({
  v: z.literal(1),
  /** `host:port` of the masters. */
  addresses: z.array(z.string().max(300).refine((text) => parseAddress(text) !== null, 'must be host:port')).min(1).max(100),
  /** Hex SHA-256 of the CA's certificate. */
  ca: z.string().regex(/^[0-9a-f]{64}$/),
  edge: idSchema,
  /** Good for one enrolment; null: the secret was set by hand, and is not in here. */
  token: z.string().regex(/^[0-9a-f]{64}$/).nullable(),
  /** Which secret was set by hand; null: there is a token. */
  secretId: secretIdSchema.nullable().default(null),
}).refine(({ token, secretId }) => (token === null) !== (secretId === null), { path: ['token'] });
/** What an edge needs to meet its master for the first time. */
export type Enrolment = z.output<typeof enrolmentSchema>;

export const formatEnrolment = (enrolment: Enrolment): string => PREFIX + Buffer.from(JSON.stringify(enrolment)).toString('base64url');

/** Throws CONFIG_INVALID; the text is a secret and is never repeated. */
export function parseEnrolment(text: string): Enrolment {
  const bad = (problem: string): HoldfastError => new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_ENROL', problem });
  if (!text.startsWith(PREFIX)) throw bad(`does not begin with ${PREFIX}`);
  let decoded: unknown;
  try {
    decoded = JSON.parse(Buffer.from(text.slice(PREFIX.length), 'base64url').toString('utf8'));
  } catch {
    throw bad('is cut off or was changed; copy the whole line that `holdfast edge add` printed');
  }
  const parsed = enrolmentSchema.safeParse(decoded);
  if (!parsed.success) throw bad(`has a wrong ${parsed.error.issues[0]?.path.join('.') ?? 'form'}; copy the whole line that \`holdfast edge add\` printed`);
  return parsed.data;
}

/** What an operator may set as a secret: printable ASCII, which SCRAM needs no preparation for, and long enough not to be guessed. */
export function checkOperatorSecret(secret: string): void {
  if (/^[\x21-\x7e]{16,200}$/.test(secret)) return;
  throw new HoldfastError('INPUT_INVALID', { field: 'secret', problem: 'must be 16 to 200 printable ASCII characters without spaces' });
}

/** Names in the proof: an edge with one of its secrets, or with its one-time token. */
export const linkUser = (edge: string, secretId: string): string => `link:${edge}:${secretId}`;
export const enrolUser = (edge: string): string => `enrol:${edge}`;

export type ProofUser = { kind: 'link'; edge: string; secretId: string } | { kind: 'enrol'; edge: string };

export function parseUser(user: string): ProofUser | null {
  const [kind, edge, secretId, ...rest] = user.split(':');
  if (edge === undefined || rest.length > 0 || !idSchema.safeParse(edge).success) return null;
  if (kind === 'enrol' && secretId === undefined) return { kind, edge };
  if (kind === 'link' && secretIdSchema.safeParse(secretId).success && secretId !== undefined) return { kind, edge, secretId };
  return null;
}
