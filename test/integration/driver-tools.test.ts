import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { localCommands } from '../../src/local-commands.ts';
import { cli } from '../support/cli-run.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { isRunning } from '../support/processes.ts';
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
  // A command that never ends has failed.
  const patience = { timeout: 40_000, killSignal: 'SIGKILL' } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, [resolve('dist/main.js'), ...args], { cwd, env, encoding: 'utf8', ...patience });
  return { code: status, out: stdout, err: stderr };
}

/** Starts the command, and interrupts it when code of its user has written the number of its process to `pid`. */
async function interrupted(cwd: string, signal: NodeJS.Signals, ...args: string[]): Promise<{ code: number | null; err: string; left: boolean }> {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(process.execPath, [resolve('dist/main.js'), ...args], { cwd, env, stdio: ['ignore', 'ignore', 'pipe'] });
  const said = text(child.stderr);
  const note = join(cwd, 'pid');
  let pid = 0;
  try {
    await expect.poll(() => existsSync(note) && readFileSync(note, 'utf8'), { timeout: 20_000 }).toMatch(/^\d+$/);
    pid = Number(readFileSync(note, 'utf8'));
    child.kill(signal);
    await expect.poll(() => child.exitCode, { timeout: 5_000 }).not.toBeNull().catch(() => undefined);
    const code = child.exitCode;
    // What is killed is gone a moment later.
    await expect.poll(() => isRunning(pid), { timeout: 1_000 }).toBe(false).catch(() => undefined);
    return { code, err: code === null ? '' : await said, left: isRunning(pid) };
  } finally {
    child.kill('SIGKILL');
    if (pid > 0 && isRunning(pid)) process.kill(pid, 'SIGKILL');
  }
}

const inProcess = (...argv: string[]) => cli({ ...localCommands, clock: new FakeClock() }, ...argv);

const head = `import assert from 'node:assert/strict';\nimport { describe, test } from 'node:test';\n`;
interface Result {
  passed: number;
  failed: number;
  todo: number;
  skipped: number;
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
describe.skip('a lamp of tomorrow', () => { test('glows', () => {}); });
`,
      'lamp/other.test.js': `${head}test('is told of', () => {});\n`,
    });
    const { code, out, err } = holdfast(folder, 'driver', 'test');
    expect(out).toMatch(/^ok {5}lamp\/driver\.test\.ts: goes on$/m);
    expect(out).toMatch(/^FAILED lamp\/driver\.test\.ts: goes off\n {7}AssertionError.*\n\s+1 !== 2\n\s+at .*lamp\/driver\.test\.ts:6:\d+\)$/m);
    expect(out.split('\n').slice(-6)).toEqual([
      'todo   lamp/driver.test.ts: dims',
      'skip   lamp/driver.test.ts: blinks',
      'skip   lamp/driver.test.ts: a lamp of tomorrow',
      'ok     lamp/other.test.js: is told of',
      '2 passed, 1 failed, 1 todo, 2 skipped',
      '',
    ]);
    const next = 'correct the driver or its test, and repeat `holdfast driver test .`';
    expect([code, err]).toEqual([1, `error: 1 of 3 tests failed\nnext: ${next}\n`]);
  });

  it('is not content with a file that throws, ends its process or has no tests', () => {
    const folder = folderWith({
      'code.test.ts': `${head}test('first', () => { process.exitCode = 3; });\n`,
      'empty.test.ts': `${head}describe('a lamp', () => {});\n`,
      'ends-at-once.test.ts': `${head}process.exit(0);\n`,
      'ends.test.ts': `${head}test('first', () => {});\ntest('second', () => process.exit(0));\ntest('third', () => {});\n`,
      'late.test.ts': `${head}test('first', () => {\n  void Promise.reject(new Error('the lamp is gone'));\n});\n`,
      'never.test.ts': `${head}test('first', () => {});\ntest('waits', async () => { await new Promise(() => {}); });\n`,
      'nothing.test.ts': 'export const lamp = 1;\n',
      'text.test.ts': `${head}throw 'no lamp at all';\n`,
      'throws.test.ts': `${head}test('never runs', () => {});\nthrow new Error('no lamp here');\n`,
      'within.test.ts': `${head}test('outer', async (t) => {\n  await t.test('inner', () => { throw new Error('dark'); });\n});\n`,
    });
    const { code, out, err } = holdfast(folder, '-o', 'json', 'driver', 'test');
    const { tests, ...counts } = JSON.parse(out) as Result;
    expect([code, counts, err.split('\n')[0]]).toEqual([1, { passed: 5, failed: 11, todo: 0, skipped: 0 }, 'error: 11 of 16 tests failed']);
    const at = (place: string): string => String.raw`\n\s+at .*${place}\)?(?:\n\s+at .*)*$`;
    expect(tests.map(({ file, name, problem }) => [file, name, problem])).toEqual([
      ['code.test.ts', 'first', null],
      ['code.test.ts', 'code.test.ts', 'its process ended with exit code 3'],
      ['empty.test.ts', 'a lamp', 'it has no tests'],
      ['ends-at-once.test.ts', 'ends-at-once.test.ts', expect.stringMatching(`^Error: process\\.exit\\(0\\) was called${at('ends-at-once.test.ts:3:9')}`)],
      ['ends.test.ts', 'first', null],
      ['ends.test.ts', 'second', expect.stringMatching(`^Error: process\\.exit\\(0\\) was called${at('ends.test.ts:4:\\d+')}`)],
      ['ends.test.ts', 'third', null],
      ['late.test.ts', 'first', null],
      ['late.test.ts', 'late.test.ts', expect.stringMatching(`^Error: the lamp is gone${at('late.test.ts:4:\\d+')}`)],
      ['never.test.ts', 'first', null],
      ['never.test.ts', 'waits', expect.stringMatching(`^it waits for what never comes, .*${at('never.test.ts:4:1')}`)],
      ['nothing.test.ts', 'nothing.test.ts', 'it has no tests, or its process ended before they did'],
      ['text.test.ts', 'text.test.ts', 'no lamp at all'],
      ['throws.test.ts', 'throws.test.ts', expect.stringMatching(`^Error: no lamp here${at('throws.test.ts:4:7')}`)],
      ['within.test.ts', 'inner', expect.stringMatching(`^Error: dark${at('within.test.ts:4:\\d+')}`)],
      ['within.test.ts', 'outer', '1 subtest failed'],
    ]);
  });

  it('does not take for passed what the test runner did not come to', () => {
    const folder = folderWith({
      'a.test.ts': `${head}test('first', () => {});\ntest('to do', { todo: true }, () => assert.fail('not yet'));\n`,
      'b.test.ts': `${head}test('second', () => void process.kill(process.ppid, 'SIGKILL'));\n`,
    });
    const { code, out, err } = holdfast(folder, 'driver', 'test');
    expect([code, out, err.split('\n')[0]]).toEqual([1, '', 'error: a.test.ts, b.test.ts: the test runner ended before its tests did (SIGKILL)']);
  });

  it('says what is wrong with the folder, and what to do', async () => {
    const folder = folderWith({ 'lamp.ts': '' });
    for (const [path, problem] of [['nowhere', 'is no folder'], ['lamp.ts', 'is no folder'], ['.', 'has no tests: they are files such as driver.test.ts']] as const) {
      const { code, err } = await inProcess('driver', 'test', join(folder, path));
      expect([code, err.split('\n')[0]]).toEqual([2, `error: folder: ${join(folder, path)} ${problem}`]);
      expect(err).toContain('next: name the folder of your drivers: `holdfast driver test <folder>`');
    }
  });

  it('ends a file that does not end by itself, and goes on with the next', () => {
    const folder = folderWith({
      'a.test.ts': `${head}test('loops', () => { for (;;); });\n`,
      'b.test.ts': `${head}process.on('SIGTERM', () => {});\ntest('waits', () => new Promise(() => setInterval(() => {}, 1_000)));\n`,
      'c.test.ts': `${head}test('is well', () => {});\n`,
    });
    const { code, out } = holdfast(folder, 'driver', 'test', '--timeout', '1');
    const why = '       it had not ended after 1 s: a test loops, or waits for what does not come';
    expect([code, out.split('\n')]).toEqual([
      1,
      ['FAILED a.test.ts', why, 'FAILED b.test.ts', why, 'ok     c.test.ts: is well', '1 passed, 2 failed', ''],
    ]);
  });

  it.each(['0', 'long', '1e9'])('takes no --timeout of %s', async (timeout) => {
    const { code, err } = await inProcess('driver', 'test', folders(), '--timeout', timeout);
    expect([code, err]).toEqual([2, expect.stringMatching(`^error: --timeout must be a number of seconds up to 86400, not ${timeout}\nnext: `)]);
  });

  it('is interrupted at once, and leaves no process', async () => {
    const loops = `process.on('SIGTERM', () => {});\ntest('loops', () => {\n  writeFileSync('pid', String(process.pid));\n  for (;;);\n});\n`;
    const folder = folderWith({});
    const noted = loops.replace("'pid'", JSON.stringify(join(folder, 'pid')));
    writeFileSync(join(folder, 'lamp.test.ts'), `import { test } from 'node:test';\nimport { writeFileSync } from 'node:fs';\n${noted}`);
    expect(await interrupted(folder, 'SIGINT', 'driver', 'test')).toEqual({ code: 130, err: expect.stringMatching(/^error: interrupted\n/), left: false });
  });

  it('says where a test cannot be compiled', async () => {
    const folder = folderWith({ 'lamp.test.ts': 'const lamp = ;\n' });
    const next = `correct the file, and repeat \`holdfast driver test ${folder}\``;
    expect(await inProcess('driver', 'test', folder)).toEqual({ code: 1, out: '', err: `error: ${folder}/lamp.test.ts:1:14: Unexpected ";"\nnext: ${next}\n` });
  });
});

describe('holdfast driver new', () => {
  it('says in its README how to test the driver, and from which folder', () => {
    const home = folders();
    expect(holdfast(home, 'driver', 'new', 'lamp', '--folder', 'drivers').code).toBe(0);
    const [, command = ''] = /^- `lamp`: .* Test it in this folder: `holdfast (.+)`\.$/m.exec(readFileSync(join(home, 'drivers', 'README.md'), 'utf8')) ?? [];
    const { code, out } = holdfast(join(home, 'drivers'), ...command.split(' '));
    expect([code, out.split('\n').at(-2)]).toEqual([0, '2 passed, 0 failed']);
  });
});

describe('holdfast driver check --settings', () => {
  const lamp = `import { defineDriver, z } from 'holdfast/driver';
export default defineDriver({
  name: 'lamp', role: 'device', transports: ['tcp'],
  settings: z.strictObject({ pollMs: z.int().min(10), login: z.strictObject({ password: z.string().min(3) }).optional() }),
  setup: ({ settings, status }) => { status.set('poll', settings.pollMs); return {}; },
});
`;
  const check = (settings: string, file = 'lamp.ts') => ['driver', 'check', file, '--settings', settings];
  const deep = `${'['.repeat(70)}${']'.repeat(70)}`;

  it('sets the driver up with them as a server would: the connection has settings of its own, and secrets are opened', () => {
    const settings = '{"pollMs":100,"connection":{"idleMs":5000},"login":{"password":{"$secret":"hush"}}}';
    const { code, out, err } = holdfast(folderWith({ 'lamp.ts': lamp }), ...check(settings));
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^lamp: device, tcp[\s\S]*^poll$/m);
  });

  it.each([
    ['{}', 'error: settings.pollMs: '],
    ['{"pollMs":1}', 'error: settings.pollMs: Too small: expected number to be >=10'],
    ['{"pollMs":10,"dim":1}', 'error: settings: Unrecognized key: "dim"'],
  ])('%s does not fit the driver: the field is named', (settings, begin) => {
    const { code, out, err } = holdfast(folderWith({ 'lamp.ts': lamp }), ...check(settings));
    expect([code, out, err.slice(0, begin.length)]).toEqual([2, '', begin]);
    expect(err).toContain('next: correct it in --settings: `holdfast driver check lamp.ts --settings <json>`\n');
  });

  it.each([
    ['{"connection":{"idleMs":"long"}}', 'error: settings.connection.idleMs: '],
    ['{"connection":{"idle":1}}', 'error: settings.connection: Unrecognized key: "idle"'],
    ['{"login":{"password":{"$secret":"hush","hint":"h"}}}', 'error: settings.login.password: must have no other names beside $secret or $sealed'],
    ['{"login":{"password":{"$sealed":"1.x"}}}', 'error: settings.login.password: is sealed, and only its server can open it: write it as $secret'],
    ['{"$secret":{"pollMs":10}}', 'error: settings: cannot be sealed as a whole; seal the values in them'],
    [`{"login":${deep}}`, 'error: settings.login: must be JSON, nested at most 64 deep'],
    ['lamp.json', 'error: --settings must be a JSON object, not lamp.json\nnext: write such as --settings '],
    ['[1]', 'error: --settings must be a JSON object, not [1]\nnext: write such as --settings '],
  ])('%s: no server takes them for any driver', async (settings, begin) => {
    const found = await inProcess(...check(settings, join(folderWith({ 'lamp.ts': lamp }), 'lamp.ts')));
    expect([found.code, found.out, found.err.slice(0, begin.length)]).toEqual([2, '', begin]);
  });

  it('says what to do when there is no such driver', async () => {
    const { code, err } = await inProcess('driver', 'check', join(folders(), 'nowhere'));
    expect([code, err]).toEqual([1, expect.stringMatching(/nowhere: name a file such as lamp\.ts.*\nnext: `holdfast driver new <name>` writes a driver to begin with\n$/)]);
  });
});

describe('holdfast driver check: a setup', () => {
  const lamp = (setup: string): Record<string, string> => ({
    'lamp.ts': `import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { defineDriver, z } from 'holdfast/driver';
export default defineDriver({
  name: 'lamp', role: 'logic', settings: z.object({}),
  setup: async (ctx) => {
    ${setup}
    return { dim: () => 1 };
  },
});
`,
  });
  const check = (folder: string, ...more: string[]) => holdfast(folder, ...more, 'driver', 'check', 'lamp.ts');

  it('may wait for the world: for a file, and for time', () => {
    const folder = folderWith({
      ...lamp(`for (let at = 0; at < 30; at += 1) await readFile(new URL('./codes.txt', import.meta.url));
    await setTimeout(300);
    await new Promise<void>((done) => void ctx.schedule.in(300, done));
    console.log('is set up');
    ctx.status.set('codes', 1);
    ctx.schedule.in(0, () => ctx.status.set('first', 1));`),
      'codes.txt': '1 2 3',
    });
    const { code, out, err } = check(folder, '-o', 'json');
    expect([code, err]).toEqual([0, 'is set up\n']);
    expect(JSON.parse(out)).toMatchObject({ name: 'lamp', functions: { dim: { arity: 0 } }, status: ['problem', 'codes', 'first'] });
  });

  it.each([
    ['waits for ever', 'await new Promise(() => undefined);', 'its setup did not return within 3 s; what takes longer belongs into schedule.in(0, …)'],
    ['loops', 'for (;;);', 'its setup did not return: the driver kept its process from everything else for … ms; it must not loop or block, and await what takes time'],
    ['ends its process', 'process.exit(0);', 'the driver called process.exit'],
  ])('%s: the file is named, and what to do', (_, setup, problem) => {
    const folder = folderWith(lamp(setup));
    const { code, err } = check(folder);
    expect([code, err.replace(/\d+ ms/, '… ms')]).toEqual([1, `error: ${folder}/lamp.ts: ${problem}\nnext: Correct the file; \`holdfast driver check\` finds the same.\n`]);
  });

  it('throws later on, out of its callback: file, line and reason are named', () => {
    const folder = folderWith(lamp("setImmediate(() => { throw new Error('dark'); });\n    await setTimeout(1_000);"));
    expect(check(folder).err).toMatch(/lamp\.ts:7:32: Error: dark\n/);
  });

  it('is interrupted at once, and leaves no process', async () => {
    const folder = folderWith(lamp("await writeFile(new URL('./pid', import.meta.url), String(process.pid));\n    for (;;);"));
    const found = await interrupted(folder, 'SIGTERM', 'driver', 'check', 'lamp.ts');
    expect(found).toEqual({ code: 130, err: expect.stringMatching(/^error: interrupted\n/), left: false });
  });
});

describe('holdfast driver check: a definition', () => {
  it.each([
    ["tokeniser: delimiter('\\n'),", '3:16: tokeniser: must be a function'],
    ["role: 'devise',", '3:16: role: must be device, service or logic, not "devise"'],
    ['settings: undefined,', '3:16: settings: must be a schema, such as z.strictObject({})'],
    ['setup: () => {},', ' its setup must return its methods, such as { power: … }, or {} for none, and not undefined'],
    ["tokeniser: () => '\\n',", " its tokeniser must return one, such as () => delimiter('\\n'), and not "],
  ])('%s: the field is named, and what to do', (wrong, problem) => {
    const folder = folderWith({
      'lamp.ts': `import { defineDriver, delimiter, z } from 'holdfast/driver';
const lamp = { name: 'lamp', role: 'device', settings: z.strictObject({}), tokeniser: () => delimiter('\\n'), setup: () => ({}) };
export default defineDriver({ ...lamp, ${wrong} });
`,
    });
    const { code, err } = holdfast(folder, 'driver', 'check', 'lamp.ts');
    expect([code, err]).toEqual([1, expect.stringContaining(`error: ${folder}/lamp.ts:${problem}`)]);
    expect(err).toContain('next: Correct the file; `holdfast driver check` finds the same.\n');
  });
});
