import { describe, expect, it } from 'vitest';
import { functionsOf } from './support/functions.ts';
import { linesOf, read, sourceFiles, testFiles } from './support/sources.ts';

/** Budgets are a smell detector, not a goal: what is larger usually does two things. CONTRIBUTING.md, "Budgets". */
const FILE_LINES = 500;
const FUNCTION_LINES = 70;
const LINE_LENGTH = 160;
const PARAMETERS = 5;

const length = (file: string): number => linesOf(file).length - 1;

describe('sizes', () => {
  it(`files have at most ${FILE_LINES} lines: a longer one decides too much`, () => {
    const long = [...sourceFiles(), ...testFiles()].filter((file) => length(file) > FILE_LINES);
    expect(long.map((file) => `${file}: ${length(file)} lines; split it by what it is about`)).toEqual([]);
  });

  it(`functions have at most ${FUNCTION_LINES} lines: a longer one has parts that want names`, () => {
    const all = sourceFiles().flatMap((file) => functionsOf(read(file)).map((one) => ({ ...one, file })));
    const long = all.filter(({ lines }) => lines > FUNCTION_LINES);
    expect(long.map(({ file, line, lines, name }) => `${file}:${line}: ${name} has ${lines} lines`)).toEqual([]);
  });

  it(`lines have at most ${LINE_LENGTH} characters: nobody reads the end of a longer one`, () => {
    const long = sourceFiles().flatMap((file) => linesOf(file)).filter(({ text }) => text.length > LINE_LENGTH);
    expect(long.map(({ file, number, text }) => `${file}:${number}: ${text.length} characters`)).toEqual([]);
  });

  it('measures functions of every form', () => {
    const body = '  one();\n'.repeat(3);
    const source = [
      `function declared(a: string): void {\n${body}}`,
      `export const arrow = async (a: string): Promise<void> => {\n${body}};`,
      `export async function* wide(\n  a: string,\n  b: string,\n): AsyncGenerator<string> {\n${body}}`,
      `class Box {\n  async #method({ a }: A): Promise<B> {\n    if (a) {\n      one();\n    }\n  }\n}`,
      `const short = (a: number): number => a + 1;`,
    ].join('\n\n');
    expect(functionsOf(source).map(({ name, lines }) => `${name} ${lines}`)).toEqual(['declared 5', 'arrow 5', 'wide 8', '#method 5']);
    const found = sourceFiles().flatMap((file) => functionsOf(read(file)));
    expect(found.length).toBeGreaterThan(600);
  });

  it('has the linter count parameters', () => {
    const { rules } = JSON.parse(read('.oxlintrc.json')) as { rules: Record<string, [string, { max: number }]> };
    expect(rules['max-params']).toEqual(['error', { max: PARAMETERS }]);
  });
});
