import { describe, expect, it } from 'vitest';
import { codeOf } from './support/code.ts';
import { documentFiles, filesOf, type Line, linesOf, place, read, sourceFiles, testFiles } from './support/sources.ts';

interface Ban {
  name: string;
  pattern: RegExp;
  reason: string;
  files: () => string[];
  /** Strings and comments do not count. */
  codeOnly?: true;
  except?: RegExp;
}

const code = (): string[] => [...sourceFiles(), ...testFiles()];
const everything = (): string[] => [
  ...code(),
  ...documentFiles(),
  ...filesOf(['test/scenarios', '.ci', 'package.json', 'vitest.config.ts'], /./),
];

/** Patterns are written so that this file does not contain what it bans. */
const bans: readonly Ban[] = [
  {
    name: 'the type any',
    pattern: /(?::|<|\bas|,|\||&)\s*any\b(?!\s*[:(?])/,
    reason: 'say what it is, or unknown and then find out',
    files: code,
    codeOnly: true,
  },
  {
    name: 'a silenced compiler',
    pattern: /@ts-(?:ignore|expect-error|nocheck)/,
    reason: 'the compiler is right; if it is not, the types are wrong',
    files: code,
  },
  {
    name: 'a note of unfinished work',
    pattern: /\b(?:TO[D]O|FIX[M]E|XX[X])\b/,
    reason: 'finish it, or write it down where the work is planned',
    files: everything,
  },
  {
    name: 'a test that does not run',
    pattern: /\b(?:it|test|describe)\b[^;]*\.(?:skip|only|todo|fails)\b|\bx(?:it|describe)\(/,
    reason: 'a test that does not run is a hole; the only skip is skipIf for a missing Docker engine, which says so in its title',
    files: testFiles,
    codeOnly: true,
  },
  {
    name: 'a wait for real time',
    pattern: /\bset(?:Timeout|Interval)\b|(?<![.\w])sleep\(/,
    reason: 'wait for a condition (test/support), or drive a fake clock: a sleep is either too short or too long',
    files: testFiles,
    codeOnly: true,
    except: /^(?:test\/support|bench)\//,
  },
  {
    name: 'a package registry by name',
    pattern: /registry\.(?:npmjs|yarnpkg)|\bnpm\.pkg\.|https?:\/\/[\w.-]*(?:artifactory|nexus|verdaccio)/i,
    reason: 'where packages come from is the affair of the machine that installs them',
    files: everything,
  },
  {
    name: 'a path of one machine',
    pattern: /(?<![\w.])\/(?:home|Users|work|root|workspace)\/\w|(?<![\w.])\/tmp\/\w/,
    reason: 'nobody else has it; use os.tmpdir(), or a path from the root of the repository',
    files: everything,
  },
];

function banned({ pattern, files, codeOnly, except }: Ban): Line[] {
  return files()
    .filter((file) => except?.test(file) !== true)
    .flatMap((file) => {
      const source = read(file);
      const judged = linesOf(file, codeOnly === true ? codeOf(source) : source);
      const original = linesOf(file, source);
      return judged.flatMap(({ text }, i) => (pattern.test(text) ? [original[i] ?? { file, number: 0, text }] : []));
    });
}

describe('what no file says', () => {
  it.each(bans)('$name', (ban) => {
    expect(banned(ban).map((line) => `${place(line)}\n  ${ban.reason}`)).toEqual([]);
  });

  it('package-lock.json names no host: it is the same for everybody', () => {
    expect(linesOf('package-lock.json').filter(({ text }) => /"resolved":\s*"https?:/.test(text)).map(place)).toEqual([]);
  });

  it.each([
    ['the type any', 'const a: any = 1', 'const a = { any: 1 }'],
    ['the type any', 'x as any', 'if (any(x))'],
    ['a note of unfinished work', '// TO\u0044O later', 'const todos = 1'],
    ['a test that does not run', 'it.skip(', 'items.skip('],
    ['a test that does not run', 'describe.each([]).only(', 'it.skipIf(true)('],
    ['a wait for real time', 'await sleep(5)', 'clock.sleep(5, signal)'],
    ['a path of one machine', '/h\u006fme/me/x', "'src/work/x'"],
  ])('%s: sees %s, and lets %s pass', (name, bad, good) => {
    const ban = bans.find((candidate) => candidate.name === name);
    expect(ban?.pattern.test(bad)).toBe(true);
    expect(ban?.pattern.test(good)).toBe(false);
  });
});
