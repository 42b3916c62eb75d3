import net from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createDriverSource } from '../../src/driver-host/driver-source.ts';
import { DriverHost } from '../../src/driver-host/host.ts';
import { Reporter } from '../../src/driver-host/reporter.ts';
import { DeviceFence, type Tenure } from '../../src/driver-host/tenure.ts';
import { WriteJournal } from '../../src/driver-host/write-journal.ts';
import { defineDriver, method } from '../../src/driver-sdk/index.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import type { Urgency } from '../../src/shared/foundation/turn-gatherer.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { FromHost } from '../../src/shared/runtime/driver-hosts/messages.ts';
import { FakeClock } from '../support/fake-clock.ts';

const epoch = (number: number) => ({ generation: 0, number });
const tenure = (number: number, run = 1): Tenure => ({ location: 'hq', run, epoch: epoch(number) });

describe('the fence before a device', () => {
  const setUp = () => {
    const clock = new FakeClock();
    const journal = new WriteJournal({ file: null, nodeId: 'node-1' });
    return { clock, journal, fence: new DeviceFence(clock, journal) };
  };

  it('stamps what it lets through with epoch and time, and counts what it refuses', async () => {
    const { clock, journal, fence } = setUp();
    fence.gate.open('hq', epoch(2));
    await clock.advance(5);
    fence.stamp(tenure(2), 'mod-1', 9);
    fence.gate.close('hq');
    expect(() => fence.stamp(tenure(2), 'mod-1', 9)).toThrow(/does not control/);
    expect(journal.newest('hq')).toEqual([{ module: 'mod-1', location: 'hq', epoch: epoch(2), wallMs: clock.wallMs(), monotonicMs: 5, bytes: 9 }]);
    expect(fence.takeRefused()).toBe(1);
    expect(fence.takeRefused()).toBe(0);
  });

  it('refuses a module that was left over from an earlier start', () => {
    const { fence } = setUp();
    const leftOver = tenure(2);
    fence.gate.open('hq', epoch(2));
    fence.stamp(leftOver, 'mod-1', 1);
    fence.gate.close('hq');
    fence.gate.open('hq', epoch(4));
    fence.stamp(tenure(4, 2), 'mod-1', 1);
    expect(() => fence.stamp(leftOver, 'mod-1', 1)).toThrow(/0\.2/);
    expect(fence.allows(leftOver)).toBe(false);
  });

  it('refuses a write whose record took until after the lease', () => {
    let nowMs = 0;
    const clock = Object.assign(new FakeClock(), { monotonicMs: () => nowMs });
    const slow = Object.assign(new WriteJournal({ file: null, nodeId: 'node-1' }), { stamp: () => void (nowMs += 100) });
    const fence = new DeviceFence(clock, slow);
    fence.gate.open('hq', epoch(2));
    fence.gate.setLease('hq', 50);
    expect(() => fence.stamp(tenure(2), 'mod-1', 1)).toThrow(/lease/);
  });
});

describe('the write journal', () => {
  it('keeps the newest entries, oldest first, by location', () => {
    const journal = new WriteJournal({ file: null, nodeId: 'node-1' });
    for (let index = 0; index < limits.writeJournalEntries + 10; index += 1) {
      journal.stamp({ module: 'mod-1', location: index % 2 === 0 ? 'hq' : 'branch', epoch: epoch(2), wallMs: 0, monotonicMs: index, bytes: 1 });
    }
    const times = journal.newest('hq').map(({ monotonicMs }) => monotonicMs);
    expect(times).toHaveLength(10_000);
    expect(times.at(-1)).toBe(limits.writeJournalEntries + 8);
    expect(times).toEqual([...times].sort((a, b) => a - b));
  });
});

describe('what a host reports', () => {
  const setUp = () => {
    const sent: FromHost[] = [];
    const pipe = {
      waiting: 0,
      urgency: '',
      send: (message: FromHost, urgency: Urgency = 'now') => {
        sent.push(message);
        pipe.urgency = urgency;
      },
      bufferedBytes: () => pipe.waiting,
    };
    const clock = new FakeClock();
    const flooded: string[] = [];
    const reporter = new Reporter(pipe, clock, (location, module) => void flooded.push(`${location}/${module}`));
    const set = (key: string, value: number) => reporter.status({ location: 'hq', module: 'mod-1', epoch: epoch(2) }, key, value);
    return { sent, pipe, reporter, set, clock, flooded };
  };

  it('passes every value on while the node keeps up', () => {
    const { sent, pipe, reporter, set } = setUp();
    set('a', 1);
    set('a', 2);
    expect(sent).toMatchObject([{ key: 'a', value: 1 }, { key: 'a', value: 2 }]);
    expect(pipe.urgency).toBe('soon');
    reporter.log({ location: 'hq', module: 'mod-1', level: 'info', message: 'x' });
    expect(pipe.urgency).toBe('now');
  });

  it('keeps the last value of each variable while it does not, and says how many log lines were lost', () => {
    const { sent, pipe, reporter, set } = setUp();
    pipe.waiting = limits.hostPipeBytes;
    for (let value = 0; value < 100; value += 1) set('a', value);
    set('b', 1);
    reporter.log({ location: 'hq', module: 'mod-1', level: 'info', message: 'x' });
    expect(sent).toEqual([]);
    pipe.waiting = 0;
    set('a', 100);
    reporter.drained();
    expect(sent).toMatchObject([{ key: 'a', value: 100 }, { key: 'b', value: 1 }, { t: 'log', message: '1 log lines were dropped' }]);
  });

  it('lets no module report more than 1,000 times a second: the last value of each variable waits, others are not held up', async () => {
    const { sent, reporter, set, clock } = setUp();
    for (let value = 0; value < 100_000; value += 1) set('a', value);
    for (let line = 0; line < 50; line += 1) reporter.log({ location: 'hq', module: 'mod-1', level: 'info', message: 'x' });
    reporter.status({ location: 'hq', module: 'mod-2', epoch: epoch(2) }, 'a', 1);
    expect(sent.filter((message) => message.t === 'status' && message.module === 'mod-1')).toHaveLength(100);
    expect(sent.at(-1)).toMatchObject({ module: 'mod-2', value: 1 });
    await clock.advance(100);
    expect(sent.slice(-2)).toMatchObject([{ key: 'a', value: 99_999 }, { message: '50 log lines were dropped' }]);
    await clock.advance(100);
    expect(clock.pendingTimers).toBe(0);
  });

  it('names a module that goes on to report too much for a second; a burst is none', async () => {
    const { set, clock, flooded } = setUp();
    const windows = async (count: number, values: number): Promise<void> => {
      for (let window = 0; window < count; window += 1) {
        for (let value = 0; value < values; value += 1) set(`key-${value % 5}`, value);
        await clock.advance(100);
      }
    };
    await windows(20, 100);
    await windows(9, 200);
    await windows(1, 10);
    await windows(9, 200);
    expect(flooded).toEqual([]);
    await windows(1, 200);
    expect(flooded).toEqual(['hq/mod-1']);
  });
});

describe('device connections of a host', () => {
  let scope = new Scope();
  afterEach(async () => {
    await scope.close();
    scope = new Scope();
  });

  /** A device that notes how its connections come and go, and a host that is told to drive it. */
  const setUp = async () => {
    const events: string[] = [];
    const device = net.createServer((socket) => {
      events.push('open');
      socket.on('error', (error) => events.push(error.message));
      socket.on('close', () => events.push('closed'));
      socket.resume();
    });
    await new Promise<void>((resolve) => device.listen(0, '127.0.0.1', resolve));
    scope.defer('device', () => void device.close());
    const { port } = device.address() as net.AddressInfo;
    const clock = new FakeClock();
    const sent: FromHost[] = [];
    const entered: string[] = [];
    const driver = defineDriver({
      name: 'plain',
      role: 'device',
      settings: z.strictObject({}),
      setup: (ctx) => ({ ask: method(z.tuple([]), async () => String(await ctx.send('?', { timeoutMs: 700, retries: 0 }))) }),
    });
    const host = new DriverHost({
      clock,
      random: { next: () => 0.5 },
      drivers: createDriverSource(new Map([['plain', driver]]), null),
      journal: new WriteJournal({ file: null, nodeId: 'node-1' }),
      pipe: { send: (message) => void sent.push(message), bufferedBytes: () => 0 },
      entered: (key) => void entered.push(key),
    });
    scope.defer('host', () => host.abandon());
    const gate = (open: boolean, leaseUntilMs: number | null = null) =>
      host.receive({ t: 'gate', location: 'hq', run: 1, gate: { epoch: epoch(2), open, leaseUntilMs } });
    const start = async (fault: string | null = null) => {
      const flags = { tls: false, udp: false, makebreak: false, uri: '', settings: {}, systems: [] };
      const spec = { id: 'mod-1', driver: 'plain', role: 'device' as const, name: 'M', ip: '127.0.0.1', port, ...flags };
      host.receive({ t: 'start', id: 1, location: 'hq', run: 1, modules: [{ spec, handover: null, edited: false, fault }] });
      await expect.poll(() => sent.some(({ t }) => t === 'started'), { interval: 5 }).toBe(true);
    };
    const connected = () => sent.flatMap((message) => (message.t === 'status' && message.key === 'connected' ? [message.value] : []));
    const ask = () => {
      const call = { location: 'hq', module: 'mod-1', method: 'ask', args: [], epoch: epoch(2), deadlineMs: 5_000, user: 'anna' };
      host.receive({ t: 'exec', id: 2, ...call });
    };
    return { events, device, clock, gate, start, connected, ask, entered, sent };
  };

  it('are reported before the start is: a live device is never called dead, a dead one is', async () => {
    const live = await setUp();
    live.gate(true);
    await live.start();
    expect(live.connected()).toEqual([true]);
    const dead = await setUp();
    await new Promise((resolve) => dead.device.close(resolve));
    dead.gate(true);
    await dead.start();
    expect(dead.connected()).toEqual([false]);
  });

  it('that stay silent: whose code goes on then is known before it does', async () => {
    const { clock, gate, start, ask, entered, sent } = await setUp();
    gate(true);
    await start();
    ask();
    await clock.advance(699);
    entered.length = 0;
    await clock.advance(1);
    expect(entered).toEqual(['hq/mod-1']);
    await expect.poll(() => sent.at(-1), { interval: 5 }).toMatchObject({ t: 'error', error: { code: 'DEADLINE' } });
  });

  it('of a module that ended its last host: status says so for a minute', async () => {
    const { clock, gate, start, sent } = await setUp();
    gate(true);
    await start('it ended its driver host: boom');
    const problems = () => sent.flatMap((message) => (message.t === 'status' && message.key === 'problem' ? [message.value] : []));
    await clock.advance(limits.moduleFaultMs - 1);
    expect(problems()).toEqual(['it ended its driver host: boom']);
    await clock.advance(1);
    expect(problems()).toEqual(['it ended its driver host: boom', null]);
  });

  it('end with the lease although the gate closed before and the node says no more', async () => {
    const { events, clock, gate, start, connected } = await setUp();
    gate(true, 1_000);
    await start();
    gate(false, 1_000);
    await clock.advance(999);
    expect(connected()).toEqual([true]);
    await clock.advance(1);
    await expect.poll(() => events, { interval: 5 }).toEqual(['open', 'read ECONNRESET', 'closed']);
    expect(connected()).toEqual([true, false]);
    await clock.advance(60_000);
    expect(events).toHaveLength(3);
  });
});
