import { z } from 'zod';
import { HoldfastError } from '../model/errors.ts';

/** How an edge gets the certificate of its client API: it keeps its key, the master signs. docs/link.md. */

export const MAX_CERTIFICATE_HOSTS = 20;

/** Of names and addresses that mean the same, one: lower case, no final dot, IPv6 as short as it goes. Whatever else stays as it is. */
export function canonicalHost(host: string): string {
  if (z.ipv6().safeParse(host).success) return new URL(`http://[${host}]`).hostname.slice(1, -1);
  return host.toLowerCase().replace(/\.$/, '');
}

const label = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
const namePattern = new RegExp(`^(?=.{1,253}$)${label}(?:\\.${label})*$`);

/** No wildcards: one would cover the names of others. No IPv4 in the clothes of IPv6: it would be a second spelling of the same address. */
export const isHost = (host: string): boolean => {
  if (host.includes(':')) return z.ipv6().safeParse(host).success && !host.startsWith('::ffff:');
  return /^[\d.]+$/.test(host) ? z.ipv4().safeParse(host).success : namePattern.test(host);
};

/** Every machine has these, so they are nobody's own. */
export const isLoopbackHost = (host: string): boolean => host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);

/** Another machine at each site, or the machine itself: nobody can own these, and several edges may have them. */
export const isSiteLocalHost = (host: string): boolean =>
  isLoopbackHost(host) ||
  /^(?:10|169\.254|192\.168|172\.(?:1[6-9]|2\d|3[01])|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\.[\d.]+$/.test(host) ||
  /^(?:f[cd][0-9a-f]{2}|fe[89ab][0-9a-f]):/.test(host);

const requestSchema = z.strictObject({
  /** SPKI, PEM. */
  publicKey: z.string().max(1_000),
  hosts: z
    .array(z.string().max(300).transform(canonicalHost).refine(isHost, 'is no host name and no address'))
    .min(1)
    .max(MAX_CERTIFICATE_HOSTS),
});
export type CertificateRequest = z.output<typeof requestSchema>;

/** PEM: the certificate of the edge followed by that of the CA. */
const answerSchema = z.strictObject({ chain: z.string().max(20_000) });

/** Throws INPUT_INVALID. */
export const parseCertificateRequest = (body: unknown): CertificateRequest => parse(requestSchema, body);
/** Throws INPUT_INVALID. */
export const parseCertificateAnswer = (body: unknown): string => parse(answerSchema, body).chain;

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new HoldfastError('INPUT_INVALID', { field: ['certificate', ...(issue?.path ?? [])].join('.'), problem: issue?.message ?? 'invalid' });
}
