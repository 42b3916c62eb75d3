import { listStored } from '../../api/lists.ts';
import type { Rekeying, SealedRow, SealedSummary } from '../../api/site-files.ts';
import { type Json, jsonEqual, type JsonObject } from '../../foundation/json.ts';
import type { AnyDocument, SiteDocument } from '../../model/documents.ts';
import { HoldfastError } from '../../model/errors.ts';
import { hasMarks, type Mark, markOf, placeText, replaceInSettings, sealedMark, type SecretPlace, valueAt, wholeProblem } from '../../model/secrets.ts';
import { keyIdOf, type KeyRing, SEAL_NONCE_BYTES, sealedWith } from '../../model/settings-keys.ts';
import type { Change, DocumentStore, Stored } from '../../ports/document-store.ts';
import type { Random } from '../../ports/random.ts';
import { noSettingsKeys, type SettingsKeys } from '../../ports/settings-keys.ts';
import type { SiteEntry, SiteProblem } from './site-file.ts';

/** Secrets on their way into the store: sealed before they are written. docs/decisions/0018-settings-at-rest.md */
export interface Sealing {
  keys: SettingsKeys;
  random: Pick<Random, 'hex'>;
}

/** Nothing is sealed without a key. */
export const noSealing: Sealing = { keys: noSettingsKeys, random: { hex: (bytes) => '0'.repeat(2 * bytes) } };

const NO_KEY =
  'needs a key to be sealed, and this server has none: ' +
  'make one with `holdfast settings new-key --file <path>`, and name the file in HOLDFAST_SETTINGS_KEYS_FILE';

/**
 * The document as it is to be stored: each secret sealed. What the store has sealed at the same place stays as it is, also
 * when the text says it in plain: a file that is applied again changes nothing.
 */
export function sealDocument(
  { document, place }: SiteEntry,
  stored: AnyDocument | null,
  sealing: Sealing,
): { document: SiteDocument; problems: SiteProblem[] } {
  const problems: SiteProblem[] = [];
  const refuse = (path: SecretPlace, problem: string): void => void problems.push({ ...place(path), problem });
  for (const [field, value] of Object.entries<Json>({ ...document })) {
    if (field !== 'settings' && hasMarks(value)) refuse([field], 'has a secret, and only settings are sealed');
  }
  if (!('settings' in document)) return { document, problems };
  const whole = wholeProblem(document.settings);
  if (whole !== null) refuse(['settings'], whole);
  if (problems.length > 0 || !hasMarks(document.settings)) return { document, problems };
  const ring = sealing.keys.ring();
  const before = stored !== null && 'settings' in stored ? stored.settings : undefined;
  const settings = replaceInSettings(document.id, document.settings, (mark, at) => {
    const result = sealedAt({ mark, at, known: valueAt(before, at.slice(2)) }, ring, sealing.random);
    if (typeof result !== 'string') return result;
    refuse(at.slice(1), result);
    return null;
  });
  return { document: { ...document, settings }, problems };
}

interface Found {
  mark: Mark;
  at: SecretPlace;
  /** What the store has there. */
  known: Json | undefined;
}

/** What to store there; a text: why not. */
function sealedAt({ mark, at, known }: Found, ring: KeyRing, random: Pick<Random, 'hex'>): JsonObject | string {
  if (mark.form === 'wrong') return mark.problem;
  const stored = markOf(known);
  if (mark.form === 'sealed') {
    if (stored?.form === 'sealed' && stored.text === mark.text) return sealedMark(mark.text);
    const opened = ring.open(mark.text, at);
    return opened.ok ? sealedMark(mark.text) : opened.problem;
  }
  if (ring.ids.length === 0) return NO_KEY;
  if (stored?.form === 'sealed') {
    const opened = ring.open(stored.text, at);
    if (opened.ok && jsonEqual(opened.value, mark.value)) return sealedMark(stored.text);
  }
  return sealedMark(ring.seal(mark.value, at, random.hex(SEAL_NONCE_BYTES)));
}

type WithSettings = Exclude<SiteDocument, { type: 'edge' | 'trigger' }>;

async function allWithSettings(store: DocumentStore): Promise<Stored<WithSettings>[]> {
  const kinds = await Promise.all((['sys', 'mod', 'driver', 'zone'] as const).map((kind) => listStored(store, kind)));
  return kinds.flat<Stored<WithSettings>[][]>().filter(({ document }) => hasMarks(document.settings));
}

/** What is sealed in the store, and with which keys; opens nothing. */
export async function sealedSummary(store: DocumentStore, { keys }: Sealing): Promise<SealedSummary> {
  const { ids } = keys.ring();
  const rows = (await allWithSettings(store)).flatMap(({ document: { id, type: kind, settings } }): SealedRow[] => {
    return [...sealedWith(settings)].map(([key, values]) => ({ id, kind, key, known: ids.includes(key), values }));
  });
  return { keys: ids, sealed: rows };
}

/** Seals under the first key what is sealed under others: all of it or, if one value cannot be opened, nothing. */
export async function planRekey(store: DocumentStore, { keys, random }: Sealing): Promise<Rekeying> {
  const ring = keys.ring();
  const [key] = ring.ids;
  if (key === undefined) throw new HoldfastError('SETTINGS_KEY_MISSING', {});
  const documents: Rekeying['plan']['documents'] = [];
  const writes: Change[] = [];
  for (const { document, version } of await allWithSettings(store)) {
    let values = 0;
    const settings = replaceInSettings(document.id, document.settings, (mark, at, value) => {
      if (mark.form !== 'sealed' || keyIdOf(mark.text) === key) return value;
      const opened = ring.open(mark.text, at);
      if (!opened.ok) throw new HoldfastError('SETTINGS_SEALED', { place: placeText(at), problem: opened.problem });
      values += 1;
      return sealedMark(ring.seal(opened.value, at, random.hex(SEAL_NONCE_BYTES)));
    });
    if (values === 0) continue;
    documents.push({ id: document.id, kind: document.type, values });
    writes.push({ op: 'put', document: { ...document, settings }, expect: version });
  }
  const run = async (): Promise<void> => {
    if (writes.length > 0) await store.apply(writes);
  };
  return { plan: { key, documents, values: documents.reduce((sum, { values }) => sum + values, 0) }, run };
}
