import { limits } from './limits.ts';

const ENROLMENT = 'holdfast-enrol:';
/** A key as a number in hexadecimal. No text that is shorter has to be cut. */
const SHORTEST_KEY = 32;

/** Somebody will paste a key where a name belongs: what looks like one of our secrets is left out, and texts are cut. */
export function redact(text: string): string {
  if (text.length < SHORTEST_KEY && !text.includes(ENROLMENT)) return text;
  const longest = limits.eventTextLength;
  const safe = text.slice(0, 2 * longest).replaceAll(/holdfast-enrol:\S*/g, `${ENROLMENT}…`).replaceAll(/[0-9a-f]{32,}/gi, '…');
  return safe.length > longest ? `${safe.slice(0, longest)}…` : safe;
}
