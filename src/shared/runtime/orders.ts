import { z } from 'zod';
import type { Json } from '../foundation/json.ts';
import { HoldfastError } from '../model/errors.ts';
import { idSchema } from '../model/ids.ts';
import { orderKinds, type OrderRequest } from './node.ts';

const orderSchema = z.strictObject({
  location: idSchema,
  kind: z.enum(orderKinds),
  by: z.string().max(200),
  dryRun: z.boolean(),
});

/** An order that came over the link. */
export function parseOrder(body: Json): OrderRequest {
  const parsed = orderSchema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new HoldfastError('INPUT_INVALID', { field: issue?.path.join('.') ?? 'order', problem: issue?.message ?? 'invalid' });
}
