import { CronExpressionParser } from 'cron-parser';
import { HoldfastError } from '../model/errors.ts';
import { type Span, type ZoneSpans, zoneSpans } from './zone-spans.ts';

/**
 * The times that a cron with 5 fields names in a time zone.
 * The rules for clock changes are in docs/decisions/0002-restore-window-and-clock-changes.md.
 */
export interface CronTimes {
  readonly cron: Cron;
  readonly zone: ZoneSpans;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** 29 February is the rarest day that a cron can name: up to 8 years apart (2096 to 2104). */
const RAREST_YEARS = 8;

/** Throws INPUT_INVALID naming `field` or `timezone`. */
export function parseCronTimes(text: string, timezone: string, field: string): CronTimes {
  return { cron: parseCron(text.trim().replaceAll(/\s+/g, ' '), field), zone: zoneSpans(timezone) };
}

/** The first time after `ms`; null: never. */
export function timeAfter({ cron, zone }: CronTimes, ms: number): number | null {
  for (const span of zone.forwards(ms, RAREST_YEARS)) {
    if (span.startMs > ms && fallsIntoGap(cron, span)) return span.startMs;
    const from = Math.max(firstNewLocal(cron, span), ms + 1 + span.offsetMs);
    const local = firstMatch(cron, from, span.endMs + span.offsetMs);
    if (local !== null) return local - span.offsetMs;
  }
  return null;
}

/** The latest time at or before `ms`; null: never. */
export function timeAtOrBefore({ cron, zone }: CronTimes, ms: number): number | null {
  for (const span of zone.backwards(ms, RAREST_YEARS)) {
    const before = Math.min(span.endMs, ms + 1) + span.offsetMs;
    const local = lastMatch(cron, firstNewLocal(cron, span), before);
    if (local !== null) return local - span.offsetMs;
    if (fallsIntoGap(cron, span)) return span.startMs;
  }
  return null;
}

/** A time of day that the clocks skipped comes at the first instant after the gap. */
function fallsIntoGap(cron: Cron, span: Span): boolean {
  return !cron.everyHour && firstMatch(cron, span.clockBeforeMs, span.startMs + span.offsetMs) !== null;
}

/** A time of day that comes twice counts the first time only: in the second pass nothing is new until the clock is past the first. */
function firstNewLocal(cron: Cron, span: Span): number {
  const local = span.startMs + span.offsetMs;
  return cron.everyHour ? local : Math.max(local, span.clockBeforeMs);
}

/* Cron on a local clock that never changes */

interface Cron {
  minutes: readonly number[];
  hours: readonly number[];
  /** Every hour of the day: a recurrence in time that passes, not a time of day. Clock changes do not touch it. */
  everyHour: boolean;
  months: ReadonlySet<number>;
  /** null: `*`. When both are given, a day of either will do: the old rule of cron. */
  daysOfMonth: ReadonlySet<number> | null;
  daysOfWeek: ReadonlySet<number> | null;
}

/** The first matching local minute in [from, before). */
function firstMatch(cron: Cron, from: number, before: number): number | null {
  for (let day = Math.floor(from / DAY_MS); day * DAY_MS < before; day += 1) {
    if (!matchesDay(cron, day)) continue;
    for (const hour of cron.hours) {
      for (const minute of cron.minutes) {
        const local = day * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS;
        if (local >= before) return null;
        if (local >= from) return local;
      }
    }
  }
  return null;
}

/** The last matching local minute in [from, before). */
function lastMatch(cron: Cron, from: number, before: number): number | null {
  for (let day = Math.floor((before - 1) / DAY_MS); (day + 1) * DAY_MS > from; day -= 1) {
    if (!matchesDay(cron, day)) continue;
    for (const hour of cron.hours.toReversed()) {
      for (const minute of cron.minutes.toReversed()) {
        const local = day * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS;
        if (local < from) return null;
        if (local < before) return local;
      }
    }
  }
  return null;
}

function matchesDay({ months, daysOfMonth, daysOfWeek }: Cron, day: number): boolean {
  const date = new Date(day * DAY_MS);
  if (!months.has(date.getUTCMonth() + 1)) return false;
  const ofMonth = daysOfMonth?.has(date.getUTCDate()) ?? false;
  const ofWeek = daysOfWeek?.has(date.getUTCDay()) ?? false;
  return (daysOfMonth === null && daysOfWeek === null) || ofMonth || ofWeek;
}

/* The text of a cron */

const cronFields = [
  { name: 'minute', value: String.raw`\d{1,2}`, takes: 'numbers 0 to 59' },
  { name: 'hour', value: String.raw`\d{1,2}`, takes: 'numbers 0 to 23' },
  { name: 'day of month', value: String.raw`\d{1,2}`, takes: 'numbers 1 to 31' },
  { name: 'month', value: String.raw`(?:\d{1,2}|[A-Za-z]{3})`, takes: 'numbers 1 to 12 or names such as jan' },
  { name: 'day of week', value: String.raw`(?:\d|[A-Za-z]{3})`, takes: 'numbers 0 to 7 (0 and 7 are Sunday) or names such as mon' },
] as const;

/** cron-parser reads the fields; what it would guess at, or what is no plain cron (4 fields, `L`, `#`, `H`, `@daily`), is refused here. */
function parseCron(start: string, field: string): Cron {
  const texts = start.split(' ');
  if (texts.length !== cronFields.length) {
    throw cronInvalid(
      field,
      start,
      `has ${start === '' ? 0 : texts.length} of 5 fields; give minute, hour, day of month, month and day of week, such as "0 3 * * *"`,
    );
  }
  const fields = texts.every(isPlain) ? parsedFields(start) : null;
  if (fields === null) throw cronInvalid(field, start, whatIsWrong(texts));
  const { minute, hour, dayOfMonth, month, dayOfWeek } = fields;
  const weekdays = dayOfWeek.values.map((value) => Number(value) % 7);
  return {
    minutes: minute.values,
    hours: hour.values,
    everyHour: hour.values.length === 24,
    months: new Set(month.values),
    daysOfMonth: dayOfMonth.isWildcard ? null : new Set(dayOfMonth.values.map(Number)),
    daysOfWeek: dayOfWeek.isWildcard ? null : new Set(weekdays),
  };
}

function isPlain(text: string, field: number): boolean {
  const value = cronFields[field]?.value;
  const item = String.raw`(?:\*|${value}(?:-${value})?)(?:/\d{1,2})?`;
  return new RegExp(`^${item}(?:,${item})*$`).test(text);
}

/** Tries each field alone, for the messages of cron-parser do not name it. */
function whatIsWrong(texts: string[]): string {
  for (const [i, { name, takes }] of cronFields.entries()) {
    const text = texts[i] ?? '';
    const alone = cronFields.map((_, j) => (i === j ? text : '*')).join(' ');
    if (isPlain(text, i) && parsedFields(alone) !== null) continue;
    return `has the ${name} "${text}"; give ${takes}, each once, as a list (1,3), a rising range (1-5), steps (*/2) or *`;
  }
  return 'names a day that no month of it has; give a day that exists';
}

function parsedFields(expression: string): ReturnType<typeof CronExpressionParser.parse>['fields'] | null {
  try {
    return CronExpressionParser.parse(expression, { tz: 'UTC' }).fields;
  } catch {
    return null;
  }
}

function cronInvalid(field: string, start: string, problem: string): HoldfastError {
  return new HoldfastError('INPUT_INVALID', { field, problem: `"${start}" ${problem}` });
}
