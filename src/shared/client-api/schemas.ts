import { z } from 'zod';
import { driverEditSchema } from '../model/driver-edit.ts';
import { edgeSchema } from '../model/documents.ts';
import { idSchema } from '../model/ids.ts';
import { limits } from '../model/limits.ts';
import { jsonValueSchema } from './parse.ts';

/**
 * What clients send and receive. Names are snake_case, times are unix seconds (fractions down to the millisecond),
 * durations are seconds. An epoch is the text `generation.number`; compare both parts as numbers.
 * Bodies are strict, but for documents and `olderExecBody`, which published clients fill with more, as they do with queries:
 * these are never strict. Answers may gain fields, so clients ignore those that they do not know.
 */

const holder = z.enum(['edge', 'master', 'none']);
const seconds = z.number();
const epoch = z.string().regex(/^\d+\.\d+$/);

export const roles = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof roles)[number];

// Requests

export const nothing = z.strictObject({}).prefault({});
export const byId = z.strictObject({ id: idSchema });

const moduleName = z.string().regex(/^[A-Za-z][A-Za-z0-9]{0,59}$/, 'must be the name of a module, such as Display');

/** `Display_1`; without an index the first one is meant. */
const moduleRefSchema = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9]{0,59}(_[1-9]\d{0,3})?$/, 'must be a module name with its index, such as Display_1')
  .transform((text): ModuleRef => {
    const [name = text, index = '1'] = text.split('_');
    return { name, index: Number(index) };
  });
export interface ModuleRef {
  name: string;
  index: number;
}

export const byRequestId = z.strictObject({ id: z.string().regex(/^[\w.-]{1,140}$/, 'must be the id of a request') });

// No control characters; `.` and `..` would be swallowed by URL normalisation.
const variable = z.string().regex(/^(?!\.{1,2}$)[^\p{Cc}]{1,200}$/u, 'must be the name of a status variable');
const method = z.string().regex(/^[A-Za-z_$][\w$]{0,99}$/, 'must be the name of a method');

export const ofModule = z.strictObject({ id: idSchema, module: moduleRefSchema });
export const ofMethod = z.strictObject({ id: idSchema, module: moduleRefSchema, method });
export const ofModuleId = z.strictObject({ id: idSchema, method });
export const ofKey = z.strictObject({ id: idSchema, key: variable });
export const ofVariable = z.strictObject({ id: idSchema, module: moduleRefSchema, key: variable });

const whole = (min: number, max: number): z.ZodCoercedNumber<number | string> => z.coerce.number<number | string>().int().min(min).max(max);

/** Filters of other servers are ignored, as published clients send them. */
export const listQuery = z.object({
  q: z.string().max(200).default(''),
  limit: whole(1, limits.listMax).default(limits.listDefault),
  offset: whole(0, Number.MAX_SAFE_INTEGER).default(0),
});
export const historyQuery = z.object({ limit: whole(1, limits.historyEntries).default(limits.listDefault) });
export const execQuery = z.object({ timeout_ms: whole(1, limits.requestMaxMs).default(limits.requestMs) });

export const execBody = z.array(jsonValueSchema).max(100).default([]);
export const orderBody = z.strictObject({ dry_run: z.boolean().default(false) }).prefault({});
/** For how many seconds the restore window opens; as long as a document may say. */
export const windowOpenBody = z.strictObject({ seconds: edgeSchema.shape.window_length.unwrap(), dry_run: z.boolean().default(false) });
export const applyBody = z.strictObject({ text: z.string().max(limits.siteFileBytes), dry_run: z.boolean().default(false) });
/** A file name: the folder is the server's affair. */
export const backupBody = z
  .strictObject({ name: z.string().regex(/^[A-Za-z0-9][\w.-]{0,99}$/, 'must be a file name, without a folder').optional() })
  .prefault({});
export const newKeyBody = z.strictObject({ name: z.string().min(1).max(200), role: z.enum(roles) });
export const newTokenBody = z.strictObject({
  user: idSchema,
  role: z.enum(roles),
  /** Seconds. */
  expires_in: z.int().min(1).max(limits.tokenMaxMs / 1_000).default(limits.tokenMs / 1_000),
});

// Requests of the older generation, which names the module in the query or the body

const moduleIndex = whole(1, 9_999).default(1);
export const olderModuleQuery = z.object({ module: moduleName, index: moduleIndex });
export const olderCountQuery = z.object({ module: moduleName });
export const olderStateQuery = z.object({ module: moduleName, index: moduleIndex, lookup: variable.optional() });
export const olderLookupQuery = z.object({ lookup: variable.optional() });
/** Fields of other servers are ignored, as published clients send them. */
export const olderExecBody = z.object({ module: moduleName, index: moduleIndex, method, args: z.array(jsonValueSchema).max(100).default([]) });

// Answers

export const locationSchema = z.object({
  id: z.string(),
  name: z.string(),
  holder,
  epoch,
  reason: z.string(),
  /** When the holder changed last. */
  since: seconds,
  /** State of the control machine of the server that answers. */
  state: z.string(),
  /** `refused`: of an edge without a link, why it was not taken; absent: nobody refused it. */
  link: z.object({ state: z.enum(['up', 'down']), refused: z.string().optional() }),
  policy: z.enum(['available', 'exclusive']),
  failover: z.boolean(),
  timeout: seconds,
  paused: z.boolean(),
  /** Restore window; `next` is null when only an operator hands back. */
  window: z.object({
    open: z.boolean(),
    closes: seconds.nullable(),
    next: seconds.nullable(),
    /** As the document has it; null: only an operator hands back. */
    schedule: z.object({ start: z.string(), length: seconds, timezone: z.string() }).nullable(),
  }),
  /** Until an automatic move; null when none is due. */
  due_in: seconds.nullable(),
  hold_down: seconds,
  dual_control_seconds: seconds,
  modules: z.object({ total: z.number(), running: z.number(), failing: z.number() }),
  /** How far a start or stop of its modules has come; null: none is under way. */
  progress: z.object({ action: z.enum(['start', 'stop']), done: z.number(), total: z.number(), failing: z.number() }).nullable(),
  /** Modules that run code which was edited and not committed. */
  edited: z.number(),
  /** Of the repository of drivers; null: the document names none, or nothing is known of it. */
  commit: z.object({
    wanted: z.string().nullable(),
    /** As its edge said last. */
    actual: z.string().nullable(),
    /** It is being brought to what is wanted. */
    busy: z.boolean(),
    /** Why it is not what is wanted. */
    problem: z.string().nullable(),
  }),
});
export type Location = z.output<typeof locationSchema>;

export const historySchema = z.object({
  sequence: z.number(),
  time: seconds,
  holder,
  state: z.string(),
  reason: z.string(),
  epoch,
});
export type History = z.output<typeof historySchema>;

export const orderSchema = z.object({
  before: locationSchema,
  after: locationSchema,
  summary: z.string(),
  dry_run: z.boolean(),
});
export type Order = z.output<typeof orderSchema>;

/** `secret`: set by hand on both sides; without it the edge makes its own. It is never answered. */
const secret = z.string().max(200).optional();
export const edgeAddBody = byId.extend({ secret });
export const edgeRotateBody = z.strictObject({ secret }).prefault({});
/** The enrolment string is shown once. */
export const enrolmentSchema = z.object({ id: z.string(), enrolment: z.string() });
export const revokedSchema = z.object({ id: z.string(), revoked: z.literal(true) });

/** Origins such as `https://edge.example.org:8443`; null: not known to the server that answers. */
export const memberSchema = z.object({ location: z.string(), edge: z.string().nullable(), master: z.string().nullable() });

export const statusSchema = z.record(z.string(), jsonValueSchema);

const changeSchema = z.object({
  /** `create`, `update` or `remove`. */
  op: z.string(),
  kind: z.string(),
  id: z.string(),
  /** What differs, a line each. */
  details: z.array(z.string()),
});
export const planSchema = z.object({
  changes: z.array(changeSchema),
  unchanged: z.number(),
  warnings: z.array(z.string()),
  dry_run: z.boolean(),
});
export type Plan = z.output<typeof planSchema>;

const sealedValues = z.object({ id: z.string(), kind: z.string(), values: z.number() });
export const settingsKeysSchema = z.object({
  /** Ids; the first seals. */
  keys: z.array(z.string()),
  /** Per document and key; `known`: this server has the key. */
  sealed: z.array(sealedValues.extend({ key: z.string(), known: z.boolean() })),
});

export const rekeyBody = z.strictObject({ dry_run: z.boolean().default(false) }).prefault({});
export const rekeySchema = z.object({
  /** Id of the key under which everything is sealed afterwards. */
  key: z.string(),
  documents: z.array(sealedValues),
  values: z.number(),
  dry_run: z.boolean(),
});
export type RekeyResult = z.output<typeof rekeySchema>;

export const exportSchema = z.object({ text: z.string() });

/** Path on the machine of the server. */
export const backupSchema = z.object({ path: z.string() });

export const apiKeySchema = z.object({
  id: z.string(),
  name: z.string(),
  role: z.enum(roles),
  created_at: seconds,
  revoked: z.boolean(),
});
/** The key is shown once. */
export const newApiKeySchema = z.object({ id: z.string(), name: z.string(), role: z.enum(roles), key: z.string() });

export const tokenSchema = z.object({
  id: z.string(),
  user: z.string(),
  role: z.enum(roles),
  created_at: seconds,
  expires_at: seconds,
  issued_by: z.string(),
  revoked: z.boolean(),
});
/** The token is shown once. */
export const newBearerSchema = z.object({ id: z.string(), user: z.string(), role: z.enum(roles), expires_at: seconds, token: z.string() });

export const statusEventSchema = z.object({
  system: z.string(),
  module: z.string(),
  index: z.number(),
  key: z.string(),
  value: jsonValueSchema,
});

export const logLineSchema = z.object({
  level: z.enum(['debug', 'info', 'warn', 'error']),
  message: z.string(),
  /** Id of the server whose driver said it. */
  node: z.string(),
});

/** A command in flight, or a start or stop of modules: `method` is `start` or `stop` then, and `module` says how far it has come. */
export const requestSchema = z.object({
  id: z.string(),
  user: z.string(),
  location: z.string(),
  module: z.string(),
  method: z.string(),
  /** Id of the server that let the user in. */
  entry: z.string(),
  /** The server that passed it on to this one; null: a client of this one asked. */
  via: z.string().nullable(),
  /** Where it is now: this server, the one it was passed on to, or `waits` while control changes hands. */
  at: z.string(),
  since: seconds,
  age: seconds,
  /** Until its deadline; null: it has none. */
  left: seconds.nullable(),
});
export type RequestInFlight = z.output<typeof requestSchema>;

export const healthSchema = z.object({
  status: z.enum(['up', 'starting']),
  role: z.enum(['edge', 'master']),
  node: z.string(),
  /** What is still missing, in words. */
  waiting_for: z.array(z.string()),
});

/** What published clients read before they send a credential. */
export const authoritySchema = z.object({
  id: z.string(),
  name: z.string(),
  description: z.string(),
  domain: z.string(),
  login_url: z.string(),
  logout_url: z.string(),
  session: z.boolean(),
  production: z.boolean(),
  config: z.record(z.string(), jsonValueSchema),
  /** Of the protocol. */
  version: z.string().regex(/^v2\.\d+\.\d+$/),
});

export const versionInfoSchema = z.object({ service: z.string(), version: z.string(), commit: z.string(), build_time: z.string() });

/** The key or token that asks, as published clients read a user. */
export const userSchema = z.object({
  id: z.string(),
  name: z.string(),
  email: z.string(),
  role: z.enum(roles),
  sys_admin: z.boolean(),
  support: z.boolean(),
  groups: z.array(z.string()),
});

/** Public methods of a module. */
export const functionsSchema = z.record(
  z.string(),
  z.object({
    /** How many arguments: negative when some may be left out, -(required + 1). */
    arity: z.number(),
    params: z.record(z.string(), jsonValueSchema),
    order: z.array(z.string()),
  }),
);

/** How many modules of each name. */
export const countsSchema = z.record(z.string(), z.number());
export const countQuery = z.object({ module: moduleName.optional() });

/** Of a text. */
export const linesSchema = z.array(z.string());

export const pingSchema = z.object({ host: z.string(), pingable: z.boolean() });

/** How many modules got another wanted state, of how many. */
export const startedSchema = z.object({ id: z.string(), changed: z.number(), modules: z.number() });
export type Started = z.output<typeof startedSchema>;
export const unloadedSchema = z.object({ id: z.string(), location: z.string(), served_by: z.string() });

const notReached = z.object({ location: z.string(), code: z.string(), message: z.string() });
/** What a system calls its modules, and the ids of the servers that read it anew. */
export const expiredSchema = z.object({
  id: z.string(),
  modules: z.array(z.object({ name: z.string(), index: z.number(), id: z.string() })),
  nodes: z.array(z.string()),
  failures: z.array(notReached),
});

/** Of published clients: what they add is ignored. */
export const reloadQuery = z.object({ location: idSchema.optional() });

const editModules = z.array(idSchema).max(limits.editedModules).default([]);
/** `modules`: only these; empty: all that the driver has, or has edited. */
export const driverEditBody = driverEditSchema.extend({ modules: editModules });
export const driverRevertBody = z.strictObject({ modules: editModules }).prefault({});

/** A module and the code of its driver that was loaded anew. */
export const loadedSchema = z.object({
  id: z.string(),
  location: z.string(),
  /** Why it does not run the new code; null: it does. */
  problem: z.string().nullable(),
  /** So long its calls had to wait. */
  paused: seconds,
  /** Id of the server that drives it. */
  served_by: z.string(),
});
export const reloadedSchema = z.object({
  id: z.string(),
  modules: z.array(loadedSchema),
  /** Locations where nothing has changed, and why. */
  failures: z.array(notReached),
});
export type Reloaded = z.output<typeof reloadedSchema>;

export const edgeTokenSchema = z.object({ token: z.string() });

export const errorSchema = z.object({
  code: z.string(),
  message: z.string(),
  help: z.string(),
  facts: z.record(z.string(), jsonValueSchema),
});
