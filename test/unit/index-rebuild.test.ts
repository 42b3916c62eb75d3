import { describe, expect, it } from 'vitest';
import type { IndexRepair } from '../../src/cli/deps.ts';
import { cli } from '../support/cli-run.ts';
import { FakeClock } from '../support/fake-clock.ts';

const differing: IndexRepair = {
  documents: 3,
  differences: [{ index: 'idx-berlin-mod-3', missing: ['mod-1', 'mod-2'], surplus: ['mod-9'] }],
  damaged: ['document mod-4: name: must be text'],
};
const clock = new FakeClock();

function setUp(found: IndexRepair | null) {
  const runs: boolean[] = [];
  const rebuildIndexes = async ({ dryRun }: { dryRun: boolean }): Promise<IndexRepair | null> => {
    runs.push(dryRun);
    return found;
  };
  return { runs, setting: { clock, rebuildIndexes } };
}

describe('holdfast index rebuild', () => {
  it('shows what differs, and writes it anew after a yes', async () => {
    const { runs, setting } = setUp(differing);
    const { code, out, err } = await cli({ ...setting, answers: ['y'] }, 'index', 'rebuild');
    expect(code).toBe(0);
    expect(err).toContain('idx-berlin-mod-3: misses mod-1, mod-2; lists mod-9, which do not belong there');
    expect(err).toContain('document mod-4: name: must be text');
    expect(err).toContain('Write 1 index anew?');
    expect(out).toContain('Restart servers');
    expect(runs).toEqual([true, false]);
  });

  it('changes nothing in a dry run, after a no, and when all agrees', async () => {
    const dry = setUp(differing);
    expect((await cli(dry.setting, 'index', 'rebuild', '--dry-run')).out).toContain('Dry run: nothing was changed.');
    const no = setUp(differing);
    expect((await cli({ ...no.setting, answers: ['n'] }, 'index', 'rebuild')).code).not.toBe(0);
    const agreeing = setUp({ documents: 3, differences: [], damaged: [] });
    expect((await cli(agreeing.setting, 'index', 'rebuild', '--yes')).out).toBe('The indexes agree with 3 documents.\n');
    expect([...dry.runs, ...no.runs, ...agreeing.runs]).toEqual([true, true, true]);
  });

  it('says so when it cannot compare them now', async () => {
    const { err, code } = await cli(setUp(null).setting, 'index', 'rebuild', '--yes');
    expect(code).not.toBe(0);
    expect(err).toContain('servers are writing');
  });
});
