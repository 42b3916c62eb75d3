import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { routes } from '../../src/client-sdk/index.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { startFederation, type TestFederation } from '../support/federation.ts';

/** Real processes: an edge is killed, the master is restarted, and somebody watches with the command line. */

const scope = new Scope();
let world: TestFederation;
let watcher: ChildProcess;
let text = '';
let notes = '';
beforeAll(async () => {
  world = await startFederation(scope, { sites: [{ id: 'berlin', name: 'Berlin', policy: 'available', timezone: 'UTC' }] });
  const { origin } = world.client;
  const env = { ...process.env, HOLDFAST_SERVER: origin, HOLDFAST_KEY: world.federation.apiKey };
  watcher = spawn(process.execPath, [resolve('dist/main.js'), '-o', 'json', 'events', '-f', '--since', '1d'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  scope.defer('watcher', () => void watcher.kill());
  watcher.stdout?.on('data', (data: Buffer) => (text += data.toString()));
  watcher.stderr?.on('data', (data: Buffer) => (notes += data.toString()));
}, 90_000);
afterAll(() => scope.close());

interface Line {
  id: string;
  kind: string;
  event: string;
  state?: string;
  reason?: string;
}
const seen = (): Line[] => text.split('\n').slice(0, -1).map((line) => JSON.parse(line) as Line);

it('a watcher sees a takeover, outlives a restart of the master, and misses nothing', async () => {
  await expect.poll(() => seen().length, { timeout: 20_000 }).toBeGreaterThan(0);
  world.federation.edge('berlin')?.process.signal('SIGKILL');
  await world.until('berlin', { holder: 'master', state: 'holding' });
  const steps = (): string[] => seen().filter(({ kind }) => kind === 'control').map(({ state, reason }) => `${state} ${reason}`);
  await expect.poll(steps, { timeout: 10_000 }).toEqual(expect.arrayContaining(['suspect link-lost', 'taking-over edge-lost', 'holding edge-lost']));
  expect(seen().some(({ event }) => event === 'link-down')).toBe(true);

  const { process: master } = world.federation.master;
  master.signal('SIGTERM');
  await master.exited;
  await world.federation.restartMaster();
  const backUp = (): Promise<boolean> => world.client.call(routes.backup, { body: {} }).then(() => true, () => false);
  await expect.poll(backUp, { timeout: 30_000, interval: 500 }).toBe(true);
  const ofMaster = async (): Promise<string[]> => {
    const { events } = await world.client.call(routes.eventList, { query: { since: '0', limit: 500 } });
    return events.map(({ id }) => id);
  };
  const afterRestart = (): string => {
    const audit = seen().filter(({ event }) => event === 'audit').at(-1);
    return audit?.id.split('.')[1] === seen()[0]?.id.split('.')[1] ? `still waiting: ${notes}` : 'seen';
  };
  await expect.poll(afterRestart, { timeout: 30_000, interval: 500 }).toBe('seen');
  await expect.poll(async () => seen().map(({ id }) => id).join() === (await ofMaster()).join(), { timeout: 15_000 }).toBe(true);
  expect(new Set(seen().map(({ id }) => id.split('.')[1])).size).toBe(2);
  expect(seen().filter(({ kind }) => kind === 'gap')).toEqual([]);

  watcher.kill('SIGINT');
  await once(watcher, 'exit');
}, 120_000);
