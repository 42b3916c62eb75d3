import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { driversFolderIn, openWorkingCopy } from '../../../src/shared/adapters/git/working-copy.ts';
import { createSystemClock } from '../../../src/shared/adapters/clock/system-clock.ts';
import { limits } from '../../../src/shared/model/limits.ts';
import type { Repository } from '../../../src/shared/model/repository.ts';
import type { WorkingCopy } from '../../../src/shared/ports/working-copy.ts';
import { createRepository, type TestRepository } from '../../support/git-repository.ts';
import { tempFolders } from '../../support/temp-folder.ts';

const temp = tempFolders();
const never = new AbortController().signal;

interface Site {
  origin: TestRepository;
  folder: string;
  copy: WorkingCopy;
  reopen(): Promise<WorkingCopy>;
  /** What drivers would be read as. */
  read(path: string): string | null;
}

async function setUp(more: Partial<Repository> = {}): Promise<Site> {
  const base = temp();
  const origin = createRepository(base);
  const folder = join(base, 'copy');
  const repository: Repository = { url: origin.url, credentials: null, branch: null, path: '', ...more };
  const reopen = () => openWorkingCopy({ folder, repository, clock: createSystemClock() });
  const read = (path: string): string | null => {
    const file = join(driversFolderIn(folder, repository), path);
    return existsSync(file) ? readFileSync(file, 'utf8') : null;
  };
  return { origin, folder, copy: await reopen(), reopen, read };
}

/** A program that fills a folder, says so, and once something is removed from it writes more into it for a while. */
const writer = `
  const { readdirSync, writeFileSync } = require('node:fs');
  const [, folder] = process.argv;
  for (let file = 0; file < 500; file += 1) writeFileSync(folder + '/' + file, '');
  process.stdout.write('full');
  while (readdirSync(folder).length === 500);
  const endMs = Date.now() + 100;
  for (let file = 500; Date.now() < endMs; file += 1) writeFileSync(folder + '/' + file, '');
`;

/** Puts a commit in place for good. */
async function checkOut(copy: WorkingCopy, commit: string | null, discard = false): Promise<string> {
  const change = await copy.switchTo(await copy.resolve(commit, never), { discard }, never);
  await change.keep();
  return change.to;
}

describe('a working copy', () => {
  it('begins empty, follows the branch, and goes to any commit, also one that was never fetched', async () => {
    const { origin, copy, read, reopen } = await setUp();
    expect([copy.commit, read('lamp.ts')]).toEqual([null, null]);
    const first = origin.commit({ 'lamp.ts': 'one' });
    expect(await checkOut(copy, null)).toBe(first);
    expect([copy.commit, read('lamp.ts')]).toEqual([first, 'one']);
    const second = origin.commit({ 'lamp.ts': 'two', 'lib/wire.ts': 'x' });
    const third = origin.commit({ 'lamp.ts': 'three', 'lib/wire.ts': null });
    expect(await checkOut(copy, second)).toBe(second);
    expect([read('lamp.ts'), read('lib/wire.ts')]).toEqual(['two', 'x']);
    expect(await checkOut(copy, 'main')).toBe(third);
    expect([read('lamp.ts'), read('lib/wire.ts')]).toEqual(['three', null]);
    expect(await checkOut(copy, first.slice(0, 10))).toBe(first);
    expect((await reopen()).commit).toBe(first);
    origin.git(['tag', 'v1', second]);
    expect(await checkOut(copy, 'v1')).toBe(second);
  });

  it('takes a branch and a folder of the repository if told so', async () => {
    const { origin, copy, read } = await setUp({ branch: 'stable', path: 'site/drivers' });
    const stable = origin.commit({ 'site/drivers/lamp.ts': 'stable' });
    origin.git(['update-ref', 'refs/heads/stable', stable]);
    origin.commit({ 'site/drivers/lamp.ts': 'newer' });
    expect(await checkOut(copy, null)).toBe(stable);
    expect(read('lamp.ts')).toBe('stable');
  });

  it('says what was edited, refuses to lose it, and throws it away when told to', async () => {
    const { origin, copy, read, folder } = await setUp();
    const first = origin.commit({ 'lamp.ts': 'one', '.gitignore': 'scratch\n' });
    const second = origin.commit({ 'lamp.ts': 'two' });
    await checkOut(copy, first);
    expect(await copy.status(never)).toMatchObject({ remote: origin.url, branch: null, commit: first, dirty: [], dirtyCount: 0, fetchedMs: expect.any(Number) });
    writeFileSync(join(folder, 'current', 'lamp.ts'), 'edited');
    writeFileSync(join(folder, 'current', 'new.ts'), 'added');
    writeFileSync(join(folder, 'current', 'scratch'), 'not worth a word');
    expect(await copy.status(never)).toMatchObject({ dirty: ['lamp.ts', 'new.ts'], dirtyCount: 2 });
    await expect(copy.switchTo(second, { discard: false }, never)).rejects.toMatchObject({ code: 'REPOSITORY_DIRTY', facts: { files: 'lamp.ts, new.ts' } });
    expect([copy.commit, read('lamp.ts')]).toEqual([first, 'edited']);
    const reset = await copy.switchTo(first, { discard: true }, never);
    expect([read('lamp.ts'), read('new.ts')]).toEqual(['one', null]);
    // Even this can be taken back until it is kept.
    await reset.back();
    expect(read('lamp.ts')).toBe('edited');
    await checkOut(copy, first, true);
    expect(await copy.status(never)).toMatchObject({ dirtyCount: 0 });
    // Without its index, git compares the files themselves.
    for (const name of readdirSync(join(folder, 'indexes'))) rmSync(join(folder, 'indexes', name));
    expect(await copy.status(never)).toMatchObject({ dirtyCount: 0 });
  });

  it('says that a commit does not exist, and that the repository cannot be reached; nothing changes', async () => {
    const { origin, copy, read } = await setUp();
    const first = origin.commit({ 'lamp.ts': 'one' });
    await checkOut(copy, null);
    for (const name of ['0'.repeat(40), 'nothing', '--upload-pack=x', 'a..b', 'HEAD@{1}', '-x', '']) {
      await expect(copy.resolve(name, never), name).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN', facts: { commit: name } });
    }
    renameSync(origin.url, `${origin.url}-gone`);
    await expect(copy.resolve(null, never)).rejects.toMatchObject({ code: 'REPOSITORY_FAILED', message: expect.stringContaining('drivers.git') });
    // What is here needs nobody.
    expect(await copy.resolve(first, never)).toBe(first);
    expect([copy.commit, read('lamp.ts')]).toEqual([first, 'one']);
  });

  it('takes a change back that was on trial when its process ended', async () => {
    const { origin, copy, read, reopen } = await setUp();
    const first = origin.commit({ 'lamp.ts': 'one' });
    const second = origin.commit({ 'lamp.ts': 'two' });
    await checkOut(copy, first);
    await copy.switchTo(second, { discard: false }, never);
    expect(read('lamp.ts')).toBe('two');
    const after = await reopen();
    expect([after.commit, read('lamp.ts')]).toEqual([first, 'one']);
    await checkOut(after, second);
    expect([(await reopen()).commit, read('lamp.ts')]).toEqual([second, 'two']);
  });

  it('goes on after a crash that left locks, half a pack, half a tree or a mirror that git cannot read', async () => {
    const { origin, copy, read, folder, reopen } = await setUp();
    const first = origin.commit({ 'lamp.ts': 'one' });
    await checkOut(copy, null);
    const mirror = join(folder, 'mirror.git');
    for (const lock of ['packed-refs.lock', 'shallow.lock', 'refs/heads/main.lock', 'objects/pack/tmp_pack_abc']) writeFileSync(join(mirror, lock), 'half');
    mkdirSync(join(folder, 'trees', 'making-0-1'));
    writeFileSync(join(folder, 'trees', 'making-0-1', 'lamp.ts'), 'half');
    symlinkSync('nowhere', join(folder, 'making-link'));
    const second = origin.commit({ 'lamp.ts': 'two' });
    const again = await reopen();
    expect([again.commit, read('lamp.ts')]).toEqual([first, 'one']);
    expect(readdirSync(join(folder, 'trees')).filter((name) => name.startsWith('making-'))).toEqual([]);
    expect(await checkOut(again, null)).toBe(second);
    // A power cut in the middle of a write.
    writeFileSync(join(mirror, 'packed-refs'), '\0\0\0\0');
    writeFileSync(join(mirror, 'config'), '[core');
    const third = origin.commit({ 'lamp.ts': 'three' });
    expect(await checkOut(await reopen(), null)).toBe(third);
    expect(read('lamp.ts')).toBe('three');
  });

  it('removes what another process still writes into, as a git of a killed server does', async () => {
    const { folder, reopen } = await setUp();
    const making = join(folder, 'trees', 'making-0-1');
    mkdirSync(making);
    const child = spawn(process.execPath, ['-e', writer, making], { stdio: ['ignore', 'pipe', 'ignore'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    await reopen();
    expect(readdirSync(join(folder, 'trees'))).toEqual(['empty']);
  });

  it('keeps a bounded number of trees', async () => {
    const { origin, copy, folder } = await setUp();
    for (let i = 0; i < limits.repositoryTrees + 3; i += 1) await checkOut(copy, origin.commit({ 'lamp.ts': `version ${i}` }));
    const trees = readdirSync(join(folder, 'trees')).filter((name) => name !== 'empty');
    expect(trees).toHaveLength(limits.repositoryTrees);
    expect(trees).toContain(readlinkSync(join(folder, 'current')).replace('trees/', ''));
    expect(readdirSync(join(folder, 'indexes'))).toHaveLength(limits.repositoryTrees);
  });

  it('stops when it is cancelled, and leaves nothing half made', async () => {
    const { origin, copy, folder } = await setUp();
    origin.commit({ 'lamp.ts': 'one' });
    const abort = new AbortController();
    const resolving = copy.resolve(null, abort.signal);
    abort.abort();
    await expect(resolving).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(copy.resolve(null, abort.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(readdirSync(join(folder, 'trees'))).toEqual(['empty']);
  });
});

describe('a commit that must not get onto this machine', () => {
  /** Pushed with a tree that git itself would never make. */
  const pushTree = (origin: TestRepository, entries: string): string => {
    const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
    const parts = entries.split('\n').flatMap((line) => {
      const [head = '', hash = ''] = line.split(' # ');
      return [bytes(`${head}\0`), Buffer.from(hash, 'hex')];
    });
    const tree = origin.git(['hash-object', '-t', 'tree', '-w', '--literally', '--stdin'], Buffer.concat(parts));
    const commit = origin.git(['commit-tree', tree, '-m', 'bad']);
    origin.git(['update-ref', 'refs/heads/main', commit]);
    return commit;
  };

  const link = (target: string) => (origin: TestRepository) => origin.commit({ 'lib/data': { link: target } });
  const blob = (origin: TestRepository): string => origin.git(['hash-object', '-w', '--stdin'], 'evil');
  const cases: [name: string, push: (origin: TestRepository) => string, problem: RegExp][] = [
    ['a huge file', (origin) => origin.commit({ 'big.bin': 'x'.repeat(limits.repositoryFileBytes + 1) }), /"big.bin" is 4194305 bytes/],
    ['a symbolic link out of the tree', link('../../../../secret'), /"lib\/data" is a symbolic link (?:out of the repository|that leads nowhere)/],
    ['a symbolic link to an absolute path', link('/etc/passwd'), /"lib\/data" is a symbolic link out of the repository/],
    ['a symbolic link out through another one', (origin) => origin.commit({ 'a/b/c': 'x', up: { link: 'a/b' }, out: { link: 'up/../../..' } }), /"out" is a symbolic link out/],
    ['a symbolic link to nothing', link('missing'), /"lib\/data" is a symbolic link that leads nowhere/],
    ['a submodule', (origin) => pushTree(origin, `160000 sub # ${'1'.repeat(40)}`), /"sub" is a submodule/],
    ['a path upwards', (origin) => pushTree(origin, `100644 .. # ${blob(origin)}`), /"\.\." is no path for a file/],
    ['a path into .git', (origin) => pushTree(origin, `100644 .GIT # ${blob(origin)}`), /"\.GIT" is no path for a file/],
    ['a path with a line end', (origin) => pushTree(origin, `100644 a\rb # ${blob(origin)}`), /is no path for a file/],
  ];
  it.each(cases)('is refused: %s', async (_, push, problem) => {
    const { origin, copy, read, folder } = await setUp();
    const good = origin.commit({ 'lamp.ts': 'one' });
    await checkOut(copy, null);
    const bad = await copy.resolve(push(origin), never);
    await expect(copy.switchTo(bad, { discard: false }, never)).rejects.toMatchObject({ code: 'COMMIT_REFUSED', facts: { commit: bad, problem: expect.stringMatching(problem) } });
    expect([copy.commit, read('lamp.ts')]).toEqual([good, 'one']);
    expect(readdirSync(join(folder, 'trees')).filter((tree) => tree !== 'empty')).toHaveLength(1);
  });

  it('links within the tree are fine', async () => {
    const { origin, copy, read } = await setUp();
    origin.commit({ 'lib/wire.ts': 'wire', 'a/b/wire.ts': { link: '../../lib/wire.ts' }, libs: { link: 'lib' } });
    await checkOut(copy, null);
    expect([read('a/b/wire.ts'), read('libs/wire.ts')]).toEqual(['wire', 'wire']);
  });
});
