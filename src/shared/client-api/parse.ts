import { z } from 'zod';
import type { Json } from '../foundation/json.ts';
import { HoldfastError } from '../model/errors.ts';

/** Parses what came from outside; a failure names the field and the problem. `where` is `body`, `query` or `params`. */
export function parseInput<S extends z.ZodType>(schema: S, input: unknown, where: string): z.output<S> {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue === undefined ? [] : issue.path;
  throw new HoldfastError('INPUT_INVALID', { field: [where, ...path].map(String).join('.'), problem: issue?.message ?? 'is not valid' });
}

const MAX_DEPTH = 64;

/** Nesting is bounded, because everything that walks a value later is recursive. */
function isShallowJson(value: unknown, depth: number): boolean {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return true;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || depth >= MAX_DEPTH) return false;
  return Object.values(value).every((item) => isShallowJson(item, depth + 1));
}

/** A JSON value of bounded depth. */
export const jsonValueSchema = z.custom<Json>((value) => isShallowJson(value, 0), `must be JSON, nested at most ${MAX_DEPTH} deep`);
