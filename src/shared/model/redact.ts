import { limits } from './limits.ts';

const ENROLMENT = 'holdfast-enrol:';
/** Secrets of keys have 64 digits in hexadecimal; so many may be left of one that was cut. Names of traces and of commits have 32 and 40. */
const SHORTEST_KEY = 48;
const KEY = new RegExp(`[0-9a-f]{${SHORTEST_KEY},}`, 'gi');

/** Somebody will paste a key where a name belongs: what looks like one of our secrets is left out. */
export function withoutKeys(text: string): string {
  // One of each command has a dozen texts: most are too short for anything.
  if (text.length < ENROLMENT.length || (text.length < SHORTEST_KEY && !text.includes(ENROLMENT))) return text;
  return text.replaceAll(/holdfast-enrol:\S*/g, `${ENROLMENT}…`).replaceAll(KEY, '…');
}

/** The same, and cut. */
export function redact(text: string): string {
  const longest = limits.eventTextLength;
  const safe = withoutKeys(text.length > longest ? text.slice(0, 2 * longest) : text);
  return safe.length > longest ? `${safe.slice(0, longest)}…` : safe;
}

/** How deep what is said of a request goes. */
const DEPTH = 4;

/** What a line of the log says, without keys in its texts: a copy only where there are any, for there is a line for each command. */
export function factsWithoutKeys<T extends object>(facts: T, depth = DEPTH): T {
  let copy: T | null = null;
  for (const name in facts) {
    const value: unknown = facts[name];
    const safe = typeof value === 'string' ? withoutKeys(value) : innerWithoutKeys(value, depth - 1);
    if (safe !== value) copy = Object.assign(copy ?? (Array.isArray(facts) ? [...facts] : { ...facts }), { [name]: safe }) as T;
  }
  return copy ?? facts;
}

function innerWithoutKeys(value: unknown, depth: number): unknown {
  // Of errors the log has what is ours.
  return typeof value !== 'object' || value === null || value instanceof Error || depth === 0 ? value : factsWithoutKeys(value, depth);
}
