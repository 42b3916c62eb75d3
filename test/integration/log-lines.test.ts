import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';

const module = pathToFileURL(resolve('dist/shared/adapters/log/pino-log.js')).href;

/** The event words that a process which does `work` with its log leaves on its standard output. */
function logged(work: string): Promise<string[]> {
  const code = `import { createPinoLog } from ${JSON.stringify(module)}; const log = createPinoLog({ level: 'info', fd: 1, base: {} }); ${work}`;
  return new Promise((done) => {
    execFile(process.execPath, ['--input-type=module', '-e', code], { maxBuffer: 2 ** 24 }, (_, output) => {
      const lines = output.split('\n').filter((line) => line !== '');
      done(lines.map((line) => String((JSON.parse(line) as { event: unknown }).event)));
    });
  });
}

it.each([
  ['that ends by itself', ''],
  ['that leaves in the same turn', 'process.exit(3);'],
  ['that dies of an exception', "throw new Error('a bug');"],
  ['that is killed in a later turn', "setTimeout(() => process.kill(process.pid, 'SIGKILL'), 50);"],
])('loses no line of a process %s', async (_, end) => {
  expect(await logged(`log.info('first'); log.child({ a: 1 }).info('audit'); ${end}`)).toEqual(['first', 'audit']);
});

it.each(['audit', 'command', 'command-served', 'refused'])('writes everything but lines such as %s at once, and what was said before it', async (word) => {
  const said = `log.info('${word}'); log.debug('not'); log.info('second'); log.info('${word}'); process.kill(process.pid, 'SIGKILL');`;
  expect(await logged(said)).toEqual([word, 'second']);
});

it('keeps long lines and many of them whole and in order', async () => {
  const words = await logged("for (let i = 0; i < 5_000; i += 1) log.info(i % 3 === 0 ? 'line' : 'audit', { text: 'x'.repeat(i % 700) });");
  expect(words).toEqual(Array.from({ length: 5_000 }, (__, i) => (i % 3 === 0 ? 'line' : 'audit')));
});
