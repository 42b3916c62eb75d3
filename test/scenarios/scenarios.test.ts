import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Durable } from '../../src/shared/control/step.ts';
import { Judge } from '../support/story/judge.ts';
import { runStory } from '../support/story/run-story.ts';

const folder = new URL('./', import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, folder), 'utf8');
const stories = readdirSync(folder).filter((name) => name.endsWith('.txt'));
const update = process.env['UPDATE_STORIES'] === '1';

describe('golden conversations', () => {
  it.each(stories)('%s reads as it always did and breaks no invariant', async (name) => {
    const golden = read(name);
    const played = await runStory(golden, name);
    expect(played.violations).toEqual([]);
    if (update && played.text !== golden) writeFileSync(new URL(name, folder), played.text);
    if (!update) expect(played.text).toBe(golden);
  });

  it('a story plays the same twice', async () => {
    const golden = read('edge-modules-fail-with-a-pause.txt');
    expect(await runStory(golden, 'first')).toEqual(await runStory(golden, 'second'));
  });
});

describe('the list of stories', () => {
  const [, rules = '', others = ''] = read('README.md').split(/^## (?:Rules marked ◆|Everything else)$/m);
  const rows = (table: string): string[][] =>
    table
      .split('\n')
      .filter((line) => line.startsWith('| ') && !/^\| (?:section|about) \|/.test(line))
      .map((line) => line.split('|').map((cell) => cell.trim()).slice(1, -1));
  const storiesOf = (row: string[]): string[] => (row.at(-1) ?? '').split(', ').filter((name) => name !== '');
  const listed = [...rows(rules), ...rows(others)].flatMap(storiesOf).map((name) => `${name}.txt`);

  it('gives each rule marked ◆ a story', () => {
    expect(rows(rules).length).toBeGreaterThanOrEqual(25);
    for (const row of rows(rules)) expect(storiesOf(row), row[1]).not.toEqual([]);
  });

  it('names each file once and no other', () => {
    expect(listed.toSorted()).toEqual(stories.toSorted());
  });
});

describe('the interpreter of stories', () => {
  const head = '# Title\n# Why\n\n';
  const play = (body: string): Promise<{ text: string }> => runStory(head + body, 'x.txt');

  it.each([
    ['an unknown command', 'location berlin\nedge dances\n----\n', 'x.txt:5: unknown command: edge dances'],
    ['an unknown location', 'location berlin\nparis edge boot\n----\n', 'x.txt:5: there is no location paris'],
    ['a command that needs a location among several', 'location berlin\nlocation paris\nedge boot\n----\n', 'x.txt:6: say which location'],
    ['an unknown term', 'location berlin colour=red\n----\n', 'x.txt:4: unknown term: colour=red'],
    ['commands without an answer', 'location berlin\n', 'x.txt:4: commands without "----" after them'],
    ['an answer without commands', 'location berlin\n----\n\n----\n+0.00s left over\n', 'x.txt:7: golden output without commands before it'],
    ['an answer that was cut off from its commands', 'location berlin\n----\n\n+0.00s left over\n', 'x.txt:7: commands without "----" after them'],
    ['a state that never comes', 'location berlin\nrun until edge holding\n----\n', 'x.txt:5: the edge was not holding within 120 s'],
    ['a second start of what runs', 'location berlin\nedge boot\nedge boot\n----\n', 'x.txt:6: the edge runs already'],
  ])('refuses %s', async (_, body, problem) => {
    await expect(play(body)).rejects.toThrow(problem);
  });

  it('refuses a file that does not say why it is told', async () => {
    await expect(runStory('# Title\n\nlocation berlin\n----\n', 'x.txt')).rejects.toThrow('x.txt:2: after the title comes why');
    await expect(runStory('location berlin\n----\n', 'x.txt')).rejects.toThrow('x.txt:1: a story begins with');
  });

  it('writes no line that did not happen: left-over expectations are gone from what it gives', async () => {
    const { text } = await play('location berlin\nrun 5s\n----\n+1.00s   berlin edge     left over\n');
    expect(text).toBe(`${head}location berlin\nrun 5s\n----\n`);
  });
});

describe('the judge of stories', () => {
  const terms = { failover: true, policy: 'exclusive' as const, timeoutMs: 20_000, paused: false };
  const record = (number: number, holder: 'edge' | 'master'): Durable => {
    const epoch = { generation: 0, number };
    return { epoch, floor: epoch, holder, reason: 'test', terms };
  };
  const drives = (journal: Durable, number: number) => ({ journal, writesUnder: { generation: 0, number }, override: false });

  it('sees both sides drive devices under terms that rule it out, and for how long', () => {
    const judge = new Judge();
    const edge = drives(record(2, 'edge'), 2);
    const master = drives(record(3, 'master'), 3);
    judge.gatesMoved(100, edge, master);
    judge.gatesMoved(350, edge, { ...master, writesUnder: null });
    expect(judge.violations).toEqual(['both sides drive the devices, which the terms rule out']);
    expect(judge.dualMs(1_000)).toBe(250);
  });

  it('sees devices driven under an epoch that was not stored', () => {
    const judge = new Judge();
    judge.gatesMoved(0, drives(record(2, 'edge'), 4), { journal: null, writesUnder: null, override: false });
    expect(judge.violations).toEqual(['the edge drives under 0.4, which it has not stored']);
  });

  it('sees an epoch go down, and one that belongs to the other side', () => {
    const judge = new Judge();
    judge.stored('master', record(5, 'master'));
    judge.stored('master', record(4, 'master'));
    expect(judge.violations).toEqual([
      'the journal of the master went down from 0.5 to 0.4',
      'the master holds under 0.4, which is not an epoch of its own',
    ]);
  });
});
