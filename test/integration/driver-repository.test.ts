import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { routes } from '../../src/client-sdk/index.ts';
import { createSystemClock, monotonicMs } from '../../src/shared/adapters/clock/system-clock.ts';
import { openWorkingCopy } from '../../src/shared/adapters/git/working-copy.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { later } from '../support/federation.ts';
import { driverCode, startGitFederation } from '../support/git-drivers.ts';
import { createRepository } from '../support/git-repository.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { tempFolders } from '../support/temp-folder.ts';
import { testScope } from '../support/test-scope.ts';

const folder = tempFolders();
const scope = testScope();

/** One federation for all, started by whichever test comes first: each begins with whatever commit the one before has left. */
const whole = new Scope();
let started: ReturnType<typeof startBerlin> | null = null;
const theFederation = (): ReturnType<typeof startBerlin> => (started ??= startBerlin());
afterAll(async () => {
  expect(await whole.close()).toEqual([]);
});

const berlin = { params: { id: 'berlin' } };
const patient = { timeoutMs: 60_000 };

async function startBerlin() {
  const base = mkdtempSync(join(tmpdir(), 'holdfast-'));
  whole.defer('folder', () => rmSync(base, { recursive: true, force: true }));
  const world = await startGitFederation(whole, base, ['berlin']);
  const ask = (method: string, name = 'lamp'): Promise<Json> => world.ask(method, `${name}-berlin`);
  const copy = join(world.federation.edge('berlin')?.data ?? '', 'drivers');
  return { ...world, ask, copy, want: (commit: string | null) => world.want('berlin', commit) };
}

it('requests reach the working copy of an edge: pull with reload, bad commits, edits, reset, and nothing else is touched', { timeout: 240_000 }, async () => {
  const { client, repository, first, ask, copy, federation } = await theFederation();
  expect(await client.call(routes.repository, berlin, patient)).toMatchObject({ id: 'berlin', remote: repository.url, commit: first, wanted: null, dirty: [], problem: null });
  const torch = await ask('born', 'torch');
  const born = await ask('born');

  const second = repository.commit({ 'lamp.ts': driverCode('lamp', 'v2') });
  const pulled = await client.call(routes.repositoryPull, { ...berlin, body: { reload: true } }, patient);
  expect(pulled).toMatchObject({ from: first, status: { commit: second }, modules: [{ id: 'lamp-berlin', problem: null }] });
  expect([await ask('version'), await ask('born', 'torch')]).toEqual(['v2', torch]);
  expect(await ask('born')).not.toBe(born);
  expect((await client.call(routes.edgeShow, berlin)).commit).toEqual({ wanted: null, actual: second, busy: false, problem: null });

  // Without a reload what runs goes on; a reload by hand brings it.
  const third = repository.commit({ 'lamp.ts': driverCode('lamp', 'v3') });
  expect((await client.call(routes.repositoryCheckout, { ...berlin, body: { commit: third.slice(0, 12) } }, patient)).status.commit).toBe(third);
  expect(await ask('version')).toBe('v2');
  await client.call(routes.driverReload, { params: { id: 'driver-lamp' } }, patient);
  expect(await ask('version')).toBe('v3');

  // What must not be, is not.
  const current = (): string => readFileSync(join(copy, 'current', 'lamp.ts'), 'utf8');
  const bad: [name: string, files: Parameters<typeof repository.commit>[0], code: string, problem: RegExp][] = [
    ['code that is none', { 'lamp.ts': `\nexport const x = ;\n${driverCode('lamp', 'v4')}` }, 'DRIVER_INVALID', /lamp\.ts:2:18: Unexpected/],
    ['code that throws', { 'lamp.ts': driverCode('lamp', 'v4').replace('setup(ctx) {', "setup(ctx) { throw new Error('not today');") }, 'COMMIT_REFUSED', /lamp-berlin: .*not today/],
    ['no code any more', { 'lamp.ts': null }, 'NOT_FOUND', /lamp/],
    ['a link out of the tree', { 'lamp.ts': driverCode('lamp', 'v4'), secret: { link: '../../../../master/admin.key' } }, 'COMMIT_REFUSED', /"secret" is a symbolic link out of the repository/],
  ];
  for (const [name, files, code, problem] of bad) {
    repository.commit(files);
    const refusal = client.call(routes.repositoryPull, { ...berlin, body: { reload: true } }, patient);
    await expect(refusal, name).rejects.toMatchObject({ code, message: expect.stringMatching(problem) });
    expect([name, await ask('version'), current()]).toEqual([name, 'v3', driverCode('lamp', 'v3')]);
  }
  await expect(client.call(routes.repositoryCheckout, { ...berlin, body: { commit: '0'.repeat(40), reload: true } }, patient)).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN' });

  // Somebody mends a line on the machine, at night.
  const good = repository.commit({ 'lamp.ts': driverCode('lamp', 'v5'), secret: null });
  writeFileSync(join(copy, 'current', 'lamp.ts'), driverCode('lamp', 'mended'));
  await client.call(routes.driverReload, { params: { id: 'driver-lamp' } }, patient);
  expect(await ask('version')).toBe('mended');
  await expect(client.call(routes.repositoryPull, { ...berlin, body: { reload: true } }, patient)).rejects.toMatchObject({ code: 'REPOSITORY_DIRTY', facts: { files: 'lamp.ts' } });
  expect(await client.call(routes.repository, berlin, patient)).toMatchObject({ dirty: ['lamp.ts'], dirty_count: 1, commit: third });
  expect(await ask('version')).toBe('mended');
  await client.call(routes.repositoryReset, { ...berlin, body: { reload: true } }, patient);
  expect(await ask('version')).toBe('v3');
  await client.call(routes.repositoryPull, { ...berlin, body: { reload: true } }, patient);
  expect([await ask('version'), await ask('born', 'torch')]).toEqual(['v5', torch]);

  // The master has a working copy of its own; an edge speaks for itself only.
  expect(await client.call(routes.repositoryCheckout, { params: { id: 'master' }, body: { commit: 'main' } }, patient)).toMatchObject({ status: { commit: good } });
  const atEdge = federation.client(federation.edge('berlin')?.origin);
  scope().defer('client', () => atEdge.close());
  expect(await atEdge.call(routes.repository, berlin, patient)).toMatchObject({ commit: good });
  await expect(atEdge.call(routes.repository, { params: { id: 'lisbon' } }, patient)).rejects.toMatchObject({ code: 'MASTER_ONLY' });
});

it('an edge that is killed at any moment of a pull with reload starts with one whole commit, and takes the new one when asked again', { timeout: 240_000 }, async () => {
  const { client, repository, ask, copy, federation } = await theFederation();
  const torch = await ask('version', 'torch');
  const pull = () => client.call(routes.repositoryPull, { ...berlin, body: { reload: true } }, patient);
  const commit = (number: number): string => repository.commit({ 'lamp.ts': driverCode('lamp', `v${number}`) });
  commit(2);
  const beganMs = monotonicMs();
  await pull();
  const tookMs = monotonicMs() - beganMs;
  const found = new Set<string>();
  for (let round = 0; round < 4; round += 1) {
    const [before, next] = [`v${round + 2}`, `v${round + 3}`];
    const wanted = commit(round + 3);
    const asked = pull().catch((error: unknown) => error);
    await later(((round + 0.5) / 4) * tookMs);
    federation.edge('berlin')?.process.signal('SIGKILL');
    await federation.edge('berlin')?.process.exited;
    await federation.restartEdge('berlin');
    await asked;
    const version = () => ask('version').catch((error: unknown) => error);
    await expect.poll(version, { timeout: 30_000 }).toBeTypeOf('string');
    const runs = String(await version());
    expect([before, next]).toContain(runs);
    expect(readFileSync(join(copy, 'current', 'lamp.ts'), 'utf8')).toBe(driverCode('lamp', runs));
    expect(await client.call(routes.repository, berlin, patient)).toMatchObject({ dirty: [], problem: null });
    found.add(runs === next ? 'new' : 'old');
    await pull();
    expect([await ask('version'), await ask('version', 'torch')]).toEqual([next, torch]);
    expect(await client.call(routes.repository, berlin, patient)).toMatchObject({ commit: wanted, dirty: [], problem: null });
  }
  expect(found).toContain('old');
});

it('kill -9 at any moment of a pull, a checkout or a reload leaves one whole commit', { timeout: 240_000 }, async () => {
  const base = folder();
  const repository = createRepository(base);
  const many = (text: string): Record<string, string> => Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`lib/${i}.ts`, text.repeat(50 + i)]));
  const first = repository.commit(many('one'));
  const second = repository.commit(many('two'));
  const copyFolder = join(base, 'copy');
  const open = () => openWorkingCopy({ folder: copyFolder, repository: { url: repository.url, credentials: null, branch: null, path: '' }, clock: createSystemClock() });
  const never = new AbortController().signal;
  const draw = seededRandom(7);
  const seen = new Set<string | null>();
  for (let round = 0; round < 10; round += 1) {
    const child = spawn(process.execPath, [resolve('test/support/working-copy-child.mjs'), copyFolder, repository.url, first, second], { stdio: ['ignore', 'pipe', 'inherit'] });
    scope().defer('child', () => void child.kill('SIGKILL'));
    let steps = '';
    child.stdout.on('data', (chunk: Buffer) => (steps += chunk.toString()));
    const enough = 1 + Math.floor(draw() * 7);
    await expect.poll(() => steps.length, { timeout: 30_000, interval: 1 }).toBeGreaterThanOrEqual(enough);
    const untilMs = monotonicMs() + draw() * 60;
    await expect.poll(() => monotonicMs() > untilMs, { interval: 1 }).toBe(true);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const copy = await open();
    seen.add(copy.commit);
    const text = copy.commit === first ? 'one' : 'two';
    if (copy.commit !== null) {
      expect(readFileSync(join(copyFolder, 'current', 'lib/39.ts'), 'utf8')).toBe(text.repeat(89));
      expect(await copy.status(never)).toMatchObject({ dirtyCount: 0 });
    }
    expect([existsSync(join(copyFolder, 'last-good')), readdirSync(join(copyFolder, 'trees')).filter((name) => name.startsWith('making-'))]).toEqual([false, []]);
  }
  expect(seen.size).toBeGreaterThan(1);
  const last = await open();
  await (await last.switchTo(await last.resolve(null, never), { discard: false }, never)).keep();
  expect(last.commit).toBe(second);
});

it('an edge goes to the commit that its document names: at once, when it comes back, and alone; a bad one is shown and changes nothing', { timeout: 240_000 }, async () => {
  const { client, repository, ask, want, copy, federation, until } = await theFederation();
  const commit = async () => (await client.call(routes.edgeShow, berlin)).commit;
  const second = repository.commit({ 'lamp.ts': driverCode('lamp', 'v2') });
  const torch = await ask('born', 'torch');
  await want(second);
  await expect.poll(() => ask('version'), { timeout: 20_000 }).toBe('v2');
  await expect.poll(commit, { timeout: 20_000 }).toEqual({ wanted: second, actual: second, busy: false, problem: null });
  expect(await ask('born', 'torch')).toBe(torch);

  await want('f'.repeat(40));
  await expect.poll(async () => (await commit()).problem, { timeout: 20_000 }).toContain('has no commit ffff');
  expect([await ask('version'), (await commit()).actual]).toEqual(['v2', second]);

  // It is away while another one is wanted.
  const third = repository.commit({ 'lamp.ts': driverCode('lamp', 'v3') });
  const edge = federation.edge('berlin');
  edge?.relay.set('cut');
  await until('berlin', { link: { state: 'down' } });
  await want(third);
  edge?.relay.set('open');
  await until('berlin', { link: { state: 'up' }, holder: 'edge' });
  await expect.poll(() => ask('version'), { timeout: 20_000 }).toBe('v3');
  expect(await ask('born', 'torch')).toBe(torch);
  const atEdge = federation.client(edge?.origin);
  scope().defer('client', () => atEdge.close());
  const events = async () => (await atEdge.call(routes.eventList, { query: { kind: 'driver' } })).events;
  await expect.poll(events, { timeout: 20_000 }).toContainEqual(expect.objectContaining({ event: 'commit-changed', location: 'berlin', from: second.slice(0, 12), to: third.slice(0, 12), modules: 1 }));

  // No master, and no repository in reach, which ends the use of this federation: it starts with what it has.
  federation.master.process.signal('SIGKILL');
  await federation.master.process.exited;
  renameSync(repository.url, `${repository.url}-gone`);
  edge?.process.signal('SIGKILL');
  await edge?.process.exited;
  await federation.restartEdge('berlin');
  const alone = () => atEdge.call(routes.moduleExec, { params: { id: 'lamp-berlin', method: 'version' } }).catch((error: unknown) => String(error));
  await expect.poll(alone, { timeout: 30_000 }).toBe('v3');
  expect(readFileSync(join(copy, 'current', 'lamp.ts'), 'utf8')).toBe(driverCode('lamp', 'v3'));
});
