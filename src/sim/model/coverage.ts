import type { ControlMessage } from '../../shared/control/messages.ts';
import type { Step } from '../../shared/control/step.ts';
import type { Party } from '../../shared/model/control.ts';

/** What the search has been through, so that a part of the protocol that is never reached shows. */
export class Coverage {
  readonly seen = new Map<string, number>();

  step(party: Party, from: unknown, step: Step<unknown, unknown, string>): void {
    const before = named(from);
    const after = named(step.state);
    this.#add(`${party} state ${after.state}`);
    if (before.state !== after.state) this.#add(`${party} ${before.state} → ${after.state}`);
    if (after.phase !== null) this.#add(`${party} phase ${after.phase}`);
    this.#add(`${party} reason ${step.reason}`);
  }

  message(message: ControlMessage): void {
    this.#add(`message ${message.t}`);
    if (message.t === 'negotiate') this.#add(`verdict ${message.reason}`);
  }

  action(party: Party, type: string): void {
    this.#add(`${party} action ${type}`);
  }

  missing(required: readonly string[]): string[] {
    return required.filter((name) => !this.seen.has(name));
  }

  merge(other: Coverage): void {
    for (const [name, count] of other.seen) this.seen.set(name, (this.seen.get(name) ?? 0) + count);
  }

  #add(name: string): void {
    this.seen.set(name, (this.seen.get(name) ?? 0) + 1);
  }
}

function named(machine: unknown): { state: string; phase: string | null } {
  if (typeof machine !== 'object' || machine === null || !('state' in machine)) return { state: '?', phase: null };
  const link = 'link' in machine ? machine.link : null;
  const phase = typeof link === 'object' && link !== null && 'phase' in link ? String(link.phase) : null;
  return { state: String(machine.state), phase };
}
