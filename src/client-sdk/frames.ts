import { z } from 'zod';
import { jsonValueSchema } from '../shared/client-api/parse.ts';
import { revisionSchema } from '../shared/model/control.ts';
import { errorSchema } from '../shared/client-api/schemas.ts';

/** A status variable or a method of a module. */
export interface Target {
  system: string;
  module: string;
  /** 1 without it. */
  index?: number;
  name: string;
}

export const metaOf = ({ system, module, index = 1, name }: Target) => ({ sys: system, mod: module, index, name });
export type Meta = ReturnType<typeof metaOf>;

const meta = z.object({ sys: z.string(), mod: z.string(), index: z.number(), name: z.string() });
const redirect = z.object({
  type: z.literal('redirect'),
  reason: z.string(),
  location: z.string(),
  sys: z.string(),
  origin: z.string(),
  alternatives: z.array(z.string()),
  epoch: z.string(),
});
/** What a session understands of what a server sends; the rest is skipped, for servers of a later day. */
const frameSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('success'), id: z.number(), value: jsonValueSchema.optional() }),
  z.object({ type: z.literal('error'), id: z.number(), error: errorSchema }),
  z.object({ type: z.literal('notify'), value: jsonValueSchema, revision: revisionSchema.nullable(), meta }),
  redirect,
  z.object({ type: z.literal('staleness'), location: z.string(), stale: z.boolean(), age_ms: z.number() }),
]);
export type Frame = z.output<typeof frameSchema>;
export type RedirectFrame = z.output<typeof redirect>;

export function parseFrame(text: string): Frame | null {
  try {
    return frameSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}
