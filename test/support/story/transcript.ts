import { formatEpoch } from '../../../src/shared/control/epoch.ts';
import type { ControlMessage, ControlSnapshot } from '../../../src/shared/control/messages.ts';
import type { Durable } from '../../../src/shared/control/step.ts';
import type { Terms } from '../../../src/shared/model/control.ts';

/** What happened, in the words of an operator: one line per event, indented lines for what followed from it. */
export class Transcript {
  readonly #nowMs: () => number;
  #startMs = 0;
  #lines: string[] = [];

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Times are counted from the beginning of each block of commands. */
  begin(): void {
    this.#startMs = this.#nowMs();
    this.#lines = [];
  }

  /** An answer to a command, without time. */
  say(line: string): void {
    this.#lines.push(line);
  }

  tell(who: string, what: string, details: readonly string[] = []): void {
    const time = `+${seconds(this.#nowMs() - this.#startMs)}`;
    this.#lines.push(`${time.padEnd(9)}${who.padEnd(16)}${what}`);
    for (const detail of details) this.#lines.push(`${' '.repeat(27)}${detail}`);
  }

  end(): string[] {
    const lines = this.#lines;
    this.#lines = [];
    return lines;
  }
}

export const seconds = (ms: number): string => `${(ms / 1_000).toFixed(2)}s`;

export function describeTerms({ failover, policy, timeoutMs, paused }: Terms): string {
  const words = [failover ? `failover ${policy}` : 'no failover', `timeout ${timeoutMs / 1_000}s`];
  if (paused) words.push('paused');
  return words.join(', ');
}

export function describeJournal({ epoch, floor, holder }: Durable): string {
  return `holder ${holder}, epoch ${formatEpoch(epoch)}, heard ${formatEpoch(floor)}`;
}

/** What is stored now and why; terms only when they differ from those stored before. */
export function describeRecord(record: Durable, before: Durable | null): string {
  const words = [describeJournal(record), record.reason];
  const terms = describeTerms(record.terms);
  if (before !== null && describeTerms(before.terms) !== terms) words.push(`terms: ${terms}`);
  return words.join(', ');
}

export function describeMessage(message: ControlMessage): string {
  const words = [`${message.t} #${message.negotiation}`];
  switch (message.t) {
    case 'hello':
      words.push(`"${message.state}, heard ${formatEpoch(message.epoch)}"`);
      break;
    case 'negotiate':
      words.push(`winner ${message.winner}: ${message.reason}`);
      break;
    case 'control.granted':
      words.push(`epoch ${formatEpoch(message.epoch)}${message.leaseMs === null ? '' : `, lease ${seconds(message.leaseMs)}`}`);
      break;
    case 'control.release':
    case 'control.renegotiate':
      words.push(message.reason);
      break;
    case 'control.released':
      words.push(`${message.reason}, heard ${formatEpoch(message.epoch)}`);
      break;
    case 'control.claimed':
      words.push(`epoch ${formatEpoch(message.epoch)}`);
      break;
    case 'control.renew':
    case 'control.renewed':
      words.push(`renewal ${message.renewal}`);
      break;
    case 'control.accepted':
      break;
  }
  const snapshot = 'snapshot' in message ? describeSnapshot(message.snapshot) : '';
  return words.join(' ') + (snapshot === '' ? '' : `, with ${snapshot}`);
}

export function describeSnapshot(snapshot: ControlSnapshot | null): string {
  return (snapshot?.status ?? []).map(({ module, key, value }) => `${module}.${key}=${JSON.stringify(value)}`).join(' ');
}
