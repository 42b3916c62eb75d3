import { describe, expect, it } from 'vitest';
import { configOf, formatModelReport, type ModelPolicy, runModel, shapes } from '../../src/sim/model/model.ts';
import { Coverage } from '../../src/sim/model/coverage.ts';
import { movesOf } from '../../src/sim/model/moves.ts';
import { search } from '../../src/sim/model/search.ts';
import { Findings } from '../../src/sim/model/shell.ts';
import { copyWorld, initialWorld } from '../../src/sim/model/world.ts';

const policies: ModelPolicy[] = ['available', 'exclusive', 'no-failover'];

describe('every history of one location', () => {
  it.each(policies)('keeps the invariants under %s, at the size of a test', (policy) => {
    const report = runModel({ policy, size: 'small' });
    const text = formatModelReport(report);
    expect(report.missing, text).toEqual([]);
    expect(report.ok, text).toBe(true);
    // Every state that can be reached was looked at, and says how many those were.
    expect(report.searches.map(({ closed }) => closed)).toEqual(shapes.small.map(() => true));
    for (const { states, transitions, settlesWithin } of report.searches) {
      expect(states).toBeGreaterThan(1_000);
      expect(transitions).toBeGreaterThan(states);
      expect(settlesWithin).toBeGreaterThan(0);
    }
    expect(text).toMatch(/\d+ states, \d+ transitions, depth \d+: closed/);
  });

  it('keeps them while the document changes its policy', () => {
    for (const policy of policies) {
      const report = search(configOf(policy, { name: 'changes of policy', faults: 0, orders: 1, terms: 1 }));
      expect(report.problem, report.trace.join('\n')).toBeNull();
      expect(report.closed).toBe(true);
    }
  });

  it('is not called closed when it was stopped early', () => {
    const report = search(configOf('available', { name: 'cut short', faults: 1 }), { maxStates: 100 });
    expect(report.closed).toBe(false);
    const stopped = runModel({ policy: 'available', size: 'small', signal: AbortSignal.abort() });
    expect(stopped.ok).toBe(false);
    expect(formatModelReport(stopped)).toContain('not closed');
  });

  it('reports how far it is', () => {
    const seen: number[] = [];
    runModel({ policy: 'no-failover', size: 'small', onProgress: ({ states }) => seen.push(states) });
    expect(seen.length).toBeGreaterThan(10);
  });

  it('does not take a late hello over an older link for the end of a hand-back', () => {
    const config = configOf('available', { name: 'a late hello', faults: 1, windows: 1 });
    const toMasterHolds = [
      'master starts', 'master has stored', 'time passes', 'time passes', 'the master has booted', 'time passes',
      'edge starts', 'edge has stored', 'the edge has loaded', 'the edge connects',
      'timer due of the master', 'master has stored', 'modules of the master have started',
      'hello arrives at the master (link 1)', 'negotiate arrives at the edge (link 1)', 'edge has stored', 'control.accepted arrives at the master (link 1)',
    ];
    const handBack = ['the window opens', 'the master sees the window', 'control.renegotiate arrives at the edge (link 1)'];
    const over = ['edge crashes', 'edge starts', 'the edge has loaded', 'the edge connects'];
    const another = ['hello arrives at the master (link 2)', 'master has stored', 'modules of the master have stopped', 'hello arrives at the master (link 1)'];
    const world = copyWorld(initialWorld(config));
    for (const label of [...toMasterHolds, ...handBack, ...over, ...another]) {
      const move = movesOf(world, config).find((one) => one.label === label);
      if (move === undefined) throw new Error(`${label} cannot happen`);
      move.apply(world, new Findings(new Coverage()));
    }
    expect(world.master.machine).toMatchObject({ state: 'releasing', link: { number: 2, handback: 'window' } });
    expect(world.memory.failedHandback).toBe(false);
  });
});
