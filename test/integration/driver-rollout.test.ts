import { expect, it } from 'vitest';
import { type RolloutView, routes } from '../../src/client-sdk/index.ts';
import { driverCode, startGitFederation } from '../support/git-drivers.ts';
import { tempFolders } from '../support/temp-folder.ts';
import { testScope } from '../support/test-scope.ts';

const folder = tempFolders();
const scope = testScope();

it('a roll-out: canary first, back by itself when modules fail, kept for an edge that is away, marked when the master dies', { timeout: 400_000 }, async () => {
  const world = await startGitFederation(scope(), folder(), ['berlin', 'lisbon']);
  const { client, federation, repository, ask, until } = world;
  const versions = async () => [await ask('version', 'lamp-berlin'), await ask('version', 'lamp-lisbon')];
  const wanted = async () => (await client.all(routes.edgeList)).map(({ commit }) => commit.wanted);
  const deploy = async (commit: string, locations: string[] = []): Promise<RolloutView> =>
    client.call(routes.rolloutStart, { body: { commit, locations, canaries: 1 } }, { timeoutMs: 60_000 });
  const newest = async (): Promise<RolloutView> => (await client.call(routes.rolloutList, {}))[0] ?? expect.fail('there is no roll-out');
  const ended = async (): Promise<RolloutView> => {
    await expect.poll(async () => (await newest()).state, { timeout: 120_000, interval: 200 }).not.toBe('running');
    return newest();
  };
  const states = ({ steps }: RolloutView): string[] => steps.map(({ location, canary, state }) => `${location}${canary ? '*' : ''} ${state}`);

  const second = repository.commit({ 'lamp.ts': driverCode('lamp', 'v2') });
  const torch = await ask('born', 'torch-lisbon');
  await deploy('main');
  const good = await ended();
  expect([good.state, states(good), good.commit]).toEqual(['done', ['berlin* done', 'lisbon done', 'master done'], second]);
  expect([await versions(), await wanted(), await ask('born', 'torch-lisbon')]).toEqual([['v2', 'v2'], [second, second], torch]);

  // It loads, it is set up, and then it ends its process, again and again.
  const bad = repository.commit({ 'lamp.ts': driverCode('lamp', 'bad', "setTimeout(() => { throw new Error('no more'); }, 300);") });
  await deploy(bad);
  const failed = await ended();
  expect([failed.state, states(failed)]).toEqual(['failed', ['berlin* rolled-back', 'lisbon waiting', 'master waiting']]);
  // Its process may end while it is still being tried, or afterwards.
  expect(failed.steps[0]?.problem).toMatch(/lamp-berlin|its process ended/);
  expect(await wanted()).toEqual([second, second]);
  await expect.poll(versions, { timeout: 60_000 }).toEqual(['v2', 'v2']);
  const commits = async () => (await client.all(routes.edgeList)).map(({ commit }) => commit);
  await expect.poll(commits, { timeout: 20_000 }).toEqual([1, 2].map(() => ({ wanted: second, actual: second, busy: false, problem: null })));

  // Lisbon is away for the whole of it.
  const lisbon = federation.edge('lisbon');
  lisbon?.relay.set('cut');
  await until('lisbon', { link: { state: 'down' } });
  const third = repository.commit({ 'lamp.ts': driverCode('lamp', 'v3') });
  await deploy(third, ['berlin', 'lisbon']);
  const without = await ended();
  expect([without.state, states(without)]).toEqual(['done', ['berlin* done', 'lisbon away']]);
  lisbon?.relay.set('open');
  await until('lisbon', { link: { state: 'up' } });
  await expect.poll(versions, { timeout: 30_000 }).toEqual(['v3', 'v3']);

  // The master dies in the middle: what it did is there, what it did not is not, and the list says so.
  const fourth = repository.commit({ 'lamp.ts': driverCode('lamp', 'v4') });
  const { id } = await deploy(fourth, ['berlin', 'lisbon']);
  await expect.poll(() => ask('version', 'lamp-berlin'), { timeout: 30_000 }).toBe('v4');
  federation.master.process.signal('SIGKILL');
  await federation.master.process.exited;
  await federation.restartMaster();
  await until('berlin', { link: { state: 'up' } }, 30_000);
  expect(await newest()).toMatchObject({ id, state: 'interrupted', problem: expect.stringContaining('while it was at berlin'), commit: fourth });
  expect(await wanted()).toEqual([fourth, third]);
});
