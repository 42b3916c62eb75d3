import type { Json } from '../../foundation/json.ts';
import { jsonEqual } from '../../foundation/json.ts';
import type { SiteDocument } from '../../model/documents.ts';
import { withoutDefaults } from './site-file.ts';

const SHOWN_CHARACTERS = 100;
/** Values of settings that are called so, or sealed, are never printed: plans end up in terminals and build logs. */
const SECRET_NAME = /pass|secret|token|key|\bpin\b|credential|auth|community|webhook|\$sealed/i;

/** What differs, a line per field; settings by name, lists by item. For a new document: what it says. */
export function diffLines(before: SiteDocument | null, after: SiteDocument): string[] {
  if (before === null) {
    return Object.entries(withoutDefaults(after)).flatMap(([field, value]) => fieldLines(field, undefined, value)).filter((line) => !line.startsWith('id: '));
  }
  const old: Record<string, Json> = { ...before };
  return Object.entries(after).flatMap(([field, value]) => (jsonEqual(old[field], value) ? [] : fieldLines(field, old[field], value)));
}

function fieldLines(field: string, before: Json | undefined, after: Json): string[] {
  if ((field === 'settings' || field === 'actions') && isMapping(after)) {
    // Maps, for settings may be called anything, also `toString`.
    const [old, now] = [new Map(Object.entries(isMapping(before) ? before : {})), new Map(Object.entries(after))];
    const changed = [...new Set([...old.keys(), ...now.keys()])].filter((name) => !jsonEqual(old.get(name), now.get(name)));
    return changed.map((name) => `${field}.${name}: ${settingLine(name, old.get(name), now.get(name))}`);
  }
  if (field === 'webhook_secret') return [`${field}: ${settingLine(field, before, after)}`];
  if (Array.isArray(before) && Array.isArray(after)) return [`${field}: ${listLine(before, after)}`];
  return [`${field}: ${valueLine(before, after)}`];
}

function settingLine(name: string, before: Json | undefined, after: Json | undefined): string {
  // A secret may lie deeper: what only looks harmless from outside is judged by all the names in it.
  if (!SECRET_NAME.test(name) && !SECRET_NAME.test(keysOf(before)) && !SECRET_NAME.test(keysOf(after))) return valueLine(before, after);
  if (before === undefined) return '(set, not shown)';
  return after === undefined ? '(removed)' : '(changed, not shown)';
}

const keysOf = (value: Json | undefined): string => {
  if (Array.isArray(value)) return value.map(keysOf).join(' ');
  return isMapping(value) ? Object.entries(value).map(([key, inner]) => `${key} ${keysOf(inner)}`).join(' ') : '';
};

function valueLine(before: Json | undefined, after: Json | undefined): string {
  if (before === undefined) return shown(after ?? null);
  return `${shown(before)} → ${after === undefined ? '(removed)' : shown(after)}`;
}

/** `+ added`, `- removed`, or that only the order changed. */
function listLine(before: Json[], after: Json[]): string {
  const added = after.filter((item) => !before.some((other) => jsonEqual(item, other))).map((item) => `+ ${shown(item)}`);
  const removed = before.filter((item) => !after.some((other) => jsonEqual(item, other))).map((item) => `- ${shown(item)}`);
  return added.length + removed.length === 0 ? `order changed to ${shown(after)}` : [...added, ...removed].join(', ');
}

function shown(value: Json): string {
  // A URI may carry a password.
  const text = JSON.stringify(value).replaceAll(/\/\/[^/@\s"]+@/g, '//…@');
  return text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, SHOWN_CHARACTERS)}…`;
}

const isMapping = (value: Json | undefined): value is Record<string, Json> => typeof value === 'object' && value !== null && !Array.isArray(value);
