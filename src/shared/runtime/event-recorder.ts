import type { Json, JsonObject } from '../foundation/json.ts';
import { HoldfastError } from '../model/errors.ts';
import { type EventRow, eventTable } from '../model/events.ts';
import { limits } from '../model/limits.ts';
import type { EventLog, NewEvent } from '../ports/event-log.ts';
import type { Log } from '../ports/log.ts';

/**
 * A log whose lines are also recorded as events when the event table has their word: what happens is said once, at one
 * place. Only the facts that the table names go along, whatever the level of the log.
 */
export function recordingLog(log: Log, events: Pick<EventLog, 'record'>, base: object = {}): Log {
  const at = (level: 'debug' | 'info' | 'warn' | 'error') => (event: string, facts: object = {}) => {
    log[level](event, facts);
    const row = Object.hasOwn(eventTable, event) ? eventTable[event] : undefined;
    if (row !== undefined) events.record(eventOf(event, row, { ...base, ...facts }));
  };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (facts) => recordingLog(log.child(facts), events, { ...base, ...facts }),
  };
}

function eventOf(event: string, row: EventRow, facts: Readonly<Record<string, unknown>>): NewEvent {
  const nameIn = (fact: string | null): string | null => {
    const value = fact === null ? undefined : facts[fact];
    return typeof value === 'string' ? redact(value) : null;
  };
  const kept: JsonObject = {};
  for (const name of row.facts) if (Object.hasOwn(facts, name)) kept[name] = jsonOf(facts[name], 0);
  return { kind: row.kind, event, location: nameIn(row.location), who: nameIn(row.who), facts: kept };
}

const MAX_DEPTH = 3;
const MAX_ITEMS = 50;

function jsonOf(value: unknown, depth: number): Json {
  if (typeof value === 'string') return redact(value);
  if (typeof value === 'number' || typeof value === 'boolean' || value === null || value === undefined) return value ?? null;
  // The text of a bug may hold anything.
  if (value instanceof Error) return value instanceof HoldfastError ? redact(value.message) : value.name;
  if (typeof value !== 'object' || depth >= MAX_DEPTH) return '…';
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((item) => jsonOf(item, depth + 1));
  const entries = Object.entries(value).slice(0, MAX_ITEMS);
  return Object.fromEntries(entries.map(([name, item]) => [name, jsonOf(item, depth + 1)]));
}

const ENROLMENT = 'holdfast-enrol:';
/** A key as a number in hexadecimal. No text that is shorter has to be cut. */
const SHORTEST_KEY = 32;

/** Somebody will paste a key where a name belongs: what looks like one of our secrets is left out, and texts are cut. */
function redact(text: string): string {
  if (text.length < SHORTEST_KEY && !text.includes(ENROLMENT)) return text;
  const longest = limits.eventTextLength;
  const safe = text.slice(0, 2 * longest).replaceAll(/holdfast-enrol:\S*/g, `${ENROLMENT}…`).replaceAll(/[0-9a-f]{32,}/gi, '…');
  return safe.length > longest ? `${safe.slice(0, longest)}…` : safe;
}
