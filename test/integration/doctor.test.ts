import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { routes } from '../../src/client-sdk/index.ts';
import type { Finding } from '../../src/cli/doctor/finding.ts';
import { Child } from '../../src/demo/child.ts';
import { localCommands } from '../../src/local-commands.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { cli, type CliSetting } from '../support/cli-run.ts';
import { badOf, linesRunBy, Mender } from '../support/doctor-fixes.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startFederation, type TestFederation } from '../support/federation.ts';

/** The doctor with a federation of real processes: what it prints is run word for word, and mends it. */
const scope = new Scope();
const mender = new Mender();
const drivers = mkdtempSync(join(tmpdir(), 'holdfast-drivers-'));
scope.defer('drivers', () => rmSync(drivers, { recursive: true, force: true }));
let world: TestFederation;
beforeAll(async () => {
  writeFileSync(join(drivers, 'lamp.ts'), lamp('on file'));
  writeFileSync(join(drivers, 'broken.ts'), BROKEN);
  const sites = [{ id: 'berlin', name: 'Berlin', policy: 'available', timezone: 'Europe/Berlin' }] as const;
  world = await startFederation(scope, { sites, environment: { HOLDFAST_DRIVERS: drivers } });
}, 180_000);
afterAll(() => scope.close('the tests end'));

type Env = Record<string, string>;
/** Somebody is at the terminal, and says yes. */
const run = (env: Env, argv: readonly string[], more: Partial<CliSetting> = {}) =>
  cli({ ...localCommands, clock: new FakeClock(Date.now()), env, answers: ['y'], ...more }, ...argv);
const asked = (): Env => ({ HOLDFAST_SERVER: world.federation.master.origin, HOLDFAST_KEY: world.federation.apiKey });
const look = async (env: Env, ...argv: string[]): Promise<Finding[]> => JSON.parse((await run(env, ['doctor', '-o', 'json', ...argv])).out) as Finding[];
const findBad = async (env: Env, ...argv: string[]): Promise<string[]> => badOf(await look(env, ...argv));
/** Looks at the master and, of its own accord, at the edges; orders go to the master. */
const atMaster = { look: () => look(asked()), holdfast: (words: readonly string[]) => run(asked(), words) };
const done = async (...argv: string[]): Promise<string> => {
  const { code, out, err } = await run(asked(), argv);
  expect(code, err).toBe(0);
  return out;
};

const lamp = (text: string): string => `
import { defineDriver, z } from 'holdfast/driver';
export default defineDriver({ name: 'lamp', role: 'logic', settings: z.object({}), setup: () => ({ says: () => '${text}' }) });
`;

const BROKEN = `
import { defineDriver, z } from 'holdfast/driver';
export default defineDriver({ name: 'broken', role: 'logic', settings: z.object({}), setup: () => { throw new Error('no such port'); } });
`;

const environmentOf = (folder: string): Env =>
  Object.fromEntries(readFileSync(join(folder, 'environment'), 'utf8').trim().split('\n').map((line): [string, string] => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));

function edgeOf(id: string) {
  const edge = world.federation.edge(id);
  if (edge === undefined) throw new Error(`there is an edge ${id}`);
  return edge;
}

const damage = (folder: string, ...names: string[]): void => names.forEach((name) => writeFileSync(join(folder, name), 'no database '.repeat(1_000)));

async function stopMaster(): Promise<void> {
  const { process: master } = world.federation.master;
  master.signal('SIGTERM');
  await master.exited;
}

async function startMaster(): Promise<void> {
  await world.federation.restartMaster();
  await expect.poll(() => world.client.call(routes.ready, {}).then(({ status }) => status, () => 'away'), { timeout: 30_000 }).toBe('up');
}

/** An edge whose enrolment string somebody has just been given. */
async function startEdge(id: string, enrolment: string): Promise<void> {
  const env = { HOLDFAST_ROLE: 'edge', HOLDFAST_DATA: join(world.federation.dataDir, id), HOLDFAST_HTTP: '127.0.0.1:0', HOLDFAST_LOG: 'info', HOLDFAST_ENROL: enrolment.trim() };
  const child = new Child({ name: id, script: resolve('dist/main.js'), args: ['serve', '--with-parent'], env, logFile: join(world.federation.dataDir, `${id}.log`) });
  scope.defer(id, () => child.stop());
  await world.until(id, { holder: 'edge', link: { state: 'up' } }, 60_000);
}

it('the doctor raises no false alarm: at the master, at the edge, nor in their data directories', async () => {
  const { dataDir, edges } = world.federation;
  expect(await findBad(asked())).toEqual([]);
  expect(await findBad(asked(), '--data', join(dataDir, 'master'))).toEqual([]);
  for (const { data, origin } of edges) {
    expect(await findBad({ ...asked(), HOLDFAST_SERVER: origin })).toEqual([]);
    expect(await findBad(environmentOf(data), '--data', data)).toEqual([]);
  }
}, 120_000);

it('a killed edge is found from afar and in its directory; a window opened by order brings control back', async () => {
  const { federation, until } = world;
  const edge = edgeOf('berlin');
  edge.process.signal('SIGKILL');
  await until('berlin', { holder: 'master', state: 'holding' }, 60_000);
  expect(await findBad(asked())).toContain('location berlin: its edge is not connected');
  edge.relay.set('cut');
  expect(await findBad(environmentOf(edge.data), '--data', edge.data)).toEqual([expect.stringMatching(/^master: 127\.0\.0\.1:\d+ cannot be reached/)]);
  edge.relay.set('open');

  await federation.restartEdge('berlin');
  await until('berlin', { holder: 'master', state: 'waiting-window' }, 60_000);
  const waits = { fault: 'control waits at the master', found: /^location berlin: the master holds it while its edge is connected; it waits for its restore window$/ } as const;
  await mender.mend([{ ...waits, only: 'holdfast window open' }], {
    ...atMaster,
    meanwhile: async ([printed]) => {
      expect(printed).toContain('control returns to the edge');
      await until('berlin', { holder: 'edge', reason: 'window-open' }, 60_000);
    },
  });
  expect(await done('window', 'close', 'berlin')).toContain('is closed');
}, 240_000);

it('orders are mended by orders, given at the master or at the edge', async () => {
  await done('location', 'pause', 'berlin');
  await mender.mend([{ fault: 'a location is paused', found: /^location berlin: it is paused/ }], atMaster);

  await done('location', 'takeover', 'berlin');
  await world.until('berlin', { holder: 'master', state: 'waiting-window' });
  const env = { ...asked(), HOLDFAST_SERVER: edgeOf('berlin').origin };
  const found = /^location berlin: the master holds it while its edge is connected/;
  await mender.mend([{ fault: 'control waits at the master, seen from the edge', found }], { look: () => look(env), holdfast: (words) => run(env, words) });
}, 120_000);

it('a location without an edge gets one', async () => {
  const rome = 'edges: [{ id: rome, name: Rome, failover: false, timeout: 6, window_start: 0 4 * * *, timezone: Europe/Rome }]\n';
  await world.client.call(routes.apply, { body: { text: rome, dry_run: false } });
  await mender.mend([{ fault: 'no edge has ever connected', found: /^location rome: no edge has ever connected/ }], {
    ...atMaster,
    meanwhile: ([enrolment = '']) => startEdge('rome', enrolment),
    alsoGone: /^location rome: nobody holds it/,
  });
}, 120_000);

it('an edge that was revoked is named by both sides, and enrolled anew', async () => {
  const { federation, until } = world;
  const edge = edgeOf('berlin');
  // It would keep its devices, and the master take them over as well.
  await done('location', 'pause', 'berlin');
  await done('edge', 'revoke', 'berlin');
  const refused = expect.stringMatching(/^location berlin: the master refuses this edge: it was revoked/) as string;
  await expect.poll(() => findBad({ ...asked(), HOLDFAST_SERVER: edge.origin }), { timeout: 30_000 }).toContainEqual(refused);
  const found = /^location berlin: its edge is refused: it is not enrolled, or was revoked \(unknown-edge/;
  await expect.poll(() => findBad(asked()), { timeout: 30_000 }).toContainEqual(expect.stringMatching(found));
  await mender.mend([{ fault: 'an edge is refused for want of an enrolment', found }], {
    ...atMaster,
    meanwhile: async (printed) => {
      edge.process.signal('SIGTERM');
      await edge.process.exited;
      edge.env = { ...edge.env, HOLDFAST_ENROL: printed.at(-1)?.trim() ?? '' };
      await federation.restartEdge('berlin');
      await until('berlin', { holder: 'edge', link: { state: 'up' } }, 60_000);
      await world.untilEdge('berlin', { holder: 'edge', state: 'holding' });
    },
  });
  await done('location', 'resume', 'berlin');
}, 180_000);

it('an edge that lost all its files comes back, and gets control', async () => {
  const { federation, until } = world;
  const edge = edgeOf('berlin');
  await done('location', 'takeover', 'berlin');
  await until('berlin', { holder: 'master', state: 'waiting-window' });
  edge.process.signal('SIGKILL');
  await edge.process.exited;
  damage(edge.data, 'documents.db', 'control.db', 'credentials.db');
  const env = environmentOf(edge.data);
  const damaged = [
    { fault: 'the documents of an edge are damaged', found: /^documents\.db: damaged/ },
    { fault: 'the journal is damaged', found: /^control\.db: damaged/ },
    { fault: 'the credentials of an edge are damaged', found: /^credentials\.db: damaged/, fill: { '<id>': 'berlin' } },
  ] as const;
  await mender.mend(damaged, {
    look: () => look(env, '--data', edge.data),
    holdfast: (words) => run(asked(), words),
    meanwhile: async (printed) => {
      edge.env = { ...edge.env, HOLDFAST_ENROL: printed.at(-1)?.trim() ?? '' };
      await federation.restartEdge('berlin');
      await until('berlin', { holder: 'master', state: 'waiting-window' }, 60_000);
    },
  });
  // Until it has documents, it knows no key.
  await world.untilEdge('berlin', { holder: 'master', link: { state: 'up' } });
  const found = /^location berlin: the master holds it while its edge is connected/;
  await mender.mend([{ fault: 'control waits at the master', found, only: 'holdfast location handback' }], atMaster);
  await world.untilEdge('berlin', { holder: 'edge', state: 'holding' });
}, 240_000);

it('edited code is taken back', async () => {
  const documents = {
    drivers: [{ id: 'driver-lamp', name: 'Lamp', builtin: 'lamp', role: 'logic' }],
    modules: [{ id: 'mod-lamp', name: 'Lamp', driver_id: 'driver-lamp', edge_control_id: 'berlin' }],
    systems: [{ id: 'sys-lamp', name: 'Lamps', edge_control_id: 'berlin', modules: ['mod-lamp'] }],
  };
  await world.client.call(routes.apply, { body: { text: JSON.stringify(documents), dry_run: false } });
  const says = (): Promise<unknown> => world.client.call(routes.exec, { params: { id: 'sys-lamp', module: 'Lamp_1', method: 'says' }, body: [] }).catch(String);
  await expect.poll(says, { timeout: 30_000 }).toBe('on file');
  const edit = await run(asked(), ['driver', 'reload', 'driver-lamp', '--edit', 'lamp.ts'], { files: { 'lamp.ts': lamp('edited') } });
  expect([edit.code, await says()]).toEqual([0, 'edited']);
  const found = /^location berlin: 1 module runs code that was edited/;
  await expect.poll(() => findBad(asked())).toContainEqual(expect.stringMatching(found));
  await mender.mend([{ fault: 'edited code', found }], atMaster);
  expect(await says()).toBe('on file');
}, 120_000);

it('modules that do not run at the edge are told by the master, which asks nobody for it', async () => {
  const module = (id: string, driver_id: string) => ({ id, name: 'Broken', driver_id, edge_control_id: 'berlin' });
  const documents = {
    drivers: [{ id: 'driver-broken', name: 'Broken', builtin: 'broken', role: 'logic' }],
    modules: [module('mod-broken', 'driver-broken')],
    systems: [{ id: 'sys-broken', name: 'Broken', edge_control_id: 'berlin', modules: ['mod-broken'] }],
  };
  await world.client.call(routes.apply, { body: { text: JSON.stringify(documents), dry_run: false } });
  await expect.poll(() => findBad(asked()), { timeout: 30_000 }).toEqual([
    expect.stringMatching(/^location berlin: 1 module of \d+ failing$/),
    expect.stringMatching(/^devices: mod-broken does not work: .*no such port/),
  ]);
  expect(await done('status')).toMatch(/berlin .*, 1 failing/);
  await world.client.call(routes.systemRemove, { params: { id: 'sys-broken' } });
  await world.client.call(routes.moduleRemove, { params: { id: 'mod-broken' } });
  await world.client.call(routes.driverRemove, { params: { id: 'driver-broken' } });
  await expect.poll(() => findBad(asked()), { timeout: 30_000 }).toEqual([]);
}, 120_000);

it('a master without sound documents, and enrolments that fit no location, are found while it is stopped; what nobody holds then is taken over', async () => {
  const { federation, until } = world;
  const folder = join(federation.dataDir, 'master');
  const lookAt = { look: () => look({}, '--data', folder), holdfast: (words: readonly string[]) => run({}, words) };
  const oslo = 'edges: [{ id: oslo, name: Oslo, failover: false, timeout: 6, window_start: 0 4 * * *, timezone: Europe/Oslo }]\n';
  await world.client.call(routes.apply, { body: { text: oslo, dry_run: false } });
  await done('edge', 'add', 'paris');
  await done('backup');
  // The master holds, its edge is away, and a pause keeps it from taking control again by itself.
  await done('location', 'takeover', 'berlin');
  await until('berlin', { holder: 'master', state: 'waiting-window' });
  await done('location', 'pause', 'berlin');
  edgeOf('berlin').process.signal('SIGKILL');
  await edgeOf('berlin').process.exited;
  await stopMaster();

  const hidden = await findBad({}, '--data', folder);
  damage(folder, 'documents.db');
  await mender.mend([{ fault: 'the documents of a master are damaged', found: /^documents\.db: damaged/ }], { ...lookAt, hidden });
  const enrolments = [
    { fault: 'a location has no enrolled edge', found: /^enrolment: no edge may connect for the location oslo/ },
    { fault: 'an enrolled edge has no location', found: /^enrolment: the edge paris may connect/ },
  ] as const;
  await mender.mend(enrolments, {
    ...lookAt,
    // They are given to a master that runs, and seen in the directory of one that does not.
    holdfast: async (words) => {
      if (!federation.master.process.running) await startMaster();
      return run(asked(), words);
    },
    meanwhile: async () => {
      await mender.mend([{ fault: 'nobody holds', found: /^location berlin: nobody holds it/ }], atMaster);
      await stopMaster();
    },
  });
}, 180_000);

it('and nothing that is to be run with a federation was left out', () => {
  expect([...mender.ran].toSorted()).toEqual(linesRunBy('federation').toSorted());
});
