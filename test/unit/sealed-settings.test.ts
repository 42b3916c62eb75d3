import { chmodSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { openKeyFile } from '../../src/shared/adapters/settings-keys/settings-keys.ts';
import { createMemoryStore } from '../../src/shared/adapters/store-memory/memory-store.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { KeyRing, settingsKeyLine } from '../../src/shared/model/settings-keys.ts';
import type { DocumentStore } from '../../src/shared/ports/document-store.ts';
import { fixedSettingsKeys, noSettingsKeys, type SettingsKeys } from '../../src/shared/ports/settings-keys.ts';
import { Directory } from '../../src/shared/runtime/documents/directory.ts';
import { createSiteFiles, planApply, problemLine } from '../../src/shared/runtime/site-files/site-plan.ts';
import type { Sealing } from '../../src/shared/runtime/site-files/site-secrets.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { createMemoryLog } from '../support/memory-log.ts';
import { changingKeys, keyId, keyLine, ringOf, sealingWith } from '../support/settings-keys.ts';
import { tempFolders } from '../support/temp-folder.ts';

const PASSWORD = 'correct-horse-battery';
const place = ['mod-1', 'settings', 'login', 'password'];
const nonce = '00'.repeat(12);
const problemOf = (ring: KeyRing, text: string, at: (string | number)[] = place): string => {
  const opened = ring.open(text, at);
  return opened.ok ? 'it was opened' : opened.problem;
};

describe('a key ring', () => {
  it.each<[string, Json]>([
    ['a password', PASSWORD],
    ['nothing', ''],
    ['null', null],
    ['an object', { user: 'ädmin', pins: [1, 2, { deep: true }] }],
    ['what is longer than a block', 'x'.repeat(1_000)],
  ])('opens what it sealed: %s', (_, value) => {
    expect(ringOf('1').open(ringOf('1').seal(value, place, nonce), place)).toEqual({ ok: true, value });
  });

  it('seals with the first key, and opens with any', () => {
    const old = ringOf('1').seal(PASSWORD, place, nonce);
    const both = ringOf('2', '1');
    expect(both.open(old, place)).toEqual({ ok: true, value: PASSWORD });
    expect(both.seal(PASSWORD, place, nonce)).toMatch(new RegExp(`^${keyId('2')}\\.`));
  });

  it('names the key that is missing', () => {
    expect(problemOf(ringOf('2'), ringOf('1').seal(PASSWORD, place, nonce))).toContain(`settings key ${keyId('1')}, which this server does not have`);
    expect(problemOf(KeyRing.none, ringOf('1').seal(PASSWORD, place, nonce))).toContain(keyId('1'));
  });

  it('opens nothing that was moved to another document, field or index', () => {
    const text = ringOf('1').seal(PASSWORD, place, nonce);
    const elsewhere = [['mod-2', 'settings', 'login', 'password'], ['mod-1', 'settings', 'login.password'], ['mod-1', 'settings', 'login', 'password', 0]];
    for (const at of elsewhere) expect(problemOf(ringOf('1'), text, at)).toContain('another document or field');
    const item = ringOf('1').seal(PASSWORD, ['mod-1', 'settings', 'pins', 0], nonce);
    expect(problemOf(ringOf('1'), item, ['mod-1', 'settings', 'pins', '0'])).toContain('another document or field');
  });

  it('opens nothing that was changed, wherever it was', () => {
    const text = ringOf('1').seal(PASSWORD, place, nonce);
    for (let at = 0; at < text.length; at += 1) {
      const changed = `${text.slice(0, at)}${text[at] === 'a' ? 'b' : 'a'}${text.slice(at + 1)}`;
      expect(problemOf(ringOf('1'), changed), `at ${at}`).not.toBe('it was opened');
    }
    for (const length of [0, 8, 9, 12, 40, text.length - 1]) expect(problemOf(ringOf('1'), text.slice(0, length))).not.toBe('it was opened');
  });

  it('does not tell how long a password is', () => {
    const lengthOf = (value: string): number => ringOf('1').seal(value, place, nonce).length;
    expect(new Set(['', 'pin', PASSWORD, 'x'.repeat(30)].map(lengthOf)).size).toBe(1);
  });

  it('reads keys with comments and empty lines, and says what is wrong without repeating it', () => {
    const read = (text: string): string => {
      const ring = KeyRing.parse(text);
      return ring instanceof KeyRing ? ring.ids.join(' ') : ring.problem;
    };
    expect(read(`# of the site\n\n${keyLine('1')}\n  ${keyLine('2')}\r\n`)).toBe(`${keyId('1')} ${keyId('2')}`);
    expect(read(`${keyLine('1')},${keyLine('2')}`)).toBe(`${keyId('1')} ${keyId('2')}`);
    const mistyped = keyLine('1').replace(/1$/, '2');
    const wrong = { '': 'no key', '#': 'no key', hunter2: 'line 1', [`${keyLine('2')}\n/etc/keys`]: 'line 2', [mistyped]: `it is not ${keyId('1')}`, [`${keyLine('1')}\n${keyLine('1')}`]: 'twice' };
    for (const [text, problem] of Object.entries(wrong)) {
      expect(read(text)).toContain(problem);
      for (const secret of ['hunter2', '/etc/keys', '111111111']) expect(read(text)).not.toContain(secret);
    }
    const many = Array.from({ length: limits.settingsKeys + 1 }, (_, i) => settingsKeyLine(String(i).padStart(64, '0')));
    expect(read(many.join('\n'))).toContain(`more than ${limits.settingsKeys}`);
    expect(read(many.slice(1).join('\n'))).not.toContain('more');
  });
});

const site = (password: string): string => `
drivers:
  - {id: drv-1, name: Mock, builtin: mock, settings: {community: {$secret: kommunity-string}}}
modules:
  - id: mod-1
    name: Display
    driver_id: drv-1
    settings: {volume: 5, login: {user: admin, password: {$secret: ${password}}}, pins: [{$secret: 4711}, 1]}
  - {id: mod-2, name: Lamp, driver_id: drv-1, settings: {community: plain}}
`;

async function applied(store: DocumentStore, text: string, sealing?: Sealing): Promise<string> {
  const { plan, run } = await createSiteFiles(store, sealing === undefined ? {} : { sealing }).plan(text);
  await run();
  return JSON.stringify(plan);
}

async function siteStore(sealing = sealingWith('1')): Promise<DocumentStore> {
  const store = createMemoryStore();
  await applied(store, site(PASSWORD), sealing);
  return store;
}

const stored = async (store: DocumentStore): Promise<string> =>
  JSON.stringify([...(await store.list('mod', { limit: 10 })), ...(await store.list('driver', { limit: 10 }))]);
const problems = async (text: string, store: DocumentStore, sealing?: Sealing): Promise<string[]> =>
  (await planApply(text, store, sealing === undefined ? {} : { sealing })).errors.map(problemLine);
const exported = (store: DocumentStore): Promise<string> => createSiteFiles(store).export();

describe('secrets of a site file', () => {
  it('are stored sealed, and the plan does not show them', async () => {
    const store = createMemoryStore();
    const plan = await applied(store, site(PASSWORD), sealingWith('1'));
    for (const secret of [PASSWORD, 'kommunity-string', '4711']) {
      expect(plan).not.toContain(secret);
      expect(await stored(store)).not.toContain(secret);
    }
    expect(await stored(store)).not.toContain('$secret');
    expect(plan).toContain('settings.login: (set, not shown)');
    expect(plan).toContain('settings.pins: (set, not shown)');
    expect((await stored(store)).match(new RegExp(`"\\$sealed":"${keyId('1')}\\.`, 'g'))).toHaveLength(3);
  });

  it('change nothing when the file is applied again, and one document when one changed', async () => {
    const store = await siteStore();
    const before = await stored(store);
    expect(JSON.parse(await applied(store, site(PASSWORD), sealingWith('2', '1')))).toMatchObject({ changes: [], unchanged: 3 });
    expect(await stored(store)).toBe(before);
    const plan = await applied(store, site('another-password'), sealingWith('1'));
    expect(JSON.parse(plan)).toMatchObject({ changes: [{ id: 'mod-1', details: ['settings.login: (changed, not shown)'] }], unchanged: 2 });
  });

  it('are written anew when the key that sealed them is lost', async () => {
    const store = await siteStore();
    expect(JSON.parse(await applied(store, site(PASSWORD), sealingWith('3')))).toMatchObject({ changes: [{ id: 'drv-1' }, { id: 'mod-1' }] });
    expect(await stored(store)).not.toContain(keyId('1'));
  });

  it('are exported sealed, which a server accepts as no change, also without a key', async () => {
    const store = await siteStore();
    const text = await exported(store);
    expect(text).not.toContain(PASSWORD);
    expect(JSON.parse(await applied(store, text))).toMatchObject({ changes: [], unchanged: 3 });
    // Another server takes them as they are if it has the key.
    const other = createMemoryStore();
    await applied(other, text, sealingWith('2', '1'));
    expect(await exported(other)).toBe(text);
    const refused = await problems(text, createMemoryStore(), sealingWith('2'));
    expect(refused).toHaveLength(3);
    expect(refused.join()).toContain(`settings.login.password: is sealed with the settings key ${keyId('1')}`);
  });

  it('stay where they were sealed: text moved to another document or field is refused there', async () => {
    const store = await siteStore();
    const text = await exported(store);
    const [, sealed = ''] = /password:\s+\$sealed: (\S+)/.exec(text) ?? [];
    expect(sealed).not.toBe('');
    const moved = `modules: [{id: mod-2, name: Lamp, driver_id: drv-1, settings: {login: {password: {$sealed: ${sealed}}}}}]`;
    expect(await problems(moved, store, sealingWith('1'))).toEqual([expect.stringMatching(/^1:\d+ modules\[0\]\.settings\.login\.password: was sealed for another document or field/)]);
    const renamed = `modules: [{id: mod-1, name: Display, driver_id: drv-1, settings: {shown: {$sealed: ${sealed}}}}]`;
    expect(await problems(renamed, store, sealingWith('1'))).toEqual([expect.stringMatching(/settings\.shown: was sealed for another/)]);
    expect(await problems(renamed, store)).toEqual([expect.stringMatching(/settings\.shown: is sealed with the settings key/)]);
  });

  it('are refused without a key, with the command that makes one', async () => {
    const refused = await problems(site(PASSWORD), createMemoryStore());
    expect(refused).toHaveLength(3);
    expect(refused[0]).toMatch(/^3:\d+ drivers\[0\]\.settings\.community: needs a key.*`holdfast settings new-key --file <path>`.*HOLDFAST_SETTINGS_KEYS_FILE/);
    expect(refused.join()).not.toContain(PASSWORD);
  });

  it.each([
    ['with something beside it', '{id: mod-1, name: A, driver_id: drv-1, settings: {a: {$secret: x, b: 1}}}', /settings\.a: must have no other names/],
    ['within a secret', '{id: mod-1, name: A, driver_id: drv-1, settings: {a: {$secret: [{$secret: x}]}}}', /settings\.a: has a secret within a secret/],
    ['as all settings', '{id: mod-1, name: A, driver_id: drv-1, settings: {$secret: x}}', /settings: cannot be sealed as a whole/],
    ['as sealed text that is none', '{id: mod-1, name: A, driver_id: drv-1, settings: {a: {$sealed: hunter2}}}', /settings\.a: is not sealed text/],
    ['as sealed text of another form', '{id: mod-1, name: A, driver_id: drv-1, settings: {a: {$sealed: 5}}}', /settings\.a: must be the text/],
  ])('are refused %s', async (_, module, problem) => {
    expect(await problems(`modules: [${module}]`, await siteStore(), sealingWith('1'))).toEqual([expect.stringMatching(problem)]);
  });

  it.each([
    ['metadata', 'zones: [{id: zone-1, name: Z, metadata: {a: {details: {deep: [{$secret: x}]}}}}]', /zones\[0\]\.metadata: has a secret, and only settings/],
    ['actions of triggers', 'triggers: [{id: t-1, name: T, actions: {functions: [{mod: A_1, method: b, args: [{$secret: x}]}]}}]', /triggers\[0\]\.actions: has a secret/],
  ])('are refused in %s, which are not sealed', async (_, text, problem) => {
    expect(await problems(text, createMemoryStore(), sealingWith('1'))).toEqual([expect.stringMatching(problem)]);
  });
});

describe('re-keying', () => {
  it('seals everything under the first key, counts by document, and then has nothing to do', async () => {
    const store = await siteStore();
    const rekeying = await createSiteFiles(store, { sealing: sealingWith('2', '1') }).rekey();
    expect(rekeying.plan).toEqual({ key: keyId('2'), documents: [{ id: 'mod-1', kind: 'mod', values: 2 }, { id: 'drv-1', kind: 'driver', values: 1 }], values: 3 });
    expect(await stored(store)).not.toContain(keyId('2'));
    await rekeying.run();
    expect(await stored(store)).not.toContain(keyId('1'));
    const files = createSiteFiles(store, { sealing: sealingWith('2') });
    expect((await files.rekey()).plan.values).toBe(0);
    expect(await files.sealed()).toMatchObject({ keys: [keyId('2')], sealed: [{ id: 'mod-1', key: keyId('2'), known: true, values: 2 }, { id: 'drv-1', values: 1 }] });
    expect(JSON.parse(await applied(store, site(PASSWORD), sealingWith('2')))).toMatchObject({ changes: [] });
  });

  it('changes nothing when one value cannot be opened, or a document has changed meanwhile', async () => {
    const store = await siteStore();
    await applied(store, 'modules: [{id: mod-2, name: Lamp, driver_id: drv-1, settings: {a: {$secret: x}}}]', sealingWith('3'));
    const before = await stored(store);
    const files = (...digits: string[]) => createSiteFiles(store, { sealing: sealingWith(...digits) });
    await expect(files('2', '1').rekey()).rejects.toMatchObject({ code: 'SETTINGS_SEALED', facts: { place: 'mod-2: settings.a', problem: expect.stringContaining(keyId('3')) } });
    const { run } = await files('2', '1', '3').rekey();
    await applied(store, 'modules: [{id: mod-2, name: Lamp, driver_id: drv-1}]');
    const between = await stored(store);
    await expect(run()).rejects.toMatchObject({ code: 'VERSION_CONFLICT' });
    expect(await stored(store)).toBe(between);
    expect(between).not.toBe(before);
    await expect(createSiteFiles(store).rekey()).rejects.toMatchObject({ code: 'SETTINGS_KEY_MISSING' });
  });
});

describe('settings of modules', () => {
  async function specsWith(keys: SettingsKeys, store: DocumentStore) {
    const directory = new Directory(store, keys);
    const close = await directory.open();
    const specs = () => Object.fromEntries(directory.modulesOf('master').map((spec) => [spec.id, spec]));
    return { directory, close, specs };
  }

  it('are opened as what they are of, and only those that count', async () => {
    const store = await siteStore();
    const { specs } = await specsWith(fixedSettingsKeys(ringOf('1')), store);
    const { 'mod-1': display, 'mod-2': lamp } = specs();
    expect(display?.settings).toEqual({ volume: 5, login: { user: 'admin', password: PASSWORD }, pins: [4711, 1], community: 'kommunity-string' });
    expect(display?.sealed).toEqual({ secrets: [PASSWORD, 'kommunity-string'], problem: null });
    // Its own one counts, so that the sealed one of its driver is nothing to it.
    expect(lamp).toMatchObject({ settings: { community: 'plain' } });
    expect(lamp).not.toHaveProperty('sealed');
  });

  it('say which key is missing, and are opened when it is there', async () => {
    const store = await siteStore();
    const keys = changingKeys(KeyRing.none);
    const { directory, specs, close } = await specsWith(keys, store);
    expect(specs()['mod-1']?.sealed?.problem).toMatch(new RegExp(`^drv-1: settings\\.community is sealed with the settings key ${keyId('1')}`));
    expect(JSON.stringify(specs())).not.toContain(PASSWORD);
    let told = 0;
    directory.onChange(() => (told += 1));
    keys.change(ringOf('1'));
    expect([told, specs()['mod-1']?.sealed?.problem]).toEqual([1, null]);
    close();
    keys.change(KeyRing.none);
    expect(told).toBe(1);
    expect((await specsWith(noSettingsKeys, store)).directory.countModulesOf('master')).toBe(2);
  });
});

describe('a file of keys', () => {
  const folder = tempFolders();
  const closing: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });

  function setUp(text: string, mode = 0o600) {
    const path = join(folder(), 'settings.keys');
    const write = (next: string): void => {
      writeFileSync(`${path}.new`, next, { mode });
      chmodSync(`${path}.new`, mode);
      renameSync(`${path}.new`, path);
    };
    write(text);
    const [clock, log] = [new FakeClock(), createMemoryLog()];
    const open = () => {
      const file = openKeyFile(path, { clock, log });
      closing.push(() => file.close());
      return file;
    };
    return { path, write, clock, log, open };
  }

  it('is read anew when it changed: by who asks, and now and then', async () => {
    const { write, clock, log, open } = setUp(keyLine('1'));
    const file = open();
    let told = 0;
    file.onChange(() => (told += 1));
    expect(file.ring().ids).toEqual([keyId('1')]);
    write(`${keyLine('2')}\n${keyLine('1')}\n`);
    expect(file.ring().ids).toEqual([keyId('2'), keyId('1')]);
    await clock.advance(0);
    expect(told).toBe(1);
    write(keyLine('3'));
    await clock.advance(limits.settingsKeysLookMs);
    expect([told, file.ring().ids]).toEqual([2, [keyId('3')]]);
    for (const digit of ['1', '2', '3']) expect(log.text()).not.toContain(digit.repeat(64));
  });

  it('leaves the keys as they are when it cannot be read any more', async () => {
    const { write, log, open } = setUp(keyLine('1'));
    const file = open();
    write('hunter2');
    expect(file.ring().ids).toEqual([keyId('1')]);
    expect(log.text()).toContain('settings-keys-kept');
    expect(log.text()).not.toContain('hunter2');
  });

  it('is refused at the start when it is no such file, and warned of when others may read it', () => {
    expect(() => setUp('hunter2').open()).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID', facts: { variable: 'HOLDFAST_SETTINGS_KEYS_FILE', problem: expect.not.stringContaining('hunter2') } }));
    expect(() => openKeyFile(join(folder(), 'none'), { clock: new FakeClock(), log: createMemoryLog() })).toThrow(HoldfastError);
    const { log, open } = setUp(keyLine('1'), 0o644);
    open();
    expect(log.lines).toContainEqual(expect.objectContaining({ event: 'settings-keys-readable', facts: expect.objectContaining({ mode: '644' }) }));
  });
});
