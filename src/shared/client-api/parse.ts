import { z } from 'zod';
import { HoldfastError } from '../model/errors.ts';

export { jsonValueSchema } from '../model/json-value.ts';

/** Parses what came from outside; a failure names the field and the problem. `where` is `body`, `query` or `params`. */
export function parseInput<S extends z.ZodType>(schema: S, input: unknown, where: string): z.output<S> {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue === undefined ? [] : issue.path;
  throw new HoldfastError('INPUT_INVALID', { field: [where, ...path].map(String).join('.'), problem: issue?.message ?? 'is not valid' });
}
