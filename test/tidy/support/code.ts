/**
 * TypeScript without what is not code: comments and the insides of strings and regular expressions become spaces, so that
 * a word in prose is not taken for a call. Line numbers stay. A scanner, not a parser: enough for code that a formatter wrote.
 */
export function codeOf(source: string): string {
  let out = '';
  let at = 0;
  /** Depth of braces at which each open `${` ends. */
  const templates: number[] = [];
  let braces = 0;
  const blank = (length: number): void => {
    out += source.slice(at, at + length).replaceAll(/[^\n]/g, ' ');
    at += length;
  };
  const keep = (length: number): void => {
    out += source.slice(at, at + length);
    at += length;
  };
  while (at < source.length) {
    const two = source.slice(at, at + 2);
    const one = source[at] ?? '';
    if (two === '//') blank(lengthTo(source, at, '\n'));
    else if (two === '/*') blank(lengthTo(source, at + 2, '*/') + 4);
    else if (one === "'" || one === '"') {
      const length = quotedLength(source, at);
      keep(1);
      blank(length - 2);
      keep(1);
    } else if (one === '`') {
      keep(1);
      template();
    } else if (one === '/' && startsRegExp(out)) blank(regExpLength(source, at));
    else {
      if (one === '{') braces += 1;
      if (one === '}') {
        braces -= 1;
        if (templates.at(-1) === braces) {
          templates.pop();
          keep(1);
          template();
          continue;
        }
      }
      keep(1);
    }
  }
  return out;

  /** The text of a template up to its end or its next `${`, whose inside is code again. */
  function template(): void {
    const length = templateLength(source, at);
    blank(length);
    if (source.startsWith('${', at)) {
      templates.push(braces);
      braces += 1;
      keep(2);
    } else keep(1);
  }
}

function lengthTo(source: string, at: number, end: string): number {
  const found = source.indexOf(end, at);
  return (found === -1 ? source.length : found) - at;
}

function quotedLength(source: string, at: number): number {
  let end = at + 1;
  while (end < source.length && source[end] !== source[at]) end += source[end] === '\\' ? 2 : 1;
  return end + 1 - at;
}

function templateLength(source: string, at: number): number {
  let end = at;
  while (end < source.length && source[end] !== '`' && !source.startsWith('${', end)) end += source[end] === '\\' ? 2 : 1;
  return end - at;
}

function regExpLength(source: string, at: number): number {
  let end = at + 1;
  for (let inClass = false; end < source.length && (inClass || source[end] !== '/'); end += 1) {
    if (source[end] === '\\') end += 1;
    else if (source[end] === '[') inClass = true;
    else if (source[end] === ']') inClass = false;
  }
  return end + 1 - at;
}

/** After a value a slash divides; after an operator or at the start of an expression it begins a regular expression. */
const startsRegExp = (before: string): boolean => /(?:^|[=(,:[!&|?{};+>]|\breturn|\bcase)\s*$/.test(before.slice(-40));
