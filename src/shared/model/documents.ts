import { z } from 'zod';
import { idSchema, MASTER_LOCATION } from './ids.ts';
import { type TriggerDocument, triggerSchema } from './trigger.ts';
import { jsonValueSchema, nameSchema, settingsSchema, textSchema } from './values.ts';

/** What the federation is made of: flat JSON documents, snake_case, unix seconds, the id is the key. */

const labelSchema = z.string().max(200).default('');
const portSchema = z.int().min(0).max(65_535);

/** What applications keep beside a document, by name; nothing here reads it. */
const metadataSchema = z.record(
  z.string().min(1).max(200),
  z.strictObject({ description: textSchema.default(''), details: jsonValueSchema }),
);

/** `edge_id` is the older spelling of `edge_control_id`. */
const acceptOlderSpelling = (input: unknown): unknown => {
  if (typeof input !== 'object' || input === null || Array.isArray(input) || !('edge_id' in input)) return input;
  const { edge_id, ...rest } = input as { edge_id: unknown; edge_control_id?: unknown };
  return rest.edge_control_id === undefined ? { ...rest, edge_control_id: edge_id } : rest;
};

/** The shortest `timeout`: a half-open link takes 3 s to notice and an edge 3 s more to claim by itself. */
export const MIN_TIMEOUT_SECONDS = 6;

/** A restore window is open for a week at most. */
export const WINDOW_MAX_SECONDS = 7 * 86_400;

export const edgeSchema = z.strictObject({
  id: idSchema.refine((id) => id !== MASTER_LOCATION, `"${MASTER_LOCATION}" is taken by the modules of the master`),
  type: z.literal('edge'),
  name: nameSchema,
  description: textSchema.default(''),
  /** May the master take over when this edge is gone? */
  failover: z.boolean().default(true),
  /** Seconds without confirmed control of the edge before the master takes over. */
  timeout: z.int().min(MIN_TIMEOUT_SECONDS).max(86_400).default(20),
  /** Cron (5 fields) of the opening of the restore window; null: only an operator hands back. */
  window_start: z.string().max(200).nullable().default(null),
  /** Seconds that the window stays open. */
  window_length: z.int().min(1).max(WINDOW_MAX_SECONDS).default(3_600),
  /** IANA time zone in which `window_start` is read. */
  timezone: z.string().max(64).default('UTC'),
  policy: z.enum(['available', 'exclusive']).default('available'),
  /** Ids of the API keys, and users of tokens, that may give orders for this location, besides administrators. */
  admins: z.array(idSchema).max(1_000).default([]),
  /** Wanted commit of the driver repository. */
  commit: z.string().max(200).nullable().default(null),
});

export const systemFields = z.strictObject({
  id: idSchema,
  type: z.literal('sys'),
  name: nameSchema,
  description: textSchema.default(''),
  edge_control_id: idSchema.nullable().default(null),
  zones: z.array(idSchema).max(100).default([]),
  /** Ordered: the first module named `Display` is `Display_1`. */
  modules: z.array(idSchema).max(1_000).default([]),
  triggers: z.array(idSchema).max(100).default([]),
  settings: settingsSchema.default({}),
  metadata: metadataSchema.default({}),
  // For panels and booking applications; the server only keeps them.
  display_name: labelSchema,
  email: labelSchema,
  capacity: z.int().min(0).max(1_000_000).default(0),
  bookable: z.boolean().default(false),
  features: z.array(z.string().max(200)).max(200).default([]),
  map_id: labelSchema,
  support_url: z.string().max(2_000).default(''),
});
export const systemSchema = z.preprocess(acceptOlderSpelling, systemFields);

export const moduleFields = z.strictObject({
  id: idSchema,
  type: z.literal('mod'),
  driver_id: idSchema,
  /** Name in systems, such as `Display`. */
  name: z.string().regex(/^[A-Za-z][A-Za-z0-9]{0,59}$/, 'must be letters and digits, such as Display'),
  edge_control_id: idSchema.nullable().default(null),
  ip: z.string().max(255).default(''),
  port: portSchema.default(0),
  tls: z.boolean().default(false),
  udp: z.boolean().default(false),
  /** Connect on demand and close when idle. */
  makebreak: z.boolean().default(false),
  uri: z.string().max(2_000).default(''),
  settings: settingsSchema.default({}),
  /** The wanted state. */
  running: z.boolean().default(true),
  /** Starting and stopping its system leaves this module alone. */
  ignore_startstop: z.boolean().default(false),
  notes: textSchema.default(''),
});
export const moduleSchema = z.preprocess(acceptOlderSpelling, moduleFields);

export const driverSchema = z.strictObject({
  id: idSchema,
  type: z.literal('driver'),
  name: nameSchema,
  description: textSchema.default(''),
  /** Name of a driver that comes with Holdfast, such as `mock`, or lies in HOLDFAST_DRIVERS. */
  builtin: z.string().max(100),
  /** Devices start before logic and stop after it. */
  role: z.enum(['device', 'service', 'logic', 'trigger']).default('device'),
  default_port: portSchema.default(0),
  settings: settingsSchema.default({}),
});

export const zoneSchema = z.strictObject({
  id: idSchema,
  type: z.literal('zone'),
  name: nameSchema,
  description: textSchema.default(''),
  tags: z.array(z.string().max(100)).max(100).default([]),
  settings: settingsSchema.default({}),
  metadata: metadataSchema.default({}),
  /** The zone around this one: building, campus. */
  parent_id: idSchema.nullable().default(null),
  display_name: labelSchema,
  location: labelSchema,
});

const credentialFields = {
  id: idSchema,
  /** Hex SHA-256 of the secret half; the secret itself is shown once and never stored. */
  secret_hash: z.string().regex(/^[0-9a-f]{64}$/, 'must be the hex SHA-256 of the secret'),
  role: z.enum(['viewer', 'operator', 'admin']),
  created_at: z.int().min(0),
  revoked: z.boolean().default(false),
};

export const apiKeySchema = z.strictObject({ ...credentialFields, type: z.literal('api_key'), name: nameSchema });

/** A bearer token: like an API key, for one user and for a time. */
export const tokenSchema = z.strictObject({
  ...credentialFields,
  type: z.literal('token'),
  /** Whom it speaks for; `admins` of a location may name the user. */
  user: idSchema,
  expires_at: z.int().min(0),
  /** Id of the credential that asked for it. */
  issued_by: idSchema,
});

export type EdgeDocument = z.output<typeof edgeSchema>;
export type SystemDocument = z.output<typeof systemSchema>;
export type ModuleDocument = z.output<typeof moduleSchema>;
export type DriverDocument = z.output<typeof driverSchema>;
export type ZoneDocument = z.output<typeof zoneSchema>;
export type ApiKeyDocument = z.output<typeof apiKeySchema>;
export type TokenDocument = z.output<typeof tokenSchema>;
/** What lets somebody in. Its secret is shown once, so it is no part of files. */
export type CredentialDocument = ApiKeyDocument | TokenDocument;

export const documentSchemas = {
  edge: edgeSchema,
  sys: systemSchema,
  mod: moduleSchema,
  driver: driverSchema,
  zone: zoneSchema,
  trigger: triggerSchema,
  api_key: apiKeySchema,
  token: tokenSchema,
} as const;

export type DocumentKind = keyof typeof documentSchemas;
export type AnyDocument = EdgeDocument | SystemDocument | ModuleDocument | DriverDocument | ZoneDocument | TriggerDocument | CredentialDocument;
/** What files and the document routes may change. */
export type SiteDocument = Exclude<AnyDocument, CredentialDocument>;

/** What a document says of where it belongs; null: to no location alone. */
export function locationOfDocument(document: SiteDocument): string | null {
  if (document.type === 'edge') return document.id;
  return document.type === 'sys' || document.type === 'mod' ? (document.edge_control_id ?? MASTER_LOCATION) : null;
}

export type DocumentOf<K extends DocumentKind> = Extract<AnyDocument, { type: K }>;
export const documentKinds = Object.keys(documentSchemas) as DocumentKind[];
