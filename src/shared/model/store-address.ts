import { z } from 'zod';

/** Beside what other programs may read. */
export const privateScope = (scope: string): string => `${scope}-private`;

/** What servers read and write, and all that is replicated to a copy. */
export const scopesOf = (scope: string): readonly { scope: string; collections: readonly string[] }[] => [
  { scope, collections: ['documents', 'indexes'] },
  { scope: privateScope(scope), collections: ['log'] },
];

const durabilities = ['persist', 'majority', 'none'] as const;

/** Where the shared documents are. No secret is in it. */
export interface StoreAddress {
  /** As the SDK takes them: names or addresses with optional ports, separated by commas. */
  hosts: string;
  tls: boolean;
  user: string;
  bucket: string;
  scope: string;
  /** What a write waits for: the disk, or the memory, of most data nodes; or nothing. */
  durability: (typeof durabilities)[number];
}

const host = String.raw`(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?`;
const name = String.raw`[A-Za-z0-9_-]{1,100}`;
const pattern = new RegExp(String.raw`^(couchbases?)://([A-Za-z0-9_.-]{1,128})@(${host}(?:,${host})*)/(${name})(?:/(${name}))?(?:\?durability=(\w+))?$`);

const example = 'write such as couchbases://holdfast@db.example.org/holdfast';

/** `couchbase://user@host,host/bucket/scope?durability=…`. TLS with `couchbases`. The message never repeats the value: it may hold a password. */
export const storeAddressSchema = z.string().transform((text, context): StoreAddress => {
  const refuse = (problem: string): never => {
    context.addIssue({ code: 'custom', message: `${problem}; ${example}` });
    return z.NEVER;
  };
  if (/^couchbases?:\/\/[^@/]*:[^@/]*@/.test(text)) return refuse('has a password in it: give it with HOLDFAST_STORE_PASSWORD_FILE');
  const [, scheme, user = '', hosts = '', bucket = '', scope = 'holdfast', durability = 'persist'] = pattern.exec(text) ?? [];
  if (scheme === undefined) return refuse('is not the address of a store');
  const level = durabilities.find((candidate) => candidate === durability);
  if (level === undefined) return refuse(`has a durability other than ${durabilities.join(', ')}`);
  return { hosts, tls: scheme === 'couchbases', user, bucket, scope, durability: level };
});

export const describeAddress = ({ hosts, tls, user, bucket, scope, durability }: StoreAddress): string =>
  `${tls ? 'couchbases' : 'couchbase'}://${user}@${hosts}/${bucket}/${scope}${durability === 'persist' ? '' : `?durability=${durability}`}`;
