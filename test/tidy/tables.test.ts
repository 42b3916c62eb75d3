import { beforeAll, describe, expect, it } from 'vitest';
import { routes } from '../../src/shared/client-api/routes.ts';
import { controlMessageSchemas, edgeStates, masterStates } from '../../src/shared/control/messages.ts';
import { clientVariables, configTable } from '../../src/shared/model/config.ts';
import { errorTable } from '../../src/shared/model/errors.ts';
import { eventTable } from '../../src/shared/model/events.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { metricTable } from '../../src/shared/ports/metrics.ts';
import { calledWords, commandProblem, type Mention, mentions, mentionsIn, where } from './support/mentions.ts';
import { programForDocs } from './support/program.ts';
import { documentFiles, exists, filesOf, linesOf, read, sourceFiles } from './support/sources.ts';
import { peopleOf, render, rewrite, tables, written } from './support/tables.ts';

/** `npm run docs` writes the tables of the documentation anew from the program. */
beforeAll(() => {
  if (process.env['UPDATE_DOCS'] === '1') for (const table of tables) rewrite(table);
});

describe('tables of the documentation', () => {
  it.each(tables)('$file, $name: the same as in the program, both ways', (table) => {
    expect(written(table), `${table.file} lacks the marks of the table ${table.name}`).not.toBeNull();
    expect(written(table), 'run `npm run docs`, and read what it changed').toBe(render(table));
  });

  it.each(tables.filter(({ people }) => people !== null))('$file, $name: each row is explained', (table) => {
    const unexplained = [...peopleOf(table)].filter(([, words]) => words.length < 3).map(([name]) => name);
    expect(unexplained, `write the column "${table.people}" of these rows`).toEqual([]);
  });
});

/** Cells of the first column of the table below a heading. */
function firstColumn(file: string, heading: string): string[] {
  const [, section = ''] = read(file).split(`${heading}\n`);
  const [table = ''] = section.split(/^#/m);
  return [...table.matchAll(/^\| `([^`]+)`/gm)].map((match) => match[1] ?? '');
}

describe('words of the state machines', () => {
  it('explains each control message, and no other', () => {
    expect(firstColumn('docs/control.md', '### Messages').toSorted()).toEqual(Object.keys(controlMessageSchemas).toSorted());
  });

  it('explains each state of both sides, and no other', () => {
    const known = [...new Set<string>([...edgeStates, ...masterStates, 'waiting-window', 'not-made'])];
    expect(firstColumn('docs/operations.md', '## States').toSorted()).toEqual(known.toSorted());
  });

  it('explains each reason that a story ever gave for a move or stored, and none that the program does not have', () => {
    const stories = filesOf(['test/scenarios'], /\.txt$/).map((file) => read(file)).join('\n');
    const moves = [...stories.matchAll(/^\+\S+ +\S+ (?:edge|master) +\S+ → \S+ +([a-z-]+)/gm)];
    const stored = [...stories.matchAll(/stored: holder \w+, epoch \S+, heard [\d.]+, ([a-z-]+)/g)];
    expect(Math.min(moves.length, stored.length)).toBeGreaterThan(100);
    const given = new Set([...moves, ...stored].map((match) => match[1] ?? ''));
    const explained = firstColumn('docs/operations.md', '## Reasons');
    expect([...given].filter((reason) => !explained.includes(reason))).toEqual([]);
    const program = sourceFiles().map((file) => read(file)).join('\n');
    expect(explained.filter((reason) => !program.includes(`'${reason}'`))).toEqual([]);
  });
});

describe('tables of the program', () => {
  const program = sourceFiles().map((file) => read(file));
  const rest = (table: string): string => program.filter((text) => !text.includes(`export const ${table} = {`)).join('\n');

  it('has no error that nothing throws', () => {
    const used = rest('errorTable');
    expect(Object.keys(errorTable).filter((code) => !used.includes(`'${code}'`))).toEqual([]);
  });

  it('has no limit that nothing keeps', () => {
    const used = rest('limits');
    expect(Object.keys(limits).filter((name) => !new RegExp(`\\blimits\\.${name}\\b`).test(used))).toEqual([]);
  });

  it('has no event that nothing says', () => {
    const used = program.filter((text) => !text.includes('export const eventTable:')).join('\n');
    expect(Object.keys(eventTable).filter((word) => !used.includes(`'${word}'`))).toEqual([]);
  });

  it('has no metric that nothing counts', () => {
    const used = rest('metricTable');
    expect(Object.keys(metricTable).filter((name) => !used.includes(`'${name}'`))).toEqual([]);
  });
});

describe('what the documentation names', () => {
  const program = programForDocs();
  const all = mentions();

  /** Mentions of which a part that the pattern finds is not known. */
  const unknown = (pattern: RegExp, known: (found: string) => boolean, among: readonly Mention[] = all): string[] =>
    among.flatMap((mention) => {
      const found = [...mention.text.matchAll(pattern)].map((match) => match[1] ?? match[0]);
      return found.filter((name) => !known(name)).map((name) => `${where(mention)}: ${name}`);
    });

  const wholeText = documentFiles().flatMap((file) => linesOf(file));

  it('commands and options exist', () => {
    const wrong = all.flatMap((mention) => {
      const words = calledWords(mention.text);
      const problem = words === null ? null : commandProblem(program, words);
      return problem === null ? [] : [`${where(mention)}: ${mention.text.trim()}: ${problem}`];
    });
    expect(wrong).toEqual([]);
    expect(all.filter(({ text }) => calledWords(text) !== null).length).toBeGreaterThan(30);
  });

  it('environment variables exist', () => {
    const isVariable = (name: string): boolean => Object.hasOwn(configTable, name) || clientVariables.includes(name);
    expect(unknown(/\bHOLDFAST_[A-Z]\w*/g, isVariable, wholeText)).toEqual([]);
  });

  it('metrics exist', () => {
    expect(unknown(/\bholdfast_[a-z]\w*/g, (name) => Object.hasOwn(metricTable, name), wholeText)).toEqual([]);
  });

  it('endpoints exist', () => {
    const forms = Object.values(routes).map(({ path }) => new RegExp(`^${path.replaceAll(/:\w+/g, '[^/]+')}$`));
    const isRoute = (path: string): boolean => path === '/api/engine/v2' || forms.some((form) => form.test(path));
    expect(unknown(/(?:^|\s|\d)((?:\/api|\/health|\/metrics)[^\s?"'{[]*)/g, isRoute)).toEqual([]);
  });

  it('error codes exist', () => {
    const others = ['UPDATE_STORIES', 'UPDATE_DOCS', 'TEST_REPORT', 'BENCH_RUNS', 'BENCH_OUTPUT', 'BENCH_NODE_OPTIONS', 'NO_COLOR', 'X_API_KEY', 'CB_CONNSTR', 'CB_PASSWORD'];
    const isKnown = (code: string): boolean => Object.hasOwn(errorTable, code) || others.includes(code) || code.startsWith('HOLDFAST_');
    expect(unknown(/^([A-Z]+(?:_[A-Z]+)+)$/g, isKnown)).toEqual([]);
  });

  it('files exist', () => {
    expect(unknown(/^((?:src|test|docs|bench|\.ci)\/[\w./-]*\w\/?)$/g, exists)).toEqual([]);
    const broken = documentFiles().flatMap((file) => {
      const folder = file.slice(0, file.lastIndexOf('/') + 1);
      const targets = [...read(file).matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)].map((match) => match[1] ?? '');
      return targets.filter((target) => !exists(folder + target)).map((target) => `${file}: ${target}`);
    });
    expect(broken).toEqual([]);
  });

  it('and sees what is wrong', () => {
    const [inline, ...fenced] = mentionsIn('x.md', 'Run `holdfast edge add berlin`.\n```\n$ npx holdfast status -w   # look\n```\n');
    expect([inline, ...fenced].map((mention) => calledWords(mention?.text ?? ''))).toEqual([['edge', 'add', 'berlin'], ['status', '-w']]);
    expect(calledWords('the holdfast program')).toBeNull();
    const problems = ['status -w', 'status --wait', 'edge remove x', 'frobnicate', 'location pause x --dry-run', '--help', '-o json status'];
    expect(problems.map((line) => commandProblem(program, line.split(' ')))).toEqual([
      null,
      'there is no option --wait here',
      'edge has no command remove',
      'there is no command frobnicate',
      null,
      null,
      null,
    ]);
  });
});
