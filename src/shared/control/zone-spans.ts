import { HoldfastError } from '../model/errors.ts';

/**
 * The local time of a time zone as spans of constant offset. A local time is written as the milliseconds that
 * it would be in UTC, so that `local = instant + offsetMs`.
 */
export interface Span {
  startMs: number;
  endMs: number;
  offsetMs: number;
  /** Where the local clock stood when this span began: below its first local time after a gap, above it when an hour repeats. */
  clockBeforeMs: number;
}

const DAY_MS = 86_400_000;
/** A location asks for this year and its neighbours; more only where a test or a wrong clock wanders about. */
const YEARS_KEPT = 32;

/** The spans of one zone, year by year (UTC), worked out from `Intl` when first asked for. */
export class ZoneSpans {
  readonly #format: Intl.DateTimeFormat;
  readonly #years = new Map<number, Span[]>();

  constructor(timezone: string) {
    this.#format = new Intl.DateTimeFormat('en-US', { timeZone: timezone, timeZoneName: 'longOffset' });
  }

  /** From the span that `fromMs` lies in onwards, for `years` calendar years. */
  *forwards(fromMs: number, years: number): Generator<Span> {
    const first = new Date(fromMs).getUTCFullYear();
    for (let year = first; year <= first + years; year += 1) {
      for (const span of this.#year(year)) if (span.endMs > fromMs) yield span;
    }
  }

  /** From the span that `fromMs` lies in back to earlier ones. */
  *backwards(fromMs: number, years: number): Generator<Span> {
    const first = new Date(fromMs).getUTCFullYear();
    for (let year = first; year >= first - years; year -= 1) {
      const spans = this.#year(year);
      for (let i = spans.length - 1; i >= 0; i -= 1) {
        const span = spans[i];
        if (span !== undefined && span.startMs <= fromMs) yield span;
      }
    }
  }

  #year(year: number): Span[] {
    const known = this.#years.get(year);
    if (known !== undefined) return known;
    if (this.#years.size >= YEARS_KEPT) this.#years.clear();
    const spans = this.#workOut(Date.UTC(year), Date.UTC(year + 1));
    this.#years.set(year, spans);
    return spans;
  }

  /** Looks once a day: no zone has changed its clocks twice within one. */
  #workOut(startMs: number, endMs: number): Span[] {
    const spans: Span[] = [];
    // From the day before, for an hour that repeats across the turn of the year.
    const fromMs = startMs - DAY_MS;
    let current: Span = { startMs: fromMs, endMs, offsetMs: this.#offsetAt(fromMs), clockBeforeMs: -Infinity };
    for (let dayMs = fromMs; dayMs < endMs; dayMs += DAY_MS) {
      const nextMs = Math.min(dayMs + DAY_MS, endMs - 1_000);
      const offsetMs = this.#offsetAt(nextMs);
      if (offsetMs === current.offsetMs) continue;
      current.endMs = this.#changeBetween(dayMs, nextMs, current.offsetMs);
      spans.push(current);
      current = { startMs: current.endMs, endMs, offsetMs, clockBeforeMs: current.endMs + current.offsetMs };
    }
    spans.push(current);
    return spans.filter((span) => span.endMs > startMs).map((span) => startingAt(span, startMs));
  }

  /** The first second after `lowMs` whose offset is no longer `offsetMs`. */
  #changeBetween(lowMs: number, highMs: number, offsetMs: number): number {
    let low = lowMs;
    let high = highMs;
    while (high - low > 1_000) {
      const middle = low + Math.floor((high - low) / 2_000) * 1_000;
      if (this.#offsetAt(middle) === offsetMs) low = middle;
      else high = middle;
    }
    return high;
  }

  #offsetAt(ms: number): number {
    // "…, GMT", "…, GMT+05:45", and for some years long ago "…, GMT-00:44:30".
    const match = /GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(this.#format.format(ms));
    const [, sign, hours = '0', minutes = '0', seconds = '0'] = match ?? [];
    const offset = (Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds)) * 1_000;
    return sign === '-' ? -offset : offset;
  }
}

/** Cuts off what lies before `startMs`. */
function startingAt(span: Span, startMs: number): Span {
  if (span.startMs >= startMs) return span;
  return { ...span, startMs, clockBeforeMs: Math.max(span.clockBeforeMs, startMs + span.offsetMs) };
}

/** One per zone name: what it remembers depends on the zone only, never on who asked or when. */
const zones = new Map<string, ZoneSpans>();

/** Throws INPUT_INVALID on `timezone` when this machine does not know the zone. */
export function zoneSpans(timezone: string): ZoneSpans {
  const key = timezone.toLowerCase();
  const known = zones.get(key);
  if (known !== undefined) return known;
  // Offsets such as +02:00 are zones to some versions of Node and not to others, and never change their clocks.
  if (!/^[A-Za-z]/.test(timezone)) throw unknownZone(timezone);
  let spans: ZoneSpans;
  try {
    spans = new ZoneSpans(timezone);
  } catch (error) {
    if (error instanceof RangeError) throw unknownZone(timezone);
    throw error;
  }
  zones.set(key, spans);
  return spans;
}

function unknownZone(timezone: string): HoldfastError {
  return new HoldfastError('INPUT_INVALID', {
    field: 'timezone',
    problem: `"${timezone}" is not a known time zone; give a name of the IANA database, such as Europe/Berlin, or UTC`,
  });
}
