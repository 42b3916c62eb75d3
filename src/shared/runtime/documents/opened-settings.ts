import type { Json, JsonObject } from '../../foundation/json.ts';
import { hasMarks, type Mark, placeText, replaceMarks, type SecretPlace, textsIn } from '../../model/secrets.ts';
import type { SealedSettings } from '../../ports/device-link.ts';
import type { SettingsKeys } from '../../ports/settings-keys.ts';

/** A document that lends a module its settings. */
interface Layer {
  id: string;
  settings: JsonObject;
}

/** Settings as a driver gets them. `sealed` is there only if something was. */
export interface OpenedSettings {
  settings: JsonObject;
  sealed?: SealedSettings;
}

/** The settings of all layers, of which the first that has a name counts; what is sealed opened as of the layer that it comes from. */
export function openSettings(layers: readonly Layer[], keys: SettingsKeys): OpenedSettings {
  const merged: JsonObject = Object.assign({}, ...layers.map(({ settings }) => settings).toReversed());
  if (!hasMarks(merged)) return { settings: merged };
  const ring = keys.ring();
  const secrets = new Set<string>();
  const problems: string[] = [];
  const open = (mark: Mark, place: SecretPlace, value: Json): Json => {
    if (mark.form === 'wrong') return value;
    const opened = mark.form === 'plain' ? ({ ok: true, value: mark.value } as const) : ring.open(mark.text, place);
    if (!opened.ok) problems.push(`${placeText(place)} ${opened.problem}`);
    for (const text of opened.ok ? textsIn(opened.value) : []) secrets.add(text);
    return opened.ok ? opened.value : null;
  };
  const settings = Object.entries(merged).map(([name, value]): [string, Json] => {
    const from = layers.find((layer) => Object.hasOwn(layer.settings, name));
    return [name, replaceMarks(value, [from?.id ?? '', 'settings', name], open)];
  });
  // The longest first: one may be part of another.
  const sealed = { secrets: [...secrets].toSorted((a, b) => b.length - a.length), problem: problems[0] ?? null };
  return { settings: Object.fromEntries(settings), sealed };
}
