import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Finding } from '../../src/cli/doctor/finding.ts';
import { inspect } from '../../src/inspect.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { cli } from '../support/cli-run.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startFederation, type TestFederation } from '../support/federation.ts';

/** The doctor, and a window opened by order, with a federation of real processes. */
const scope = new Scope();
let world: TestFederation;
beforeAll(async () => {
  world = await startFederation(scope, { sites: [{ id: 'berlin', name: 'Berlin', policy: 'available', timezone: 'Europe/Berlin' }] });
}, 180_000);
afterAll(() => scope.close('the tests end'));

const run = (env: Record<string, string>, ...argv: string[]) => cli({ clock: new FakeClock(Date.now()), inspect, env }, ...argv);
const asked = (): Record<string, string> => ({ HOLDFAST_SERVER: world.federation.master.origin, HOLDFAST_KEY: world.federation.apiKey });

async function badOf(env: Record<string, string>, ...argv: string[]): Promise<string[]> {
  const findings = JSON.parse((await run(env, 'doctor', '-o', 'json', ...argv)).out) as Finding[];
  return findings.filter(({ verdict }) => verdict !== 'ok').map(({ check, found }) => `${check}: ${found}`);
}

const environmentOf = (folder: string): Record<string, string> =>
  Object.fromEntries(readFileSync(join(folder, 'environment'), 'utf8').trim().split('\n').map((line): [string, string] => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));

it('the doctor raises no false alarm: at the master, at the edge, nor in their data directories', async () => {
  const { dataDir, edges } = world.federation;
  expect(await badOf(asked())).toEqual([]);
  expect(await badOf(asked(), '--data', join(dataDir, 'master'))).toEqual([]);
  for (const { data, origin } of edges) {
    expect(await badOf({ ...asked(), HOLDFAST_SERVER: origin })).toEqual([]);
    expect(await badOf(environmentOf(data), '--data', data)).toEqual([]);
  }
}, 120_000);

it('a killed edge is found from afar and in its directory; a window opened by order brings control back', async () => {
  const { federation, until } = world;
  const edge = federation.edge('berlin');
  if (edge === undefined) throw new Error('there is an edge');
  edge.process.signal('SIGKILL');
  await until('berlin', { holder: 'master', state: 'holding' }, 60_000);
  expect(await badOf(asked())).toContain('location berlin: its edge is not connected');
  edge.relay.set('cut');
  expect(await badOf(environmentOf(edge.data), '--data', edge.data)).toEqual([expect.stringMatching(/^master: 127\.0\.0\.1:\d+ cannot be reached/)]);
  edge.relay.set('open');

  await federation.restartEdge('berlin');
  await until('berlin', { holder: 'master', state: 'waiting-window' }, 60_000);
  expect(await badOf(asked())).toContain('location berlin: the master holds it while its edge is connected; it waits for its restore window');
  const opened = await run(asked(), 'window', 'open', 'berlin', '--for', '2m', '--yes');
  expect([opened.code, opened.out]).toEqual([0, expect.stringContaining('control returns to the edge')]);
  await until('berlin', { holder: 'edge', reason: 'window-open' }, 60_000);
  expect((await run(asked(), 'window', 'close', 'berlin', '--yes')).out).toContain('is closed');
}, 240_000);
