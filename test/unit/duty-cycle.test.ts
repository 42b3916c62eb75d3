import { describe, expect, it } from 'vitest';
import { DutyCycle } from '../../src/shared/adapters/client-ws/duty-cycle.ts';
import { FakeClock } from '../support/fake-clock.ts';

const LONGEST_REST_MS = 10;

/** Work of `tookMs` each time. */
function world({ tookMs }: { tookMs: number }) {
  const clock = new FakeClock();
  const begunMs: number[] = [];
  const cycle = new DutyCycle(clock, LONGEST_REST_MS, () => {
    begunMs.push(clock.monotonicMs());
    clock.work(tookMs);
  });
  return { clock, begunMs, cycle };
}

describe('work that is held to half of the time', () => {
  it('is done at once as long as it takes less than a millisecond', () => {
    const { begunMs, cycle } = world({ tookMs: 0.5 });
    cycle.demand();
    cycle.demand();
    expect(begunMs).toEqual([0, 0.5]);
  });

  it('rests as long as it took, and does once what came up meanwhile', async () => {
    const { clock, begunMs, cycle } = world({ tookMs: 8 });
    for (let i = 0; i < 3; i += 1) cycle.demand();
    await clock.advance(7);
    expect(begunMs).toEqual([0]);
    await clock.advance(1);
    expect(begunMs).toEqual([0, 16]);
    await clock.advance(100);
    expect(begunMs).toEqual([0, 16]);
  });

  it('rests no longer than the limit', async () => {
    const { clock, begunMs, cycle } = world({ tookMs: 1_000 });
    cycle.demand();
    cycle.demand();
    await clock.advance(LONGEST_REST_MS);
    expect(begunMs).toEqual([0, 1_010]);
  });

  it('is done at once when it comes up after the rest', async () => {
    const { clock, begunMs, cycle } = world({ tookMs: 8 });
    cycle.demand();
    await clock.advance(8);
    cycle.demand();
    expect(begunMs).toEqual([0, 16]);
  });
});
