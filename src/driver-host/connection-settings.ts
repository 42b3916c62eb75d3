import { z } from 'zod';
import type { JsonObject } from '../shared/foundation/json.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';

const schema = z.strictObject({
  /** TLS, HTTPS: false accepts any certificate, and with it anybody who answers at that address. */
  verifyCertificate: z.boolean().default(true),
  /** TLS, HTTPS: the name asked for (SNI) and looked for in the certificate; the address of the module unless told. */
  serverName: z.string().min(1).max(255).nullable().default(null),
  /** TLS, HTTPS: PEM of the only CA that is trusted, or of the device's own certificate. */
  ca: z
    .string()
    .max(100_000)
    .regex(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----/, 'must be a certificate as PEM, which begins with -----BEGIN CERTIFICATE-----')
    .nullable()
    .default(null),
  /** Make-and-break: closes after so long without a command. */
  idleMs: z.int().min(0).max(600_000).default(limits.makeBreakIdleMs),
  /** HTTP: value of the `Authorization` header of every request, such as `Bearer …`. */
  authorization: z
    .string()
    .max(8_000)
    .regex(/^[\x20-\x7e]+$/, 'must be printable ASCII')
    .nullable()
    .default(null),
});

export type ConnectionSettings = z.output<typeof schema>;

/**
 * The setting `connection` belongs to the runtime, all others to the driver. Throws INPUT_INVALID.
 */
export function splitSettings(settings: JsonObject): { connection: ConnectionSettings; own: JsonObject } {
  const { connection = {}, ...own } = settings;
  const parsed = schema.safeParse(connection);
  if (parsed.success) return { connection: parsed.data, own };
  const issue = parsed.error.issues[0];
  const field = ['settings', 'connection', ...(issue?.path ?? [])].map(String).join('.');
  throw new HoldfastError('INPUT_INVALID', { field, problem: issue?.message ?? 'does not fit' });
}
