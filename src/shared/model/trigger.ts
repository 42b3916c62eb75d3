import { z } from 'zod';
import { idSchema } from './ids.ts';
import { jsonValueSchema, nameSchema, textSchema } from './values.ts';

/**
 * When something happens by itself, and what. Fields and their units are those of published clients: `debounce_period` is
 * in milliseconds. A system lists its triggers; each pair of the two is an instance.
 */

/** `Display_1`; without an index the first one is meant. */
const moduleName = z.string().regex(/^[A-Za-z][A-Za-z0-9]{0,59}(_[1-9]\d{0,3})?$/, 'must be a module name with its index, such as Display_1');

const constant = z.union([z.boolean(), z.number(), z.string().max(1_000)]);
const statusVariable = z.strictObject({
  mod: moduleName,
  status: z.string().min(1).max(200),
  /** Looked up one in the other, where the value is an object. */
  keys: z.array(z.string().max(200)).max(10).default([]),
});
const operand = z.union([constant, statusVariable], 'must be a number, a text, true, false, or mod and status of a variable');

export const operators = [
  'equal', 'not_equal', 'greater_than', 'greater_than_or_equal', 'less_than', 'less_than_or_equal', 'and', 'or', 'exclusive_or',
] as const;
export type Operator = (typeof operators)[number];

const timeDependent = z.discriminatedUnion('type', [
  /** Once, at these unix seconds. */
  z.strictObject({ type: z.literal('at'), time: z.int().min(0) }),
  z.strictObject({ type: z.literal('cron'), cron: z.string().max(200), timezone: z.string().max(64).default('UTC') }),
]);

/** Nothing of a building's secrets leaves this machine in the clear. */
function isSafeUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  const local = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);
  return username === '' && password === '' && (protocol === 'https:' || (protocol === 'http:' && local));
}

const headerName = z.string().regex(/^(?!(?:host|connection|content-length|transfer-encoding|expect)$)[A-Za-z0-9-]{1,100}$/i, 'must be the name of a header');
const webhook = z.strictObject({
  url: z.string().max(2_000).refine(isSafeUrl, 'must be https://, or http:// to this machine, without a user'),
  headers: z.record(headerName, z.string().regex(/^[\x20-\x7e]{0,2000}$/, 'must be printable ASCII')).default({}),
});

const action = z.strictObject({
  mod: moduleName,
  method: z.string().regex(/^[A-Za-z_$][\w$]{0,99}$/, 'must be the name of a method'),
  args: z.array(jsonValueSchema).max(100).default([]),
});

export const triggerSchema = z.strictObject({
  id: idSchema,
  type: z.literal('trigger'),
  name: nameSchema,
  description: textSchema.default(''),
  enabled: z.boolean().default(true),
  /** For panels; the server only keeps it. */
  important: z.boolean().default(false),
  conditions: z
    .strictObject({
      comparisons: z.array(z.strictObject({ left: operand, operator: z.enum(operators), right: operand })).max(50).default([]),
      time_dependents: z.array(timeDependent).max(20).default([]),
    })
    .prefault({}),
  /** One condition is enough; otherwise all comparisons must hold, also when a time or a webhook comes. */
  any_match: z.boolean().default(false),
  /** Milliseconds after a firing in which nothing fires again. */
  debounce_period: z.int().min(0).max(86_400_000).default(0),
  enable_webhook: z.boolean().default(false),
  webhook_secret: z
    .string()
    .regex(/^(?:[A-Za-z0-9_~.-]{16,200})?$/, 'must be 16 to 200 letters, digits, dots, dashes, tildes or underscores')
    .default(''),
  actions: z
    .strictObject({
      /** In this order. */
      functions: z.array(action).max(20).default([]),
      webhooks: z.array(webhook).max(5).default([]),
    })
    .prefault({}),
});

export type TriggerDocument = z.output<typeof triggerSchema>;
export type TriggerOperand = z.output<typeof operand>;
export type TriggerFunction = z.output<typeof action>;
export type TriggerWebhook = z.output<typeof webhook>;

/** No id of a document holds it, and no URL has to encode it. */
const SEPARATOR = '~';

/** A trigger in one system. */
export const instanceId = (trigger: string, system: string): string => `${trigger}${SEPARATOR}${system}`;
export const instanceIdSchema = z.string().max(241).refine((text) => {
  const parts = text.split(SEPARATOR);
  return parts.length === 2 && parts.every((part) => idSchema.safeParse(part).success);
}, 'must be the id of a trigger, ~, and that of a system');

export function partsOf(instance: string): { trigger: string; system: string } {
  const [trigger = '', system = ''] = instance.split(SEPARATOR);
  return { trigger, system };
}

/** `Display_1` as name and index. */
export function moduleRef(text: string): { module: string; index: number } {
  const [module = text, index = '1'] = text.split('_');
  return { module, index: Number(index) };
}
