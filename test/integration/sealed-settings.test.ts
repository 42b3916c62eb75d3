import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Client, routes } from '../../src/client-sdk/index.ts';
import { inspect } from '../../src/inspect.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { cli } from '../support/cli-run.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startFederation, type TestFederation } from '../support/federation.ts';
import { keyId, keyLine } from '../support/settings-keys.ts';

/** Secrets in settings, with real processes: they reach the driver wherever it runs, and lie on no disk. */
const PASSWORD = 'correct-horse-battery';
const COMMUNITY = 'kommunity-string';
const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Says what it got without repeating it, and repeats it where nobody should see it. */
const driver = `import { createHash } from 'node:crypto';
import { defineDriver, z } from 'holdfast/driver';
export default defineDriver({
  name: 'keeper',
  role: 'logic',
  settings: z.object({ login: z.object({ password: z.string() }), community: z.string() }),
  setup(ctx) {
    const say = () => ctx.log.warn('log in as ' + ctx.settings.login.password);
    say();
    console.error('set up with ' + ctx.settings.login.password);
    ctx.schedule.every(200, say);
    ctx.status.set('started', process.pid + ' ' + performance.now());
    const digest = (text) => createHash('sha256').update(text).digest('hex');
    return {
      digests: () => [ctx.settings.login.password, ctx.settings.community].map(digest),
      refuse: () => { throw new Error('refused ' + ctx.settings.login.password); },
    };
  },
});
`;

const site = (password = PASSWORD): string => `
drivers: [{id: drv-keeper, name: Keeper, builtin: keeper, role: logic, settings: {community: {$secret: ${COMMUNITY}}}}]
systems: [{id: sys-keeper, name: Keeper, edge_control_id: berlin, modules: [mod-keeper]}]
modules: [{id: mod-keeper, name: Keeper, driver_id: drv-keeper, settings: {login: {user: admin, password: {$secret: ${password}}}}}]
`;

const scope = new Scope();
let world: TestFederation;
let keyFile = '';
/** As an editor does it. */
const writeKeys = (...digits: string[]): void => {
  writeFileSync(`${keyFile}.new`, `${digits.map(keyLine).join('\n')}\n`, { mode: 0o600 });
  renameSync(`${keyFile}.new`, keyFile);
};

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-keys-'));
  scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'keeper.js'), driver);
  keyFile = join(folder, 'settings.keys');
  writeKeys('1');
  world = await startFederation(scope, {
    sites: [{ id: 'berlin', name: 'Berlin', policy: 'available', timezone: 'Europe/Berlin' }],
    environment: { HOLDFAST_SETTINGS_KEYS_FILE: keyFile, HOLDFAST_DRIVERS: folder, HOLDFAST_LOG: 'debug' },
  });
}, 180_000);
afterAll(() => scope.close('the tests end'));

const keeper = { id: 'sys-keeper', module: 'Keeper_1' };
const digests = (client: Client) => client.call(routes.exec, { params: { ...keeper, method: 'digests' }, body: [] }, { timeoutMs: 15_000 });
const status = (client: Client): Promise<Record<string, unknown>> => client.call(routes.moduleStatus, { params: keeper });
const apply = (text: string) => world.client.call(routes.apply, { body: { text } });
const untilDigests = (client: Client, password: string): Promise<void> =>
  expect.poll(() => digests(client).catch(String), { timeout: 20_000, interval: 100 }).toEqual([digest(password), digest(COMMUNITY)]);
const run = (...argv: string[]) =>
  cli({ clock: new FakeClock(Date.now()), inspect, env: { HOLDFAST_SERVER: world.federation.master.origin, HOLDFAST_KEY: world.federation.apiKey } }, ...argv);

/** Files below a folder that hold a text. */
function filesWith(folder: string, ...texts: string[]): string[] {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  expect(files.length).toBeGreaterThan(10);
  return files
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => texts.some((text) => ['latin1', 'utf16le'].some((form) => readFileSync(path).includes(Buffer.from(text, form as BufferEncoding)))));
}

it('a secret reaches the driver at the edge, and at the master after a takeover', async () => {
  await apply(site());
  await untilDigests(world.client, PASSWORD);
  world.federation.edge('berlin')!.process.signal('SIGKILL');
  await world.until('berlin', { holder: 'master', state: 'holding' });
  await untilDigests(world.client, PASSWORD);
  await world.federation.restartEdge('berlin');
  await world.until('berlin', { holder: 'master', state: 'waiting-window' });
  await world.client.call(routes.handback, { params: { id: 'berlin' }, body: {} });
  await world.until('berlin', { holder: 'edge', state: 'standby' });
  await untilDigests(world.client, PASSWORD);
}, 120_000);

it('changing it reaches the driver, and applying the same again changes nothing', async () => {
  expect((await apply(site('another-password'))).changes).toMatchObject([{ id: 'mod-keeper', details: ['settings.login: (changed, not shown)'] }]);
  await untilDigests(world.client, 'another-password');
  await apply(site());
  await untilDigests(world.client, PASSWORD);
  expect((await apply(site())).changes).toEqual([]);
  const { text } = await world.client.call(routes.export, {});
  expect(text.match(/\$sealed/g)).toHaveLength(2);
  expect((await apply(text)).changes).toEqual([]);
}, 60_000);

it('re-keying without a restart: of no server, and of no module', async () => {
  const before = (await status(world.client))['started'];
  writeKeys('2', '1');
  expect((await run('settings', 'rekey', '--yes')).out).toContain('Sealed anew: 2 values in 2 documents.');
  const sequenceAt = async (client: Client): Promise<string | undefined> => /replication_sequence (\d+)/.exec(await client.call(routes.metrics, {}))?.[1];
  const edge = world.federation.client(world.federation.edge('berlin')!.origin);
  const wanted = await sequenceAt(world.client);
  await expect.poll(() => sequenceAt(edge), { timeout: 10_000 }).toBe(wanted);
  writeKeys('2');
  const { keys, sealed } = await edge.call(routes.settingsKeys, {});
  edge.close();
  expect([keys, sealed.map(({ key }) => key)]).toEqual([[keyId('2')], [keyId('2'), keyId('2')]]);
  await untilDigests(world.client, PASSWORD);
  expect((await status(world.client))['started']).toBe(before);
}, 60_000);

it('without the key it does not start and names it, the other modules do; with the key it starts by itself', async () => {
  const edge = world.federation.edge('berlin')!;
  await edge.process.stop();
  writeKeys('3');
  await world.federation.restartEdge('berlin');
  // Whether the master has taken over in between is a matter of seconds, and whether it takes the order already, too.
  const handBack = () => world.client.call(routes.handback, { params: { id: 'berlin' }, body: {} }).catch(() => undefined);
  await expect.poll(async () => (await handBack(), (await world.atEdge('berlin')).state), { timeout: 20_000, interval: 500 }).toBe('holding');
  await expect.poll(() => status(world.client).then(({ problem }) => problem), { timeout: 15_000 }).toMatch(new RegExp(`settings key ${keyId('2')}`));
  await expect.poll(() => world.client.call(routes.exec, { params: { id: 'sys-berlin', module: 'Display_1', method: 'echo' }, body: ['hello'] }).catch(String), { timeout: 15_000 }).toBe('hello');
  await expect(digests(world.client)).rejects.toThrow(`settings key ${keyId('2')}`);
  expect((await run('doctor')).out).toMatch(new RegExp(`edge berlin +2 values of .*cannot be opened: the settings key ${keyId('2')} is not there`));
  writeKeys('3', '2');
  await untilDigests(world.client, PASSWORD);
  expect((await status(world.client))['problem']).toBeNull();
}, 90_000);

it('it is in no answer, not in the bundle, not in the words of its driver, and nowhere on disk', async () => {
  const lines: string[] = [];
  const stopped = AbortSignal.timeout(1_500);
  try {
    for await (const event of await world.client.stream(routes.debug, { params: keeper }, { signal: stopped })) lines.push(JSON.stringify(event));
  } catch {
    // Time is up.
  }
  expect(lines.join()).toContain('log in as [secret]');
  const refused = world.client.call(routes.exec, { params: { ...keeper, method: 'refuse' }, body: [] });
  await expect(refused).rejects.toThrow('refused [secret]');
  const { dataDir } = world.federation;
  const written = new Map<string, Uint8Array>();
  const env = { HOLDFAST_SERVER: world.federation.master.origin, HOLDFAST_KEY: world.federation.apiKey };
  const log = readFileSync(join(dataDir, 'berlin.log'), 'utf8');
  await cli({ clock: new FakeClock(Date.now()), inspect, env, written, files: { log } }, 'bundle', '--file', 'b', '--log', 'log');
  await world.client.call(routes.backup, { body: {} });
  const shown = [gunzipSync(written.get('b') ?? '').toString(), (await run('export')).out, (await run('events', '-n', '1000', '-o', 'json')).out, lines.join()];
  for (const text of shown) expect(text).not.toMatch(new RegExp(`${PASSWORD}|${COMMUNITY}`));
  expect(filesWith(dataDir, '$sealed')).not.toEqual([]);
  expect(filesWith(dataDir, PASSWORD, COMMUNITY, '2'.repeat(64))).toEqual([]);
}, 60_000);
