import { z } from 'zod';
import { closest } from '../foundation/closest.ts';
import type { JsonObject } from '../foundation/json.ts';
import { HoldfastError } from './errors.ts';
import { parseRepositoryUrl, type Repository, REPOSITORY_PATH, REVISION } from './repository.ts';
import { KeyRing } from './settings-keys.ts';
import { describeAddress, type StoreAddress, storeAddressSchema } from './store-address.ts';

export const roles = ['master', 'edge'] as const;
export type Role = (typeof roles)[number];
export const replications = ['feed', 'xdcr'] as const;
const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface Address {
  /** Name or IP address; IPv6 without brackets. */
  host: string;
  port: number;
}

interface CommonConfig {
  /** Directory of the stores and journals of this node. */
  data: string;
  /** Where the client API listens. Port 0: any free port. */
  http: Address;
  /** Where clients reach it from elsewhere; null: where it listens. */
  origin: string | null;
  log: LogLevel;
  driverHosts: number;
  /** Folder of drivers, besides those that come with Holdfast; null: none. */
  drivers: string | null;
  /** The repository that they come from instead; null: none. */
  repository: Repository | null;
  /** Whose pages may use the client API from a browser, besides those of the server itself. */
  origins: readonly string[];
  /** Keys of sealed settings: a file of them, or themselves; null: not so. */
  settingsKeysFile: string | null;
  settingsKeys: KeyRing | null;
  /** The database that this server shares its documents by; null: a file in its data directory. */
  store: StoreConfig | null;
  /** Where device writes are written down; null: nowhere but in the bounded journal in memory. */
  writeLog: string | null;
}

export interface StoreConfig {
  address: StoreAddress;
  /** One of both. */
  passwordFile: string | null;
  password: string | null;
  caFile: string | null;
}

export interface MasterConfig extends CommonConfig {
  role: 'master';
  /** Where edges are listened for. Port 0: any free port. */
  link: Address;
  /** What enrolment strings tell edges to dial; port 0 stands for the port that the link listener got. */
  advertise: Address;
}

export interface EdgeConfig extends CommonConfig {
  role: 'edge';
  /** How the documents come here: over the link, or with the database of this site, which replication fills. */
  replication: (typeof replications)[number];
  /** A secret; null once the edge is enrolled. */
  enrol: string | null;
  /** File with the secret that an operator has set; null: the edge makes its own. */
  secretFile: string | null;
  /** `host:port` of the masters to dial instead of those in the enrolment; null: those. */
  masters: readonly string[] | null;
}

export type Config = Readonly<MasterConfig> | Readonly<EdgeConfig>;

/** Facts of the machine that defaults come from. */
export interface Machine {
  cores: number;
  hostname: string;
}

const MAX_DRIVER_HOSTS = 64;

interface ConfigRow {
  roles: readonly Role[];
  /** In words, as docs/operations.md has it. */
  default: string;
  description: string;
  secret?: true;
}

/** Every variable, once: docs/operations.md lists the same rows and a test compares them both ways. */
export const configTable = {
  HOLDFAST_ROLE: { roles, default: 'required', description: '`master` or `edge`' },
  HOLDFAST_DATA: { roles, default: 'required', description: 'Directory of the stores and journals; one process at a time may use it' },
  HOLDFAST_HTTP: {
    roles,
    default: '127.0.0.1:8080 (master), 127.0.0.1:8081 (edge)',
    description: 'host:port of the client API; port 0 takes any free port',
  },
  HOLDFAST_ORIGIN: {
    roles,
    default: 'where HOLDFAST_HTTP listens, with the name of the machine in place of 0.0.0.0 or [::]',
    description: 'Origin at which clients reach this server, such as https://edge.example.org:8443; clients are sent there when control moves',
  },
  HOLDFAST_LOG: { roles, default: 'info', description: '`debug`, `info`, `warn` or `error`' },
  HOLDFAST_DRIVER_HOSTS: { roles, default: 'one per core', description: `Processes that run drivers, 1 to ${MAX_DRIVER_HOSTS}` },
  HOLDFAST_DRIVERS: { roles, default: 'none', description: 'Directory of your own drivers, one per file or folder: docs/writing-drivers.md' },
  HOLDFAST_DRIVERS_REPOSITORY: {
    roles,
    default: 'none',
    description: 'Git repository of your own drivers, instead of a directory: https or ssh address, or a path; user and token may stand before the host',
    secret: true,
  },
  HOLDFAST_DRIVERS_BRANCH: { roles, default: 'the default branch of the repository', description: 'Branch that `holdfast driver pull` follows' },
  HOLDFAST_DRIVERS_PATH: { roles, default: 'its root', description: 'Folder of the drivers in the repository' },
  HOLDFAST_ORIGINS: {
    roles,
    default: 'none',
    description: 'Origins of pages that may use the client API from a browser, separated by commas, such as `https://panels.example.org`',
  },
  HOLDFAST_WRITE_LOG: {
    roles,
    default: 'none',
    description: 'File to which every device write is appended with its time, epoch and node: evidence for audits and tests',
  },
  HOLDFAST_SETTINGS_KEYS_FILE: {
    roles,
    default: 'none',
    description: 'File with the keys of sealed settings, one a line (`holdfast settings new-key`); the first seals, all open; read anew when it changes',
  },
  HOLDFAST_SETTINGS_KEYS: {
    roles,
    default: 'none',
    description: 'The keys themselves, separated by commas, instead of a file',
    secret: true,
  },
  HOLDFAST_STORE: {
    roles,
    default: 'files in HOLDFAST_DATA',
    description: 'Database of the documents, such as `couchbases://holdfast@db.example.org/holdfast`: docs/couchbase.md',
  },
  HOLDFAST_STORE_PASSWORD_FILE: { roles, default: 'none', description: 'File with the password of the user in HOLDFAST_STORE' },
  HOLDFAST_STORE_PASSWORD: { roles, default: 'none', description: 'The password itself, instead of a file', secret: true },
  HOLDFAST_STORE_CA: {
    roles,
    default: 'the authorities that the machine trusts',
    description: 'PEM file of the authority that has signed the certificates of the database',
  },
  HOLDFAST_LINK: { roles: ['master'], default: '0.0.0.0:7443', description: 'host:port on which edges are listened for' },
  HOLDFAST_ADVERTISE: {
    roles: ['master'],
    default: 'HOLDFAST_LINK, with the name of the machine in place of 0.0.0.0 or [::]',
    description: 'host:port that edges are to dial; it is put into enrolment strings',
  },
  HOLDFAST_REPLICATION: {
    roles: ['edge'],
    default: 'feed',
    description: '`feed`: the documents come over the link; `xdcr`: HOLDFAST_STORE is a copy that the database of the master fills: docs/couchbase.md',
  },
  HOLDFAST_ENROL: {
    roles: ['edge'],
    default: 'none',
    description: 'Enrolment string of `holdfast edge add`; needed at the first start only',
    secret: true,
  },
  HOLDFAST_SECRET_FILE: {
    roles: ['edge'],
    default: 'none',
    description: 'File with the secret that was set by hand with `holdfast edge add --secret-file`; needed at the first start only',
  },
  HOLDFAST_MASTERS: {
    roles: ['edge'],
    default: 'the addresses of the enrolment',
    description: 'host:port of the masters, separated by commas, to dial instead of those of the enrolment',
  },
} as const satisfies Record<string, ConfigRow>;

/** Read by the command line, which may share its environment with a server: not the server's, but no mistake either. */
export const clientVariables: readonly string[] = ['HOLDFAST_SERVER', 'HOLDFAST_KEY', 'HOLDFAST_CA', 'HOLDFAST_XDCR_PASSWORD', 'HOLDFAST_XDCR_SITE_PASSWORD'];

export type ConfigVariable = keyof typeof configTable;

const variables = Object.keys(configTable) as ConfigVariable[];
const rowOf = (name: ConfigVariable): ConfigRow => configTable[name];

const oneOf = <const T extends string>(values: readonly T[]): z.ZodType<T> =>
  z.enum(values, {
    error: ({ input }) =>
      typeof input === 'string' ? `must be one of ${values.join(', ')}; not "${input}"` : missing(`one of ${values.join(', ')}`),
  });

const address = z.string().transform((text, context): Address => {
  const parsed = parseAddress(text);
  if (parsed !== null) return parsed;
  context.addIssue({ code: 'custom', message: `"${text}" is not host:port; write such as 127.0.0.1:8080, [::1]:8080 or master.example.org:7443` });
  return z.NEVER;
});

const dialled = address.refine(({ port }) => port !== 0, 'port 0 cannot be dialled; give the port that the master listens on');

const listOf = (text: string): string[] => text.split(',').map((item) => item.trim()).filter((item) => item !== '');

/** As browsers send it: no path, and no port that goes without saying. */
const origin = z.string().refine(
  (text) => URL.canParse(text) && new URL(text).origin === text,
  { error: ({ input }) => `"${String(input)}" is not an origin; write such as https://panels.example.org, without a path` },
);

const environmentSchema = z.strictObject({
  HOLDFAST_ROLE: oneOf(roles),
  HOLDFAST_DATA: z.string({ error: () => missing('the directory of the stores') }),
  HOLDFAST_HTTP: address.optional(),
  HOLDFAST_ORIGIN: z
    .string()
    .regex(/^https?:\/\/[A-Za-z0-9._:[\]-]+$/, 'is not an origin; write such as https://edge.example.org:8443, without a path')
    .max(300)
    .optional(),
  HOLDFAST_LOG: oneOf(logLevels).default('info'),
  HOLDFAST_DRIVER_HOSTS: z
    .string()
    .regex(/^\d{1,9}$/, 'is not a whole number; give 1 to 64')
    .transform(Number)
    .refine((count) => count >= 1 && count <= MAX_DRIVER_HOSTS, `must be 1 to ${MAX_DRIVER_HOSTS}`)
    .optional(),
  HOLDFAST_DRIVERS: z.string().optional(),
  // The message never repeats the value: it may have a secret.
  HOLDFAST_DRIVERS_REPOSITORY: z.string().transform((text, context) => {
    const parsed = parseRepositoryUrl(text);
    if (!('problem' in parsed)) return parsed;
    context.addIssue({ code: 'custom', message: parsed.problem });
    return z.NEVER;
  }).optional(),
  HOLDFAST_DRIVERS_BRANCH: z.string().regex(REVISION, 'is not the name of a branch').optional(),
  HOLDFAST_DRIVERS_PATH: z.string().max(300).regex(REPOSITORY_PATH, 'is not a folder of a repository; write such as site/drivers').optional(),
  HOLDFAST_ORIGINS: z
    .string()
    .transform((text) => listOf(text))
    .pipe(z.array(origin).max(100))
    .optional(),
  HOLDFAST_WRITE_LOG: z.string().optional(),
  HOLDFAST_SETTINGS_KEYS_FILE: z.string().optional(),
  // The message never repeats the value: it is a secret.
  HOLDFAST_SETTINGS_KEYS: z.string().transform((text, context) => {
    const ring = KeyRing.parse(text);
    if (ring instanceof KeyRing) return ring;
    context.addIssue({ code: 'custom', message: `${ring.problem}; a file of keys is named by HOLDFAST_SETTINGS_KEYS_FILE` });
    return z.NEVER;
  }).optional(),
  HOLDFAST_STORE: storeAddressSchema.optional(),
  HOLDFAST_STORE_PASSWORD_FILE: z.string().optional(),
  HOLDFAST_STORE_PASSWORD: z.string().optional(),
  HOLDFAST_STORE_CA: z.string().optional(),
  HOLDFAST_REPLICATION: oneOf(replications).optional(),
  HOLDFAST_LINK: address.optional(),
  HOLDFAST_ADVERTISE: dialled.optional(),
  // The message never repeats the value: it is a secret.
  HOLDFAST_ENROL: z.string().regex(/^holdfast-enrol:\S+$/, 'is not an enrolment string; copy the whole line that `holdfast edge add` printed').optional(),
  HOLDFAST_SECRET_FILE: z.string().optional(),
  HOLDFAST_MASTERS: z
    .string()
    .transform((text) => listOf(text))
    .pipe(z.array(dialled).min(1, 'names no address').max(100))
    .optional(),
});
type Environment = z.output<typeof environmentSchema>;

interface ConfigProblem {
  variable: string;
  problem: string;
}

/** The frozen configuration. Throws CONFIG_INVALID that lists every problem there is. An empty variable counts as not set. */
export function parseConfig(env: Readonly<Record<string, string | undefined>>, machine: Machine): Config {
  const given: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    const ours = name.startsWith('HOLDFAST_') && !clientVariables.includes(name);
    if (ours && value !== undefined && value.trim() !== '') given[name] = value.trim();
  }
  const parsed = environmentSchema.safeParse(given);
  const problems = [...(parsed.error?.issues ?? []).flatMap(problemsOf), ...misplaced(given), ...conflicting(given)];
  if (!parsed.success || problems.length > 0) throw configInvalid(problems);
  return Object.freeze(configOf(parsed.data, machine));
}

/** For the start-up log: everything but secrets. */
export function describeConfig(config: Config): JsonObject {
  const { role, data, origin, log, driverHosts, drivers, origins, writeLog } = config;
  const keys = { settings_keys_file: config.settingsKeysFile, settings_keys: config.settingsKeys?.ids ?? null };
  const served = { data, http: formatAddress(config.http), origin, origins: [...origins] };
  const { url = null, branch = null, path = null } = config.repository ?? {};
  const source = { drivers, drivers_repository: url, drivers_branch: branch, drivers_path: path };
  const common = { role, ...served, log, driver_hosts: driverHosts, ...source, ...keys, ...describeStore(config.store), write_log: writeLog };
  if (config.role === 'master') {
    return { ...common, link: formatAddress(config.link), advertise: formatAddress(config.advertise) };
  }
  const masters = config.masters === null ? null : [...config.masters];
  return { ...common, replication: config.replication, enrol: config.enrol === null ? null : '[redacted]', secret_file: config.secretFile, masters };
}

const describeStore = (store: StoreConfig | null): JsonObject => ({
  store: store === null ? null : describeAddress(store.address),
  store_password_file: store?.passwordFile ?? null,
  store_password: store === null || store.password === null ? null : '[redacted]',
  store_ca: store?.caFile ?? null,
});

/** `host:port`; an IPv6 address stands in brackets. null when it is something else. */
export function parseAddress(text: string): Address | null {
  const [, ipv6, name, digits] = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})?)):(\d{1,5})$/.exec(text) ?? [];
  const host = ipv6 ?? name;
  const port = Number(digits);
  if (host === undefined || port > 65_535) return null;
  if (ipv6 !== undefined && !z.ipv6().safeParse(ipv6).success) return null;
  if (/^[\d.]+$/.test(host) && !z.ipv4().safeParse(host).success) return null;
  return { host, port };
}

export const formatAddress = ({ host, port }: Address): string => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);

function configOf(env: Environment, machine: Machine): Config {
  const common = {
    data: env.HOLDFAST_DATA,
    log: env.HOLDFAST_LOG,
    drivers: env.HOLDFAST_DRIVERS ?? null,
    repository: repositoryOf(env),
    origins: Object.freeze(env.HOLDFAST_ORIGINS ?? []),
    origin: env.HOLDFAST_ORIGIN ?? null,
    settingsKeysFile: env.HOLDFAST_SETTINGS_KEYS_FILE ?? null,
    settingsKeys: env.HOLDFAST_SETTINGS_KEYS ?? null,
    store: storeOf(env),
    writeLog: env.HOLDFAST_WRITE_LOG ?? null,
    driverHosts: env.HOLDFAST_DRIVER_HOSTS ?? Math.min(Math.max(1, machine.cores), MAX_DRIVER_HOSTS),
  };
  if (env.HOLDFAST_ROLE === 'edge') {
    const masters = env.HOLDFAST_MASTERS?.map(formatAddress);
    return {
      role: 'edge',
      ...common,
      http: Object.freeze(env.HOLDFAST_HTTP ?? { host: '127.0.0.1', port: 8081 }),
      replication: env.HOLDFAST_REPLICATION ?? 'feed',
      enrol: env.HOLDFAST_ENROL ?? null,
      secretFile: env.HOLDFAST_SECRET_FILE ?? null,
      masters: masters === undefined ? null : Object.freeze(masters),
    };
  }
  const link = env.HOLDFAST_LINK ?? { host: '0.0.0.0', port: 7443 };
  return {
    role: 'master',
    ...common,
    http: Object.freeze(env.HOLDFAST_HTTP ?? { host: '127.0.0.1', port: 8080 }),
    link: Object.freeze(link),
    advertise: Object.freeze(env.HOLDFAST_ADVERTISE ?? { host: isWildcard(link.host) ? machine.hostname : link.host, port: link.port }),
  };
}

const storeOf = (env: Environment): StoreConfig | null =>
  env.HOLDFAST_STORE === undefined
    ? null
    : {
        address: env.HOLDFAST_STORE,
        passwordFile: env.HOLDFAST_STORE_PASSWORD_FILE ?? null,
        password: env.HOLDFAST_STORE_PASSWORD ?? null,
        caFile: env.HOLDFAST_STORE_CA ?? null,
      };

const repositoryOf = (env: Environment): Repository | null =>
  env.HOLDFAST_DRIVERS_REPOSITORY === undefined
    ? null
    : { ...env.HOLDFAST_DRIVERS_REPOSITORY, branch: env.HOLDFAST_DRIVERS_BRANCH ?? null, path: env.HOLDFAST_DRIVERS_PATH ?? '' };

/** "All addresses of this machine": nothing that another machine could dial. */
export const isWildcard = (host: string): boolean => host === '0.0.0.0' || /^[0:]+$/.test(host);

const missing = (what: string): string => `is not set; give ${what}`;

function problemsOf(issue: z.core.$ZodIssue): ConfigProblem[] {
  if (issue.code !== 'unrecognized_keys') return [{ variable: String(issue.path[0]), problem: issue.message }];
  return issue.keys.map((variable) => {
    const meant = closest(variable, variables);
    const advice = meant === null ? 'docs/operations.md lists those there are' : `did you mean ${meant}?`;
    return { variable, problem: `is unknown; ${advice}` };
  });
}

/** Variables that the role has no use for: somebody expects them to do something. */
function misplaced(given: Record<string, string>): ConfigProblem[] {
  const role = roles.find((candidate) => candidate === given.HOLDFAST_ROLE);
  if (role === undefined) return [];
  return variables
    .filter((variable) => given[variable] !== undefined && !rowOf(variable).roles.includes(role))
    .map((variable) => ({
      variable,
      problem: `is for the role ${rowOf(variable).roles.join(' or ')}, and this is the ${role}; remove it or change HOLDFAST_ROLE`,
    }));
}

/** Whoever set both believes that one of them counts. */
const pairs: readonly (readonly [ConfigVariable, ConfigVariable])[] = [
  ['HOLDFAST_SETTINGS_KEYS', 'HOLDFAST_SETTINGS_KEYS_FILE'],
  ['HOLDFAST_STORE_PASSWORD', 'HOLDFAST_STORE_PASSWORD_FILE'],
  ['HOLDFAST_DRIVERS_REPOSITORY', 'HOLDFAST_DRIVERS'],
];

/** What contradicts another variable, and what nothing reads. */
function conflicting(given: Record<string, string>): ConfigProblem[] {
  const has = (variable: ConfigVariable): boolean => given[variable] !== undefined;
  const problems: ConfigProblem[] = pairs
    .filter((pair) => pair.every(has))
    .map(([variable, other]) => ({ variable, problem: `is set beside ${other}; set one of them` }));
  if (has('HOLDFAST_STORE') && !has('HOLDFAST_STORE_PASSWORD') && !has('HOLDFAST_STORE_PASSWORD_FILE')) {
    problems.push({ variable: 'HOLDFAST_STORE_PASSWORD_FILE', problem: 'is not set; give the file with the password of the user in HOLDFAST_STORE' });
  }
  for (const variable of ['HOLDFAST_STORE_PASSWORD', 'HOLDFAST_STORE_PASSWORD_FILE', 'HOLDFAST_STORE_CA'] as const) {
    if (has(variable) && !has('HOLDFAST_STORE')) problems.push({ variable, problem: 'is for a database; set HOLDFAST_STORE too, or remove it' });
  }
  if (given.HOLDFAST_REPLICATION === 'xdcr' && !has('HOLDFAST_STORE')) {
    problems.push({ variable: 'HOLDFAST_REPLICATION', problem: 'is xdcr, which needs the database of this site in HOLDFAST_STORE' });
  }
  return problems;
}

function configInvalid(problems: ConfigProblem[]): HoldfastError {
  const [first] = problems;
  if (problems.length === 1 && first !== undefined) return new HoldfastError('CONFIG_INVALID', { ...first });
  return new HoldfastError('CONFIG_INVALID', {
    variable: [...new Set(problems.map(({ variable }) => variable))].join(', '),
    problem: `${problems.length} problems${problems.map(({ variable, problem }) => `\n  ${variable} ${problem}`).join('')}`,
  });
}
