import type { JournalEntry } from '../../../src/shared/ports/control-journal.ts';
import type { Terms } from '../../../src/shared/model/control.ts';
import { limits } from '../../../src/shared/model/limits.ts';
import type { Timer } from '../../../src/shared/ports/clock.ts';
import { FakeClock } from '../fake-clock.ts';
import { Disk } from './disk.ts';
import { Site } from './site.ts';
import { Transcript } from './transcript.ts';

/** A master, its locations with their edges, and a clock that moves only when told to. */
export class World {
  readonly clock = new FakeClock();
  readonly transcript = new Transcript(() => this.clock.monotonicMs());
  readonly sites = new Map<string, Site>();
  readonly masterDisk = new Disk(this.clock);
  showRenewals = false;
  #masterRuns = false;
  #booted = false;
  #waitForEdges: Timer | null = null;
  #backup: JournalEntry[] = [];

  addSite(name: string, terms: Terms): void {
    const world = {
      clock: this.clock,
      transcript: this.transcript,
      masterDisk: this.masterDisk,
      masterRuns: () => this.#masterRuns,
      showsRenewals: () => this.showRenewals,
      masterStepped: () => this.#edgesAwaited(),
    };
    this.sites.set(name, new Site(name, terms, world));
  }

  get masterRuns(): boolean {
    return this.#masterRuns;
  }

  /** Loads, waits for the edges for a bounded time, and only then makes takeovers that are due. */
  async bootMaster(): Promise<void> {
    this.#masterRuns = true;
    for (const site of this.sites.values()) await site.bootMaster();
    this.#waitForEdges = this.clock.after(limits.masterWaitForEdgesMs, () => this.#bootMaster());
  }

  stopMaster(powerLost: boolean): void {
    this.#masterRuns = false;
    this.#booted = false;
    this.#waitForEdges?.cancel();
    for (const site of this.sites.values()) site.stopMaster(powerLost);
    this.masterDisk.crash();
  }

  async backUp(): Promise<void> {
    this.#backup = await this.masterDisk.journal.load();
  }

  async restore(): Promise<void> {
    const done = this.masterDisk.restore(this.#backup);
    for (const site of this.sites.values()) site.judge.restored('master');
    await this.clock.advance(0);
    await done;
  }

  violations(): string[] {
    return [...this.sites.values()].flatMap(({ name, judge }) => judge.violations.map((violation) => `${name}: ${violation}`));
  }

  #edgesAwaited(): void {
    const awaited = [...this.sites.values()].some(({ master }) => master?.state.link?.phase !== 'confirmed');
    if (!awaited && this.#masterRuns && !this.#booted) this.#bootMaster();
  }

  #bootMaster(): void {
    this.#booted = true;
    this.#waitForEdges?.cancel();
    // After the step that ended the wait, not within it.
    this.clock.after(0, () => {
      for (const site of this.sites.values()) site.booted();
    });
  }
}
