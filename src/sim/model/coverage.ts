import type { ControlMessage } from '../../shared/control/messages.ts';
import type { Party } from '../../shared/model/control.ts';

interface Named {
  state: string;
  link: object | null;
}

/** What the search has been through, so that a part of the protocol that is never reached shows. */
export class Coverage {
  readonly #steps = new Set<string>();
  readonly #others = new Set<string>();

  step(party: Party, from: Named, to: Named, reason: string): void {
    const phase = to.link !== null && 'phase' in to.link ? String(to.link.phase) : '';
    this.#steps.add(`${party}|${from.state}|${to.state}|${phase}|${reason}`);
  }

  message(message: ControlMessage): void {
    this.#others.add(message.t === 'negotiate' ? `verdict ${message.reason}` : `message ${message.t}`);
  }

  /** Every state, transition, phase of a dialogue, reason, verdict and kind of message that was reached. */
  reached(): Set<string> {
    const reached = new Set(this.#others);
    for (const step of this.#steps) {
      const [party, from, to, phase, reason] = step.split('|');
      reached.add(`${party} ${to}`).add(`${party} says ${reason}`);
      if (from !== to) reached.add(`${party} ${from} → ${to}`);
      if (phase !== '') reached.add(`phase ${phase}`);
    }
    return reached;
  }
}
