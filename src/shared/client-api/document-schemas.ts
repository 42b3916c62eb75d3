import { z } from 'zod';
import { driverSchema, moduleFields, systemFields, zoneSchema } from '../model/documents.ts';
import { idSchema } from '../model/ids.ts';
import { limits } from '../model/limits.ts';
import { jsonValueSchema } from './parse.ts';
import { listQuery } from './schemas.ts';

/**
 * Systems, modules, drivers and zones as clients read and write them. Bodies ignore fields that are not of the document,
 * because published clients send back everything they know of it.
 */

type BodySchema = z.ZodType<Record<string, unknown>, Record<string, unknown>>;

/** Opaque; changes with each write. 0, a number in some published clients, and absence mean: whatever is there. */
const versionSchema = z.union([z.string().max(100), z.literal(0)]);
export const versionQuery = z.object({ version: versionSchema.optional() });

const noneOrId = z.union([idSchema, z.literal(''), z.null()]);
/** What published clients send otherwise than the document has it. */
const clientFields = {
  version: versionSchema.optional(),
  /** An older name of `edge_control_id`. */
  edge_id: noneOrId.optional(),
  /** A list is what published clients send of settings that they did not read: it changes nothing. */
  settings: z.union([z.record(z.string(), jsonValueSchema), z.array(z.unknown())]).optional(),
};

export const newBody = (fields: z.ZodObject, more: z.core.$ZodShape = {}): BodySchema =>
  z.object({ ...fields.omit({ type: true }).shape, id: idSchema.optional(), ...clientFields, ...more });

/** Fields that are left out stay as they are, so their defaults must not come in. */
export const changedBody = (fields: z.ZodObject, more: z.core.$ZodShape = {}): BodySchema => {
  const shape = Object.entries(fields.omit({ type: true, id: true }).shape).map(([name, field]): [string, z.ZodType] => {
    const bare = field instanceof z.ZodDefault ? field.unwrap() : field;
    return [name, z.optional(bare)];
  });
  return z.object({ ...Object.fromEntries(shape), ...clientFields, ...more });
};

/** By name as the document has it, or by number: 1 device, 2 and 3 service, 99 logic (older generation: 3 logic). */
const driverRole = { role: z.union([driverSchema.shape.role, z.int().min(0).max(99)]).optional() };
const metadataFields = {
  metadata: z.record(z.string(), z.object({ description: z.string().optional(), details: jsonValueSchema })).optional(),
};
const zoneParts = { ...metadataFields, parent_id: noneOrId.optional() };

export const newSystem = newBody(systemFields, metadataFields);
export const changedSystem = changedBody(systemFields, metadataFields);
export const newModule = newBody(moduleFields);
export const changedModule = changedBody(moduleFields);
export const newDriver = newBody(driverSchema, driverRole);
export const changedDriver = changedBody(driverSchema, driverRole);
export const newZone = newBody(zoneSchema, zoneParts);
export const changedZone = changedBody(zoneSchema, zoneParts);

const several = z
  .string()
  .max(4_000)
  .transform((text) => text.split(',').filter((item) => item !== ''))
  .optional();
const yesOrNo = z
  .enum(['true', 'false'])
  .transform((text) => text === 'true')
  .optional();

/** Several values, separated by commas: one of them must fit. */
export const systemQuery = listQuery.extend({
  zone_id: several,
  module_id: several,
  email: several,
  edge_id: several,
  bookable: yesOrNo,
  capacity: z.coerce.number<string>().int().min(0).optional(),
});
export const moduleQuery = listQuery.extend({
  control_system_id: several,
  driver_id: several,
  edge_id: several,
  running: yesOrNo,
  connected: yesOrNo,
});
export const driverQuery = listQuery.extend({ role: several });
export const zoneQuery = listQuery.extend({ tags: several, parent_id: several });
export const completeQuery = z.object({ complete: yesOrNo });

const version = z.string();

export const zoneView = zoneSchema.omit({ type: true, settings: true, metadata: true }).extend({ version }).strip();
export type ZoneView = z.output<typeof zoneView>;

/** `role` as a number of the generation that is asked. */
export const driverView = driverSchema.omit({ type: true, settings: true, role: true }).extend({ role: z.number(), version }).strip();
export type DriverView = z.output<typeof driverView>;

export const moduleView = moduleFields
  .omit({ type: true, settings: true })
  .extend({
    /** The same as `edge_control_id`, or the location of the system that lists the module. */
    edge_id: z.string().nullable(),
    /** Of its driver. */
    role: z.number(),
    /** As the module reports it; null: nobody has heard of it yet. */
    connected: z.boolean().nullable(),
    /** What of its code was edited and not committed; null: nothing. */
    edited: z.string().nullable(),
    version,
  })
  .strip();
export type ModuleView = z.output<typeof moduleView>;

/** Without settings: they may hold passwords of devices. */
export const systemView = systemFields.omit({ type: true, settings: true, metadata: true }).extend({ version }).strip();
export type System = z.output<typeof systemView>;
/** `module_names` are in the order of `modules`; null where the module document is missing. */
export const systemDetail = systemView.extend({
  module_names: z.array(z.string().nullable()),
  /** With `complete=true`. */
  module_data: z.array(moduleView).optional(),
  zone_data: z.array(zoneView).optional(),
});

export const removedSchema = z.object({ id: z.string(), removed: z.literal(true) });

/** Settings of one document, which lends them its id. */
export const settingsView = z.object({
  id: z.string(),
  parent_id: z.string(),
  encryption_level: z.number(),
  /** JSON. */
  settings_string: z.string(),
  keys: z.array(z.string()),
  version,
});
export const settingsQuery = listQuery.extend({ parent_id: several });
export const settingsBody = z.object({ settings_string: z.string().max(limits.bodyBytes), version: versionSchema.optional() });

const metadataName = z.string().regex(/^(?!__proto__$)[^\p{Cc}]{1,200}$/u, 'must be a name of 1 to 200 characters');
export const metadataQuery = z.object({ name: metadataName.optional() });
export const metadataRemoveQuery = z.object({ name: metadataName });
export const metadataBody = z.object({
  name: metadataName,
  description: z.string().max(10_000).default(''),
  details: jsonValueSchema,
  version: versionSchema.optional(),
});
export const metadataView = z.object({
  name: z.string(),
  description: z.string(),
  details: jsonValueSchema,
  parent_id: z.string(),
  version,
});
export const metadataSchema = z.record(z.string(), metadataView);
export const childMetadataSchema = z.array(z.object({ zone: zoneView, metadata: metadataSchema }));
