import { describe, expect, it } from 'vitest';
import { codeOf } from './support/code.ts';
import { filesOf, read, sourceFiles, testFiles } from './support/sources.ts';

interface Exported {
  file: string;
  name: string;
}

/** Values: a type that is exported for the sake of its name alone costs a reader nothing. */
const valuesOf = (file: string, code: string): Exported[] =>
  [...code.matchAll(/^export (?:abstract |async )*(?:const|let|class|function)\*? (\w+)/gm)].map((match) => ({ file, name: match[1] ?? '' }));

const typesOf = (file: string, code: string): Exported[] =>
  [...code.matchAll(/^export (?:interface|type) (\w+)/gm)].map((match) => ({ file, name: match[1] ?? '' }));

/** Every word of the code, with the files that say it. */
function filesByWord(codes: ReadonlyMap<string, string>): Map<string, Set<string>> {
  const files = new Map<string, Set<string>>();
  for (const [file, code] of codes) {
    for (const [word] of code.matchAll(/\b[A-Za-z_$]\w*\b/g)) files.set(word, (files.get(word) ?? new Set()).add(file));
  }
  return files;
}

describe('exports', () => {
  const codes = new Map([...sourceFiles(), ...testFiles(), ...filesOf(['build'], /\.ts$/)].map((file) => [file, codeOf(read(file))]));
  const said = filesByWord(codes);
  const exported = (of: typeof valuesOf): Exported[] => sourceFiles().flatMap((file) => of(file, codes.get(file) ?? ''));
  const elsewhere = ({ file, name }: Exported): boolean => [...(said.get(name) ?? [])].some((other) => other !== file);

  it('of values are for other files: what only its own file names is private there, or dead', () => {
    const idle = exported(valuesOf).filter((one) => !elsewhere(one));
    expect(idle.map(({ file, name }) => `${file}: nobody else uses ${name}`)).toEqual([]);
    expect(exported(valuesOf).length).toBeGreaterThan(500);
  });

  it('of types are used somewhere', () => {
    const uses = ({ file, name }: Exported): number => codes.get(file)?.match(new RegExp(`\\b${name}\\b`, 'g'))?.length ?? 0;
    const dead = exported(typesOf).filter((one) => !elsewhere(one) && uses(one) === 1);
    expect(dead.map(({ file, name }) => `${file}: nobody uses ${name}`)).toEqual([]);
  });
});
