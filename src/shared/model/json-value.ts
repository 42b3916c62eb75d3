import { z } from 'zod';
import type { Json } from '../foundation/json.ts';

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
