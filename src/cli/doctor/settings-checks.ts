import type { SealedFacts, SettingsKeyFacts } from './facts.ts';
import { plural } from '../format.ts';
import { type Finding, orOk, problem, shellWord } from './finding.ts';

const CHECK = 'sealed settings';
const SHOWN = 5;

/** Keys of sealed settings as a server would find them, and what of its documents they do not open. */
export function checkSettingsKeys({ file, problem: unusable, keys }: SettingsKeyFacts, sealed: readonly SealedFacts[]): Finding[] {
  const bad: Finding[] = [];
  if (unusable !== null) bad.push(problem(CHECK, unusable, `correct the file, or HOLDFAST_SETTINGS_KEYS_FILE; ${newKey(file)}`));
  const mode = file?.mode ?? 0;
  if (file !== null && (mode & 0o077) !== 0) {
    bad.push(problem(CHECK, `others may read the keys in ${file.path} (mode ${mode.toString(8)})`, `\`chmod 600 ${shellWord(file.path)}\``));
  }
  // Which it will open is seen once the file can be read.
  if (unusable === null) bad.push(...unopenedValues(CHECK, without(sealed, keys), file?.path ?? null));
  return orOk(bad, CHECK, `${plural(keys.length, 'key')}, ${plural(totalOf(sealed), 'value')}`);
}

/** A file that is there is never written over. */
function newKey(file: SettingsKeyFacts['file']): string {
  if (file === null || file.mode !== null) return '`holdfast settings new-key` prints a new key';
  return `\`holdfast settings new-key --file ${shellWord(file.path)}\` makes one`;
}

/** The same of a server that runs; nothing to say if nothing is sealed. */
export function checkSealed(keys: readonly string[], sealed: readonly SealedFacts[]): Finding[] {
  if (sealed.length === 0) return [];
  return orOk(unopenedValues(CHECK, without(sealed, keys), null), CHECK, `${plural(totalOf(sealed), 'value')}, all of them can be opened`);
}

/** Values that a server cannot open: a finding for each key that it would need. */
export function unopenedValues(check: string, unopened: readonly SealedFacts[], file: string | null): Finding[] {
  return [...new Set(unopened.map(({ key }) => key))].map((key) => {
    const rows = unopened.filter((row) => row.key === key);
    const names = rows.slice(0, SHOWN).map(({ id }) => id).join(', ');
    const more = rows.length > SHOWN ? ` and ${rows.length - SHOWN} more` : '';
    const where = file ?? 'the file that HOLDFAST_SETTINGS_KEYS_FILE names';
    return problem(
      check,
      `${plural(totalOf(rows), 'value')} of ${names}${more} cannot be opened: the settings key ${key} is not there`,
      `put the line of ${key} into ${where}; if it is lost, write those values anew with \`holdfast apply -f <file>\``,
    );
  });
}

const without = (sealed: readonly SealedFacts[], keys: readonly string[]): SealedFacts[] => sealed.filter(({ key }) => !keys.includes(key));
const totalOf = (sealed: readonly SealedFacts[]): number => sealed.reduce((sum, { values }) => sum + values, 0);
