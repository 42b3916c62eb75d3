import { beforeEach, describe, expect, it } from 'vitest';
import { DeviceTransport } from '../../src/driver-host/device-transport.ts';
import type { LineEvents } from '../../src/driver-host/line.ts';
import { FakeClock } from '../support/fake-clock.ts';

let clock = new FakeClock();
let attempts: { atMs: number; events: LineEvents }[] = [];
let told: string[] = [];
/** The connection is still at its beginning. */
let opening = false;
/** As of a socket: that it was dropped is told of later, by `fail`. */
let endsLater = false;
beforeEach(() => {
  opening = false;
  endsLater = false;
  clock = new FakeClock();
  attempts = [];
  told = [];
});

function open({ random = 0, mayConnect = true, idleMs = null }: { random?: number; mayConnect?: boolean; idleMs?: number | null } = {}): DeviceTransport {
  const transport = new DeviceTransport({
    module: 'mod',
    idleMs,
    connectionless: false,
    clock,
    random: { next: () => random },
    mayConnect: () => mayConnect,
    beforeWrite: () => undefined,
    dial: (events) => {
      attempts.push({ atMs: clock.monotonicMs(), events });
      const drop = (): void => {
        if (!endsLater) events.ended({ reason: 'dropped', permanent: false });
      };
      return { writable: true, unsent: false, write: () => undefined, drop };
    },
  });
  transport.open({
    attempted: () => void told.push('attempted'),
    connected: () => void told.push('connected'),
    disconnected: (reason) => void told.push(`disconnected: ${reason}`),
    interrupted: () => void told.push('interrupted'),
    reopened: () => void told.push('reopened'),
    get opening() {
      return opening;
    },
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

  it('tries at once when told to, also after an attempt that was under way and failed', async () => {
    const transport = open({ random: 0.5 });
    fail();
    transport.retryNow();
    expect(attempts).toHaveLength(2);
    transport.retryNow();
    fail();
    await clock.advance(1);
    expect(attempts).toHaveLength(3);
    // Accepted and cut off, as by a device that another one still holds.
    attempts.at(-1)?.events.up();
    transport.retryNow();
    fail();
    await clock.advance(1);
    expect(attempts).toHaveLength(4);
    fail();
    await clock.advance(500);
    expect(attempts).toHaveLength(4);
  });

  it('forgets that it was told to when the connection was a good one', async () => {
    const transport = open({ random: 0.5 });
    attempts.at(-1)?.events.up();
    transport.retryNow();
    await clock.advance(60_000);
    fail();
    await clock.advance(500);
    expect(attempts).toHaveLength(1);
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

  it('is tried at once, once, when a setting changed before the device refused the old one', async () => {
    const transport = open({ random: 0.5 });
    attempts.at(-1)?.events.up();
    transport.retryNow();
    attempts.at(-1)?.events.received(new Uint8Array(1));
    transport.openBreaker('wrong password');
    await clock.advance(1);
    expect(attempts).toHaveLength(2);
    attempts.at(-1)?.events.up();
    transport.openBreaker('wrong password');
    await clock.advance(10_000);
    expect(attempts).toHaveLength(2);
  });
});

describe('a device that stopped answering while its connection stands', () => {
  /** A command that is tried four times, and another one. */
  const silence = (transport: DeviceTransport): void => {
    for (const isFirst of [true, false, false, false, true]) transport.unanswered(isFirst);
  };

  it('counts as gone after four attempts of two commands in a row, and is waited for longer each time, although it greets', async () => {
    const transport = open({ random: 0.5 });
    const pausesMs: number[] = [];
    for (let turn = 0; turn < 3; turn += 1) {
      attempts.at(-1)?.events.up();
      attempts.at(-1)?.events.received(new Uint8Array(1));
      await clock.advance(20_000);
      silence(transport);
      const silentMs = clock.monotonicMs();
      await clock.advance(8_000);
      pausesMs.push((attempts.at(-1)?.atMs ?? 0) - silentMs);
    }
    const gone = 'disconnected: the device does not answer';
    expect(told).toEqual(['connected', 'attempted', gone, 'connected', gone, 'connected', gone]);
    expect(pausesMs).toEqual([1_000, 2_000, 4_000]);
  });

  it('does not while anything comes from it', () => {
    const transport = open();
    attempts.at(-1)?.events.up();
    for (let times = 0; times < 9; times += 1) {
      transport.unanswered(true);
      attempts.at(-1)?.events.received(new Uint8Array(1));
    }
    expect(told).toEqual(['connected', 'attempted']);
  });

  it('does not for one command that it ignores', () => {
    const transport = open();
    attempts.at(-1)?.events.up();
    for (const isFirst of [true, false, false, false]) transport.unanswered(isFirst);
    expect(told).toEqual(['connected', 'attempted']);
  });

  it('has as much time again after it was connected anew', async () => {
    const transport = open({ random: 0.5 });
    attempts.at(-1)?.events.up();
    silence(transport);
    await clock.advance(1_000);
    attempts.at(-1)?.events.up();
    transport.unanswered(true);
    expect(told.at(-1)).toBe('connected');
  });

  it('is noticed, too, where each command has a connection of its own', async () => {
    const transport = open({ idleMs: 10_000 });
    for (let command = 0; command < 4; command += 1) {
      transport.demand(true);
      attempts.at(-1)?.events.up();
      transport.write(new Uint8Array(1));
      transport.unanswered(true);
      transport.demand(false);
      await clock.advance(30_000);
    }
    expect(told).toContain('disconnected: the device does not answer');
  });
});

describe('make-and-break connects again', () => {
  /** A command is on its way, and the device closes. */
  const cutOff = (transport: DeviceTransport): void => {
    transport.demand(true);
    attempts.at(-1)?.events.up();
    transport.write(new Uint8Array(1));
    told = [];
    fail();
  };

  it('at once while something is asked for, and says so', () => {
    cutOff(open({ idleMs: 10_000 }));
    expect([attempts.length, told]).toEqual([2, ['interrupted']]);
    attempts.at(-1)?.events.up();
    expect(told).toEqual(['interrupted', 'reopened']);
  });

  it('after a pause when the device closes during the login: it would be tried without end', async () => {
    opening = true;
    cutOff(open({ idleMs: 10_000, random: 0.5 }));
    expect([attempts.length, told]).toEqual([1, ['disconnected: refused']]);
    await clock.advance(1_000);
    expect(attempts).toHaveLength(2);
  });

  it('after a pause when this side ends it during the login, which is over when the end is told of', () => {
    endsLater = true;
    opening = true;
    const transport = open({ idleMs: 10_000, random: 0.5 });
    transport.demand(true);
    attempts.at(-1)?.events.up();
    transport.write(new Uint8Array(1));
    transport.reset('busy');
    expect(transport.up).toBe(false);
    opening = false;
    transport.demand(false);
    fail();
    expect([attempts.length, told.at(-1)]).toEqual([1, 'disconnected: busy']);
  });

  it('after a pause when nothing but the login had left', () => {
    const transport = open({ idleMs: 10_000, random: 0.5 });
    transport.demand(true);
    attempts.at(-1)?.events.up();
    opening = true;
    transport.write(new Uint8Array(1));
    opening = false;
    fail();
    expect([attempts.length, told.at(-1)]).toEqual([1, 'disconnected: refused']);
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
