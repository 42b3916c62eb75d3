import { beforeEach, describe, expect, it } from 'vitest';
import { BeatListener } from '../../src/shared/adapters/store-couchbase/heartbeat.ts';
import { FakeClock } from '../support/fake-clock.ts';

let clock: FakeClock;
let listener: BeatListener;
beforeEach(() => {
  clock = new FakeClock();
  listener = new BeatListener(clock);
});

const beat = (seconds: number, number: number, generation = 'a'): { at: number; generation: string; number: number } => ({
  at: Date.UTC(2025, 0, 1) + seconds * 1_000,
  generation,
  number,
});
const reached = (number: number, generation = 'a'): { generation: string; number: number } => ({ generation, number });

describe('the age of a copy', () => {
  it('counts from the moment when a new heartbeat is heard, whatever the clock of the master says', async () => {
    listener.freshSince(beat(0, 1), reached(1));
    await clock.advance(5_000);
    expect(listener.freshSince(beat(0, 1), reached(1))).toBeNull();
    expect(listener.freshSince(beat(-3_600, 1), reached(1))).toBe(5_000);
    expect(listener.freshSince(beat(-3_600, 1), reached(1))).toBeNull();
  });

  it('is told at a start by the time in the heartbeat that is there', async () => {
    await clock.advance(5_000);
    expect(listener.freshSince(beat(-3_600, 1), reached(1))).toBe(-3_600_000);
  });

  it('is no less than nothing where the clock of the master is ahead', () => {
    expect(listener.freshSince(beat(60, 1), reached(1))).toBe(0);
  });

  it('does not end with a heartbeat whose commits have not arrived', async () => {
    listener.freshSince(beat(0, 1), reached(1));
    await clock.advance(2_000);
    expect(listener.freshSince(beat(2, 5), reached(1))).toBeNull();
    await clock.advance(2_000);
    expect(listener.freshSince(beat(4, 9), reached(4))).toBeNull();
    // As fresh as the heartbeat that it has caught up with, not as the newest one.
    expect(listener.freshSince(beat(4, 9), reached(5))).toBe(2_000);
    await clock.advance(2_000);
    expect(listener.freshSince(beat(6, 9), reached(9))).toBe(6_000);
  });

  it('follows the newest history only', async () => {
    listener.freshSince(beat(0, 50), reached(1));
    await clock.advance(2_000);
    expect(listener.freshSince(beat(2, 1, 'b'), reached(1))).toBeNull();
    expect(listener.freshSince(beat(2, 1, 'b'), reached(1, 'b'))).toBe(2_000);
  });
});
