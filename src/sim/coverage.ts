import { edgeStates, masterStates } from '../shared/control/messages.ts';
import type { VerdictReason } from '../shared/control/decide.ts';
import type { Party } from '../shared/model/control.ts';
import { type FaultKind, faultKinds } from './faults.ts';

/** Every row of the table of section 2. */
const verdicts: readonly VerdictReason[] = ['edge-kept-devices', 'operator-handback', 'window-open', 'master-loading', 'master-holds', 'no-takeover-happened'];

/** Every change of state that docs/control.md, section 3, allows. */
const transitions: readonly string[] = [
  'edge booting → connecting',
  'edge connecting → claiming',
  'edge connecting → standby',
  'edge standby → claiming',
  'edge claiming → holding',
  'edge claiming → releasing',
  'edge holding → releasing',
  'edge releasing → standby',
  'master loading → suspect',
  'master loading → standby',
  'master suspect → standby',
  'master standby → suspect',
  'master suspect → taking-over',
  'master taking-over → holding',
  'master taking-over → releasing',
  'master holding → releasing',
  'master releasing → suspect',
  'master releasing → standby',
];

/** What a run of seeds has been through: a part of the protocol that is never reached shows. */
export class SimCoverage {
  readonly #hits = new Map<string, number>();

  verdict(reason: string): void {
    this.#hit(`verdict ${reason}`);
  }

  step(party: Party, from: string, to: string): void {
    if (from !== to) this.#hit(`${party} ${from} → ${to}`);
  }

  fault(kind: FaultKind): void {
    this.#hit(`fault ${kind}`);
  }

  /** As plain data, so that it can come from another process. */
  get hits(): Record<string, number> {
    return Object.fromEntries(this.#hits);
  }

  add(hits: Record<string, number>): void {
    for (const [name, count] of Object.entries(hits)) this.#hit(name, count);
  }

  /** What was never reached. */
  missing(): string[] {
    return required.filter((name) => !this.#hits.has(name));
  }

  /** Changes of state that happened but that nobody listed. */
  unknown(): string[] {
    return [...this.#hits.keys()].filter((name) => name.includes(' → ') && !required.includes(name));
  }

  #hit(name: string, count = 1): void {
    this.#hits.set(name, (this.#hits.get(name) ?? 0) + count);
  }
}

const required: readonly string[] = [
  ...verdicts.map((verdict) => `verdict ${verdict}`),
  ...transitions,
  ...faultKinds.map((kind) => `fault ${kind}`),
];

/** Each state occurs in the list above; a state that is added must be added there. */
export const unlistedStates = (): string[] => {
  const all = [...edgeStates.map((state) => `edge ${state}`), ...masterStates.map((state) => `master ${state}`)];
  return all.filter((state) => {
    const [party = '', name = ''] = state.split(' ');
    return !transitions.some((line) => line.startsWith(`${party} `) && line.includes(name));
  });
};
