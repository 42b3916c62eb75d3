import { codeOf } from './code.ts';

export interface FunctionSize {
  /** Counts from 1. */
  line: number;
  lines: number;
  name: string;
}

/** Ends in what opens a body: `=> {`, `) {`, `): Promise<void> {`. */
const OPENS = /(?:=>|\)|\)\s*:[^=;]*)\s*\{\s*$/;
const IS_NONE = /^\s*(?:\}|if|for|while|switch|do|else|try|catch|class|interface)\b|^\s*\}/;
const NAME = /^\s*(?:(?:export|default|async|function\*?|const|readonly|static|get|set|return)\s+)*\*?(#?\w+)/;

/**
 * The functions of a file and how long they are, from head to closing brace. A formatter indented the code, so the
 * lines between a head and its end are indented deeper than both.
 */
export function functionsOf(source: string): FunctionSize[] {
  const lines = codeOf(source).split('\n');
  return lines.flatMap((text, at) => {
    if (!OPENS.test(text) || IS_NONE.test(text)) return [];
    const indent = indentOf(text);
    const end = lines.findIndex((line, i) => i > at && indentOf(line) === indent && line.trimStart().startsWith('}'));
    // A head of several lines ends in one that begins with its closing parenthesis.
    const head = text.trimStart().startsWith(')') ? lines.findLastIndex((line, i) => i < at && indentOf(line) === indent) : at;
    const name = NAME.exec(lines[head] ?? '')?.[1] ?? 'a function';
    return end === -1 || head === -1 ? [] : [{ line: head + 1, lines: end - head + 1, name }];
  });
}

/** -1 of an empty line: it is as deep as what is around it. */
const indentOf = (line: string): number => (line.trim() === '' ? -1 : line.length - line.trimStart().length);
