import { codeOf } from './code.ts';

export interface FunctionSize {
  /** Counts from 1. */
  line: number;
  lines: number;
  name: string;
}

/**
 * The functions of a file and how long they are. Code is indented by a formatter, so a function ends at the first line
 * that is indented like its first one and closes what that one opened.
 */
export function functionsOf(source: string): FunctionSize[] {
  const lines = codeOf(source).split('\n');
  return lines.flatMap((text, at) => {
    const name = nameOf(text);
    if (name === null) return [];
    const indent = indentOf(text);
    const end = lines.findIndex((line, i) => i > at && line.trim() !== '' && indentOf(line) <= indent && /^\s*[})\]]+[);,]*$/.test(line));
    return end === -1 ? [] : [{ line: at + 1, lines: end - at + 1, name }];
  });
}

const indentOf = (line: string): number => line.length - line.trimStart().length;

/** A function or method whose head is not also its end. */
function nameOf(line: string): string | null {
  if (/[};]\s*$/.test(line) || /^\s*(?:if|for|while|switch|catch|return|do|else|try|case|new|throw|await)\b/.test(line)) return null;
  const declared = /^\s*(?:export\s+)?(?:default\s+)?(?:async\s+)?function\s*\*?\s*(\w+)/.exec(line);
  const method = /^\s+(?:static\s+|async\s+|get\s+|set\s+|private\s+|override\s+)*\*?(#?\w+)\s*(?:<[^(]*>)?\((?:[^()]|\([^()]*\))*(?:\)\s*(?::[^=]*)?\{|)\s*$/.exec(line);
  const arrow = /^\s*(?:export\s+)?(?:const|let|readonly)?\s*(#?\w+)\s*(?::[^=]*)?(?:=|:)\s*(?:async\s*)?(?:<[^(]*>)?\(?.*(?:=>\s*\{|=>\s*\(|\()\s*$/.exec(line);
  const found = declared ?? method ?? (arrow !== null && /=>|=\s*(?:async\s*)?\($/.test(line) ? arrow : null);
  return found?.[1] ?? null;
}
