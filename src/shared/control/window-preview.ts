import { parseCronTimes, timeAtOrBefore } from './cron.ts';
import { type RestoreWindow, upcoming } from './restore-window.ts';
import { zoneSpans } from './zone-spans.ts';

/** One opening to come, for people: when, on both clocks, and what a clock change does to it. */
export interface PreviewedOpening {
  opensMs: number;
  closesMs: number;
  /** `2026-03-29 03:00 +02:00` in the zone of the window. */
  opensLocal: string;
  closesLocal: string;
  /** Sentences about clock changes; most often none. The rules are in docs/decisions/0002-restore-window-and-clock-changes.md. */
  notes: string[];
}

/** The next `count` openings after `wallMs`. */
export const previewWindow = (window: RestoreWindow, wallMs: number, count: number): PreviewedOpening[] =>
  upcoming(window, wallMs, count).map(({ opensMs, closesMs }) => ({
    opensMs,
    closesMs,
    opensLocal: localText(window.timezone, opensMs),
    closesLocal: localText(window.timezone, closesMs),
    notes: [...notesOf(window, opensMs, closesMs)],
  }));

interface ClockChange {
  atMs: number;
  /** Offsets of the zone before and after. */
  beforeMs: number;
  afterMs: number;
}

/** What is looked at around an opening: the second pass of an hour begins within this time. */
const NEAR_MS = 24 * 3_600_000;

function* notesOf(window: RestoreWindow, opensMs: number, closesMs: number): Generator<string> {
  const opensLocal = opensMs + offsetAt(window.timezone, opensMs);
  for (const change of changesIn(window.timezone, opensMs - 1, Math.max(closesMs, opensMs + NEAR_MS))) {
    const { atMs, beforeMs, afterMs } = change;
    const from = clockText(atMs + beforeMs);
    const to = clockText(atMs + afterMs);
    if (atMs === opensMs && afterMs > beforeMs && !isNamed(window, opensLocal)) {
      yield `moved: the clocks go forward from ${from} to ${to}, and the time in between opens right after`;
    } else if (atMs > opensMs && atMs < closesMs) {
      yield `the clocks go ${afterMs > beforeMs ? 'forward' : 'back'} from ${from} to ${to} while it is open; it is open for its full length`;
    }
    if (atMs > opensMs && afterMs < beforeMs && opensLocal >= atMs + afterMs && !isRecurrence(window)) {
      yield `the clocks go back from ${from} to ${to}: ${clockText(opensLocal)} comes twice, and it opens the first time only`;
    }
  }
}

/** Does the cron name this local time? On a clock that never changes local time is UTC. */
function isNamed({ start }: RestoreWindow, local: number): boolean {
  return timeAtOrBefore(parseCronTimes(start, 'UTC', 'window_start'), local) === local;
}

const isRecurrence = ({ start }: RestoreWindow): boolean => parseCronTimes(start, 'UTC', 'window_start').cron.everyHour;

function* changesIn(timezone: string, fromMs: number, toMs: number): Generator<ClockChange> {
  let previous: number | null = null;
  for (const { startMs, offsetMs } of zoneSpans(timezone).forwards(fromMs, 1)) {
    if (startMs > toMs) return;
    // Spans are cut at the turn of the year, too.
    if (previous !== null && previous !== offsetMs) yield { atMs: startMs, beforeMs: previous, afterMs: offsetMs };
    previous = offsetMs;
  }
}

function offsetAt(timezone: string, ms: number): number {
  for (const { offsetMs } of zoneSpans(timezone).forwards(ms, 0)) return offsetMs;
  return 0;
}

function localText(timezone: string, ms: number): string {
  const offset = offsetAt(timezone, ms);
  const minutes = Math.abs(offset) / 60_000;
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0');
  return `${new Date(ms + offset).toISOString().slice(0, 16).replace('T', ' ')} ${offset < 0 ? '-' : '+'}${two(minutes / 60)}:${two(minutes % 60)}`;
}

/** The hands of a clock that shows this local time. */
const clockText = (local: number): string => new Date(local).toISOString().slice(11, 16);
