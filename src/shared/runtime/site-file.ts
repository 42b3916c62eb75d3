import { type Alias, type Document, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, type Node, parseDocument, stringify, visit } from 'yaml';
import type { z } from 'zod';
import { pagesOf } from '../api/lists.ts';
import { closest } from '../foundation/closest.ts';
import { jsonEqual, pathText } from '../foundation/json.ts';
import type { Json } from '../foundation/json.ts';
import { documentSchemas } from '../model/documents.ts';
import type { SiteDocument } from '../model/documents.ts';
import type { DocumentStore } from '../ports/document-store.ts';

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

export type FieldPath = readonly (string | number)[];

export interface Place {
  /** Both count from 1. */
  line: number;
  column: number;
  /** Such as `systems[2].modules[0]`; empty for the file as a whole. */
  path: string;
}

export interface SiteProblem extends Place {
  problem: string;
}

export interface SiteEntry {
  document: SiteDocument;
  /** Where a field of the document stands, or the closest thing to it that is there. */
  place(field: FieldPath): Place;
}

export interface SiteFile {
  entries: SiteEntry[];
  problems: SiteProblem[];
}

/** Each costs a walk through the whole text. */
const MAX_ALIASES = 100;
const TOO_DEEP = 'is nested too deeply';

/** Reads the text; problems name line, column and field. Documents with problems are left out of `entries`. */
export function parseSiteFile(text: string): SiteFile {
  try {
    return readSections(new SourceMap(text));
  } catch (error) {
    // The readers are recursive; only text that is nested thousands deep brings them here.
    if (error instanceof RangeError) return { entries: [], problems: [{ line: 1, column: 1, path: '', problem: TOO_DEEP }] };
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

function readSections(source: SourceMap): SiteFile {
  const file: SiteFile = { entries: [], problems: source.problems };
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
    } else if (Array.isArray(items)) {
      items.forEach((item, index) => readItem(source, file, [section, index], { kind: sections[section], item }));
    } else if (items !== null) {
      file.problems.push({ ...source.place([section]), problem: 'must be a list' });
    }
  }
  return file;
}

function readItem(source: SourceMap, file: SiteFile, at: FieldPath, { kind, item }: { kind: SiteKind; item: unknown }): void {
  if (!isFields(item)) {
    file.problems.push({ ...source.place(at), problem: 'must be a mapping with at least an id' });
    return;
  }
  const parsed = documentSchemas[kind].safeParse(
    { type: kind, ...item },
    { error: (issue) => (issue.input === undefined ? 'is missing' : undefined) },
  );
  if (parsed.success) {
    file.entries.push({ document: parsed.data, place: (field) => source.place([...at, ...field]) });
    return;
  }
  for (const issue of parsed.error.issues) file.problems.push(...issueProblems(source, at, kind, issue));
}

function issueProblems(source: SourceMap, at: FieldPath, kind: SiteKind, issue: z.core.$ZodIssue): SiteProblem[] {
  const path = [...at, ...issue.path.map((part) => (typeof part === 'number' ? part : String(part)))];
  if (issue.code !== 'unrecognized_keys') return [{ ...source.place(path), problem: issue.message }];
  return issue.keys.map((key) => ({ ...source.keyPlace(path, key), problem: unknownName(key, Object.keys(defaults[kind])) }));
}

function unknownName(name: string, known: readonly string[]): string {
  const meant = closest(name, known);
  return meant === null ? `is unknown; there are ${known.filter((field) => field !== 'type').join(', ')}` : `is unknown; did you mean ${meant}?`;
}

const isFields = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** A parsed YAML text that knows where everything in it stands. */
class SourceMap {
  /** null when the text is empty, and when there are problems. */
  readonly value: unknown;
  readonly problems: SiteProblem[];
  readonly #document: Document.Parsed;
  readonly #lines = new LineCounter();

  constructor(text: string) {
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false, logLevel: 'error' });
    const { errors, warnings } = this.#document;
    const tooDeep = errors.find(({ code }) => code === 'RESOURCE_EXHAUSTION');
    // The reader is out of breath then: what else it says depends on the stack of the machine.
    const said = tooDeep === undefined ? [...errors, ...warnings] : [{ pos: tooDeep.pos, message: TOO_DEEP }];
    const found = said.map(({ pos, message }) => ({ offset: pos[0], message }));
    found.push(...this.#brokenAliases());
    this.problems = found.map(({ offset, message }) => ({ ...this.#position(offset), path: '', problem: message }));
    this.value = this.problems.length === 0 ? this.#toValue() : null;
  }

  /** Where the value at `path` stands, or what is closest to it. */
  place(path: FieldPath): Place {
    let node = this.#resolved(this.#document.contents);
    let offset = startOf(node) ?? 0;
    for (const part of path) {
      const child: Node | null = childOf(node, part);
      if (child === null) break;
      // An alias is reported where it is used; what lies within it, where that is written.
      offset = startOf(child) ?? offset;
      node = this.#resolved(child);
    }
    return { ...this.#position(offset), path: pathText(path) };
  }

  /** Where the key of a field stands. */
  keyPlace(path: FieldPath, key: string): Place {
    let node = this.#resolved(this.#document.contents);
    for (const part of path) node = this.#resolved(childOf(node, part));
    const pair = isMap(node) ? node.items.find((item) => String(isScalar(item.key) ? item.key.value : item.key) === key) : undefined;
    const offset = pair !== undefined && isNode(pair.key) ? startOf(pair.key) : null;
    return offset === null ? this.place([...path, key]) : { ...this.#position(offset), path: pathText([...path, key]) };
  }

  #position(offset: number): { line: number; column: number } {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  #resolved(node: Node | null): Node | null {
    return isAlias(node) ? (node.resolve(this.#document) ?? null) : node;
  }

  #brokenAliases(): { offset: number; message: string }[] {
    const aliases: Alias[] = [];
    visit(this.#document, { Alias: (_, alias) => void aliases.push(alias) });
    const tooMany = aliases[MAX_ALIASES];
    if (tooMany !== undefined) return [{ offset: startOf(tooMany) ?? 0, message: `Only ${MAX_ALIASES} aliases may be used` }];
    return aliases
      .filter((alias) => alias.resolve(this.#document) === undefined)
      .map((alias) => ({ offset: startOf(alias) ?? 0, message: `Nothing before this is marked &${alias.source}` }));
  }

  #toValue(): unknown {
    try {
      return this.#document.toJS();
    } catch (error) {
      // Aliases of aliases that would fill the memory.
      if (!(error instanceof ReferenceError)) throw error;
      this.problems.push({ line: 1, column: 1, path: '', problem: error.message });
      return null;
    }
  }
}

function childOf(node: Node | null, part: string | number): Node | null {
  const child: unknown = isMap(node) || isSeq(node) ? node.get(part, true) : null;
  return isNode(child) ? child : null;
}

const startOf = (node: Node | null): number | null => node?.range?.[0] ?? null;
