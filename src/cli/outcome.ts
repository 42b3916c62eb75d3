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
