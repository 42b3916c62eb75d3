import { type CronTimes, parseCronTimes, timeAfter, timeAtOrBefore } from './cron.ts';

/**
 * The recurring time in which control may return to the edge by itself.
 * The rules for clock changes are in docs/decisions/0002-restore-window-and-clock-changes.md.
 */
export interface RestoreWindow {
  /** When it opens: cron with 5 fields. */
  readonly start: string;
  /** How long it stays open, in seconds that pass, whatever the clocks on the wall do. */
  readonly lengthSeconds: number;
  readonly timezone: string;
}

export interface WindowView {
  open: boolean;
  /** Identifies the occurrence while open: unix ms of the latest opening. */
  occurrence: number | null;
  /** When this occurrence ends; a later opening before that keeps the window open. */
  closesMs: number | null;
  /** The first opening after now, also while open. */
  nextOpensMs: number | null;
}

export interface WindowTimes {
  opensMs: number;
  closesMs: number;
}

/** A window as documents have it; null when only an operator hands back. Throws INPUT_INVALID naming the field. */
export function parseRestoreWindow(document: {
  window_start: string | null;
  window_length: number;
  timezone: string;
}): RestoreWindow | null {
  if (document.window_start === null) return null;
  const window: RestoreWindow = Object.freeze({
    start: document.window_start.trim().replaceAll(/\s+/g, ' '),
    lengthSeconds: document.window_length,
    timezone: document.timezone,
  });
  compiled(window);
  return window;
}

/** Depends on its two arguments only: not on when the process started, nor on what was asked before. */
export function windowAt(window: RestoreWindow, wallMs: number): WindowView {
  const { previousMs, nextMs } = openingsAround(compiled(window), Math.floor(wallMs));
  const closesMs = previousMs === null ? null : previousMs + window.lengthSeconds * 1_000;
  const open = closesMs !== null && wallMs < closesMs;
  return { open, occurrence: open ? previousMs : null, closesMs: open ? closesMs : null, nextOpensMs: nextMs };
}

/** The next `count` openings after `wallMs`. */
export function upcoming(window: RestoreWindow, wallMs: number, count: number): WindowTimes[] {
  const schedule = compiled(window);
  const times: WindowTimes[] = [];
  for (let fromMs = Math.floor(wallMs); times.length < count; ) {
    const opensMs = timeAfter(schedule.times, fromMs);
    if (opensMs === null) break;
    times.push({ opensMs, closesMs: opensMs + window.lengthSeconds * 1_000 });
    fromMs = opensMs;
  }
  return times;
}

/* Openings */

interface Openings {
  /** The latest opening at or before the time asked about. */
  previousMs: number | null;
  /** The first one after it. */
  nextMs: number | null;
}

interface Schedule {
  times: CronTimes;
  /** The last answer: good for every time between its two openings. */
  last: Openings | null;
}

/** Schedules by window object, so that a call per second and location costs two comparisons. */
const schedules = new WeakMap<RestoreWindow, Schedule>();

function compiled(window: RestoreWindow): Schedule {
  const known = schedules.get(window);
  if (known !== undefined) return known;
  const schedule: Schedule = { times: parseCronTimes(window.start, window.timezone, 'window_start'), last: null };
  schedules.set(window, schedule);
  return schedule;
}

function openingsAround(schedule: Schedule, ms: number): Openings {
  const { last } = schedule;
  if (last !== null && last.previousMs !== null && last.nextMs !== null && last.previousMs <= ms && ms < last.nextMs) {
    return last;
  }
  schedule.last = { previousMs: timeAtOrBefore(schedule.times, ms), nextMs: timeAfter(schedule.times, ms) };
  return schedule.last;
}
