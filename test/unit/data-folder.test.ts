import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openDataFolder, tryWriteLog, writeLogProblem } from '../../src/shared/adapters/data-folder/data-folder.ts';
import { tempFolders } from '../support/temp-folder.ts';

const folders = tempFolders();
const refusal = (variable: string, problem: RegExp) => ({ code: 'CONFIG_INVALID', facts: { variable, problem: expect.stringMatching(problem) as string } });

describe('the data directory of a server', () => {
  it('is made, with all that it lies in, for its user alone; one that is there is left as it is', async () => {
    const root = folders();
    const data = join(root, 'var', 'holdfast');
    await openDataFolder(data);
    await openDataFolder(data);
    expect(['var', 'var/holdfast'].map((name) => statSync(join(root, name)).mode & 0o777)).toEqual([0o700, 0o700]);
  });

  it('that cannot be one is refused with the variable and what to do', async () => {
    const file = join(folders(), 'file');
    writeFileSync(file, 'no directory');
    await expect(openDataFolder(file)).rejects.toMatchObject(refusal('HOLDFAST_DATA', /file is not a directory; name one/));
    await expect(openDataFolder(join(file, 'data'))).rejects.toMatchObject(refusal('HOLDFAST_DATA', /a part of the path is not a directory/));
    expect(readFileSync(file, 'utf8')).toBe('no directory');
  });

  // Node's recursive mkdir never returns there.
  it.runIf(existsSync('/proc/self'))('in a place that takes none is refused at once', async () => {
    await expect(openDataFolder('/proc/holdfast/data')).rejects.toMatchObject(refusal('HOLDFAST_DATA', /cannot be made in \/proc: .*name a directory that this user may write to/));
  });
});

describe('the write log', () => {
  it('that can be opened is, and one that cannot is refused before any driver host is started', async () => {
    const folder = folders();
    await tryWriteLog(join(folder, 'writes.jsonl'));
    mkdirSync(join(folder, 'directory'));
    await expect(tryWriteLog(join(folder, 'directory'))).rejects.toMatchObject(refusal('HOLDFAST_WRITE_LOG', /directory cannot be opened for writing: it is a directory; without it no driver runs/));
    await expect(tryWriteLog(join(folder, 'missing', 'w'))).rejects.toMatchObject(refusal('HOLDFAST_WRITE_LOG', /there is no such directory/));
  });

  it('is looked at without making it', async () => {
    const folder = folders();
    const log = join(folder, 'w');
    expect([await writeLogProblem(log), existsSync(log)]).toEqual([null, false]);
    writeFileSync(log, '');
    expect(await writeLogProblem(log)).toBeNull();
    expect([await writeLogProblem(folder), await writeLogProblem(join(folder, 'missing', 'w'))]).toEqual(['it is a directory', expect.stringContaining('no such directory')]);
  });
});
