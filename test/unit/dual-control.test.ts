import { describe, expect, it } from 'vitest';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import { createMemoryJournal } from '../../src/shared/adapters/store-memory/memory-journal.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { HistoryEntry } from '../../src/shared/ports/control-journal.ts';
import { DualControl } from '../../src/shared/runtime/location/dual-control.ts';
import { dualControlMs, HeldTimes } from '../../src/shared/runtime/location/held-times.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { silentLog } from '../support/silent-log.ts';

const epoch = (number: number) => ({ generation: 0, number });
const entry = (state: string, wallMs: number, number: number): HistoryEntry => ({
  sequence: wallMs,
  location: 'berlin',
  wallMs,
  holder: 'none',
  state,
  reason: 'test',
  epoch: epoch(number),
});

describe('the times in which a node held', () => {
  it('are ages, so that no clock of another machine matters', async () => {
    const clock = new FakeClock();
    const held = new HeldTimes(clock, [], null);
    held.began(epoch(2));
    await clock.advance(5_000);
    held.ended();
    await clock.advance(1_000);
    expect(held.intervals()).toEqual([{ epoch: epoch(2), fromAgoMs: 6_000, untilAgoMs: 1_000 }]);
  });

  it('end with the lease, whether the process noticed or not', async () => {
    const clock = new FakeClock();
    const held = new HeldTimes(clock, [], null);
    held.began(epoch(2));
    held.lease(clock.monotonicMs() + 8_000);
    await clock.advance(30_000);
    expect(held.ended()).toBe(22_000);
    expect(held.intervals()[0]).toMatchObject({ fromAgoMs: 30_000, untilAgoMs: 22_000 });
  });

  it('end with the lease after a boot too, when the process noticed late', async () => {
    const clock = new FakeClock();
    const nowMs = clock.wallMs();
    const history = [entry('claiming', nowMs - 40_000, 2), entry('releasing', nowMs - 32_000, 2), entry('releasing', nowMs - 10_000, 2)];
    const held = new HeldTimes(clock, history, null);
    expect(held.intervals()).toEqual([{ epoch: epoch(2), fromAgoMs: 40_000, untilAgoMs: 32_000 }]);
  });

  it('of a crashed boot end when its journal last heard of it', () => {
    const clock = new FakeClock();
    const now = clock.wallMs();
    const history = [entry('claiming', now - 60_000, 2), entry('holding', now - 59_000, 2)];
    expect(new HeldTimes(clock, history, now - 20_000).intervals()[0]).toMatchObject({ fromAgoMs: 60_000, untilAgoMs: 20_000 });
    expect(new HeldTimes(clock, history, null).intervals()[0]).toMatchObject({ untilAgoMs: 60_000 });
    expect(new HeldTimes(clock, history, now - 20_000).crashed).toMatchObject({ wallMs: now - 20_000 });
  });
});

describe('dual control', () => {
  const world = () => {
    const clock = new FakeClock();
    const metrics = createPromMetrics();
    const journal = createMemoryJournal({ clock });
    const dual = new DualControl({ location: 'berlin', clock, log: silentLog, metrics, journal, history: [] });
    return { clock, metrics, journal, dual, own: new HeldTimes(clock, [], null) };
  };
  const counted = (metrics: ReturnType<typeof createPromMetrics>): number => metrics.read('holdfast_dual_control_seconds_total', { location: 'berlin' });

  it('is the overlap of both, until the gate of the loser closes, counted once however often it is told', async () => {
    const { clock, metrics, journal, dual, own } = world();
    own.began(epoch(3));
    await clock.advance(4_000);
    const edge = [{ epoch: epoch(2), fromAgoMs: 60_000, untilAgoMs: 0 }];
    dual.heard(edge, own, 5);
    expect(counted(metrics)).toBeCloseTo(4);
    await clock.advance(100);
    own.ended();
    dual.settle(own);
    dual.heard([{ epoch: epoch(2), fromAgoMs: 60_100, untilAgoMs: 0 }], own, 5);
    expect(counted(metrics)).toBeCloseTo(4.1);
    expect(dual.totalMs).toBeCloseTo(4_100);
    const stored = await journal.history('berlin', 10);
    const again = new DualControl({ location: 'berlin', clock, log: silentLog, metrics, journal, history: stored });
    expect(again.totalMs).toBeCloseTo(4_100);
  });

  it('remembers so many pairs of epochs: of an edge that makes up ever others the oldest are forgotten', async () => {
    const { clock, metrics, dual, own } = world();
    own.began(epoch(3));
    await clock.advance(1_000);
    const tell = (number: number): void => dual.heard([{ epoch: epoch(number), fromAgoMs: 60_000, untilAgoMs: 0 }], own, 5);
    for (let i = 1; i <= limits.historyEntries + 1; i += 1) tell(2 * i);
    const seconds = counted(metrics);
    tell(2 * (limits.historyEntries + 1));
    expect(counted(metrics)).toBe(seconds);
    tell(2);
    expect(counted(metrics)).toBeCloseTo(seconds + 1);
  });

  it('is not what the journey of a hello makes of a clean hand-over', async () => {
    const { clock, metrics, dual, own } = world();
    own.began(epoch(3));
    await clock.advance(10);
    // It let go 12 ms before it said so, and the message took 5 ms: it seems to have held for 3 ms beside us.
    dual.heard([{ epoch: epoch(2), fromAgoMs: 60_000, untilAgoMs: 7 }], own, 8);
    expect(counted(metrics)).toBe(0);
  });

  it('adds up over several partitions', () => {
    const interval = (fromAgoMs: number, untilAgoMs: number) => ({ epoch: epoch(2), fromAgoMs, untilAgoMs });
    expect(dualControlMs([interval(100, 50), interval(20, 0)], [interval(80, 10)])).toBe(40);
    expect(dualControlMs([interval(100, 90)], [interval(80, 10)])).toBe(0);
  });
});
