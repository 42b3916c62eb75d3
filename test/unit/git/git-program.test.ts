import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createSystemClock } from '../../../src/shared/adapters/clock/system-clock.ts';
import { openWorkingCopy } from '../../../src/shared/adapters/git/working-copy.ts';
import { parseRepositoryUrl } from '../../../src/shared/model/repository.ts';
import { createRepository } from '../../support/git-repository.ts';
import { tempFolders } from '../../support/temp-folder.ts';
import { testScope } from '../../support/test-scope.ts';
import { mountTinyDisk, type TinyDisk } from '../../support/tiny-disk.ts';

const temp = tempFolders();
const scope = testScope();
const never = new AbortController().signal;
const clock = createSystemClock();
afterEach(() => vi.unstubAllEnvs());

function copyOf(folder: string, address: string) {
  const parsed = parseRepositoryUrl(address);
  if ('problem' in parsed) throw new Error(parsed.problem);
  return openWorkingCopy({ folder, repository: { ...parsed, branch: null, path: '' }, clock });
}

/** Where this user may mount nothing: git says that the disk is full, in its own words, when it is to write. */
function toldFullDisk(base: string): Pick<TinyDisk, 'folder' | 'fill' | 'free' | 'unmount'> {
  const [programs, full] = [join(base, 'programs'), join(base, 'full')];
  const real = execFileSync('which', ['git'], { encoding: 'utf8' }).trim();
  const words = 'fatal: write error: No space left on device';
  mkdirSync(programs);
  const script = ['#!/bin/sh', `case "$1" in fetch|read-tree) [ -e ${full} ] && echo "${words}" >&2 && exit 128;; esac`, `exec ${real} "$@"`];
  writeFileSync(join(programs, 'git'), script.join('\n'), { mode: 0o755 });
  vi.stubEnv('PATH', `${programs}:${process.env['PATH']}`);
  return { folder: base, fill: () => writeFileSync(full, ''), free: () => rmSync(full), unmount: () => undefined };
}

/** Git over HTTP by the program that real servers use. Asks for a password, and looks at all processes while it waits. */
async function serveGit(root: string, password: string) {
  const seen: string[] = [];
  const allowed = `Basic ${Buffer.from(`ada:${password}`).toString('base64')}`;
  const server = createServer((request: IncomingMessage, response) => {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        seen.push(readFileSync(join('/proc', pid, 'cmdline'), 'utf8').replaceAll('\0', ' '));
      } catch {
        // It has ended.
      }
    }
    if (request.headers.authorization !== allowed) return void response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
    const [path = '', query = ''] = (request.url ?? '').split('?');
    const env = {
      PATH: process.env['PATH'] ?? '', GIT_PROJECT_ROOT: root, GIT_HTTP_EXPORT_ALL: '1', PATH_INFO: path, QUERY_STRING: query,
      REQUEST_METHOD: request.method ?? '', CONTENT_TYPE: request.headers['content-type'] ?? '', REMOTE_USER: 'ada',
      HTTP_GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''), HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
    };
    const backend = spawn('git', ['http-backend'], { env, stdio: ['pipe', 'pipe', 'inherit'] });
    request.pipe(backend.stdin);
    const answer: Buffer[] = [];
    backend.stdout.on('data', (chunk: Buffer) => answer.push(chunk));
    backend.on('close', () => {
      const whole = Buffer.concat(answer);
      const end = whole.indexOf('\r\n\r\n');
      const headers = whole.subarray(0, end).toString().split('\r\n').map((line) => line.split(': ') as [string, string]);
      const status = Number(headers.find(([name]) => name === 'Status')?.[1].slice(0, 3) ?? 200);
      response.writeHead(status, Object.fromEntries(headers.filter(([name]) => name !== 'Status'))).end(whole.subarray(end + 4));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope().defer('git over HTTP', () => new Promise<void>((resolve) => server.close(() => resolve())));
  return { port: (server.address() as AddressInfo).port, seen };
}

describe('the program git', () => {
  it('gets credentials so that nobody else reads them: not in arguments, errors, status, or on the disk', async () => {
    const base = temp();
    const commit = createRepository(base).commit({ 'lamp.ts': 'one' });
    const password = 'pass%word/with:all@of it';
    const { port, seen } = await serveGit(base, password);
    const address = (user: string): string => `http://ada:${encodeURIComponent(user)}@127.0.0.1:${port}/drivers.git`;
    const folder = join(base, 'copy');
    const copy = await copyOf(folder, address(password));
    expect(await copy.resolve(null, never)).toBe(commit);
    const { remote } = await copy.status(never);
    expect(remote).toBe(`http://127.0.0.1:${port}/drivers.git`);

    const wrong = await (await copyOf(join(base, 'other'), address('wrong-word'))).resolve(null, never).catch((error: unknown) => JSON.stringify(error));
    expect(wrong).toMatch(/REPOSITORY_FAILED.*Authentication failed/);
    expect(wrong).not.toContain('wrong-word');
    expect(seen.some((line) => line.includes('remote-http'))).toBe(true);
    const inside = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((file) => file.isFile()).map((file) => readFileSync(join(file.parentPath, file.name), 'latin1'));
    for (const secret of [password, encodeURIComponent(password), 'wrong-word']) {
      expect(seen.filter((line) => line.includes(secret))).toEqual([]);
      expect(inside.filter((text) => text.includes(secret))).toEqual([]);
    }
  });

  it('may be missing: a node starts all the same, and says so when it is needed', async () => {
    const base = temp();
    const { url } = createRepository(base);
    vi.stubEnv('PATH', join(base, 'nothing'));
    const copy = await copyOf(join(base, 'copy'), url);
    await expect(copy.resolve(null, never)).rejects.toMatchObject({ code: 'REPOSITORY_FAILED', facts: { problem: 'the program git is not installed on this machine' } });
    expect(await copy.status(never)).toMatchObject({ commit: null, dirtyCount: 0 });
  });

  it('runs no hooks and reads no settings of this user', async () => {
    const base = temp();
    const repository = createRepository(base);
    repository.commit({ 'lamp.ts': 'one' });
    vi.stubEnv('HOME', base);
    vi.stubEnv('GIT_CONFIG_COUNT', '1');
    vi.stubEnv('GIT_CONFIG_KEY_0', 'remote.origin.url');
    vi.stubEnv('GIT_CONFIG_VALUE_0', 'ext::sh -c "touch hooked"');
    const copy = await copyOf(join(base, 'copy'), repository.url);
    await (await copy.switchTo(await copy.resolve(null, never), { discard: false }, never)).keep();
    expect(existsSync(join(base, 'copy', 'mirror.git', 'hooks'))).toBe(false);
    expect(copy.commit).not.toBeNull();
  });

  it('that finds the disk full leaves what was there, and goes on when there is space', async () => {
    const base = temp();
    const disk = mountTinyDisk(2 * 1024 * 1024) ?? toldFullDisk(base);
    scope().defer('disk', () => disk.unmount());
    const repository = createRepository(base);
    const first = repository.commit({ 'lamp.ts': 'one' });
    const copy = await copyOf(join(disk.folder, 'copy'), repository.url);
    await (await copy.switchTo(await copy.resolve(null, never), { discard: false }, never)).keep();
    const second = repository.commit({ 'lamp.ts': 'two', 'notes.txt': 'n'.repeat(300_000) });
    await copy.refresh(never);
    disk.fill();
    await expect(copy.switchTo(second, { discard: false }, never)).rejects.toMatchObject({ code: 'STORE_FULL' });
    const third = repository.commit({ 'noise.txt': Array.from({ length: 50_000 }, (_, i) => (i * 7919).toString(36)).join('') });
    await expect(copy.resolve(third, never)).rejects.toMatchObject({ code: 'STORE_FULL' });
    expect([copy.commit, readFileSync(join(disk.folder, 'copy', 'current', 'lamp.ts'), 'utf8')]).toEqual([first, 'one']);
    disk.free();
    await (await copy.switchTo(second, { discard: false }, never)).keep();
    expect(readFileSync(join(disk.folder, 'copy', 'current', 'lamp.ts'), 'utf8')).toBe('two');
  });
});

describe('the address of a repository', () => {
  it.each([
    ['/srv/drivers.git', '/srv/drivers.git', null],
    ['file:///srv/drivers.git', 'file:///srv/drivers.git', null],
    ['https://git.example.org/drivers.git', 'https://git.example.org/drivers.git', null],
    ['https://ada:a%40b@git.example.org/drivers.git', 'https://git.example.org/drivers.git', { user: 'ada', password: 'a@b' }],
    ['ssh://git@git.example.org/drivers.git', 'ssh://git@git.example.org/drivers.git', null],
    ['git@git.example.org:site/drivers.git', 'git@git.example.org:site/drivers.git', null],
  ])('%s', (text, url, credentials) => expect(parseRepositoryUrl(text)).toEqual({ url, credentials }));

  it.each(['http://git.example.org/x', 'ext::sh -c id', 'git://git.example.org/x', 'drivers.git', '-x@host:y', '--upload-pack=x', 'ssh://a:b@host/x', 'https://h/x?token=1'])(
    'refuses %s',
    (text) => {
      const refused = parseRepositoryUrl(text);
      expect(refused).toEqual({ problem: expect.any(String) });
      expect(JSON.stringify(refused)).not.toContain(text);
    },
  );
});
