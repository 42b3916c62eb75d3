import { InvalidArgumentError } from 'commander';
import type { Outcome } from './deps.ts';
import { CliFailure } from './failures.ts';
import { cleanLines } from './format.ts';
import type { Session } from './session.ts';

/** Prints how a check ended; a failed one fails the command. */
export function showOutcome(session: Session, outcome: Outcome): void {
  session.result(outcome, () => (outcome.ok ? `${cleanLines(outcome.summary)}\n` : ''));
  if (!outcome.ok) throw new CliFailure(outcome.summary, 'run it again with the same options to see the same');
}

export function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It must be a whole number above 0.');
  return Number(text);
}

/** A date or a time of ISO 8601 as unix milliseconds. A time without a zone is one of this machine, a date begins in UTC. */
export function instantMs(text: string): number {
  // Of any other text the runtime makes some date or other: 5 would be in May 2001.
  const atMs = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(atMs) || atMs < 0) throw new InvalidArgumentError('It must be a date or a time, such as 2026-10-24 or 2026-10-24T18:00Z.');
  return atMs;
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** `90s`, `30m`, `8h`, `7d` in seconds. */
export function durationSeconds(text: string): number {
  const [, count = '', unit = ''] = /^([1-9]\d{0,8})([smhd])$/.exec(text) ?? [];
  const seconds = Number(count) * (UNITS[unit] ?? 0);
  if (seconds === 0) throw new InvalidArgumentError('It must be a whole number with a unit, such as 90s, 30m, 8h or 7d.');
  return seconds;
}
