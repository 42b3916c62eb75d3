import { chmodSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Json } from '../../src/shared/foundation/json.ts';
import { Redactor } from '../../src/cli/redact.ts';
import type { Finding } from '../../src/cli/doctor/finding.ts';
import { routes } from '../../src/client-sdk/index.ts';
import { inspect } from '../../src/inspect.ts';
import { localCommands } from '../../src/local-commands.ts';
import { credentialsFile } from '../../src/shared/adapters/credentials-embedded/file-kind.ts';
import { journalFile } from '../../src/shared/adapters/journal-embedded/file-kind.ts';
import { openDatabase } from '../../src/shared/adapters/sqlite/open.ts';
import { storeFile } from '../../src/shared/adapters/store-embedded/file-kind.ts';
import { startTestServer } from '../support/api-server.ts';
import type { TestServer } from '../support/api-server.ts';
import { addSite } from '../support/api-site.ts';
import { cli } from '../support/cli-run.ts';
import type { CliResult, CliSetting } from '../support/cli-run.ts';
import { badOf, commandsIn, linesRunBy, Mender, shellWords } from '../support/doctor-fixes.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { locationView, SINCE_MS } from '../support/fake-node.ts';
import { tempFolders } from '../support/temp-folder.ts';

const folders = tempFolders();
const clock = new FakeClock(SINCE_MS);
const healthy = { modules: { total: 3, running: 3, failing: 0 } };
let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
  for (const id of ['edge-1', 'edge-2']) server.node.views.set(id, locationView(id, healthy));
});
afterEach(() => server.close());

const env = (): Record<string, string> => ({ HOLDFAST_SERVER: server.http.origin, HOLDFAST_KEY: server.keys.admin });
const run = (setting: Partial<CliSetting>, ...argv: string[]): Promise<CliResult> => cli({ clock, env: env(), inspect, ...setting }, ...argv);
const findings = async (setting: Partial<CliSetting>, ...argv: string[]): Promise<Finding[]> => JSON.parse((await run(setting, 'doctor', '-o', 'json', ...argv)).out) as Finding[];
const bad = badOf;

describe('holdfast doctor with a server', () => {
  it('healthy: a table, and exit code 0', async () => {
    const { code, out, err } = await run({}, 'doctor');
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^VERDICT +CHECK +FOUND +WHAT MENDS IT\nok +server +http:\S+ is a master and takes requests\nok +location edge-1 +the edge holds it/);
  });

  it('a problem: exit code 1, and what mends it in the table and as JSON', async () => {
    server.node.views.set('edge-2', locationView('edge-2', { ...healthy, link: 'down', reason: 'never-held' }));
    const { code, out, err } = await run({}, 'doctor');
    expect([code, err]).toEqual([1, 'error: 1 problem\nnext: the last column says what mends each; then holdfast doctor again\n']);
    expect(out).toMatch(/^problem +location edge-2 +no edge has ever connected +`holdfast edge add edge-2`/m);
    expect(await findings({})).toContainEqual({ check: 'location edge-2', verdict: 'problem', found: 'no edge has ever connected', fix: '`holdfast edge add edge-2`, and start the edge with what it prints' });
  });

  it('a warning leaves the exit code alone', async () => {
    server.node.views.set('edge-2', locationView('edge-2', { ...healthy, paused: true }));
    expect((await run({}, 'doctor')).code).toBe(0);
  });

  it('a server that is away or a wrong key is a finding too, and one without the rights sees less', async () => {
    expect(bad(await findings({ env: { HOLDFAST_SERVER: 'http://127.0.0.1:1' } }))).toEqual(['server: Cannot reach http://127.0.0.1:1: nothing listens there']);
    expect(bad(await findings({ env: { HOLDFAST_SERVER: server.http.origin } }))).toEqual(['server: no valid API key came with the request']);
    expect(bad(await findings({ env: { HOLDFAST_SERVER: server.http.origin, HOLDFAST_KEY: server.keys.viewer } }))).toEqual([]);
  });

  it('a token that expired is called that, and what to do', async () => {
    const { token, id } = await server.client(server.keys.admin).call(routes.tokenIssue, { body: { user: 'anna', role: 'viewer', expires_in: 60 } });
    await server.clock.advance(60_000);
    const setting = { env: { HOLDFAST_SERVER: server.http.origin, HOLDFAST_KEY: token } };
    const { code, out } = await run(setting, 'doctor');
    expect([code, out]).toEqual([1, expect.stringMatching(new RegExp(`problem +server +The token ${id} expired at \\S+Z +Ask whoever issues tokens for a new one`))]);
    expect((await run(setting, 'status')).code).toBe(4);
  });

  it('a server that is starting is a warning, which says what it waits for and to ask again', async () => {
    server.node.ready = { started: true, ready: false, waitingFor: ['edge berlin'] };
    const { code, out } = await run({}, 'doctor');
    expect([code, out]).toEqual([0, expect.stringMatching(/^warning +server +http:\S+ waits for edge berlin +ask again in a few seconds/m)]);
    expect(await findings({})).toHaveLength(1);
  });

  it('a module that says why it does not work: that, and its name in the next command', async () => {
    await addSite(server.node, 'olga');
    const say = (key: string, value: Json): void => server.node.setStatus({ system: '', module: 'mod-1', index: 0, key, value });
    say('connected', false);
    const devices = async () => (await findings({})).filter(({ check, found }) => check === 'devices' && found.startsWith('mod-1 '));
    expect(await devices()).toMatchObject([{ found: 'mod-1 (192.0.2.7) is not connected', fix: expect.stringContaining('`holdfast get sys-1 Display_1`') as string }]);
    say('problem', 'settings.baud must be a number');
    expect(await devices()).toMatchObject([{ found: 'mod-1 does not work: settings.baud must be a number', fix: expect.not.stringContaining('power') as string }]);
  });

  it('a module whose start failed is named, and what it lacks is one command away', async () => {
    await addSite(server.node, 'olga');
    server.node.views.set('edge-1', locationView('edge-1', { modules: { total: 1, running: 0, failing: 1 } }));
    server.node.setStatus({ system: '', module: 'mod-1', index: 0, key: 'problem', value: 'its setup failed: no such port' });
    const fix = (await findings({})).find(({ found }) => found === '1 module of 1 failing')?.fix;
    expect(commandsIn(fix ?? '')).toEqual(['holdfast get sys-1 Display_1', 'holdfast events --kind driver --location edge-1']);
    for (const command of commandsIn(fix ?? '')) expect([command, (await run({}, ...shellWords(command).slice(1))).code]).toEqual([command, 0]);
  });

  it('both sides hold only if the master still does, under the same epoch, when the edge has said that it holds', async () => {
    const { node, http } = server;
    node.origins.push({ location: 'edge-1', edge: http.origin, master: null });
    const view = (number: number) => locationView('edge-1', { ...healthy, holder: 'master', state: 'holding', link: 'down', epoch: { generation: 0, number } });
    node.views.set('edge-1', view(4));
    const both = 'edge edge-1: edge and master both drive the devices now';
    expect(bad(await findings({}))).toContain(both);
    // A planned move between the answers: each answer is of another epoch.
    let number = 4;
    node.location = () => view((number += 1));
    expect(bad(await findings({}))).not.toContain(both);
  });

  it('an edge that was refused a moment ago is said to be, and why; not one that is away, or came in since', async () => {
    server.node.views.set('edge-1', locationView('edge-1', { ...healthy, link: 'down' }));
    server.clock.jumpWall(Date.now() - server.clock.wallMs());
    const ofLocation = async () => bad(await findings({})).filter((text) => text.startsWith('location edge-1'));
    const refuse = (reason: string): void => server.say('link-refused', { edge: 'edge-1', remote: '192.0.2.8', reason });
    expect(await ofLocation()).toEqual(['location edge-1: its edge is not connected']);
    refuse('unknown-edge');
    // A limit that was reached hides nothing.
    refuse('rate-limited');
    expect(await ofLocation()).toEqual(['location edge-1: its edge is refused: it is not enrolled, or was revoked (unknown-edge, from 192.0.2.8)']);
    server.say('link-up', { location: 'edge-1' });
    expect(await ofLocation()).toEqual(['location edge-1: its edge is not connected']);
    server.clock.jumpWall(-600_000);
    refuse('unknown-edge');
    expect(await ofLocation()).toEqual(['location edge-1: its edge is not connected']);
  });

  it('a second machine with the identity of an edge that is connected is told once, while it tries', async () => {
    const refuse = (remote: string): void => server.say('link-refused', { edge: 'edge-1', remote, reason: 'duplicate-identity' });
    server.clock.jumpWall(Date.now() - server.clock.wallMs() - 600_000);
    refuse('192.0.2.8:1');
    server.clock.jumpWall(600_000);
    expect(bad(await findings({}))).toEqual([]);
    for (const remote of ['192.0.2.8:2', '192.0.2.8:3']) refuse(remote);
    expect(bad(await findings({}))).toEqual([expect.stringMatching(/^edge edge-1: two machines have its identity.* 192\.0\.2\.8:3 is refused/)]);
  });

  it('driver hosts that end again and again are told, and why', async () => {
    server.clock.jumpWall(Date.now() - server.clock.wallMs());
    for (let time = 0; time < 3; time += 1) server.say('driver-host-ended', { reason: 'EACCES: permission denied\n    at openSync', exit: '1' });
    expect(bad(await findings({}))).toEqual(['server: its driver hosts end again and again (3 times in the last minutes): EACCES: permission denied']);
  });

  it('asks each edge itself: one that does not listen where it says is found', async () => {
    server.node.origins.push({ location: 'edge-1', edge: 'http://127.0.0.1:1', master: null }, { location: 'edge-2', edge: 'http://192.0.2.1:80', master: null });
    expect(bad(await findings({}))).toEqual([
      'edge edge-1: it is linked, but its client API is not reached: Cannot reach http://127.0.0.1:1: nothing listens there',
      'edge edge-2: its origin http://192.0.2.1:80 is not for clients elsewhere: http:// would show the key to the network; it is for this machine only',
    ]);
  });
});

describe('holdfast doctor with a data directory', () => {
  const alone = (more: Record<string, string> = {}): Partial<CliSetting> => ({ env: more });

  it('a fresh one is healthy, and no server is asked', async () => {
    const found = await findings(alone(), '--data', folders());
    expect([bad(found), found.some(({ check }) => check === 'server')]).toEqual([[], false]);
  });

  it('finds wrong modes, damaged and missing databases, and reads what is sound', async () => {
    const folder = folders();
    chmodSync(folder, 0o755);
    openDatabase(join(folder, 'credentials.db'), credentialsFile).close();
    writeFileSync(join(folder, 'documents.db'), 'no database '.repeat(1_000));
    const found = bad(await findings(alone(), '--data', folder));
    expect(found).toHaveLength(3);
    expect(found[0]).toContain('(mode 755)');
    expect(found[1]).toContain('documents.db: damaged');
    expect(found[2]).toContain('the control journal is gone');
  });

  it('a file in its place is called that, and nothing is said of what is in it', async () => {
    const file = join(folders(), 'passwd');
    writeFileSync(file, 'root', { mode: 0o644 });
    expect(bad(await findings(alone(), '--data', file))).toEqual([`data directory: ${file} is not a directory`]);
  });

  it('the backup to restore is the newest file that is one, whatever else lies beside it', async () => {
    const folder = folders();
    const ofMaster = { HOLDFAST_ROLE: 'master', HOLDFAST_HTTP: '127.0.0.1:0', HOLDFAST_LINK: '127.0.0.1:0' };
    mkdirSync(join(folder, 'backups', 'moved.db'), { recursive: true });
    for (const name of ['sunday', 'monday']) openDatabase(join(folder, 'backups', name), storeFile).close();
    utimesSync(join(folder, 'backups', 'sunday'), 1, 1);
    utimesSync(join(folder, 'backups', 'monday'), 2, 2);
    writeFileSync(join(folder, 'backups', 'notes.db'), 'no database');
    writeFileSync(join(folder, 'documents.db'), 'no database '.repeat(1_000));
    const fix = (await findings(alone(ofMaster), '--data', folder)).find(({ check }) => check === 'documents.db')?.fix;
    expect(fix).toContain(`holdfast restore ${join(folder, 'backups', 'monday')} --data`);
  });

  it('finds an address that this machine does not have, and a write log that is none', async () => {
    const folder = folders();
    const env = { HOLDFAST_ROLE: 'master', HOLDFAST_HTTP: '192.0.2.1:0', HOLDFAST_LINK: '127.0.0.1:0', HOLDFAST_WRITE_LOG: folder };
    expect(bad(await findings(alone(env), '--data', folder))).toEqual([
      `write log: ${folder} cannot be opened: it is a directory`,
      'ports: this machine does not have the address of 192.0.2.1:0',
    ]);
  });

  it('one that a server uses is looked at and left alone', async () => {
    const folder = folders();
    const open = openDatabase(join(folder, 'documents.db'), storeFile);
    const found = await findings(alone(), '--data', folder);
    expect(found.find(({ check }) => check === 'databases')?.found).toContain('in use by a running server');
    expect(open.query('SELECT count(*) AS count FROM documents')).toEqual([{ count: 0 }]);
    open.close();
  });

  it('finds a misspelled variable, a taken port, a broken driver and a master that is away', async () => {
    const folder = folders();
    expect(bad(await findings(alone({ HOLDFAST_ROEL: 'edge' }), '--data', folder)).join()).toContain('HOLDFAST_ROEL is unknown; did you mean HOLDFAST_ROLE?');
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const HOLDFAST_HTTP = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
    const drivers = join(folder, 'drivers');
    mkdirSync(drivers);
    writeFileSync(join(drivers, 'lamp.ts'), 'export default {');
    const found = bad(await findings(alone({ HOLDFAST_ROLE: 'edge', HOLDFAST_HTTP, HOLDFAST_DRIVERS: drivers, HOLDFAST_MASTERS: '127.0.0.1:1' }), '--data', folder));
    taken.close();
    expect(found.map((text) => text.slice(0, 40))).toEqual([
      expect.stringContaining('drivers: lamp: '),
      `ports: ${HOLDFAST_HTTP} is taken by another program`.slice(0, 40),
      'master: 127.0.0.1:1 cannot be reached: c',
    ]);
  });
});

describe('what the doctor prints, run word for word, mends it', () => {
  const mender = new Mender();
  const asServer = { HOLDFAST_ROLE: 'master', HOLDFAST_HTTP: '127.0.0.1:0', HOLDFAST_LINK: '127.0.0.1:0' };
  /** With a space in its name: a shell must not take it for two words. */
  const spaced = (name: string): string => join(folders(), `a ${name}`);

  /** Somebody is at the terminal, and says yes. */
  const holdfast = async (setting: Partial<CliSetting>, words: readonly string[]): Promise<CliResult> => {
    const written = new Map<string, Uint8Array>();
    const result = await run({ ...localCommands, ...setting, written, answers: ['y'] }, ...words);
    for (const [path, content] of written) writeFileSync(path, content, { mode: 0o600, flag: 'wx' });
    return result;
  };
  type Looked = Partial<CliSetting> & { data?: string; first?: () => void };
  const mend = (mendings: Parameters<Mender['mend']>[0], { data = folders(), first = () => undefined, ...setting }: Looked = {}): Promise<void> =>
    mender.mend(mendings, {
      look: () => findings(setting, '--data', data),
      holdfast: (words) => {
        first();
        return holdfast(setting, words);
      },
    });

  it('a data directory that is gone, or that others may read', async () => {
    const data = spaced('folder');
    await mend([{ fault: 'the data directory is gone', found: /does not exist/ }], { data, env: {} });
    chmodSync(data, 0o755);
    await mend([{ fault: 'others may read the data directory', found: /mode 755/ }], { data, env: {} });
  });

  it('a copy of the documents of a database that is damaged', async () => {
    const data = spaced('folder');
    mkdirSync(data, { mode: 0o700 });
    for (const name of ['documents-copy.db', 'documents-copy.db-wal']) writeFileSync(join(data, name), 'no database '.repeat(1_000));
    const env = { ...asServer, HOLDFAST_STORE: 'couchbase://user@127.0.0.1:1/bucket', HOLDFAST_STORE_PASSWORD_FILE: join(data, 'none') };
    await mend([{ fault: 'the copy of a database is damaged', found: /^documents-copy\.db: damaged/ }], { data, env });
    expect(readdirSync(data)).toEqual([]);
  });

  it('settings keys that are not there, or that others may read', async () => {
    const keys = spaced('file');
    const env = { ...asServer, HOLDFAST_SETTINGS_KEYS_FILE: keys };
    await mend([{ fault: 'the file of settings keys is not there', found: /^sealed settings: / }], { env });
    chmodSync(keys, 0o640);
    await mend([{ fault: 'others may read the settings keys', found: /mode 640/ }], { env });
  });

  it('a driver that does not load: the check says why until it is corrected', async () => {
    const drivers = spaced('folder');
    mkdirSync(drivers);
    const write = (text: string): void => writeFileSync(join(drivers, 'lamp.ts'), text);
    write('export default {');
    const env = { ...asServer, HOLDFAST_DRIVERS: drivers };
    const broken = [{ fault: 'a driver of the folder is broken', found: /^drivers: lamp: / }] as const;
    await expect(mend(broken, { env })).rejects.toThrow('lamp.ts:1');
    // Not made part of the driver, as `holdfast/driver` is not: the process that checks it is of the compiled program.
    const sdk = JSON.stringify(resolve('dist/driver-sdk/index.js'));
    const sound = `const sdk = ${sdk};\nconst { defineDriver, z } = await import(sdk);\nexport default defineDriver({ name: 'lamp', role: 'logic', settings: z.object({}), setup: () => ({}) });\n`;
    await mend(broken, { env, first: () => write(sound) });
  });

  it("the first administrator's key, once there is another one", async () => {
    const data = spaced('folder');
    mkdirSync(data, { mode: 0o700 });
    openDatabase(join(data, 'credentials.db'), credentialsFile).close();
    openDatabase(join(data, 'control.db'), journalFile).close();
    writeFileSync(join(data, 'admin.key'), `${server.keys.admin}\n`);
    const own = (await run({}, 'key', 'add', '--name', 'mine', '--role', 'admin')).out.trim();
    const env = { ...asServer, HOLDFAST_SERVER: server.http.origin, HOLDFAST_KEY: own };
    await mend([{ fault: "the first administrator's key still lies about", found: /^administrators: / }], { data, env });
    expect((await run({}, 'status')).code).toBe(4);
  });

  it('and nothing that is to be run here was left out', () => {
    expect([...mender.ran].toSorted()).toEqual(linesRunBy('here').toSorted());
  });
});

describe('holdfast bundle', () => {
  const hex = (digit: string): string => digit.repeat(64);
  const secrets = {
    apiKey: `key-0123456789ab.${hex('a')}`,
    token: `token-0123456789ab.${hex('b')}`,
    enrolment: `holdfast-enrol:${'E'.repeat(80)}`,
    devicePassword: 'correct-horse-battery',
    community: 'kommunity-string',
    urlPassword: 'sesame-in-a-url',
    queryKey: 'plain-query-key',
    headerToken: 'header.token-value',
    privateKey: 'MIGHAgEAMBMGByqGSM49',
    pin: '7319',
    alarmCode: '90817263',
  };
  const log = [
    JSON.stringify({ event: 'request', url: `/api/engine/v2/systems?api-key=${secrets.queryKey}&q=x`, key: secrets.apiKey }),
    JSON.stringify({ event: 'driver', message: `login admin ${secrets.devicePassword} refused`, nested: { snmp_community: secrets.community } }),
    `GET http://admin:${secrets.urlPassword}@192.0.2.1/ Authorization: Bearer ${secrets.headerToken}`,
    `HOLDFAST_ENROL=${secrets.enrolment} bearer_token=${secrets.token}`,
    `-----BEGIN PRIVATE KEY-----${secrets.privateKey}`,
    JSON.stringify({ event: 'driver', message: `disarm ${secrets.alarmCode}#`, args: [Number(secrets.pin), Number(secrets.alarmCode), 5000] }),
    `code${secrets.alarmCode}: door says "${secrets.pin}"`,
    'an ordinary line stays as it is',
  ].join('\n');

  it('holds what helps, and none of the secrets that lie everywhere', async () => {
    await addSite(server.node, 'olga');
    const [module] = (await server.node.store.list('mod', { limit: 1 })).map(({ document }) => document);
    const stored = await server.node.store.get(module?.id ?? '');
    if (stored === null || stored.document.type !== 'mod') throw new Error('there is a module');
    const settings = { login: { password: secrets.devicePassword }, community: secrets.community, pin: Number(secrets.pin), alarm: { auth_code: Number(secrets.alarmCode) } };
    await server.node.store.apply([{ op: 'put', document: { ...stored.document, settings, notes: secrets.devicePassword }, expect: stored.version }]);
    server.node.views.set('edge-1', locationView('edge-1', { ...healthy, name: `Berlin ${secrets.apiKey}` }));
    const folder = folders();
    writeFileSync(join(folder, 'admin.key'), `${secrets.apiKey}\n`);
    const written = new Map<string, Uint8Array>();
    const setting = { written, files: { 'master.log': log }, env: { ...env(), HOLDFAST_ROLE: 'edge', HOLDFAST_HTTP: '127.0.0.1:0', HOLDFAST_ENROL: secrets.enrolment } };

    const { code, out, err } = await run(setting, 'bundle', '--file', 'b.json.gz', '--log', 'master.log', '--data', folder);
    expect([code, out]).toEqual([0, 'b.json.gz\n']);
    const text = gunzipSync(written.get('b.json.gz') ?? new Uint8Array()).toString();
    for (const [name, secret] of Object.entries(secrets)) expect([name, text.includes(secret) || text.includes(secret.split('.')[1] ?? secret)]).toEqual([name, false]);
    for (const key of Object.values(server.keys)) expect(text + out + err).not.toContain(key.split('.')[1]);

    const bundle = JSON.parse(text) as Record<string, unknown>;
    expect(Object.keys(bundle)).toEqual(['bundle', 'findings', 'data', 'federation', 'locations', 'edges', 'documents', 'server', 'members', 'history', 'metrics', 'log']);
    expect(bundle).toMatchObject({
      bundle: { version: '1.2.3' },
      data: { configuration: { described: { role: 'edge', enrol: '[redacted]' } } },
      locations: [{ id: 'edge-1', epoch: '0.4' }, { id: 'edge-2' }],
      history: { 'edge-1': [{ sequence: 2 }, { sequence: 1 }] },
      metrics: ['# HELP holdfast_modules Modules', ''],
    });
    expect(text).toContain('an ordinary line stays as it is');
    expect(text).toContain('5000');
    expect(text).not.toContain('192.0.2.1:');
  });

  it('is made of a server that is away, or refuses the key, too: the file and its exit code say that', async () => {
    const written = new Map<string, Uint8Array>();
    const file = 'holdfast-bundle-2025-01-01T12-00-00.250Z.json.gz';
    const { code, out, err } = await run({ written, env: { HOLDFAST_SERVER: 'http://127.0.0.1:1' } }, 'bundle');
    expect([code, out]).toEqual([3, `${file}\n`]);
    expect(err).toContain(`error: ${file} was written without what the server knows: Cannot reach http://127.0.0.1:1: nothing listens there\nnext: Check HOLDFAST_SERVER`);
    expect(gunzipSync(written.get(file) ?? new Uint8Array()).toString()).toContain('nothing listens there');
    expect((await run({ written, env: { HOLDFAST_SERVER: server.http.origin } }, 'bundle')).code).toBe(4);
    // With a data directory alone no server is asked, and none is missing.
    expect((await run({ written, env: {} }, 'bundle', '--data', folders())).code).toBe(0);
  });

  it('of a server that is starting says which parts of it are missing', async () => {
    server.node.ready = { started: true, ready: false, waitingFor: ['edge berlin'] };
    const written = new Map<string, Uint8Array>();
    const { code, err } = await run({ written }, 'bundle', '--file', 'b.json.gz');
    expect([code, err]).toEqual([1, expect.stringMatching(/^error: b\.json\.gz was written without its version, the members: The server is starting and waits for edge berlin$/m)]);
    expect(JSON.parse(gunzipSync(written.get('b.json.gz') ?? new Uint8Array()).toString())).toMatchObject({ members: { not_available: expect.stringContaining('edge berlin') as string } });
  });

  it('redaction leaves ordinary values alone', () => {
    const value = { id: 'edge-1', epoch: '0.4', since: 12.5, running: true, none: null, list: ['a b', 1], reason: 'edge-kept-devices', at: 'file.ts:3:1' };
    expect(new Redactor([]).value(value)).toEqual(value);
    expect(new Redactor(['abc', '123']).text('abc and 123 are too short to guard')).toBe('abc and 123 are too short to guard');
    // A PIN is hidden where it stands alone, and not as a part of something else.
    const pin = new Redactor(['4711']);
    for (const text of ['mod-4711a', '247113', '14:47:11.4711', '1.4711.2', '4711.5']) expect(pin.text(text)).toBe(text);
    for (const text of ['4711', 'PIN=4711.', '(4711)', '4711,4711', 'sent.4711', '"4711#"']) expect(pin.text(text)).not.toContain('4711');
    expect(pin.value({ args: [4711, 47_112], at: 1.4711 })).toEqual({ args: ['[redacted]', 47_112], at: 1.4711 });
  });
});
