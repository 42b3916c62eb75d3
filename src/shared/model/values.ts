import { z } from 'zod';
import type { Json, JsonObject } from '../foundation/json.ts';

/** What fields of documents are made of. */

const MAX_DEPTH = 64;

/** Nesting is bounded, because everything that walks a value later is recursive. */
function isShallowJson(value: unknown, depth: number): boolean {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return true;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || depth >= MAX_DEPTH) return false;
  return Object.values(value).every((item) => isShallowJson(item, depth + 1));
}

/** Of what JSON has said: nobody would take it. */
export const isNestedTooDeep = (json: Json): boolean => !isShallowJson(json, 0);

/** The same of its text; a short one is not read again: as deep as that it opens so many times, and closes as often. */
export const isTextNestedTooDeep = (text: string): boolean => text.length > 2 * MAX_DEPTH && isNestedTooDeep(JSON.parse(text) as Json);

export const nestedTooDeep = `nested more than ${MAX_DEPTH} deep`;

/** A JSON value of bounded depth. */
export const jsonValueSchema = z.custom<Json>((value) => isShallowJson(value, 0), { error: ({ input }) => jsonProblem(input) });

/** What JSON can write and nobody can hold, such as 1e400, is read as infinite. */
const jsonProblem = (value: unknown): string =>
  hasInfiniteNumber(value, 0) ? 'must have no number that is too large for a double' : `must be JSON, nested at most ${MAX_DEPTH} deep`;

function hasInfiniteNumber(value: unknown, depth: number): boolean {
  if (typeof value === 'number') return !Number.isFinite(value);
  if (typeof value !== 'object' || value === null || depth >= MAX_DEPTH) return false;
  return Object.values(value).some((item) => hasInfiniteNumber(item, depth + 1));
}

export const settingsSchema: z.ZodType<JsonObject> = z.record(z.string(), jsonValueSchema);
export const nameSchema = z.string().min(1).max(200);
export const textSchema = z.string().max(10_000);
