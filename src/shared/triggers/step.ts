import type { Json } from '../foundation/json.ts';
import type { Epoch } from '../model/control.ts';
import { limits } from '../model/limits.ts';
import type { TriggerMemory } from './memory.ts';
import { holds, latestTime, nextTime, type Rule, type Values } from './rule.ts';

/** One trigger in one system, as whoever drives the location sees it. */
export interface TriggerState {
  readonly memory: TriggerMemory;
  readonly values: Values;
  /** Monotonic; null: not since this node remembers. */
  readonly firedAtMs: number | null;
  /** The next time that is due; null: none ever. Before it a look at the clock costs nothing. */
  readonly nextTimeMs: number | null;
}

export interface Now {
  wallMs: number;
  monotonicMs: number;
  epoch: Epoch;
}

export type TriggerEvent =
  /** Control has come: what changed while nobody drove counts now. */
  | { type: 'began' }
  | { type: 'value'; variable: number; value: Json }
  | { type: 'clock' }
  | { type: 'called'; call: string };

export interface TriggerStep {
  state: TriggerState;
  /** The occurrence that fires; null: nothing does. */
  fires: string | null;
  /** A stable word for why, or why not. */
  reason: 'fires' | 'nothing-new' | 'conditions-met' | 'conditions-not-met' | 'debounced' | 'called-before' | 'time-missed';
}

/**
 * What a node starts from. `fresh`: the trigger is new or was changed, so that what held before, and times that were due
 * before, are none of its business.
 */
export function beginTrigger(
  rule: Rule,
  known: TriggerMemory | null,
  { instance, values, fresh }: { instance: string; values: Values; fresh: boolean },
  now: Now,
): TriggerState {
  const blank = { instance, epoch: now.epoch, revision: 0, timesUntilMs: Math.floor(now.wallMs), met: false, rises: 0, count: 0, firings: [] };
  const memory = known ?? blank;
  const anew = { timesUntilMs: Math.max(memory.timesUntilMs, blank.timesUntilMs), met: holds(rule, values) ?? false };
  const [last] = memory.firings;
  const firedAtMs = last === undefined ? null : now.monotonicMs - Math.max(0, now.wallMs - last.wallMs);
  return withTimes(rule, { memory: fresh || known === null ? changed(memory, anew, now) : memory, values, firedAtMs, nextTimeMs: null });
}

/** Pure: the same state, event and moment give the same answer. What changes the memory has to be stored before it is acted on. */
export function stepTrigger(rule: Rule, state: TriggerState, event: TriggerEvent, now: Now): TriggerStep {
  switch (event.type) {
    case 'began':
      return compared(rule, state, now);
    case 'value':
      return compared(rule, { ...state, values: state.values.with(event.variable, event.value) }, now);
    case 'clock':
      return looked(rule, state, now);
    case 'called': {
      const occurrence = `call-${event.call}`;
      if (state.memory.firings.some((firing) => firing.occurrence === occurrence)) return { state, fires: null, reason: 'called-before' };
      return mayFire(rule, state.memory) ? fired(rule, state, occurrence, now) : { state, fires: null, reason: 'conditions-not-met' };
    }
  }
}

function changed(memory: TriggerMemory, fields: Partial<TriggerMemory>, { epoch }: Now): TriggerMemory {
  return { ...memory, ...fields, epoch, revision: memory.revision + 1 };
}

const mayFire = ({ comparisons, anyMatch }: Rule, { met }: TriggerMemory): boolean => anyMatch || comparisons.length === 0 || met;

/** A change of the outcome is remembered; only its beginning fires. */
function compared(rule: Rule, state: TriggerState, now: Now): TriggerStep {
  const { memory } = state;
  const met = rule.comparisons.length === 0 ? null : holds(rule, state.values);
  if (met === null || met === memory.met) return { state, fires: null, reason: 'nothing-new' };
  const rises = memory.rises + Number(met);
  const next = { ...state, memory: changed(memory, { met, rises }, now) };
  if (!met || !rule.firesOnRise) return { state: next, fires: null, reason: met ? 'conditions-met' : 'conditions-not-met' };
  return fired(rule, next, `rise-${rises}`, now);
}

/** Of several times that are due, the last one counts: what was missed is made up for once, and not after long. */
function looked(rule: Rule, state: TriggerState, now: Now): TriggerStep {
  const nothing: TriggerStep = { state, fires: null, reason: 'nothing-new' };
  // A clock that was far ahead must not silence a trigger until that day comes.
  const ahead = state.memory.timesUntilMs > now.wallMs + limits.triggerClockBackMs;
  const untilMs = ahead ? Math.floor(now.wallMs) : state.memory.timesUntilMs;
  if (!ahead && (state.nextTimeMs === null || now.wallMs < state.nextTimeMs)) return nothing;
  const dueMs = latestTime(rule, untilMs, now.wallMs);
  const memory = changed(state.memory, { timesUntilMs: dueMs ?? untilMs }, now);
  const next = withTimes(rule, { ...state, memory });
  if (dueMs === null) return { ...nothing, state: next };
  if (now.wallMs - dueMs > limits.triggerLateMs) return { state: next, fires: null, reason: 'time-missed' };
  return mayFire(rule, memory) ? fired(rule, next, `time-${Math.floor(dueMs / 1_000)}`, now) : { state: next, fires: null, reason: 'conditions-not-met' };
}

function fired(rule: Rule, state: TriggerState, occurrence: string, now: Now): TriggerStep {
  const { wallMs, monotonicMs, epoch } = now;
  const { memory, firedAtMs } = state;
  if (firedAtMs !== null && monotonicMs - firedAtMs < rule.debounceMs) return { state, fires: null, reason: 'debounced' };
  // By order, not by time: the clock may have been set back since the last one.
  const firings = [{ occurrence, epoch, wallMs }, ...memory.firings].slice(0, limits.triggerFirings);
  const next = { ...state, memory: changed(memory, { count: memory.count + 1, firings }, now), firedAtMs: monotonicMs };
  return { state: next, fires: occurrence, reason: 'fires' };
}

const withTimes = (rule: Rule, state: TriggerState): TriggerState => ({ ...state, nextTimeMs: nextTime(rule, state.memory.timesUntilMs) });
