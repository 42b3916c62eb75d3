import { stringify } from 'yaml';
import type { z } from 'zod';
import { pagesOf } from '../../api/lists.ts';
import { closest } from '../../foundation/closest.ts';
import { jsonEqual } from '../../foundation/json.ts';
import type { Json } from '../../foundation/json.ts';
import { documentSchemas } from '../../model/documents.ts';
import type { SiteDocument } from '../../model/documents.ts';
import type { DocumentStore } from '../../ports/document-store.ts';
import { type EndOfTurn, type FieldPath, type Place, readSource, type SiteProblem, type SiteSource, TOO_DEEP, othersTurn } from './site-source.ts';

export type { FieldPath, SiteProblem } from './site-source.ts';

/**
 * The text that `apply` reads and `export` writes: one YAML mapping with a list per kind of document.
 * API keys and tokens are not part of it: their secrets are shown once and never leave again.
 */

export type SiteKind = SiteDocument['type'];

export const sections = {
  edges: 'edge',
  systems: 'sys',
  modules: 'mod',
  drivers: 'driver',
  zones: 'zone',
  triggers: 'trigger',
} as const satisfies Record<string, SiteKind>;
type SectionName = keyof typeof sections;
const sectionNames = Object.keys(sections) as SectionName[];

/** What a document must say; every other field has a default. */
const required = {
  edge: { id: 'id', type: 'edge', name: 'name' },
  sys: { id: 'id', type: 'sys', name: 'name' },
  mod: { id: 'id', type: 'mod', driver_id: 'id', name: 'Name' },
  driver: { id: 'id', type: 'driver', name: 'name', builtin: 'name' },
  zone: { id: 'id', type: 'zone', name: 'name' },
  trigger: { id: 'id', type: 'trigger', name: 'name' },
} as const satisfies Record<SiteKind, object>;

type Fields = Record<string, Json>;
const defaultsOf = (kind: SiteKind): Fields => ({ ...(documentSchemas[kind].parse(required[kind]) satisfies object) });
const defaults: Record<SiteKind, Fields> = {
  edge: defaultsOf('edge'),
  sys: defaultsOf('sys'),
  mod: defaultsOf('mod'),
  driver: defaultsOf('driver'),
  zone: defaultsOf('zone'),
  trigger: defaultsOf('trigger'),
};

export interface SiteEntry {
  document: SiteDocument;
  /** Where a field of the document stands, or the closest thing to it that is there. */
  place(field: FieldPath): Place;
}

/** A document of which something does not fit: what fits can be judged all the same. */
export interface UnreadItem extends Pick<SiteEntry, 'place'> {
  kind: SiteKind;
  fields: Readonly<Record<string, unknown>>;
}

export interface SiteFile {
  entries: SiteEntry[];
  problems: SiteProblem[];
  unread: UnreadItem[];
  /** There is more that could not be read, and nobody knows which ids it has. */
  nameless: boolean;
}

/** Reads the text; problems name line, column and field. Documents with problems are left out of `entries`. */
export async function parseSiteFile(text: string, endOfTurn: EndOfTurn = (callback) => callback()): Promise<SiteFile> {
  try {
    return await readSections(await readSource(text, endOfTurn), endOfTurn);
  } catch (error) {
    // The readers are recursive; only text that is nested thousands deep brings them here.
    if (error instanceof RangeError) return { entries: [], problems: [{ line: 1, column: 1, path: '', problem: TOO_DEEP }], unread: [], nameless: true };
    throw error;
  }
}

/** All documents of the store but API keys and tokens, without what is default: `apply` accepts it and finds nothing to change. */
export async function exportSite(store: DocumentStore): Promise<string> {
  const lines = ['# Holdfast documents: change what you like and give the file to `holdfast apply`.', '# API keys and tokens are not part of it.', ''];
  const head = lines.length;
  for (const name of sectionNames) {
    const texts: string[] = [];
    for await (const page of pagesOf(store, sections[name], EXPORT_PAGE)) {
      const text = sectionText(name, page.map(({ document }) => document));
      texts.push(texts.length === 0 ? text : text.slice(`${name}:\n`.length));
    }
    if (texts.length > 0) lines.push(texts.join(''));
  }
  return finished(lines, head);
}

/** Writing a document takes a tenth of a millisecond, and nobody else has a turn meanwhile. */
const EXPORT_PAGE = 100;

/** Documents as such a file. `head`: the lines in front. */
export function siteText(all: readonly SiteDocument[], head: readonly string[]): string {
  const lines = [...head];
  for (const name of sectionNames) {
    const documents = all.filter(({ type }) => type === sections[name]);
    if (documents.length > 0) lines.push(sectionText(name, documents));
  }
  return finished(lines, head.length);
}

// Block scalars of yaml 2.9.1 gain a newline when the text ends in several.
const sectionText = (name: SectionName, documents: readonly SiteDocument[]): string =>
  stringify({ [name]: documents.map(withoutDefaults) }, { lineWidth: 0, blockQuote: false, aliasDuplicateObjects: false });

/** `head`: how many lines are in front. */
const finished = (lines: readonly string[], head: number): string => (lines.length === head ? `${lines.join('\n')}{}\n` : lines.join('\n'));

/** The fields of a document that say something. */
export function withoutDefaults(document: SiteDocument): Fields {
  const said = Object.entries(document).filter(
    ([field, value]) => field !== 'type' && (Object.hasOwn(required[document.type], field) || !jsonEqual(value, defaults[document.type][field])),
  );
  return Object.fromEntries(said);
}

async function readSections(source: SiteSource, endOfTurn: EndOfTurn): Promise<SiteFile> {
  const file: SiteFile = { entries: [], problems: source.problems, unread: [], nameless: false };
  if (file.problems.length > 0) return file;
  const root = source.value;
  if (root === null) return file;
  if (!isFields(root)) {
    file.problems.push({ ...source.place([]), problem: `must be a mapping with ${sectionNames.join(', ')}` });
    return file;
  }
  for (const [name, items] of Object.entries(root)) {
    const section = sectionNames.find((known) => known === name);
    if (section === undefined) {
      file.problems.push({ ...source.keyPlace([], name), problem: unknownName(name, sectionNames) });
      file.nameless = true;
    } else if (Array.isArray(items)) {
      for (const [index, item] of items.entries()) {
        readItem(source, file, [section, index], { kind: sections[section], item });
        if (index % ITEMS_AT_ONCE === ITEMS_AT_ONCE - 1) await othersTurn(endOfTurn);
      }
    } else if (items !== null) {
      file.problems.push({ ...source.place([section]), problem: 'must be a list' });
      file.nameless = true;
    }
  }
  return file;
}

/** In the words of YAML; a wrong number or text is said well enough by the schema. */
const shapes: ReadonlyMap<string, string> = new Map([
  ['record', 'must be a mapping, such as {name: value}'],
  ['object', 'must be a mapping, such as {name: value}'],
  ['array', 'must be a list, such as [value]'],
]);

/** Some milliseconds of work. */
const ITEMS_AT_ONCE = 100;

function readItem(source: SiteSource, file: SiteFile, at: FieldPath, { kind, item }: { kind: SiteKind; item: unknown }): void {
  if (!isFields(item)) {
    file.problems.push({ ...source.place(at), problem: 'must be a mapping with at least an id' });
    file.nameless = true;
    return;
  }
  const place = (field: FieldPath): Place => source.place([...at, ...field]);
  const parsed = documentSchemas[kind].safeParse(
    { type: kind, ...item },
    { error: (issue) => (issue.input === undefined ? 'is missing' : issue.code === 'invalid_type' ? shapes.get(issue.expected) : undefined) },
  );
  if (parsed.success) {
    file.entries.push({ document: parsed.data, place });
    return;
  }
  file.unread.push({ kind, fields: item, place });
  if (typeof item['id'] !== 'string') file.nameless = true;
  for (const issue of parsed.error.issues) file.problems.push(...issueProblems(source, at, kind, issue));
}

function issueProblems(source: SiteSource, at: FieldPath, kind: SiteKind, issue: z.core.$ZodIssue): SiteProblem[] {
  const path = [...at, ...issue.path.map((part) => (typeof part === 'number' ? part : String(part)))];
  if (issue.code !== 'unrecognized_keys') return [{ ...source.place(path), problem: issue.message }];
  return issue.keys.map((key) => ({ ...source.keyPlace(path, key), problem: unknownName(key, Object.keys(defaults[kind])) }));
}

function unknownName(name: string, known: readonly string[]): string {
  const meant = closest(name, known);
  return meant === null ? `is unknown; there are ${known.filter((field) => field !== 'type').join(', ')}` : `is unknown; did you mean ${meant}?`;
}

const isFields = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
