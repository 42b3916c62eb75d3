import type { Json } from '../../foundation/json.ts';
import { jsonEqual } from '../../foundation/json.ts';
import { isOlder, sameEpoch } from '../../control/epoch.ts';
import { compareRevisions, type Epoch, type Revision } from '../../model/control.ts';
import { limits } from '../../model/limits.ts';
import type { ControlSnapshot } from '../../control/messages.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { StatusReport, StatusValue } from '../../ports/device-link.ts';
import type { StatusRoom, Stranger } from './status-room.ts';

/**
 * What is known of one variable. Changed in place, and without what its reports came in: of thousands of values each
 * would be copied by the garbage collector until the next one comes.
 */
class Entry {
  value: Json;
  epoch: Epoch;
  #generation: number;
  #number: number;
  #report: number;
  /** Of a long value; others are not counted. */
  bytes: number;

  constructor({ value, epoch, revision }: Reported, bytes: number) {
    this.value = value;
    this.epoch = epoch;
    this.bytes = bytes;
    [this.#generation, this.#number, this.#report] = revision;
  }

  get revision(): Revision {
    return [this.#generation, this.#number, this.#report];
  }

  change({ value, epoch, revision }: Reported, bytes: number): void {
    this.value = value;
    this.bytes = bytes;
    if (!sameEpoch(this.epoch, epoch)) this.epoch = epoch;
    [this.#generation, this.#number, this.#report] = revision;
  }
}

type Reported = Pick<StatusReport, 'value' | 'epoch' | 'revision'>;

/** What is known of one module. */
class ModuleValues implements Stranger {
  readonly entries = new Map<string, Entry>();
  isNamed: boolean;
  bytes = 0;

  constructor(isNamed: boolean) {
    this.isNamed = isNamed;
  }
}

/** Shorter values are bounded by their number. */
const LONG_BYTES = 1_024;

/** As many as a driver may have, and the two that the runtime keeps beside them. */
const MOST_VARIABLES = limits.statusKeys + 2;

export type StatusListener = (report: StatusReport) => void;

const watchKey = (location: string, module: string): string => `${location}\n${module}`;

/**
 * The last value of each status variable, by location and module. Values outlive changes of control:
 * a subscriber sees the old value until the new holder reports another.
 */
export class StatusBoard {
  readonly #metrics: Metrics;
  /** null: whoever reports drives here, or was asked. */
  readonly #room: StatusRoom | null;
  readonly #values = new Map<string, Map<string, ModuleValues>>();
  readonly #floors = new Map<string, Epoch>();
  readonly #listeners = new Set<StatusListener>();
  /** By location and module: a change must not cost a call for each of thousands of watchers of other modules. */
  readonly #watchers = new Map<string, Set<StatusListener>>();
  /** Reports of this process. An epoch is never taken up again by another one, so that they need not be kept. */
  #reports = 0;

  constructor(metrics: Metrics, room: StatusRoom | null = null) {
    this.#metrics = metrics;
    this.#room = room;
  }

  /** What a driver of this node reports; null: refused. */
  set({ location, module, key, value, epoch }: StatusValue): StatusReport | null {
    const revision: Revision = [epoch.generation, epoch.number, (this.#reports += 1)];
    const report: StatusReport = { location, module, key, value, epoch, revision };
    return this.hear(report) ? report : null;
  }

  /**
   * Fence 3: a value of an older epoch than the highest seen for its location is refused and counted, as is one for which there is no
   * room. `length`: of its text as it came from another node.
   */
  hear(status: StatusReport, length = 0): boolean {
    const floor = this.#floors.get(status.location);
    if (floor !== undefined && isOlder(status.epoch, floor)) {
      this.#metrics.add('holdfast_fencing_refusals_total', { fence: 'status' });
      return false;
    }
    this.raiseFloor(status.location, status.epoch);
    const module = this.#moduleOf(status.location, status.module);
    const known = module.entries.get(status.key);
    if (!module.isNamed && this.#room?.admits(module, status, known?.value) === false) return false;
    // Those of strangers have been counted.
    const bytes = length > LONG_BYTES && module.isNamed ? length : 0;
    const before = known?.bytes ?? 0;
    if (bytes !== before && this.#room?.takes(status, bytes - before) === false) return false;
    const changed = known === undefined || !jsonEqual(known.value, status.value);
    if (known === undefined) this.#add(module, status, bytes);
    else known.change(status, bytes);
    if (changed) {
      for (const listener of this.#listeners) listener(status);
      for (const listener of this.#watchers.get(watchKey(status.location, status.module)) ?? []) listener(status);
    }
    return true;
  }

  raiseFloor(location: string, epoch: Epoch): void {
    const floor = this.#floors.get(location);
    if (floor === undefined || isOlder(floor, epoch)) this.#floors.set(location, epoch);
  }

  /**
   * This node drives under a new epoch: what the one before handed over, and what was known here, become values of
   * that epoch. Under their old one the other node would refuse them. What its devices report counts from now on, also
   * when the one before had an epoch that could not be stored here, because the disk was full.
   */
  adopt(location: string, epoch: Epoch, snapshot: ControlSnapshot | null): void {
    this.#floors.set(location, epoch);
    for (const { entries } of this.#values.get(location)?.values() ?? []) for (const entry of entries.values()) entry.epoch = epoch;
    for (const { module, key, value } of snapshot?.status ?? []) this.set({ location, module, key, value, epoch });
  }

  /** Everything known of a location, as it travels with a hand-over or to a peer that just connected. */
  values(location: string): StatusReport[] {
    return Array.from(this.#values.get(location)?.keys() ?? []).flatMap((module) => this.valuesOf(location, module));
  }

  valuesOf(location: string, module: string): StatusReport[] {
    return Array.from(this.#entriesOf(location, module) ?? [], ([key, { value, epoch, revision }]) => ({ location, module, key, value, epoch, revision }));
  }

  /** Nobody is told of this module any more. */
  forget(location: string, module: string): void {
    this.#values.get(location)?.delete(module);
  }

  module(location: string, module: string): { values: Record<string, Json>; epoch: Epoch | null } {
    const values: Record<string, Json> = Object.create(null) as Record<string, Json>;
    let epoch: Epoch | null = null;
    for (const [key, entry] of this.#entriesOf(location, module) ?? []) {
      values[key] = entry.value;
      if (epoch === null || isOlder(epoch, entry.epoch)) epoch = entry.epoch;
    }
    return { values, epoch };
  }

  /** undefined: never set. */
  value(location: string, module: string, key: string): Readonly<{ value: Json; revision: Revision }> | undefined {
    return this.#entriesOf(location, module)?.get(key);
  }

  /** How many modules of a location say that they are connected. */
  connected(location: string): number {
    let count = 0;
    for (const { entries } of this.#values.get(location)?.values() ?? []) if (entries.get('connected')?.value === true) count += 1;
    return count;
  }

  /** How many modules of a location, of those that are wanted there, say that something keeps them from running. */
  failing(location: string, isWanted: (module: string) => boolean): number {
    let count = 0;
    for (const [module, { entries }] of this.#values.get(location) ?? []) {
      // What is connected runs; one that has no connection never says so.
      const isFailing = typeof entries.get('problem')?.value === 'string' && entries.get('connected')?.value !== true;
      if (isFailing && isWanted(module)) count += 1;
    }
    return count;
  }

  onChange(listener: StatusListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Calls back on each change of one module. Returns the way to stop. */
  watch(location: string, module: string, listener: StatusListener): () => void {
    const key = watchKey(location, module);
    const watchers = this.#watchers.get(key) ?? new Set();
    this.#watchers.set(key, watchers.add(listener));
    return () => {
      watchers.delete(listener);
      if (watchers.size === 0 && this.#watchers.get(key) === watchers) this.#watchers.delete(key);
    };
  }

  #entriesOf(location: string, module: string): Map<string, Entry> | undefined {
    return this.#values.get(location)?.get(module)?.entries;
  }

  /** One that is new is kept with its first value only. */
  #moduleOf(location: string, module: string): ModuleValues {
    return this.#values.get(location)?.get(module) ?? new ModuleValues(this.#room?.isNamed(location, module) ?? true);
  }

  #add(module: ModuleValues, status: StatusReport, bytes: number): void {
    if (module.entries.size >= MOST_VARIABLES) this.#dropOldest(module, status);
    module.entries.set(status.key, new Entry(status, bytes));
    const modules = this.#values.get(status.location) ?? new Map<string, ModuleValues>();
    this.#values.set(status.location, modules.set(status.module, module));
  }

  /** Not one that its driver has: all of these were reported since it started, and there is no room for more of them. */
  #dropOldest(module: ModuleValues, status: StatusReport): void {
    let oldest: [key: string, entry: Entry] | null = null;
    for (const [key, entry] of module.entries) {
      if (oldest === null || compareRevisions(entry.revision, oldest[1].revision) < 0) oldest = [key, entry];
    }
    if (oldest === null) return;
    const [key, { value, bytes }] = oldest;
    module.entries.delete(key);
    if (module.isNamed) this.#room?.takes(status, -bytes);
    else this.#room?.leaves(module, { ...status, key, value });
    this.#metrics.add('holdfast_status_dropped_total', { location: status.location, reason: 'too-many-variables' });
  }
}
