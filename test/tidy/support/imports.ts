import { posix } from 'node:path';
import { codeOf } from './code.ts';
import { read } from './sources.ts';

export interface Import {
  /** The file that imports. */
  from: string;
  /** What it imports: a path from the root, or the name of a package or of a module of Node. */
  to: string;
  /** Of this repository. */
  own: boolean;
}

/** Every import of a file: static, dynamic and of types alike. */
export function importsOf(file: string, source: string = read(file)): Import[] {
  return [...codeOf(source).matchAll(/\b(?:from|import)\s*\(?\s*'( *)'/g)].map((match) => {
    const [whole, blank = ''] = match;
    // The scanner blanks the insides of strings but keeps every position.
    const end = match.index + whole.length - 1;
    const specifier = source.slice(end - blank.length, end);
    const own = specifier.startsWith('.');
    return { from: file, to: own ? posix.join(posix.dirname(file), specifier) : specifier, own };
  });
}

/** `@scope/name/inner` → `@scope/name`. */
export const packageOf = (specifier: string): string => specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
