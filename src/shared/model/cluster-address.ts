import { z } from 'zod';

/** Where a Couchbase cluster is administered, and which scope of it is meant. No secret is in it. */
export interface ClusterAddress {
  /** `https://host:port`. */
  origin: string;
  host: string;
  port: number;
  tls: boolean;
  user: string;
  bucket: string;
  scope: string;
}

const host = String.raw`[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]+\]`;
const name = String.raw`[A-Za-z0-9_-]{1,100}`;
const pattern = new RegExp(String.raw`^(https?)://([A-Za-z0-9_.-]{1,128})@(${host})(?::(\d{1,5}))?/(${name})(?:/(${name}))?$`);

const example = 'write such as https://admin@db.example.org:18091/holdfast';

/** `https://user@host:port/bucket/scope`. The message never repeats the value: it may hold a password. */
export const clusterAddressSchema = z.string().transform((text, context): ClusterAddress => {
  const refuse = (problem: string): never => {
    context.addIssue({ code: 'custom', message: `${problem}; ${example}` });
    return z.NEVER;
  };
  if (/^\w+:\/\/[^@/]*:[^@/]*@/.test(text)) return refuse('has a password in it, which others can read in the list of processes');
  const [, scheme, user = '', machine = '', digits, bucket = '', scope = 'holdfast'] = pattern.exec(text) ?? [];
  if (scheme === undefined) return refuse('is not the address of a cluster');
  const tls = scheme === 'https';
  const port = digits === undefined ? (tls ? 18_091 : 8_091) : Number(digits);
  if (port < 1 || port > 65_535) return refuse('has a port that does not exist');
  return { origin: `${scheme}://${machine}:${port}`, host: machine, port, tls, user, bucket, scope };
});

/** How the centre calls a site. */
export const referenceNameSchema = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, 'is not a name: letters, digits, dots, dashes, up to 64');
