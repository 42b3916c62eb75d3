import { existsSync } from 'node:fs';
import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '../shared/model/errors.ts';

/** Writes a driver that works, its test and a line of README into `<folder>/<name>`. Throws INPUT_INVALID; replaces nothing. */
export async function newDriver(name: string, folder: string): Promise<{ files: string[] }> {
  const refuse = (problem: string): HoldfastError => new HoldfastError('INPUT_INVALID', { field: 'name', problem });
  if (!/^[a-z][a-z0-9-]{0,59}$/.test(name)) throw refuse(`"${name}" must be small letters, digits and dashes, such as lamp`);
  const home = join(folder, name);
  if (existsSync(home)) throw refuse(`${home} is there already`);
  await mkdir(home, { recursive: true });
  const driver = join(home, 'driver.ts');
  const test = join(home, 'driver.test.ts');
  const readme = join(folder, 'README.md');
  await writeFile(driver, driverText(name));
  await writeFile(test, testText(name));
  const heading = existsSync(readme) ? '' : '# Drivers\n\n';
  await appendFile(readme, `${heading}- \`${name}\`: what it drives, and how that is connected. Test it in this folder: \`holdfast driver test ${name}\`.\n`);
  return { files: [driver, test, readme] };
}

const driverText = (name: string): string => `import { defineDriver, delimiter, method, z } from 'holdfast/driver';

export default defineDriver({
  name: '${name}',
  role: 'device',
  settings: z.strictObject({
    pollMs: z.int().min(100).default(5_000),
  }),
  tokeniser: () => delimiter('\\n'),
  setup(ctx) {
    ctx.schedule.every(ctx.settings.pollMs, async () => {
      if (ctx.status.get('connected') !== true) return;
      const answer = await ctx.send('power?\\n');
      ctx.status.set('power', answer?.toString() === 'on');
    });
    return {
      power: method(z.tuple([z.boolean()]), async (on) => {
        const word = on ? 'on' : 'off';
        await ctx.send(\`power \${word}\\n\`, {
          name: 'power',
          reply: (message) => (message.toString() === 'ok' ? 'done' : { abort: message.toString() }),
        });
        ctx.status.set('power', on);
        return on;
      }),
    };
  },
});
`;

const testText = (name: string): string => `import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHarness } from 'holdfast/driver';
import driver from './driver.ts';

test('switches the ${name} on', async () => {
  const device = createHarness(driver);
  await device.start();
  await device.connect();
  const switched = device.exec('power', true);
  device.expectSent('power on\\n');
  await device.reply('ok\\n');
  assert.equal(await switched, true);
  assert.equal(device.status.power, true);
});

test('asks the ${name} every five seconds', async () => {
  const device = createHarness(driver);
  await device.start();
  await device.connect();
  await device.advance(5_000);
  device.expectSent('power?\\n');
  await device.reply('off\\n');
  assert.equal(device.status.power, false);
});
`;
