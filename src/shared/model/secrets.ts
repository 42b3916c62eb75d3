import { type Json, type JsonObject, pathText } from '../foundation/json.ts';

/**
 * Values of settings that are sealed at rest: written as `{ "$secret": … }`, stored, replicated and shown as
 * `{ "$sealed": "…" }`. docs/decisions/0018-settings-at-rest.md. What seals and opens them is in settings-keys.ts.
 */

const PLAIN = '$secret';
const SEALED = '$sealed';

/** Where a value stands: the id of its document, then the names and indexes that lead to it, from `settings` on. */
export type SecretPlace = readonly (string | number)[];

/** A place in JSON that says that its value is secret. */
export type Mark =
  | { form: 'plain'; value: Json }
  | { form: 'sealed'; text: string }
  /** Neither: what is wrong with it. */
  | { form: 'wrong'; problem: string };

export const sealedMark = (text: string): JsonObject => ({ [SEALED]: text });

export function markOf(value: Json | undefined): Mark | null {
  if (!isObject(value) || (!Object.hasOwn(value, PLAIN) && !Object.hasOwn(value, SEALED))) return null;
  if (Object.keys(value).length > 1) return { form: 'wrong', problem: `must have no other names beside ${PLAIN} or ${SEALED}` };
  const { [PLAIN]: plain, [SEALED]: text } = value;
  if (plain !== undefined) return hasMarks(plain) ? { form: 'wrong', problem: 'has a secret within a secret' } : { form: 'plain', value: plain };
  return typeof text === 'string' ? { form: 'sealed', text } : { form: 'wrong', problem: `must be the text that was exported as ${SEALED}` };
}

export const hasMarks = (value: Json): boolean =>
  markOf(value) !== null || (typeof value === 'object' && value !== null && Object.values(value).some(hasMarks));

/** The value with what `replace` makes of each mark in its place. */
export function replaceMarks(value: Json, place: SecretPlace, replace: (mark: Mark, place: SecretPlace, value: Json) => Json): Json {
  const mark = markOf(value);
  if (mark !== null) return replace(mark, place, value);
  if (Array.isArray(value)) return value.map((item, index) => replaceMarks(item, [...place, index], replace));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, replaceMarks(item, [...place, name], replace)]));
}

/** The settings of a document with what `replace` makes of each mark in its place. */
export const replaceInSettings = (id: string, settings: JsonObject, replace: (mark: Mark, place: SecretPlace, value: Json) => Json): JsonObject =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, replaceMarks(value, [id, 'settings', name], replace)]));

/** What is wrong with settings that are one mark as a whole; null: they are not. */
export const wholeProblem = (settings: JsonObject): string | null =>
  markOf(settings) === null ? null : 'cannot be sealed as a whole; seal the values in them';

/** Texts of the sealed values in settings. */
export function sealedTexts(settings: JsonObject): string[] {
  const texts: string[] = [];
  replaceInSettings('', settings, (mark, _, value) => {
    if (mark.form === 'sealed') texts.push(mark.text);
    return value;
  });
  return texts;
}

/** `mod-1: settings.login.password`. */
export const placeText = ([id, ...path]: SecretPlace): string => `${id}: ${pathText(path)}`;

/** What stands there; undefined: nothing. */
export function valueAt(value: Json | undefined, path: SecretPlace): Json | undefined {
  const [part, ...rest] = path;
  if (part === undefined || value === undefined) return value;
  if (Array.isArray(value)) return typeof part === 'number' ? valueAt(value[part], rest) : undefined;
  return isObject(value) && Object.hasOwn(value, part) ? valueAt(value[part], rest) : undefined;
}

/** Texts in an opened value, to be kept out of logs. */
export function textsIn(value: Json): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : [];
}

const HIDDEN = '[secret]';
/** Shorter ones would tear words apart, and guard nothing. */
const LEAST_CHARACTERS = 4;

/** The text without these secrets. */
export const hideSecrets = (text: string, secrets: Iterable<string>): string =>
  [...secrets].reduce((rest, secret) => (secret.length < LEAST_CHARACTERS ? rest : rest.replaceAll(secret, HIDDEN)), text);

const isObject = (value: Json | undefined): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value);
