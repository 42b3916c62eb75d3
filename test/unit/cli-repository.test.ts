import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestServer } from '../support/api-server.ts';
import type { TestServer } from '../support/api-server.ts';
import { cli, startCli } from '../support/cli-run.ts';
import type { CliResult, CliSetting } from '../support/cli-run.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { locationView, SINCE_MS } from '../support/fake-node.ts';

let server: TestServer;
const clock = new FakeClock(SINCE_MS);
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.close());

const setting = (): CliSetting => ({ clock, env: { HOLDFAST_SERVER: server.http.origin, HOLDFAST_KEY: server.keys.admin } });
const runWith = (more: Partial<CliSetting>, ...argv: string[]): Promise<CliResult> => cli({ ...setting(), ...more }, ...argv);
const run = (...argv: string[]): Promise<CliResult> => runWith({}, ...argv);

describe('holdfast driver repository, pull, reset, checkout', () => {
  it('shows every working copy, and one in full', async () => {
    const { code, out } = await run('driver', 'repository');
    expect([code, out.split('\n').map((line) => line.split(/ {2,}/))]).toEqual([
      0,
      [
        ['LOCATION', 'WANTED', 'ACTUAL', 'EDITED', 'FETCHED', 'PROBLEM'],
        ...['edge-1', 'edge-2', 'master'].map((id) => [id, '-', 'cccccccccccc', '1 file', '2025-01-01T12:00:00Z']),
        [''],
      ],
    ]);
    expect((await run('driver', 'repository', 'edge-1')).out).toMatch(/repository +https:\/\/git\.example\.org\/drivers\.git\n.*\n.*\n.*\nedited +lamp\.ts\n/);
    expect(JSON.parse((await run('driver', 'repository', 'edge-1', '-o', 'json')).out)).toMatchObject({ id: 'edge-1', dirty_count: 1 });
  });

  it('says what cannot be asked beside what can', async () => {
    server.node.views.set('edge-1', locationView('edge-1', { link: 'down' }));
    const asked = server.node.repository.request;
    server.node.repository.request = async (request, signal) => {
      if (request.location === 'edge-1') throw new Error('unexpected');
      return asked(request, signal);
    };
    const { code, out } = await run('driver', 'repository');
    expect([code, out]).toEqual([0, expect.stringMatching(/edge-1 .*Something failed inside/)]);
    expect(out).toContain('edge-2');
  });

  it('changes one after a question, with a reload if told so', async () => {
    expect(await run('driver', 'pull', 'edge-1')).toMatchObject({ code: 2 });
    const no = await runWith({ answers: ['n'] }, 'driver', 'reset', 'edge-1');
    expect([no.code, no.err]).toEqual([1, expect.stringMatching(/edited +lamp\.ts[^]*Reset the drivers of edge-1\? \[y\/N\]/)]);
    expect((await run('driver', 'checkout', 'edge-1', 'main', '--dry-run')).out).toContain('Dry run: nothing was changed.');
    expect(server.node.repositoryRequests.every(({ action }) => action === 'status')).toBe(true);
    const done = await run('driver', 'checkout', 'edge-1', 'main', '--reload', '--yes');
    expect([done.code, done.out]).toEqual([0, expect.stringMatching(/edge-1: aaaaaaaaaaaa → main\nMODULE .*\nmod-1 +12 ms +reloaded\n/)]);
    expect(server.node.repositoryRequests.at(-1)).toMatchObject({ location: 'edge-1', action: 'checkout', commit: 'main', reload: true });
    await run('driver', 'pull', 'edge-1', '--yes');
    expect(server.node.repositoryRequests.at(-1)).toMatchObject({ action: 'pull', reload: false });
  });
});

describe('holdfast driver deploy', () => {
  it('shows the plan, asks, follows to the end, and fails if the roll-out does', async () => {
    const planned = await run('driver', 'deploy', 'main', '--location', 'edge-1', 'edge-2', '--canary', '2', '--dry-run');
    expect([planned.code, planned.out]).toEqual([0, expect.stringMatching(/edge-1 +waiting[^]*edge-2[^]*Dry run/)]);
    expect(server.node.started).toMatchObject([{ commit: 'main', locations: ['edge-1', 'edge-2'], canaries: 2, dryRun: true }]);
    expect((await runWith({ answers: ['n'] }, 'driver', 'deploy', 'main')).code).toBe(1);
    expect(server.node.kept).toEqual([]);

    const running = startCli(setting(), 'driver', 'deploy', 'main', '--location', 'edge-1', '--yes');
    await expect.poll(() => server.node.kept.length).toBe(1);
    const [rollout] = server.node.kept;
    if (rollout?.steps[0] === undefined) throw new Error('there is no roll-out');
    rollout.steps[0].state = 'rolling';
    await expect.poll(async () => (await clock.advance(1_000), running.err())).toContain('edge-1 rolling');
    Object.assign(rollout, { state: 'failed', problem: 'edge-1: it broke', endedMs: SINCE_MS + 9_000 });
    rollout.steps[0].state = 'rolled-back';
    await expect.poll(async () => (await clock.advance(1_000), running.out())).toContain('rolled-back');
    expect(await running.done).toMatchObject({ code: 1, err: expect.stringContaining('error: the roll-out failed: edge-1: it broke') });

    expect((await run('driver', 'rollouts')).out).toMatch(/rollout-1 +cccccccccccc .* 9s +failed +edge-1: it broke/);
    expect((await run('driver', 'rollouts', 'rollout-1')).out).toContain('rollout-1 of cccccccccccc by');
    expect((await run('driver', 'rollouts', 'rollout-9')).code).toBe(1);
    expect((await run('driver', 'cancel', 'rollout-1', '--yes')).code).toBe(0);
    expect((await run('driver', 'deploy', 'main', '--canary', 'x', '--yes')).code).toBe(2);
  });

  it('that is interrupted while it follows says so; the roll-out goes on', async () => {
    const abort = new AbortController();
    const running = startCli({ ...setting(), signal: abort.signal }, 'driver', 'deploy', 'main', '--location', 'edge-1', '--yes');
    await expect.poll(() => server.node.kept.length).toBe(1);
    abort.abort(new Error('SIGINT'));
    let over = false;
    void running.done.then(() => (over = true));
    await expect.poll(async () => (await clock.advance(1_000), over)).toBe(true);
    expect(await running.done).toMatchObject({ code: 130, err: expect.stringContaining('error: interrupted before the answer came') });
    expect(server.node.kept).toMatchObject([{ state: 'running' }]);
  });
});
