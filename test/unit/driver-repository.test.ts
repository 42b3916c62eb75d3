import { describe, expect, it } from 'vitest';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { ReloadedModule } from '../../src/shared/ports/device-link.ts';
import type { CopyStatus, CopySwitch, WorkingCopy } from '../../src/shared/ports/working-copy.ts';
import { type CommitReport, DriverRepository } from '../../src/shared/runtime/driver-code/driver-repository.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { createMemoryLog } from '../support/memory-log.ts';
import { testScope } from '../support/test-scope.ts';

const scope = testScope();
const never = new AbortController().signal;
const hash = (digit: string): string => digit.repeat(40);
const ran = (module: string, problem: string | null, more: Partial<ReloadedModule> = {}): ReloadedModule => ({ module, problem, pausedMs: 1, ...more });

/** A node whose working copy is in memory: `reload` is what its modules do with new code. */
function setUp({ commit = hash('a'), location = 'berlin', bare = false }: { commit?: string | null; location?: string | null; bare?: boolean } = {}) {
  const clock = new FakeClock();
  const metrics = createPromMetrics();
  const log = createMemoryLog();
  const site = {
    wanted: null as string | null,
    fetchError: null as HoldfastError | null,
    asked: 0,
    reload: (_commit: string | null): ReloadedModule[] => [],
  };
  const done: string[] = [];
  const copy: WorkingCopy & { commit: string | null } = {
    commit,
    status: async (): Promise<CopyStatus> => ({ remote: '/drivers.git', branch: null, commit: copy.commit, dirty: [], dirtyCount: 0, fetchedMs: null }),
    refresh: async () => {
      if (site.fetchError !== null) throw site.fetchError;
    },
    resolve: async (revision: string | null) => {
      site.asked += 1;
      if (site.fetchError !== null) throw site.fetchError;
      return revision ?? hash('f');
    },
    switchTo: async (to: string, { discard }: { discard: boolean }): Promise<CopySwitch> => {
      const from = copy.commit;
      copy.commit = to;
      done.push(`${discard ? 'discard' : 'switch'} ${to[0]}`);
      return {
        from,
        to,
        keep: async () => void done.push('keep'),
        back: async () => {
          copy.commit = from;
          done.push('back');
        },
      };
    },
  };
  const told: CommitReport[] = [];
  const repository = new DriverRepository({
    nodeId: 'berlin',
    location,
    clock,
    log,
    metrics,
    copy: bare ? null : copy,
    wanted: () => site.wanted,
    codes: () => [{ location: 'berlin', driver: 'lamp' }],
    reload: async () => {
      done.push(`reload ${copy.commit?.[0]}`);
      return site.reload(copy.commit);
    },
    tell: (report) => told.push(report),
  });
  scope().defer('repository', () => repository.close());
  const settle = async () => {
    await expect.poll(() => repository.report.busy).toBe(false);
    await repository.request({ action: 'status', commit: null, reload: false, user: 'ada' }, never).catch(() => undefined);
  };
  const order = (action: 'pull' | 'reset' | 'checkout', reload = true, revision: string | null = null) =>
    repository.request({ action, commit: revision, reload, user: 'ada' }, never);
  return { clock, metrics, log, site, copy, done, told, repository, settle, order };
}

describe('the way to the wanted commit', () => {
  it('is taken with a reload, told, and counted', async () => {
    const { site, copy, done, told, repository, settle, metrics } = setUp();
    site.wanted = hash('b');
    site.reload = () => [ran('mod-1', null)];
    repository.converge();
    repository.converge();
    await settle();
    expect([copy.commit, done]).toEqual([hash('b'), ['switch b', 'reload b', 'keep']]);
    expect(told).toEqual([
      { wanted: hash('b'), actual: hash('a'), busy: true, problem: null },
      { wanted: hash('b'), actual: hash('b'), busy: false, problem: null },
    ]);
    expect(metrics.read('holdfast_commit_as_wanted', { location: 'berlin' })).toBe(1);
  });

  it('ends where modules break: the code before comes back, and the bad one is not tried again until another one was wanted', async () => {
    const { site, copy, done, repository, settle, metrics, clock } = setUp();
    site.wanted = hash('b');
    site.reload = (commit) => (commit === hash('b') ? [ran('mod-1', 'cannot be set up'), ran('mod-2', null)] : [ran('mod-2', null)]);
    repository.converge();
    await settle();
    expect([copy.commit, done]).toEqual([hash('a'), ['switch b', 'reload b', 'back', 'reload a']]);
    expect(repository.report).toMatchObject({ actual: hash('a'), problem: expect.stringContaining('mod-1: cannot be set up') });
    expect(metrics.read('holdfast_commit_as_wanted', { location: 'berlin' })).toBe(0);
    for (let i = 0; i < 3; i += 1) {
      repository.converge();
      await settle();
      await clock.advance(limits.repositoryRetryMs);
    }
    expect(done).toHaveLength(4);
    site.wanted = hash('c');
    repository.converge();
    await settle();
    expect([copy.commit, repository.report.problem]).toEqual([hash('c'), null]);
    // Whoever wants it once more means it.
    const before = done.length;
    site.wanted = hash('b');
    repository.converge();
    await settle();
    expect([copy.commit, repository.report.problem, done.length]).toEqual([hash('c'), expect.stringContaining('mod-1'), before + 4]);
  });

  it('does not blame new code for a module that stood before', async () => {
    const { site, copy, repository, settle } = setUp();
    site.wanted = hash('b');
    site.reload = () => [ran('mod-1', 'no address', { stood: true })];
    repository.converge();
    await settle();
    expect([copy.commit, repository.report.problem]).toEqual([hash('b'), null]);
  });

  it('is tried again every minute while the repository cannot be reached, and said once', async () => {
    const { site, copy, repository, settle, clock, log } = setUp();
    site.wanted = hash('b');
    site.fetchError = new HoldfastError('REPOSITORY_FAILED', { problem: 'no way there' });
    repository.converge();
    await settle();
    expect(repository.report.problem).toContain('no way there');
    const asked = site.asked;
    await clock.advance(limits.repositoryRetryMs);
    await expect.poll(() => site.asked).toBe(asked + 1);
    await settle();
    site.fetchError = null;
    await clock.advance(limits.repositoryRetryMs);
    await expect.poll(() => copy.commit).toBe(hash('b'));
    await settle();
    expect(log.lines.filter(({ event }) => event === 'commit-not-taken')).toHaveLength(1);
  });

  it('is the newest commit for a node that has none, and nothing for one that has', async () => {
    const fresh = setUp({ commit: null });
    fresh.repository.converge();
    await fresh.settle();
    expect(fresh.copy.commit).toBe(hash('f'));
    const old = setUp();
    old.repository.converge();
    await old.settle();
    expect([old.copy.commit, old.site.asked]).toEqual([hash('a'), 0]);
  });

  it('is said to be missing where there is no repository', async () => {
    const { site, repository, order } = setUp({ bare: true });
    repository.converge();
    expect(repository.report.problem).toBeNull();
    site.wanted = hash('b');
    repository.converge();
    expect(repository.report).toMatchObject({ wanted: hash('b'), problem: 'berlin has no repository of drivers' });
    await expect(order('pull')).rejects.toMatchObject({ code: 'REPOSITORY_UNSET' });
  });
});

describe('a request', () => {
  it('without a reload leaves what runs; by hand it may be another commit than the wanted one, which is shown', async () => {
    const { site, copy, done, repository, order } = setUp();
    site.wanted = hash('a');
    await order('checkout', false, hash('c'));
    expect([copy.commit, done]).toEqual([hash('c'), ['switch c', 'keep']]);
    expect(repository.report.problem).toBe(`${'c'.repeat(12)} is checked out by hand; ${'a'.repeat(12)} is wanted`);
    await order('pull');
    expect([copy.commit, repository.report.problem]).toEqual([hash('a'), null]);
    expect((await order('reset')).status.commit).toBe(hash('a'));
    expect(done.slice(-3)).toEqual(['discard a', 'reload a', 'keep']);
  });

  it('whose modules break fails, and everything is as before', async () => {
    const { site, copy, order } = setUp();
    site.reload = (commit) => {
      if (commit !== hash('a')) throw new HoldfastError('DRIVER_INVALID', { place: 'lamp.ts:3:1', problem: 'Unexpected' });
      return [];
    };
    await expect(order('checkout', true, hash('c'))).rejects.toMatchObject({ code: 'DRIVER_INVALID' });
    expect(copy.commit).toBe(hash('a'));
  });
});
