import { z } from 'zod';
import type { Json, JsonObject } from '../foundation/json.ts';
import { idSchema, MASTER_LOCATION } from './ids.ts';

/** What the federation is made of: flat JSON documents, snake_case, unix seconds, the id is the key. */

const jsonSchema: z.ZodType<Json> = z.lazy(() =>
  z.union([z.null(), z.boolean(), z.number(), z.string(), z.array(jsonSchema), z.record(z.string(), jsonSchema)]),
);
const settingsSchema: z.ZodType<JsonObject> = z.record(z.string(), jsonSchema);
const nameSchema = z.string().min(1).max(200);
const textSchema = z.string().max(10_000);
const portSchema = z.int().min(0).max(65_535);

/** `edge_id` is the older spelling of `edge_control_id`. */
const acceptOlderSpelling = (input: unknown): unknown => {
  if (typeof input !== 'object' || input === null || Array.isArray(input) || !('edge_id' in input)) return input;
  const { edge_id, ...rest } = input as { edge_id: unknown; edge_control_id?: unknown };
  return rest.edge_control_id === undefined ? { ...rest, edge_control_id: edge_id } : rest;
};

/** The shortest `timeout`: a half-open link takes 3 s to notice and an edge 3 s more to claim by itself. */
export const MIN_TIMEOUT_SECONDS = 6;

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
  window_length: z.int().min(1).max(604_800).default(3_600),
  /** IANA time zone in which `window_start` is read. */
  timezone: z.string().max(64).default('UTC'),
  policy: z.enum(['available', 'exclusive']).default('available'),
  /** Ids of the API keys that may give orders for this location, besides administrators. */
  admins: z.array(idSchema).max(1_000).default([]),
  /** Wanted commit of the driver repository. */
  commit: z.string().max(200).nullable().default(null),
});

export const systemSchema = z.preprocess(
  acceptOlderSpelling,
  z.strictObject({
    id: idSchema,
    type: z.literal('sys'),
    name: nameSchema,
    description: textSchema.default(''),
    edge_control_id: idSchema.nullable().default(null),
    zones: z.array(idSchema).max(100).default([]),
    /** Ordered: the first module named `Display` is `Display_1`. */
    modules: z.array(idSchema).max(1_000).default([]),
    settings: settingsSchema.default({}),
  }),
);

export const moduleSchema = z.preprocess(
  acceptOlderSpelling,
  z.strictObject({
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
  }),
);

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
});

export const apiKeySchema = z.strictObject({
  id: idSchema,
  type: z.literal('api_key'),
  name: nameSchema,
  /** Hex SHA-256 of the secret half; the secret itself is shown once and never stored. */
  secret_hash: z.string().regex(/^[0-9a-f]{64}$/, 'must be the hex SHA-256 of the secret'),
  role: z.enum(['viewer', 'operator', 'admin']),
  created_at: z.int().min(0),
  revoked: z.boolean().default(false),
});

export type EdgeDocument = z.output<typeof edgeSchema>;
export type SystemDocument = z.output<typeof systemSchema>;
export type ModuleDocument = z.output<typeof moduleSchema>;
export type DriverDocument = z.output<typeof driverSchema>;
export type ZoneDocument = z.output<typeof zoneSchema>;
export type ApiKeyDocument = z.output<typeof apiKeySchema>;

export const documentSchemas = {
  edge: edgeSchema,
  sys: systemSchema,
  mod: moduleSchema,
  driver: driverSchema,
  zone: zoneSchema,
  api_key: apiKeySchema,
} as const;

export type DocumentKind = keyof typeof documentSchemas;
export type AnyDocument = EdgeDocument | SystemDocument | ModuleDocument | DriverDocument | ZoneDocument | ApiKeyDocument;
export type DocumentOf<K extends DocumentKind> = Extract<AnyDocument, { type: K }>;
export const documentKinds = Object.keys(documentSchemas) as DocumentKind[];
