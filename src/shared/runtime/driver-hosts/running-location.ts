import { isOlder } from '../../control/epoch.ts';
import type { CancelSignal } from '../../foundation/cancel.ts';
import { type Json, jsonEqual } from '../../foundation/json.ts';
import { limits } from '../../model/limits.ts';
import type { Epoch } from '../../model/control.ts';
import type { ModuleSnapshot, ModuleSpec } from '../../ports/device-link.ts';
import type { Slot } from './host-pool.ts';
import { keyOf } from './pending-call.ts';

/** A module and the driver host that it belongs to. */
export interface Placed {
  spec: ModuleSpec;
  slot: Slot;
  connected: boolean;
  /** It is being stopped: nothing starts it any more. */
  leaving: boolean;
  /** What of its code is tried live; null: nothing. */
  edited: string | null;
  /** Why it does not run; null: it does, or is being started. */
  problem: string | null;
  /** How it ended its last host; null: it did not. */
  fault: string | null;
}

/** A location from its start to its stop. */
export interface Location {
  readonly id: string;
  /** Counts the starts, so that the authority of an earlier one is never taken for this one's. */
  readonly run: number;
  /** Under which it was started. */
  readonly epoch: Epoch;
  readonly modules: Map<string, Placed>;
  /** Wanted modules whose settings could not be opened, and why: they are not started, or keep the settings that they have. */
  unopened: ReadonlyMap<string, string>;
  /** It has been started once: what changes from here on is news. */
  begun: boolean;
  /** Wanted modules that an operator holds back, and why. */
  readonly held: Map<string, { spec: ModuleSpec; reason: string }>;
  /** Aborts when an operator wants no more of a start or stop under way. */
  halt: AbortController;
  /** Aborts when the location stops. */
  readonly abort: AbortController;
  /** Starts and changes, one after the other. */
  tail: Promise<unknown>;
  stopping: Promise<ModuleSnapshot> | null;
}

/** How modules are started. */
export interface Launch {
  /** By module. */
  handover: Record<string, Json>;
  /** Aborts when control is lost or the location stops. */
  signal: AbortSignal;
  /** Aborts when an operator wants no more of it. */
  halt: AbortSignal;
}

/** Whether its settings are sealed at rest is nothing to the module. */
export function sameSpec({ sealed: _, ...a }: ModuleSpec, given: ModuleSpec | undefined): boolean {
  if (given === undefined) return false;
  const { sealed: __, ...b } = given;
  return jsonEqual(a, b);
}

/** Only the settings differ: the driver may take them without a new start. */
export const sameButSettings = (a: ModuleSpec, b: ModuleSpec | undefined): boolean =>
  b !== undefined && !sameSpec(a, b) && sameSpec({ ...a, settings: b.settings }, b);

export function bySlot(modules: Placed[]): Map<Slot, Placed[]> {
  const groups = new Map<Slot, Placed[]>();
  for (const placed of modules) {
    const group = groups.get(placed.slot);
    if (group === undefined) groups.set(placed.slot, [placed]);
    else group.push(placed);
  }
  return groups;
}

/** The modules of a host, of all locations. */
export function keysAt(locations: Iterable<Location>, slot: Slot): string[] {
  const there = (location: Location): Placed[] => [...location.modules.values()].filter((placed) => placed.slot === slot);
  return [...locations].flatMap((location) => there(location).map(({ spec }) => keyOf({ location: location.id, module: spec.id })));
}

/** Each batch is for one host: no round trip per module, and no message that holds the pipe. */
export function batchesOf(modules: Placed[]): Placed[][] {
  const batches: Placed[][] = [];
  for (const placed of bySlot(modules).values()) {
    for (let at = 0; at < placed.length; at += limits.modulesBatch) batches.push(placed.slice(at, at + limits.modulesBatch));
  }
  return batches;
}

export function countModules(locations: Iterable<Location>): { running: number; failed: number } {
  const counts = { running: 0, failed: 0 };
  for (const location of locations) {
    const failed = failedModules(location).length;
    counts.failed += failed;
    counts.running += wantedModules(location) - failed;
  }
  return counts;
}

/** A module that was unloaded is wanted all the same, and does not run. */
export const wantedModules = (location: Location): number => location.modules.size + neverStarted(location).length;

/** As a caller is told; null: nothing is known against it. */
export function whyNotRunning(location: Location | undefined, module: string): string | null {
  const placed = location?.modules.get(module);
  if (placed !== undefined) return placed.problem;
  return location?.held.get(module)?.reason ?? location?.unopened.get(module) ?? 'it was not started here';
}

/** Modules that do not run, and why. */
export function failedModules(location: Location): { module: string; problem: string }[] {
  const placed = [...location.modules].flatMap(([module, { problem }]) => (problem === null ? [] : [{ module, problem }]));
  return [...placed, ...neverStarted(location)];
}

function neverStarted({ modules, unopened, held }: Location): { module: string; problem: string }[] {
  const problems = new Map([...unopened, ...[...held].map(([module, { reason }]) => [module, reason] as const)]);
  return [...problems].filter(([module]) => !modules.has(module)).map(([module, problem]) => ({ module, problem }));
}

/** The work goes on; only the waiting ends. */
export function untilAborted<T>(work: Promise<T>, signal: CancelSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(signal.reason);
    if (signal.aborted) aborted();
    else signal.addEventListener('abort', aborted, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted));
  });
}

/**
 * Of a value that a module of this start reported. What was under way when the epoch rose is the holder's all the same:
 * fence 3 would refuse it, and nobody would say it again.
 */
export const presentEpoch = ({ epoch: started }: Location, reported: Epoch, present: Epoch): Epoch =>
  isOlder(reported, started) || isOlder(present, reported) ? reported : present;
