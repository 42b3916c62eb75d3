/**
 * What a restore window should do, worked out the slow way and sharing nothing with the real thing: it asks `Intl`
 * what every minute of a few days is called there, then goes through the local minutes one by one.
 */
const MINUTE = 60_000;
const QUARTER = 15 * MINUTE;
const DAY_MINUTES = 1_440;

export class LocalMinutes {
  readonly startMs: number;
  readonly endMs: number;
  /** Local minute → the instants at which a clock on the wall shows it, in order. */
  readonly #instants = new Map<number, number[]>();
  readonly #firstLocal: number;
  readonly #lastLocal: number;

  constructor(timezone: string, startMs: number, endMs: number) {
    this.startMs = Math.ceil(startMs / MINUTE) * MINUTE;
    this.endMs = endMs;
    const toLocal = byTheQuarter(localTimeIn(timezone));
    let first = Infinity;
    let last = -Infinity;
    for (let ms = this.startMs; ms < endMs; ms += MINUTE) {
      const local = toLocal(ms) / MINUTE;
      if (!Number.isInteger(local)) throw new Error(`${timezone} is not on a whole minute at ${new Date(ms).toISOString()}`);
      const seen = this.#instants.get(local);
      if (seen === undefined) this.#instants.set(local, [ms]);
      else seen.push(ms);
      first = Math.min(first, local);
      last = Math.max(last, local);
    }
    this.#firstLocal = first;
    this.#lastLocal = last;
  }

  /** Every opening within the walk, in order. */
  openings(cron: string): number[] {
    const { opensOn, minutesOfDay, everyHour } = plainCron(cron);
    const openings = new Set<number>();
    for (let day = Math.floor(this.#firstLocal / DAY_MINUTES); day * DAY_MINUTES <= this.#lastLocal; day += 1) {
      if (!opensOn(day)) continue;
      for (const local of minutesOfDay.map((minute) => day * DAY_MINUTES + minute)) {
        if (local < this.#firstLocal || local > this.#lastLocal) continue;
        const instants = this.#instants.get(local) ?? [];
        if (everyHour) for (const instant of instants) openings.add(instant);
        else openings.add(instants[0] ?? this.#firstInstantAfterGap(local));
      }
    }
    return [...openings].sort((a, b) => a - b);
  }

  #firstInstantAfterGap(local: number): number {
    for (let later = local + 1; later <= this.#lastLocal; later += 1) {
      const instant = this.#instants.get(later)?.[0];
      if (instant !== undefined) return instant;
    }
    throw new Error('the walk ends inside a gap');
  }
}

/** The same, asked every quarter of an hour where clocks go on evenly from one to the next: `Intl` is slow. */
function byTheQuarter(toLocal: (ms: number) => number): (ms: number) => number {
  const known = new Map<number, number>();
  const offsetAt = (ms: number): number => {
    const offset = known.get(ms) ?? toLocal(ms) - ms;
    known.set(ms, offset);
    return offset;
  };
  return (ms) => {
    const quarter = Math.floor(ms / QUARTER) * QUARTER;
    const offset = offsetAt(quarter);
    return offset === offsetAt(quarter + QUARTER) ? ms + offset : toLocal(ms);
  };
}

/** Instants in [fromMs, toMs) at which the zone changes its offset, to the minute. */
export function clockChanges(timezone: string, fromMs: number, toMs: number): number[] {
  const toLocal = localTimeIn(timezone);
  const offset = (ms: number): number => toLocal(ms) - ms;
  const changes: number[] = [];
  const step = 12 * 60 * MINUTE;
  for (let ms = fromMs; ms + step <= toMs; ms += step) {
    if (offset(ms) === offset(ms + step)) continue;
    let at = ms;
    while (offset(at) === offset(ms)) at += MINUTE;
    changes.push(at);
  }
  return changes;
}

const converters = new Map<string, (ms: number) => number>();

/** What the clocks on the wall show, as the milliseconds that it would be in UTC. */
export function localTimeIn(timezone: string): (ms: number) => number {
  const known = converters.get(timezone) ?? converter(timezone);
  converters.set(timezone, known);
  return known;
}

function converter(timezone: string): (ms: number) => number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: timezone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
  return (ms) => {
    const [month = 0, day, year = 0, hour, minute, second] = format.format(ms).split(/[^\d]+/).map(Number);
    return Date.UTC(year, month - 1, day, hour, minute, second);
  };
}

/** Numbers, lists, ranges, steps and `*` only. Days are those since 1970 on the wall. */
function plainCron(cron: string): { opensOn: (day: number) => boolean; minutesOfDay: number[]; everyHour: boolean } {
  const [minute = '', hour = '', dayOfMonth = '', month = '', dayOfWeek = ''] = cron.split(' ');
  const minutes = values(minute, 0, 59);
  const hours = values(hour, 0, 23);
  const days = values(dayOfMonth, 1, 31);
  const months = values(month, 1, 12);
  const weekdays = new Set([...values(dayOfWeek, 0, 7)].map((value) => value % 7));
  const dayMatches = (date: Date): boolean => {
    if (dayOfMonth === '*') return weekdays.has(date.getUTCDay());
    if (dayOfWeek === '*') return days.has(date.getUTCDate());
    return days.has(date.getUTCDate()) || weekdays.has(date.getUTCDay());
  };
  return {
    opensOn: (day) => {
      const date = new Date(day * DAY_MINUTES * MINUTE);
      return months.has(date.getUTCMonth() + 1) && dayMatches(date);
    },
    minutesOfDay: [...hours].flatMap((one) => [...minutes].map((other) => one * 60 + other)),
    everyHour: hours.size === 24,
  };
}

function values(field: string, lowest: number, highest: number): Set<number> {
  const found = new Set<number>();
  for (const item of field.split(',')) {
    const [range = '', step = '1'] = item.split('/');
    const [from = lowest, to = item.includes('/') ? highest : from] = range === '*' ? [lowest, highest] : range.split('-').map(Number);
    for (let value = from; value <= to; value += Number(step)) found.add(value);
  }
  return found;
}
