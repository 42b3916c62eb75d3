import type { Alias, CST, Document, Node, YAMLError } from 'yaml';
import { Composer, isAlias, isMap, isNode, isScalar, isSeq, Lexer, LineCounter, Parser, visit } from 'yaml';
import { assert } from '../../foundation/assert.ts';
import { pathText } from '../../foundation/json.ts';

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

/** Each costs a walk through the whole text. */
const MAX_ALIASES = 100;
export const TOO_DEEP = 'is nested too deeply';

/** Lexemes that are read before others have their turn: some milliseconds of work. */
const LEXEMES_AT_ONCE = 2_000;

/** Calls back when everything else of this turn is done (`setImmediate`): heartbeats and other requests go in between. */
export type EndOfTurn = (callback: () => void) => void;
export const othersTurn = (endOfTurn: EndOfTurn): Promise<void> => new Promise((resolve) => endOfTurn(resolve));

interface Read {
  text: string;
  document: Document.Parsed;
  /** That a text has one is a problem. */
  second: Document.Parsed | null;
  lines: LineCounter;
}

/** The YAML of the text. What `parseDocument` does, but in portions: a site file of ten thousand modules takes it seconds. */
export async function readSource(text: string, endOfTurn: EndOfTurn): Promise<SiteSource> {
  const lines = new LineCounter();
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  const tokens: CST.Token[] = [];
  let lexemes = 0;
  for (const lexeme of new Lexer().lex(text)) {
    tokens.push(...parser.next(lexeme));
    lexemes += 1;
    if (lexemes % LEXEMES_AT_ONCE === 0) await othersTurn(endOfTurn);
  }
  tokens.push(...parser.end());
  const composer = new Composer({ lineCounter: lines, prettyErrors: false, logLevel: 'error' });
  const [document, second] = composer.compose(tokens, true, text.length);
  assert(document !== undefined, 'a text without a document has an empty one');
  return new SiteSource({ text, document, second: second ?? null, lines });
}

/** In our words: those of the reader are for whoever calls it. */
function problemOf({ code, message, pos }: YAMLError, text: string): string {
  if (code !== 'DUPLICATE_KEY') return message;
  const [key = ''] = /^[^:\n]*/.exec(text.slice(pos[0], pos[0] + MAX_KEY)) ?? [];
  return `"${key.trim().replaceAll(/^["']|["']$/g, '')}" is there twice in the same mapping`;
}

const MAX_KEY = 100;
const SECOND = 'a second YAML document begins here (after ---); a site file is one: put both together, or apply one after the other';

/** A parsed YAML text that knows where everything in it stands. */
export class SiteSource {
  /** null when the text is empty, and when there are problems. */
  readonly value: unknown;
  readonly problems: SiteProblem[];
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;

  constructor({ text, document, second, lines }: Read) {
    this.#document = document;
    this.#lines = lines;
    const { errors, warnings } = this.#document;
    const tooDeep = errors.find(({ code }) => code === 'RESOURCE_EXHAUSTION');
    // The reader is out of breath then: what else it says depends on the stack of the machine.
    const said = tooDeep === undefined ? [...errors, ...warnings] : [{ pos: tooDeep.pos, message: TOO_DEEP }];
    const found = said.map((error) => ({ offset: error.pos[0], message: 'code' in error ? problemOf(error, text) : error.message }));
    if (second !== null) found.push({ offset: second.range[0], message: SECOND });
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
