import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Route } from '../../src/shared/client-api/route.ts';
import { routes } from '../../src/shared/client-api/routes.ts';
import { requestsTo, startTestServer, type TestServer } from '../support/api-server.ts';
import { addSite } from '../support/api-site.ts';
import { cli, type CliSetting } from '../support/cli-run.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { keyId, keyLine, sealingWith } from '../support/settings-keys.ts';

const PASSWORD = 'correct-horse-battery';
const API = '/api/engine/v2';

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer({ sealing: sealingWith('2', '1') });
  await addSite(server.node, 'olga');
});
afterEach(() => server.close());
const { url, as, get, post } = requestsTo(() => server);

const patch = (path: string, body: unknown): Promise<Response> =>
  fetch(url(`${API}${path}`), { method: 'PATCH', headers: { 'content-type': 'application/json', ...as('admin') }, body: JSON.stringify(body) });
const settingsText = (password: unknown): string => JSON.stringify({ volume: 5, password });
/** mod-1 sealed with the first key, driver-mock with the older one. */
async function seal(): Promise<void> {
  expect((await patch('/settings/mod-1', { settings_string: settingsText({ $secret: PASSWORD }) })).status).toBe(200);
  server.siteFiles.sealWith(sealingWith('1'));
  expect((await patch('/drivers/driver-mock', { settings: { community: { $secret: PASSWORD } } })).status).toBe(200);
  server.siteFiles.sealWith(sealingWith('2', '1'));
}
const settingsOf = async (id: string): Promise<{ settings_string: string }> => (await (await get(`${API}/settings/${id}`)).json()) as { settings_string: string };

describe('secrets written through the API', () => {
  it('are in no answer, no event and no line of the log', async () => {
    await seal();
    await post(`${API}/settings_keys/rekey`, '{}');
    const ids: [RegExp, string][] = [[/edges|nodes/, 'edge-1'], [/modules/, 'mod-1'], [/systems|metadata/, 'sys-1'], [/drivers|dependencies/, 'driver-mock'], [/zones/, 'zone-1'], [/./, 'mod-1']];
    const asked: string[] = [];
    for (const { method, path, answer } of Object.values<Route>(routes)) {
      if (method !== 'GET' || answer === 'events') continue;
      const [, id = ''] = ids.find(([kind]) => kind.test(path)) ?? [];
      const text = await (await get(path.replace(':id', id).replace(':module', 'Display_1').replaceAll(/:\w+/g, 'power'))).text();
      expect([path, text.includes(PASSWORD)]).toEqual([path, false]);
      asked.push(path);
    }
    expect(asked.length).toBeGreaterThan(50);
    expect(JSON.stringify(server.log)).not.toContain(PASSWORD);
    expect((await settingsOf('mod-1')).settings_string).toContain('$sealed');
  });

  it('are taken back as they were read, and nowhere else', async () => {
    await seal();
    const { settings_string } = await settingsOf('mod-1');
    expect((await patch('/settings/mod-1', { settings_string })).status).toBe(200);
    expect((await settingsOf('mod-1')).settings_string).toBe(settings_string);
    const moved = await patch('/settings/mod-2', { settings_string });
    expect([moved.status, await moved.json()]).toEqual([422, expect.objectContaining({ facts: expect.objectContaining({ field: 'body.settings.password', problem: expect.stringContaining('another document or field') }) })]);
    expect((await settingsOf('mod-2')).settings_string).toBe('{}');
  });

  it('stay sealed as they are when the same is written in plain, and other fields change', async () => {
    await seal();
    const before = (await settingsOf('mod-1')).settings_string;
    await patch('/settings/mod-1', { settings_string: settingsText({ $secret: PASSWORD }) });
    expect((await settingsOf('mod-1')).settings_string).toBe(before);
    await patch('/modules/mod-1', { notes: 'new' });
    expect((await settingsOf('mod-1')).settings_string).toBe(before);
  });

  it('are refused when the server has no key', async () => {
    server.siteFiles.sealWith(sealingWith());
    const refused = await patch('/settings/mod-1', { settings_string: settingsText({ $secret: PASSWORD }) });
    const text = await refused.text();
    expect([refused.status, text]).toEqual([422, expect.stringContaining('holdfast settings new-key')]);
    expect(text).not.toContain(PASSWORD);
  });
});

describe('holdfast settings', () => {
  const run = (setting: Partial<CliSetting>, ...argv: string[]) =>
    cli({ clock: new FakeClock(), env: { HOLDFAST_SERVER: server.http.origin, HOLDFAST_KEY: server.keys.admin }, ...setting }, 'settings', ...argv);
  const newSettingsKey = async () => ({ line: keyLine('1') });

  it('new-key prints a key, or writes it into a file of its owner', async () => {
    expect(await run({ newSettingsKey }, 'new-key')).toMatchObject({ code: 0, out: `${keyLine('1')}\n` });
    const written = new Map<string, Uint8Array>();
    const { code, out, err } = await run({ newSettingsKey, written }, 'new-key', '--file', 'settings.keys', '-o', 'json');
    expect([code, JSON.parse(out)]).toEqual([0, { id: keyId('1'), file: 'settings.keys' }]);
    expect(Buffer.from(written.get('settings.keys') ?? []).toString()).toBe(`${keyLine('1')}\n`);
    expect(out + err).not.toContain('1'.repeat(64));
  });

  it('keys shows which are here, and how much is sealed with each', async () => {
    await seal();
    const rows = async (): Promise<string[][]> => (await run({}, 'keys')).out.trimEnd().split('\n').map((line) => line.split(/ {2,}/));
    expect(await rows()).toEqual([
      ['KEY', 'USE', 'VALUES', 'DOCUMENTS'],
      [keyId('2'), 'seals and opens', '1', '1'],
      [keyId('1'), 'opens', '1', '1'],
    ]);
    server.siteFiles.sealWith(sealingWith('2'));
    expect((await rows())[2]).toEqual([keyId('1'), 'not here', '1', '1']);
  });

  it('rekey shows what it would do, asks, and seals everything under the first key', async () => {
    await seal();
    const dry = await run({}, 'rekey', '--dry-run');
    expect(dry).toMatchObject({ code: 0, out: `~ driver driver-mock: 1 value\n1 value in 1 document, to be sealed with the key ${keyId('2')}.\nDry run: nothing was changed.\n` });
    expect((await settingsOf('driver-mock')).settings_string).toContain(keyId('1'));
    expect((await run({ answers: ['n'] }, 'rekey')).code).not.toBe(0);
    expect((await settingsOf('driver-mock')).settings_string).toContain(keyId('1'));
    const done = await run({}, 'rekey', '--yes', '-o', 'json');
    expect(JSON.parse(done.out)).toEqual({ key: keyId('2'), documents: [{ id: 'driver-mock', kind: 'driver', values: 1 }], values: 1, dry_run: false });
    expect((await settingsOf('driver-mock')).settings_string).toContain(keyId('2'));
    expect((await run({}, 'rekey', '--yes')).out).toBe(`Everything is sealed with the key ${keyId('2')}.\n`);
    const audits = server.log.filter(({ event, facts }) => event === 'audit' && String(facts['what']).includes('rekey'));
    expect(audits.map(({ facts }) => facts['dryRun'])).toEqual([true, true, true, false, true]);
    expect(audits[3]?.facts).toMatchObject({ key: keyId('2'), changes: 1, result: 'ok' });
  });

  it('rekey says why it cannot, and what to do', async () => {
    await seal();
    server.siteFiles.sealWith(sealingWith('2'));
    const refused = await run({}, 'rekey', '--yes');
    expect([refused.code, refused.err]).toEqual([1, expect.stringMatching(new RegExp(`driver-mock: settings\\.community is sealed with the settings key ${keyId('1')}`))]);
    server.siteFiles.sealWith(sealingWith());
    expect((await run({}, 'rekey', '--yes')).err).toContain('next: Make one with `holdfast settings new-key');
  });
});
