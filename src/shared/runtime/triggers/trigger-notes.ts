import type { Clock } from '../../ports/clock.ts';
import type { ControlJournal } from '../../ports/control-journal.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { type ToldMemory, toTold, type TriggerMemory } from '../../triggers/memory.ts';
import type { PeerLink } from '../peer/peer-link.ts';

export interface TriggerNotesOptions {
  location: string;
  clock: Clock;
  log: Log;
  metrics: Metrics;
  journal: Pick<ControlJournal, 'rememberTriggers' | 'triggers'>;
  /** To the other node, if there is a link. */
  tell(memory: ToldMemory): void;
}

interface Unsaved {
  /** null: forgotten. */
  memory: TriggerMemory | null;
  tell: boolean;
}

/** What a node remembers of the triggers of a location: in memory, in its journal, and told to the other side once stored. */
export class TriggerNotes {
  readonly #options: TriggerNotesOptions;
  readonly #memories = new Map<string, TriggerMemory>();
  readonly #unsaved = new Map<string, Unsaved>();
  #writing: Promise<void> = Promise.resolve();
  /** The write that comes next; it takes along whatever changes until then. */
  #next: Promise<void> | null = null;

  constructor(options: TriggerNotesOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    const { journal, location } = this.#options;
    for (const memory of await journal.triggers(location)) this.#memories.set(memory.instance, memory);
  }

  get(instance: string): TriggerMemory | null {
    return this.#memories.get(instance) ?? null;
  }

  /** Does nothing when nothing has changed. `tell`: it was not the other side that said so. */
  keep(memory: TriggerMemory, tell = true): void {
    const known = this.#memories.get(memory.instance);
    if (known === memory || JSON.stringify(known) === JSON.stringify(memory)) return;
    this.#memories.set(memory.instance, memory);
    this.#save(memory.instance, { memory, tell });
  }

  forgetAllBut(wanted: (instance: string) => boolean): void {
    for (const instance of [...this.#memories.keys()].filter((id) => !wanted(id))) {
      this.#memories.delete(instance);
      this.#save(instance, { memory: null, tell: false });
    }
  }

  /** Resolves when all that is remembered now is stored, and told. Throws STORE_FULL, STORE_FAILED. */
  stored(): Promise<void> {
    if (this.#unsaved.size === 0) return this.#writing;
    if (this.#next !== null) return this.#next;
    const next = this.#writing.then(() => this.#write());
    this.#next = next;
    // Whoever waits for it is told; the write after it tries again.
    this.#writing = next.catch(() => undefined);
    return next;
  }

  settled(): Promise<void> {
    return this.#writing;
  }

  #save(instance: string, change: Unsaved): void {
    const waiting = this.#unsaved.get(instance);
    this.#unsaved.set(instance, { memory: change.memory, tell: change.tell || waiting?.tell === true });
    this.stored().catch(() => undefined);
  }

  async #write(): Promise<void> {
    const { clock, journal, location, log, metrics, tell } = this.#options;
    this.#next = null;
    const batch = [...this.#unsaved];
    this.#unsaved.clear();
    const memories = batch.flatMap(([, { memory }]) => memory ?? []);
    const forgotten = batch.flatMap(([instance, { memory }]) => (memory === null ? [instance] : []));
    try {
      await journal.rememberTriggers(location, memories, forgotten);
    } catch (error) {
      for (const [instance, change] of batch) if (!this.#unsaved.has(instance)) this.#unsaved.set(instance, change);
      metrics.add('holdfast_journal_failures_total', {});
      log.error('journal-not-written', { location, error });
      throw error;
    }
    for (const [, change] of batch) if (change.memory !== null && change.tell) tell(toTold(change.memory, clock.wallMs()));
  }
}

/** To the other node; a newer memory of the same trigger replaces one that still waits. */
export function tellTrigger(peer: PeerLink, memory: ToldMemory): void {
  const firings = memory.firings.map(({ occurrence, epoch, agoMs }) => ({ occurrence, epoch: { ...epoch }, agoMs }));
  peer.post('trigger', { ...memory, epoch: { ...memory.epoch }, firings }, { conflateKey: `trigger\n${memory.instance}` });
}
