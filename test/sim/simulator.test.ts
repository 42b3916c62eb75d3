import { describe, expect, it } from 'vitest';
import { unlistedStates } from '../../src/sim/coverage.ts';
import { faultKinds } from '../../src/sim/faults.ts';
import { firstSeeds, formatSimReport, runSim } from '../../src/sim/run.ts';
import { runSeed, type SeedReport } from '../../src/sim/seed.ts';

const SEEDS = 40;

describe('the simulator', () => {
  it(`${SEEDS} seeds break no invariant, settle in time, and reach every state and every fault`, async () => {
    const reports: SeedReport[] = [];
    const report = await runSim({ play: (seed) => runSeed(seed), seeds: firstSeeds(SEEDS), parallel: 1, onProgress: (_, seed) => reports.push(seed) });
    expect(report.ok, formatSimReport(report)).toBe(true);
    for (const { seed, simulatedMs, faults, commands, answered } of reports) {
      expect(simulatedMs, `seed ${seed}`).toBeGreaterThanOrEqual(600_000);
      expect(faults, `seed ${seed}`).toBeGreaterThanOrEqual(20);
      expect(commands, `seed ${seed}`).toBeGreaterThanOrEqual(100);
      expect(answered, `seed ${seed}`).toBeGreaterThan(50);
    }
    const hit = new Set(reports.flatMap(({ hits }) => Object.keys(hits)));
    expect(faultKinds.filter((kind) => !hit.has(`fault ${kind}`))).toEqual([]);
  });

  it('counts the timeout from when a claim came, as the master does, however long it took to be stored (seed 462)', async () => {
    expect((await runSeed('462')).violation).toBeNull();
  });

  it('a seed plays the same twice, bit by bit, and another one does not', async () => {
    const [first, again, other] = [await runSeed('7'), await runSeed('7'), await runSeed('8')];
    expect(again).toEqual(first);
    expect(other.hash).not.toBe(first.hash);
  });

  it('plays several seeds at a time in one process without mixing them up', async () => {
    const [alone, beside] = [await runSeed('11'), await Promise.all([runSeed('12'), runSeed('11')])];
    expect(beside[1]).toEqual(alone);
  });

  it('says what broke, when, after which events, and how to see it again', async () => {
    const good = await runSeed('1');
    const violation = { problem: 'invariant 2 one epoch, one holder: made up', atMs: 12_345, trace: ['    12.300s a         control'] };
    const report = await runSim({ play: async (seed) => ({ ...good, seed, violation }), seeds: ['5'], parallel: 1 });
    expect(report.ok).toBe(false);
    const text = formatSimReport(report);
    expect(text).toContain('seed 5 after 12.345 s: invariant 2 one epoch, one holder: made up');
    expect(text).toContain('replay it: holdfast sim --seed 5');
    expect(text).toContain('12.300s a         control');
  });

  it('a long run fails when a fault, a verdict or a change of state was never hit, and names it', async () => {
    const good = await runSeed('1');
    const { 'fault cut': _, ...hits } = { ...good.hits, 'fault cut': 1 };
    const report = await runSim({ play: async (seed) => ({ ...good, seed, hits }), seeds: firstSeeds(200), parallel: 2 });
    expect(report.missing).toContain('fault cut');
    expect(report.ok).toBe(false);
    expect(formatSimReport(report)).toMatch(/never hit: .*fault cut/);
  });

  it('knows every state of both machines', () => {
    expect(unlistedStates()).toEqual([]);
  });

  it('stops when it is told to', async () => {
    const stop = new AbortController();
    const good = await runSeed('1');
    const play = async (seed: string): Promise<SeedReport> => {
      stop.abort();
      return { ...good, seed };
    };
    expect((await runSim({ play, seeds: firstSeeds(100), parallel: 1, signal: stop.signal })).seeds).toBe(1);
  });
});
