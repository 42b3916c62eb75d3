import { spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { localCommands } from '../../src/local-commands.ts';
import { cli } from '../support/cli-run.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { tempFolders } from '../support/temp-folder.ts';

/** `holdfast driver test` and `driver check`. Tests are run by the compiled program and the test runner of Node. */
const folders = tempFolders();

function folderWith(files: Record<string, string>): string {
  const folder = folders();
  // As installed: `holdfast/driver` is found.
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(resolve('.'), join(folder, 'node_modules', 'holdfast'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

function holdfast(cwd: string, ...args: string[]): { code: number | null; out: string; err: string } {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { status, stdout, stderr } = spawnSync(process.execPath, [resolve('dist/main.js'), ...args], { cwd, env, encoding: 'utf8' });
  return { code: status, out: stdout, err: stderr };
}

const inProcess = (...argv: string[]) => cli({ ...localCommands, clock: new FakeClock() }, ...argv);

const head = `import assert from 'node:assert/strict';\nimport { describe, test } from 'node:test';\n`;
interface Result {
  passed: number;
  failed: number;
  tests: { name: string; file: string; outcome: string; problem: string | null }[];
}

describe('holdfast driver test', () => {
  it('names the test that failed, what it expected and where; suites are no tests, and what is to do or skipped does not fail', () => {
    const folder = folderWith({
      'lamp/driver.test.ts': `${head}
describe('a lamp', () => {
  test('goes on', () => {});
  test('goes off', () => assert.equal(1 as number, 2));
});
test('dims', { todo: true }, () => assert.fail('not yet'));
test('blinks', { skip: true }, () => assert.fail('never'));
`,
      'lamp/other.test.js': `${head}test('is told of', () => {});\n`,
    });
    const { code, out, err } = holdfast(folder, 'driver', 'test');
    expect(out).toMatch(/^ok {5}lamp\/driver\.test\.ts: goes on$/m);
    expect(out).toMatch(/^FAILED lamp\/driver\.test\.ts: goes off\n {7}AssertionError.*\n\s+1 !== 2\n\s+at .*lamp\/driver\.test\.ts:6:\d+\)$/m);
    expect(out).toMatch(/^left {3}lamp\/driver\.test\.ts: dims\nleft {3}lamp\/driver\.test\.ts: blinks\nok {5}lamp\/other\.test\.js: is told of\n2 passed, 1 failed\n$/m);
    expect([code, err]).toEqual([1, 'error: 1 of 5 tests failed\nnext: correct the driver or its test, and run it again\n']);
  });

  it('is not content with a file that throws, ends its process or has no tests', () => {
    const folder = folderWith({
      'ends-at-once.test.ts': `${head}process.exit(0);\n`,
      'ends.test.ts': `${head}test('first', () => {});\ntest('second', () => process.exit(0));\ntest('third', () => {});\n`,
      'nothing.test.ts': 'export const lamp = 1;\n',
      'throws.test.ts': `${head}test('never runs', () => {});\nthrow new Error('no lamp here');\n`,
    });
    const { code, out, err } = holdfast(folder, '-o', 'json', 'driver', 'test');
    const { tests, ...counts } = JSON.parse(out) as Result;
    expect([code, counts, err.split('\n')[0]]).toEqual([1, { passed: 2, failed: 4 }, 'error: 4 of 6 tests failed']);
    expect(tests.map(({ file, name, outcome }) => `${file}: ${name}: ${outcome}`)).toEqual([
      'ends-at-once.test.ts: ends-at-once.test.ts: failed',
      'ends.test.ts: first: passed',
      'ends.test.ts: second: failed',
      'ends.test.ts: third: passed',
      'nothing.test.ts: nothing.test.ts: failed',
      'throws.test.ts: throws.test.ts: failed',
    ]);
    expect(tests.flatMap(({ problem }) => problem ?? [])).toEqual([
      expect.stringMatching(/process\.exit\(0\) was called[\s\S]*ends-at-once\.test\.ts:3:9/),
      expect.stringMatching(/process\.exit\(0\) was called[\s\S]*ends\.test\.ts:4:\d+/),
      'none of its tests ended',
      expect.stringMatching(/Error: no lamp here[\s\S]*throws\.test\.ts:4:7/),
    ]);
  });

  it('is not content with a runner that was killed', () => {
    const folder = folderWith({
      'first.test.ts': `${head}test('passes', () => {});\n`,
      'kills.test.ts': `${head}test('kills', () => process.kill(process.ppid, 'SIGKILL'));\n`,
    });
    const { code, out, err } = holdfast(folder, 'driver', 'test');
    expect([code, out, err.split('\n')[0]]).toEqual([1, '', 'error: first.test.ts, kills.test.ts: the test runner ended before its tests did (SIGKILL)']);
  });

  it('says what is wrong with the folder', async () => {
    const folder = folderWith({ 'lamp.ts': '' });
    for (const [path, problem] of [['nowhere', 'is no folder'], ['lamp.ts', 'is no folder'], ['.', 'has no tests: they are files such as driver.test.ts']] as const) {
      const { code, err } = await inProcess('driver', 'test', join(folder, path));
      expect([code, err.split('\n')[0]]).toEqual([1, `error: folder: ${join(folder, path)} ${problem}`]);
    }
  });
});

describe('holdfast driver check --settings', () => {
  const lamp = `import { defineDriver, z } from 'holdfast/driver';
export default defineDriver({
  name: 'lamp', role: 'device', transports: ['tcp'],
  settings: z.strictObject({ pollMs: z.int().min(10) }),
  setup: ({ settings, status }) => { status.set('poll', settings.pollMs); return {}; },
});
`;
  const check = (settings: string) => holdfast(folderWith({ 'lamp.ts': lamp }), 'driver', 'check', 'lamp.ts', '--settings', settings);

  it('sets the driver up with them, as a server would: the connection has settings of its own', () => {
    expect(check('{"pollMs":100,"connection":{"idleMs":5000}}')).toMatchObject({ code: 0, err: '', out: expect.stringMatching(/^lamp: device, tcp[\s\S]*^poll$/m) as string });
  });

  it.each([
    ['{}', 1, 'error: settings.pollMs: '],
    ['{"pollMs":1}', 1, 'error: settings.pollMs: Too small: expected number to be >=10'],
    ['{"pollMs":10,"connection":{"idleMs":"long"}}', 1, 'error: settings.connection.idleMs: '],
    ['{"pollMs":10,"dim":1}', 1, 'error: settings: Unrecognized key: "dim"'],
    ['lamp.json', 2, 'error: --settings must be a JSON object, not lamp.json'],
    ['[1]', 2, 'error: --settings must be a JSON object, not [1]'],
  ])('%s: exit code %i, and the field is named', (settings, code, begin) => {
    const found = check(settings);
    expect([found.code, found.out, found.err.slice(0, begin.length)]).toEqual([code, '', begin]);
  });
});
