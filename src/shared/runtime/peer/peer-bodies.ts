import { z } from 'zod';
import { jsonValueSchema } from '../../client-api/parse.ts';
import { driverEditSchema } from '../../model/driver-edit.ts';
import type { Json, JsonObject } from '../../foundation/json.ts';
import { revisionSchema } from '../../model/control.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import { instanceIdSchema } from '../../model/trigger.ts';
import { orderKinds } from '../node.ts';

/** What nodes ask each other about modules, and what they answer and tell. */

const id = z.string().max(120);
const target = { location: id, module: id };
const epoch = z.object({ generation: z.int().min(0), number: z.int().min(0) });

export const targetBody = z.strictObject(target);

/** Who asks for a user of its own, and who that is. */
const asked = {
  user: z.string().max(200),
  /** Id of the user's credential; absent: the node before does not say. */
  who: z.string().max(200).optional(),
  /** Id of the node that let the user in. */
  entry: id,
  requestId: z.string().max(100),
};

export const execBody = z.strictObject({
  ...target,
  method: z.string().max(200),
  args: z.array(jsonValueSchema).max(100),
  ...asked,
});
export const execAnswer = z.object({ value: jsonValueSchema.default(null), servedBy: z.string() });

export const reloadBody = z.strictObject({
  location: id,
  driver: id,
  module: id.nullable(),
  /** Absent: what the files say. */
  live: z
    .strictObject({ edit: driverEditSchema.nullable(), modules: z.array(id).max(limits.editedModules), by: z.string().max(200) })
    .nullish(),
  ...asked,
});
export const reloadAnswer = z.object({
  modules: z.array(z.object({ module: z.string(), problem: z.string().nullable(), pausedMs: z.number() })),
  servedBy: z.string(),
});

export const wantedBody = z.strictObject({ what: z.enum(['module', 'system', 'location']), id, running: z.boolean(), dryRun: z.boolean(), ...asked });
export const wantedAnswer = z.object({ changed: z.int(), modules: z.int() });

export const modulesBody = z.strictObject({
  location: id,
  action: z.enum(['unload', 'release', 'cancel']),
  modules: z.array(id).max(limits.managedModules),
  ...asked,
});
export const modulesAnswer = z.object({ modules: z.array(z.string()), servedBy: z.string() });

export const expireBody = z.strictObject({ location: id, system: id, ...asked });
export const expireAnswer = z.array(z.string());

export const orderBody = z.strictObject({ location: id, kind: z.enum(orderKinds), dryRun: z.boolean(), ...asked });
export const orderAnswer = z.string();

export const triggerBody = z.strictObject({ location: id, instance: instanceIdSchema, call: z.string().max(100) });
export const triggerAnswer = z.string().max(100);

/** Milliseconds since when values stand still at who says so; null: they do not. */
const ageMs = z.number().min(0).nullable();

export const statusAnswer = z.object({ values: z.record(z.string(), jsonValueSchema), epoch: epoch.nullable(), ageMs: ageMs.default(null) });

export const stalenessBody = z.strictObject({ location: id, ageMs });

export const functionsAnswer = z.record(
  z.string(),
  z.object({ arity: z.number(), params: z.record(z.string(), z.record(z.string(), jsonValueSchema)), order: z.array(z.string()) }),
);

export const watchedBody = z.strictObject({ ...target, key: z.string().max(200), value: jsonValueSchema, revision: revisionSchema, epoch });

/** Who cuts a line hides secrets in it afterwards, which may make it longer. */
const message = z.string().max(4 * limits.logLineBytes);
export const logBody = z.strictObject({ ...target, level: z.enum(['debug', 'info', 'warn', 'error']), message, node: id });

/** The body of a request for a user, with the id of their credential where it is known. */
export function bodyFor(who: string | undefined, body: JsonObject): JsonObject {
  if (who !== undefined) body['who'] = who;
  return body;
}

/** Throws INPUT_INVALID. */
export function readBody<S extends z.ZodType>(schema: S, body: Json): z.output<S> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new HoldfastError('INPUT_INVALID', { field: issue?.path.join('.') || 'body', problem: issue?.message ?? 'invalid' });
}

/** Throws LINK_PROTOCOL. */
export function readAnswer<S extends z.ZodType>(schema: S, answer: Json, to: string): z.output<S> {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new HoldfastError('LINK_PROTOCOL', { problem: `the answer to ${to}: ${parsed.error.issues[0]?.message ?? 'invalid'}` });
}
