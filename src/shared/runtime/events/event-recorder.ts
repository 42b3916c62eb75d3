import type { Json, JsonObject } from '../../foundation/json.ts';
import { factsWithoutKeys, redact } from '../../model/redact.ts';
import { HoldfastError } from '../../model/errors.ts';
import { type EventRow, eventTable } from '../../model/events.ts';
import type { EventLog, NewEvent } from '../../ports/event-log.ts';
import type { Log } from '../../ports/log.ts';

/**
 * A log whose lines are also recorded as events when the event table has their word: what happens is said once, at one
 * place. Only the facts that the table names go along, whatever the level of the log. What clients have asked for is on record
 * without the keys that they put in the wrong place.
 */
export function recordingLog(log: Log, events: Pick<EventLog, 'record'>, base: object = {}): Log {
  const hasBase = Object.keys(base).length > 0;
  const at = (level: 'debug' | 'info' | 'warn' | 'error') => (event: string, facts: object = {}) => {
    const row = rows.get(event);
    const said = row !== undefined || event === 'command-served' ? factsWithoutKeys(facts) : facts;
    log[level](event, said);
    // One for each command: what is not copied here, counts.
    if (row !== undefined) events.record(eventOf(event, row, hasBase ? { ...base, ...said } : said));
  };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (facts) => recordingLog(log.child(facts), events, { ...base, ...facts }),
  };
}

/** The event table, with the facts as sets: most of those that a row names are not there. */
const rows = new Map(Object.entries(eventTable).map(([event, { facts, ...row }]) => [event, { ...row, facts: new Set(facts) }]));
type Row = Omit<EventRow, 'facts'> & { facts: ReadonlySet<string> };

function eventOf(event: string, row: Row, facts: object): NewEvent {
  let location: string | null = null;
  let who: string | null = null;
  const kept: JsonObject = {};
  for (const [name, value] of Object.entries(facts) as [string, unknown][]) {
    if (name === row.location) location = nameOf(value);
    if (name === row.who) who = nameOf(value);
    if (row.facts.has(name)) kept[name] = jsonOf(value, 0);
  }
  return { kind: row.kind, event, location, who, facts: kept };
}

const nameOf = (value: unknown): string | null => (typeof value === 'string' ? redact(value) : null);

const MAX_DEPTH = 3;
const MAX_ITEMS = 50;

function jsonOf(value: unknown, depth: number): Json {
  if (typeof value === 'string') return redact(value);
  if (typeof value === 'number' || typeof value === 'boolean' || value === null || value === undefined) return value ?? null;
  // The text of a bug may hold anything.
  if (value instanceof Error) return value instanceof HoldfastError ? redact(value.message) : value.name;
  if (typeof value !== 'object' || depth >= MAX_DEPTH) return '…';
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((item) => jsonOf(item, depth + 1));
  const json: JsonObject = {};
  let left = MAX_ITEMS;
  for (const [name, item] of Object.entries(value)) {
    if (left === 0) break;
    // As a key this would be the prototype.
    if (name !== '__proto__') json[name] = jsonOf(item, depth + 1);
    left -= 1;
  }
  return json;
}
