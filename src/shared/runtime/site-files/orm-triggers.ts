import { z } from 'zod';
import type { Json } from '../../foundation/json.ts';
import { operators } from '../../model/trigger.ts';

/** Conditions and actions of ACA Engine's triggers: lists of three or two, and functions with the index of their module. */

const value = z.union([
  z.looseObject({ const: z.union([z.boolean(), z.number(), z.string()]) }).transform((side): Json => side.const),
  z
    .looseObject({ mod: z.string(), index: z.int(), status: z.string(), keys: z.array(z.string()).optional() })
    .transform(({ mod, index, status, keys }): Json => ({ mod: `${mod}_${index}`, status, keys: keys ?? [] })),
]);
const comparison = z.tuple([value, z.enum(operators), value]).transform(([left, operator, right]): Json => ({ left, operator, right }));
const time = z.union([
  z.tuple([z.literal('at'), z.coerce.number().int()]).transform(([, at]): Json => ({ type: 'at', time: at })),
  z.tuple([z.literal('cron'), z.string()]).transform(([, cron]): Json => ({ type: 'cron', cron })),
]);
const call = z
  .looseObject({ type: z.literal('exec'), mod: z.string(), index: z.int(), func: z.string(), args: z.array(z.json()) })
  .transform(({ mod, index, func, args }): Json => ({ mod: `${mod}_${index}`, method: func, args }));

/** `left`: what nothing here stands for. */
export function conditionsOf(conditions: Json): { made: { comparisons: Json[]; time_dependents: Json[] }; left: Json[] } {
  const made = { comparisons: [] as Json[], time_dependents: [] as Json[] };
  const left: Json[] = [];
  for (const condition of Array.isArray(conditions) ? conditions : [conditions]) {
    const [compared, timed] = [comparison.safeParse(condition), time.safeParse(condition)];
    if (compared.success) made.comparisons.push(compared.data);
    else if (timed.success) made.time_dependents.push(timed.data);
    else left.push(condition);
  }
  return { made, left };
}

export function functionsOf(actions: Json): { made: Json[]; left: Json[] } {
  const parsed = (Array.isArray(actions) ? actions : [actions]).map((action) => ({ action, result: call.safeParse(action) }));
  return {
    made: parsed.flatMap(({ result }) => (result.success ? [result.data] : [])),
    left: parsed.flatMap(({ action, result }) => (result.success ? [] : [action])),
  };
}
