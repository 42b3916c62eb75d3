import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DriverFolder } from '../../src/driver-tools/driver-files.ts';
import { driverEditSchema } from '../../src/shared/model/driver-edit.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { tempFolders } from '../support/temp-folder.ts';

const folder = tempFolders();

/** A driver that is a folder, with a file that it uses, one that it does not, and links out of it. */
function lampFolder(): DriverFolder {
  const drivers = folder();
  const lamp = join(drivers, 'lamp');
  mkdirSync(join(lamp, 'lib'), { recursive: true });
  mkdirSync(join(drivers, 'torch'));
  const files = { 'lamp/driver.ts': "import { word } from './lib/codec.ts';\nexport default word;\n", 'lamp/lib/codec.ts': "export const word = 'on file';\n" };
  for (const [file, text] of Object.entries({ ...files, 'lamp/lib/unused.ts': '', 'torch/driver.ts': '' })) writeFileSync(join(drivers, file), text);
  symlinkSync(join(drivers, 'torch', 'driver.ts'), join(lamp, 'link.ts'));
  symlinkSync(join(drivers, 'torch'), join(lamp, 'away'));
  return new DriverFolder(drivers);
}

const content = "export const word: string = 'edited';\n";

describe('a file that is edited inline', () => {
  it('takes the place of one that the driver uses, for this time only', async () => {
    const drivers = lampFolder();
    expect((await drivers.compile('lamp', { file: 'lib/codec.ts', content }))?.code).toContain('"edited"');
    expect((await drivers.compile('lamp'))?.code).toContain('"on file"');
    await expect(drivers.compile('lamp', { file: 'lib/codec.ts', content: 'export const word = ;' })).rejects.toMatchObject({
      code: 'DRIVER_INVALID',
      facts: { place: expect.stringMatching(/lib\/codec\.ts:1:21$/) },
    });
  });

  it.each([
    ['lib/none.ts', 'has no file'],
    ['lib', 'has no file'],
    ['../torch/driver.ts', 'not below the folder'],
    ['', 'not below the folder'],
    ['away/driver.ts', 'has no file'],
    ['link.ts', 'has no file'],
    ['lib/unused.ts', 'does not use'],
  ])('is refused as %j: %s', async (file, problem) => {
    const refused = expect(lampFolder().compile('lamp', { file, content })).rejects;
    await refused.toMatchObject({ code: 'INPUT_INVALID', facts: { field: 'file', problem: expect.stringContaining(problem) } });
  });

  it.each(['../x.ts', '/etc/x.ts', 'a/../x.ts', 'a//x.ts', './x.ts', '.hidden/x.ts', 'a\\x.ts', 'x.sh', 'x.ts\u0000', 'C:/x.ts', 'lib/'])('does not get past the schema as %j', (file) => {
    expect(driverEditSchema.safeParse({ file, content }).success).toBe(false);
  });

  it('has a largest size, in bytes', () => {
    const sized = (length: number) => driverEditSchema.safeParse({ file: 'x.ts', content: 'é'.repeat(length) }).success;
    expect([sized(limits.inlineEditBytes / 2), sized(limits.inlineEditBytes / 2 + 1)]).toEqual([true, false]);
  });
});
