export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

/** `modules[0].settings.password`. */
export const pathText = (path: readonly (string | number)[]): string =>
  path.map((part, i) => (typeof part === 'number' ? `[${part}]` : `${i === 0 ? '' : '.'}${part}`)).join('');

/** Equality of two JSON values; key order does not matter. */
export function jsonEqual(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, i) => jsonEqual(item, b[i]));
  }
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && jsonEqual(a[key], b[key]));
}

/** Would its text be longer than so many characters? Without making it, and no further than needed. An escape counts as one. */
export function isLongerThan(value: unknown, length: number): boolean {
  let left = length;
  const waiting: unknown[] = [value];
  while (waiting.length > 0) {
    const item = waiting.pop();
    if (typeof item === 'string') left -= item.length + 3;
    else if (typeof item !== 'object' || item === null) left -= 2;
    else if (Array.isArray(item)) {
      // Each has a character at least: what is far too long is not even looked through.
      if (item.length > left) return true;
      for (const inner of item as unknown[]) waiting.push(inner);
      left -= 2;
    } else {
      for (const [key, inner] of Object.entries(item) as [string, unknown][]) {
        left -= key.length + 3;
        waiting.push(inner);
      }
      left -= 2;
    }
    if (left < 0) return true;
  }
  return false;
}

/** A key in what JSON has said that would be a prototype where the value is copied; null: there is none. However deep: no recursion. */
export function prototypeKeyIn(value: unknown): string | null {
  const waiting: unknown[] = [value];
  while (waiting.length > 0) {
    const item = waiting.pop();
    if (typeof item !== 'object' || item === null) continue;
    if (Object.hasOwn(item, '__proto__')) return '__proto__';
    for (const [key, inner] of Object.entries(item) as [string, unknown][]) {
      if (key === 'constructor' && typeof inner === 'object' && inner !== null && Object.hasOwn(inner, 'prototype')) return 'constructor.prototype';
      waiting.push(inner);
    }
  }
  return null;
}

export const prototypeKeyProblem = (key: string): string => `must not have the key ${key}, which would change what is inherited`;
