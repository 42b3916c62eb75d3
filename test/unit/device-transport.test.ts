import { beforeEach, describe, expect, it } from 'vitest';
import { DeviceTransport } from '../../src/driver-host/device-transport.ts';
import type { LineEvents } from '../../src/driver-host/line.ts';
import { FakeClock } from '../support/fake-clock.ts';

let clock = new FakeClock();
let attempts: { atMs: number; events: LineEvents }[] = [];
let told: string[] = [];
beforeEach(() => {
  clock = new FakeClock();
  attempts = [];
  told = [];
});

function open({ random = 0, mayConnect = true }: { random?: number; mayConnect?: boolean } = {}): DeviceTransport {
  const transport = new DeviceTransport({
    module: 'mod',
    idleMs: null,
    connectionless: false,
    clock,
    random: { next: () => random },
    mayConnect: () => mayConnect,
    beforeWrite: () => undefined,
    dial: (events) => {
      attempts.push({ atMs: clock.monotonicMs(), events });
      return { writable: true, unsent: false, write: () => undefined, drop: () => events.ended({ reason: 'dropped', permanent: false }) };
    },
  });
  transport.open({
    attempted: () => void told.push('attempted'),
    connected: () => void told.push('connected'),
    disconnected: (reason) => void told.push(`disconnected: ${reason}`),
    interrupted: () => void told.push('interrupted'),
    broken: (problem) => void told.push(`broken: ${problem}`),
    received: () => undefined,
    drained: () => undefined,
  });
  return transport;
}

const fail = (permanent = false): void => attempts.at(-1)?.events.ended({ reason: 'refused', permanent });

/** The pauses between so many failed attempts. */
async function pauses(count: number, options: { random: number; permanent?: boolean }): Promise<number[]> {
  open(options);
  for (let turn = 0; turn < count; turn += 1) {
    const before = attempts.length;
    fail(options.permanent);
    for (let waited = 0; attempts.length === before && waited < 100_000; waited += 50) await clock.advance(50);
  }
  return attempts.slice(1).map(({ atMs }, at) => atMs - (attempts[at]?.atMs ?? 0));
}

describe('reconnect: 1 s to 10 s with jitter', () => {
  it('waits longer after each failure, and never longer than 10 s', async () => {
    expect(await pauses(6, { random: 0.5 })).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
  });

  it('spreads the attempts of many devices', async () => {
    const early = await pauses(5, { random: 0 });
    attempts = [];
    clock = new FakeClock();
    const late = await pauses(5, { random: 0.999 });
    for (const [at, ms] of early.entries()) expect(late[at]).toBeGreaterThan(ms);
  });

  it('makes attempts of many devices together, four times a second', async () => {
    for (let device = 0; device < 100; device += 1) {
      open({ random: device / 100 });
      fail();
    }
    attempts = [];
    await clock.advance(1_300);
    expect(attempts).toHaveLength(100);
    expect(new Set(attempts.map(({ atMs }) => atMs)).size).toBeLessThanOrEqual(3);
  });

  it('says once that the first attempt is over, and that a good connection ended', async () => {
    open();
    fail();
    await clock.advance(2_000);
    attempts.at(-1)?.events.up();
    fail();
    expect(told).toEqual(['attempted', 'connected', 'disconnected: refused']);
  });

  it('begins with the shortest pause again after a connection that lasted', async () => {
    await pauses(5, { random: 0 });
    attempts.at(-1)?.events.up();
    await clock.advance(60_000);
    const lostMs = clock.monotonicMs();
    fail();
    await clock.advance(1_000);
    expect((attempts.at(-1)?.atMs ?? Infinity) - lostMs).toBeLessThanOrEqual(1_000);
  });

  it('does not dial at all through a closed gate', async () => {
    open({ mayConnect: false });
    await clock.advance(30_000);
    expect(attempts).toEqual([]);
    expect(told).toEqual(['attempted']);
  });
});

describe('a permanent failure opens a breaker', () => {
  it('is named, tried again about once a minute, and closed by a connection', async () => {
    const [pause = 0] = await pauses(1, { random: 0.5, permanent: true });
    expect(pause).toBeGreaterThan(29_000);
    expect(pause).toBeLessThan(91_000);
    attempts.at(-1)?.events.up();
    expect(told).toEqual(['broken: refused', 'attempted', 'broken: null', 'connected']);
  });
});

describe('a connection that is made anew', () => {
  it('counts as connected meanwhile, and is told of as a new one', async () => {
    const transport = open();
    attempts.at(-1)?.events.up();
    told = [];
    transport.renew();
    expect([attempts.length, told]).toEqual([2, ['interrupted']]);
    expect(transport.ready).toBe(false);
    attempts.at(-1)?.events.up();
    expect(told).toEqual(['interrupted', 'connected']);
    await clock.advance(60_000);
    expect(attempts).toHaveLength(2);
  });

  it('is lost when that fails, and tried again as ever', async () => {
    const transport = open({ random: 0.5 });
    attempts.at(-1)?.events.up();
    told = [];
    transport.renew();
    fail();
    expect(told).toEqual(['interrupted', 'disconnected: refused']);
    await clock.advance(1_000);
    attempts.at(-1)?.events.up();
    expect([attempts.length, told.at(-1)]).toEqual([3, 'connected']);
  });

  it('does not wait for the end of a pause, and leaves an attempt under way alone', () => {
    const transport = open();
    transport.renew();
    expect([attempts.length, told]).toEqual([1, []]);
    fail();
    transport.renew();
    expect(attempts).toHaveLength(2);
  });
});
