import { type CronTimes, parseCronTimes, timeAfter, timeAtOrBefore } from '../control/cron.ts';
import { type Json, jsonEqual } from '../foundation/json.ts';
import { moduleRef, type Operator, type TriggerDocument, type TriggerOperand } from '../model/trigger.ts';

/** The conditions of a trigger, ready to be asked. Depends on its document only. */
export interface Rule {
  /** Each status variable that a comparison reads, once. */
  readonly variables: readonly Variable[];
  readonly comparisons: readonly Comparison[];
  readonly times: readonly Times[];
  readonly anyMatch: boolean;
  readonly debounceMs: number;
  /** Comparisons fire by themselves, when they begin to hold; otherwise they say whether a time or a webhook may. */
  readonly firesOnRise: boolean;
}

export interface Variable {
  module: string;
  index: number;
  key: string;
}

interface Comparison {
  left: Operand;
  operator: Operator;
  right: Operand;
}

type Operand = { constant: Json } | { variable: number; keys: readonly string[] };
type Times = { atMs: number } | { cron: CronTimes };

/** Throws INPUT_INVALID naming `cron` or `timezone`. */
export function ruleOf({ conditions, any_match: anyMatch, debounce_period: debounceMs, enable_webhook: webhook }: TriggerDocument): Rule {
  const variables: Variable[] = [];
  const operandOf = (operand: TriggerOperand): Operand => {
    if (typeof operand !== 'object') return { constant: operand };
    const wanted: Variable = { ...moduleRef(operand.mod), key: operand.status };
    const known = variables.findIndex((variable) => jsonEqual({ ...variable }, { ...wanted }));
    return { variable: known === -1 ? variables.push(wanted) - 1 : known, keys: operand.keys };
  };
  const comparisons = conditions.comparisons.map(({ left, operator, right }) => ({ left: operandOf(left), operator, right: operandOf(right) }));
  const times = conditions.time_dependents.map(
    (time): Times => (time.type === 'at' ? { atMs: time.time * 1_000 } : { cron: parseCronTimes(time.cron, time.timezone, 'cron') }),
  );
  const firesOnRise = comparisons.length > 0 && (anyMatch || (times.length === 0 && !webhook));
  return { variables, comparisons, times, anyMatch, debounceMs, firesOnRise };
}

/** Values of the variables of a rule, in its order; undefined: not known yet. */
export type Values = readonly (Json | undefined)[];

/** Do the comparisons hold? null: what is not known yet decides. */
export function holds({ comparisons, anyMatch }: Rule, values: Values): boolean | null {
  const outcomes = comparisons.map((comparison) => compare(comparison, values));
  if (outcomes.includes(anyMatch)) return anyMatch;
  return outcomes.includes(null) ? null : !anyMatch;
}

/** The latest time in (after, until]; null: none. */
export function latestTime({ times }: Rule, afterMs: number, untilMs: number): number | null {
  return extreme(Math.max, times.map((time) => before(time, untilMs)).filter((ms) => ms !== null && ms > afterMs));
}

/** The first time after that; null: never. */
export function nextTime({ times }: Rule, afterMs: number): number | null {
  return extreme(Math.min, times.map((time) => ('atMs' in time ? (time.atMs > afterMs ? time.atMs : null) : timeAfter(time.cron, afterMs))));
}

const before = (time: Times, ms: number): number | null => ('atMs' in time ? (time.atMs <= ms ? time.atMs : null) : timeAtOrBefore(time.cron, ms));

function extreme(choose: (...times: number[]) => number, times: readonly (number | null)[]): number | null {
  const there = times.filter((ms) => ms !== null);
  return there.length === 0 ? null : choose(...there);
}

function compare({ left, operator, right }: Comparison, values: Values): boolean | null {
  const [a, b] = [valueOf(left, values), valueOf(right, values)];
  return a === undefined || b === undefined ? null : operations[operator](a, b);
}

function valueOf(operand: Operand, values: Values): Json | undefined {
  if ('constant' in operand) return operand.constant;
  let value = values[operand.variable];
  if (value === undefined) return undefined;
  for (const key of operand.keys) {
    const inner: Json | undefined = typeof value === 'object' && value !== null && !Array.isArray(value) && Object.hasOwn(value, key) ? value[key] : null;
    value = inner ?? null;
  }
  return value;
}

const truthy = (value: Json): boolean => value !== false && value !== null;
/** Only numbers have an order: of anything else nothing is greater or less. */
const ordered =
  (test: (a: number, b: number) => boolean) =>
  (a: Json, b: Json): boolean =>
    typeof a === 'number' && typeof b === 'number' && test(a, b);

const operations: Readonly<Record<Operator, (a: Json, b: Json) => boolean>> = {
  equal: jsonEqual,
  not_equal: (a, b) => !jsonEqual(a, b),
  greater_than: ordered((a, b) => a > b),
  greater_than_or_equal: ordered((a, b) => a >= b),
  less_than: ordered((a, b) => a < b),
  less_than_or_equal: ordered((a, b) => a <= b),
  and: (a, b) => truthy(a) && truthy(b),
  or: (a, b) => truthy(a) || truthy(b),
  exclusive_or: (a, b) => truthy(a) !== truthy(b),
};
