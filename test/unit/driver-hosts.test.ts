import { describe, expect, it } from 'vitest';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { ExecCall, ModuleSpec, StatusValue } from '../../src/shared/ports/device-link.ts';
import type { HostProcess, HostProcessHandler } from '../../src/shared/ports/host-process.ts';
import { createDriverHosts } from '../../src/shared/runtime/driver-hosts.ts';
import type { FromHost, ToHost } from '../../src/shared/runtime/driver-hosts/messages.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { silentLog } from '../support/silent-log.ts';

/** A driver host that answers what it is told to answer. */
class FakeHost implements HostProcess {
  readonly pid: number;
  readonly heard: ToHost[] = [];
  flushed = 0;
  answersPings = true;
  answersStops = true;
  killed = false;
  #handler: HostProcessHandler | null = null;

  constructor(pid: number) {
    this.pid = pid;
  }

  send(message: object): void {
    const told = message as ToHost;
    this.heard.push(told);
    if (told.t === 'ping' && this.answersPings) this.say({ t: 'pong', id: told.id, memoryBytes: 1, refused: 0 });
    if (told.t === 'start') this.say({ t: 'started', id: told.id, failed: [] });
    if (told.t === 'stop' && this.answersStops) this.say({ t: 'stopped', id: told.id, handover: {} });
    if (told.t === 'writes') this.say({ t: 'writes', id: told.id, writes: [] });
  }

  say(message: FromHost): void {
    queueMicrotask(() => this.#handler?.message(message));
  }

  flush(): void {
    this.flushed = this.heard.length;
  }

  bufferedBytes(): number {
    return 0;
  }

  listen(handler: HostProcessHandler): void {
    this.#handler = handler;
    this.say({ t: 'ready' });
  }

  end(): void {
    this.die('exit code 0');
  }

  kill(): void {
    this.killed = true;
    this.die('SIGKILL');
  }

  die(reason: string, culprit: string | null = null): void {
    const handler = this.#handler;
    this.#handler = null;
    const words = culprit === null ? '' : `noise\n${JSON.stringify({ lastWords: 'crashed', culprit, problem: 'boom' })}\n`;
    handler?.ended(reason, words);
  }

  of<T extends ToHost['t']>(type: T): Extract<ToHost, { t: T }>[] {
    return this.heard.filter((message): message is Extract<ToHost, { t: T }> => message.t === type);
  }
}

const epoch = (number: number) => ({ generation: 0, number });
const never = new AbortController().signal;

const spec = (id: string, more: Partial<ModuleSpec> = {}): ModuleSpec => ({
  id,
  driver: 'mock',
  role: 'device',
  name: 'Display',
  ip: '127.0.0.1',
  port: 1,
  tls: false,
  udp: false,
  makebreak: false,
  uri: '',
  settings: {},
  systems: [],
  ...more,
});

function setUp(hosts = 1) {
  const clock = new FakeClock();
  const metrics = createPromMetrics();
  const processes: FakeHost[] = [];
  const hostProcesses = {
    start: () => {
      const host = new FakeHost(processes.length + 1);
      processes.push(host);
      return host;
    },
  };
  const link = createDriverHosts({ clock, log: silentLog, metrics, random: { next: seededRandom(1), hex: () => '00' }, hostProcesses, hosts, nodeId: 'node-1' });
  const host = (index = processes.length - 1): FakeHost => processes[index] ?? expect.fail(`there is no host ${index}`);
  const call = (more: Partial<ExecCall> = {}): ExecCall => ({
    location: 'hq',
    module: 'mod-1',
    method: 'echo',
    args: [],
    epoch: epoch(2),
    deadlineMs: clock.monotonicMs() + 1_000,
    requestId: 'r-1',
    user: 'ada',
    ...more,
  });
  const start = (modules = [spec('mod-1')], more: object = {}) =>
    link.start({ location: 'hq', epoch: epoch(2), modules, handover: {}, ...more }, never);
  const startedAt = (index: number) => host(index).of('start').flatMap(({ modules }) => modules.map((module) => module.spec.id));
  const restarts = () => metrics.read('holdfast_driver_host_restarts_total', {});
  return { clock, metrics, processes, link, host, call, start, startedAt, restarts };
}

describe('starting', () => {
  it('opens the gate first, then starts devices, services, logic, triggers, each after the one before', async () => {
    const { start, host } = setUp();
    const roles = ['trigger', 'logic', 'device', 'service'] as const;
    const report = await start(roles.map((role) => spec(`mod-${role}`, { role })));
    expect(report).toEqual({ started: 4, failed: [] });
    const told = host().heard.filter(({ t }) => t === 'gate' || t === 'start');
    expect(told[0]).toMatchObject({ t: 'gate', gate: { open: true, epoch: epoch(2) } });
    expect(host().of('start').map(({ modules }) => modules.map((module) => module.spec.role))).toEqual([['device'], ['service'], ['logic'], ['trigger']]);
  });

  it('puts a small driver onto one host and spreads a large one over all', async () => {
    const { start, processes } = setUp(2);
    await start([
      ...Array.from({ length: 10 }, (_, index) => spec(`small-${index}`, { driver: 'small' })),
      ...Array.from({ length: 400 }, (_, index) => spec(`large-${index}`, { driver: 'large' })),
    ]);
    const counts = processes.map((host) => host.of('start').flatMap(({ modules }) => modules.map((module) => module.spec.driver)));
    const small = counts.map((drivers) => drivers.filter((driver) => driver === 'small').length);
    expect(Math.max(...small)).toBe(10);
    expect(counts.map((drivers) => drivers.length)).toEqual([205, 205]);
    expect(Math.max(...processes.map((host) => host.of('start').length))).toBeLessThanOrEqual(3);
  });

  it('converges: starts the new, stops the gone, restarts the changed with its hand-over state, touches nothing else', async () => {
    const { start, host } = setUp();
    await start([spec('same'), spec('gone'), spec('changed')]);
    host().heard.length = 0;
    const report = await start([spec('same'), spec('new'), spec('changed', { settings: { a: 1 } })]);
    expect(report.started).toBe(3);
    expect(host().of('stop').flatMap(({ modules }) => modules)).toEqual(['gone', 'changed']);
    expect(host().of('start').flatMap(({ modules }) => modules.map((module) => module.spec.id))).toEqual(['new', 'changed']);
  });

  it('does not open a gate that closed meanwhile when it converges', async () => {
    const { start, host, link } = setUp();
    await start();
    link.closeGate('hq');
    await start([spec('mod-1'), spec('mod-2')]);
    expect(host().of('gate').at(-1)).toMatchObject({ gate: { open: false } });
  });

  it('ends when it is aborted; stop then stops what was started', async () => {
    const { link, host } = setUp();
    const abort = new AbortController();
    const started = link.start({ location: 'hq', epoch: epoch(2), modules: [spec('d'), spec('l', { role: 'logic' })], handover: {} }, abort.signal);
    abort.abort(new Error('control lost'));
    await expect(started).rejects.toThrow('control lost');
    await link.stop('hq', 1_000);
    expect(host().of('start').flatMap(({ modules }) => modules.map((module) => module.spec.id))).not.toContain('l');
  });
});

describe('the gate', () => {
  it('closes at once: the message leaves before closeGate returns, and calls are refused here already', async () => {
    const { start, host, link, call } = setUp();
    await start();
    link.closeGate('hq');
    expect(host().heard.at(-1)).toMatchObject({ t: 'gate', gate: { open: false } });
    expect(host().flushed).toBe(host().heard.length);
    await expect(link.exec(call(), never)).rejects.toMatchObject({ code: 'GATE_CLOSED' });
  });

  it('refuses calls of an older epoch after a re-stamp', async () => {
    const { start, link, call, host } = setUp();
    await start();
    link.restamp('hq', epoch(4));
    await expect(link.exec(call(), never)).rejects.toMatchObject({ code: 'STALE_EPOCH', facts: { epoch: '0.2', floor: '0.4' } });
    expect(host().of('gate').at(-1)).toMatchObject({ gate: { open: true, epoch: epoch(4) } });
  });

  it('keeps a lease that was set before the start', async () => {
    const { start, link, call, clock, host } = setUp();
    link.setLease('hq', 500);
    await start();
    expect(host().of('gate').at(-1)).toMatchObject({ gate: { open: true, leaseUntilMs: 500 } });
    await clock.advance(500);
    await expect(link.exec(call(), never)).rejects.toMatchObject({ code: 'GATE_CLOSED', facts: { reason: 'the lease has ended' } });
  });
});

describe('the gate of a location that stops', () => {
  it('stays closed until the next start, whatever else is asked for; calls are refused at once', async () => {
    const { start, link, host, call } = setUp();
    await start();
    host().answersStops = false;
    const stopped = link.stop('hq', 1_000);
    const refused = async () => {
      const asked = host().of('exec').length;
      await expect(link.exec(call({ epoch: epoch(4) }), never)).rejects.toMatchObject({ code: 'GATE_CLOSED' });
      expect(host().of('exec')).toHaveLength(asked);
    };
    for (const act of [() => link.restamp('hq', epoch(4)), () => link.setLease('hq', null)]) {
      act();
      await refused();
      expect(host().of('gate').at(-1)).toMatchObject({ gate: { open: false } });
    }
    host().say({ t: 'stopped', id: host().of('stop')[0]?.id ?? 0, handover: {} });
    await stopped;
    await refused();

    await start([spec('mod-1')], { epoch: epoch(6) });
    expect(host().of('gate').at(-1)).toMatchObject({ gate: { open: true, epoch: epoch(6) } });
    void link.exec(call({ epoch: epoch(6) }), never).catch(() => undefined);
    await Promise.resolve();
    expect(host().of('exec')).toHaveLength(1);
  });

  it('is not opened by a host that starts meanwhile', async () => {
    const { start, link, host, clock, processes } = setUp();
    await start();
    host().answersStops = false;
    const stopped = link.stop('hq', 1_000);
    host().die('SIGSEGV');
    await stopped;
    await clock.advance(10);
    expect(processes).toHaveLength(2);
    expect(host().of('start')).toEqual([]);
    expect(host().of('gate').filter(({ gate }) => gate.open)).toEqual([]);
  });
});

describe('device writes that a host refused', () => {
  it('are counted under the fence `device`', async () => {
    const { start, host, metrics, clock } = setUp();
    await start();
    host().say({ t: 'pong', id: 0, memoryBytes: 1, refused: 3 });
    await clock.advance(0);
    expect(metrics.read('holdfast_fencing_refusals_total', { fence: 'device' })).toBe(3);
  });
});

describe('calls', () => {
  it('end with the answer, or with the error of the host', async () => {
    const { start, host, link, call } = setUp();
    await start();
    const good = link.exec(call(), never);
    const bad = link.exec(call({ method: 'none' }), never);
    await Promise.resolve();
    const [first, second] = host().of('exec');
    host().say({ t: 'error', id: second?.id ?? 0, error: { code: 'METHOD_NOT_FOUND', message: '', help: '', facts: { module: 'mod-1', method: 'none' } } });
    host().say({ t: 'answer', id: first?.id ?? 0, value: 7 });
    await expect(good).resolves.toBe(7);
    await expect(bad).rejects.toMatchObject({ code: 'METHOD_NOT_FOUND' });
  });

  it('that are cancelled or late are cancelled in the host too', async () => {
    const { start, host, link, call, clock } = setUp();
    await start();
    const abort = new AbortController();
    const cancelled = link.exec(call(), abort.signal);
    const late = expect(link.exec(call(), never)).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'unknown' } });
    abort.abort();
    await expect(cancelled).rejects.toMatchObject({ code: 'CANCELLED' });
    await clock.advance(1_200);
    await late;
    expect(host().of('cancel').map(({ id }) => id)).toEqual(host().of('exec').map(({ id }) => id));
  });

  it('are refused without being sent when the module is not here or the deadline is over', async () => {
    const { start, host, link, call } = setUp();
    await start();
    await expect(link.exec(call({ module: 'mod-9' }), never)).rejects.toMatchObject({ code: 'MODULE_NOT_RUNNING' });
    await expect(link.exec(call({ deadlineMs: 0 }), never)).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'not-sent' } });
    await expect(link.exec(call(), AbortSignal.abort())).rejects.toMatchObject({ code: 'CANCELLED', facts: { fate: 'not-sent' } });
    expect(host().of('exec')).toEqual([]);
  });

  it('are bounded', async () => {
    const { start, link, call } = setUp();
    await start();
    const open = Array.from({ length: limits.pendingRequests }, () => link.exec(call(), new AbortController().signal));
    for (const one of open) one.catch(() => undefined);
    await expect(link.exec(call(), never)).rejects.toMatchObject({ code: 'QUEUE_FULL' });
  });
});

describe('a host that ends', () => {
  it('settles its calls, says that its devices are gone, and is replaced; its modules start again', async () => {
    const { start, host, link, call, clock, processes, restarts } = setUp();
    const seen: StatusValue[] = [];
    link.onStatus((value) => void seen.push(value));
    await start([spec('mod-1'), spec('mod-2', { role: 'logic' })]);
    host().say({ t: 'status', location: 'hq', module: 'mod-1', key: 'connected', value: true, epoch: epoch(2) });
    await clock.advance(0);
    const lost = link.exec(call(), never);
    await Promise.resolve();
    host().die('SIGSEGV');
    await expect(lost).rejects.toMatchObject({ code: 'DRIVER_HOST_LOST', facts: { fate: 'unknown' } });
    await expect(link.exec(call(), never)).rejects.toMatchObject({ code: 'MODULE_NOT_RUNNING' });
    expect(seen.map(({ key, value }) => [key, value])).toEqual([['connected', true], ['connected', false]]);
    await clock.advance(10);
    expect(processes).toHaveLength(2);
    expect(restarts()).toBe(1);
    const told = host().heard.filter(({ t }) => t === 'gate' || t === 'start');
    expect(told.map(({ t }) => t)).toEqual(['gate', 'start', 'start']);
    expect(told[0]).toMatchObject({ gate: { open: true, epoch: epoch(2) } });
    void link.exec(call(), never).catch(() => undefined);
    await Promise.resolve();
    expect(host().of('exec')).toHaveLength(1);
  });

  it('is noticed by heartbeats without an answer, within 2 s and a beat', async () => {
    const { start, host, clock, processes } = setUp();
    await start();
    await clock.advance(5_000);
    expect(processes).toHaveLength(1);
    host().answersPings = false;
    await clock.advance(limits.hostDeadMs + limits.hostHeartbeatMs);
    expect(host(0).killed).toBe(true);
    expect(processes).toHaveLength(2);
  });

  it('that uses too much memory or breaks the protocol is killed', async () => {
    const { start, host, clock } = setUp();
    await start();
    host().say({ t: 'pong', id: 0, memoryBytes: limits.hostMemoryBytes + 1, refused: 0 });
    await clock.advance(0);
    expect(host(0).killed).toBe(true);
    await clock.advance(200);
    host().say({ t: 'started' } as FromHost);
    await clock.advance(0);
    expect(host(1).killed).toBe(true);
  });

  it('twice by the same driver: that driver gets a host of its own after a pause, the others stay where they are', async () => {
    const { start, startedAt, host, clock, processes } = setUp();
    await start([spec('good', { driver: 'good' }), spec('bad', { driver: 'bad' })]);
    host().die('exit code 1', 'hq/bad');
    await clock.advance(300);
    expect(startedAt(1)).toEqual(['good', 'bad']);
    host().die('exit code 1', 'hq/bad');
    await clock.advance(300);
    expect(processes).toHaveLength(3);
    expect(startedAt(2)).toEqual(['good']);
    await clock.advance(2_000);
    expect(processes).toHaveLength(4);
    expect(startedAt(3)).toEqual(['bad']);
    // It keeps dying: alone, and less and less often.
    for (let time = 0; time < 4; time += 1) {
      host().die('exit code 1', 'hq/bad');
      await clock.advance(20_000);
    }
    expect(startedAt(2)).toEqual(['good']);
    expect(processes.length).toBeLessThan(9);
  });

  it('of a driver that has one of its own already: what else it lost goes there, and starts at once', async () => {
    const { start, startedAt, host, clock, processes } = setUp(2);
    await start(Array.from({ length: 200 }, (_, index) => spec(`mod-${index}`, { driver: 'bad' })));
    expect([startedAt(0).length, startedAt(1).length]).toEqual([100, 100]);
    const [first = ''] = startedAt(0);
    const others = startedAt(1);
    host(0).die('exit code 1', `hq/${first}`);
    await clock.advance(300);
    host(2).die('exit code 1', `hq/${first}`);
    await clock.advance(5_000);
    // Its own one is there, the hundred modules of the other host are still where they were.
    expect(processes).toHaveLength(5);
    expect(startedAt(4)).toHaveLength(100);
    host(1).die('exit code 1', `hq/${others[0]}`);
    await clock.advance(0);
    expect(startedAt(4)).toHaveLength(200);
    expect(startedAt(4)).toEqual(expect.arrayContaining(others));
  });

  it('does not get back what a change is stopping', async () => {
    const { start, startedAt, host, processes, clock } = setUp(2);
    const large = Array.from({ length: 200 }, (_, index) => spec(`mod-${index}`, { driver: 'large' }));
    await start([...large, spec('stays')]);
    const slow = host(1);
    slow.answersStops = false;
    const changed = start([spec('stays')]);
    await clock.advance(0);
    host(0).die('SIGSEGV');
    await clock.advance(300);
    expect(processes).toHaveLength(3);
    for (const { id } of slow.of('stop')) slow.say({ t: 'stopped', id, handover: {} });
    expect(await changed).toEqual({ started: 1, failed: [] });
    expect(startedAt(2).filter((id) => id !== 'stays')).toEqual([]);
  });

  it('that keeps ending is started less and less often', async () => {
    const { clock, processes, host } = setUp();
    for (let time = 0; time < 200; time += 1) {
      host().die('exit code 1');
      await clock.advance(500);
    }
    expect(processes.length).toBeLessThan(30);
  });
});

describe('stopping', () => {
  it('goes triggers, logic, services, devices, and closes the gate before', async () => {
    const { start, host, link } = setUp();
    const roles = ['device', 'service', 'logic', 'trigger'] as const;
    await start(roles.map((role) => spec(role, { role })));
    await link.stop('hq', 2_000);
    const told = host().heard.filter(({ t }) => t === 'gate' || t === 'stop');
    expect(told.at(1)).toMatchObject({ t: 'gate', gate: { open: false } });
    expect(host().of('stop').flatMap(({ modules }) => modules)).toEqual(['trigger', 'logic', 'service', 'device']);
  });

  it('kills a host that does not obey within the deadline; the modules of other locations start again', async () => {
    const { start, host, link, clock, processes } = setUp();
    await start();
    await link.start({ location: 'branch', epoch: epoch(1), modules: [spec('other')], handover: {} }, never);
    host().answersStops = false;
    let stopped = false;
    const stop = link.stop('hq', 1_000).then((snapshot) => {
      stopped = true;
      return snapshot;
    });
    await clock.advance(999);
    expect(stopped).toBe(false);
    await clock.advance(1);
    expect(await stop).toEqual({ handover: {} });
    expect(host(0).killed).toBe(true);
    await clock.advance(200);
    expect(processes).toHaveLength(2);
    expect(host(1).of('start').flatMap(({ modules }) => modules.map((module) => module.spec.id))).toEqual(['other']);
  });

  it('can be asked twice, and of a location that does not run', async () => {
    const { start, link } = setUp();
    await start();
    const both = [link.stop('hq', 1_000), link.stop('hq', 1_000)];
    expect(both[0]).toBe(both[1]);
    await Promise.all(both);
    await expect(link.stop('nowhere', 1_000)).resolves.toEqual({ handover: {} });
  });

  it('during a change gives each place back once', async () => {
    const { start, link, processes } = setUp(2);
    await start([spec('mod-1'), spec('mod-2')]);
    for (const host of processes) host.answersStops = false;
    const changed = start([spec('mod-1', { settings: { a: 1 } }), spec('mod-2', { settings: { a: 1 } })]).catch(() => null);
    await expect.poll(() => processes.flatMap((host) => host.of('stop')).length).toBe(1);
    const stopped = link.stop('hq', 1_000);
    for (const host of processes) {
      host.answersStops = true;
      for (const { id } of host.of('stop')) host.say({ t: 'stopped', id, handover: {} });
    }
    await Promise.all([changed, stopped]);
    for (const host of processes) host.heard.length = 0;
    await start(Array.from({ length: 400 }, (_, index) => spec(`large-${index}`, { driver: 'large' })));
    const counts = processes.map((host) => host.of('start').flatMap(({ modules }) => modules).length);
    expect(counts).toEqual([200, 200]);
  });

  it('a start during a stop waits for it and counts as a new one', async () => {
    const { start, link, host } = setUp();
    await start();
    const stopped = link.stop('hq', 1_000);
    await start([spec('mod-1')], { epoch: epoch(4) });
    await stopped;
    const [first, second] = host().of('start');
    expect(second?.run).toBeGreaterThan(first?.run ?? 0);
    expect(host().of('gate').at(-1)).toMatchObject({ run: second?.run, gate: { open: true, epoch: epoch(4) } });
  });

  it('close ends every process, also one that does not follow the end of the pipe, and takes no start any more', async () => {
    const { start, link, processes, clock } = setUp(2);
    await start();
    const stubborn = processes[0];
    if (stubborn !== undefined) stubborn.end = () => undefined;
    const closed = link.close();
    await clock.advance(limits.moduleStopMs);
    await closed;
    expect(stubborn?.killed).toBe(true);
    await clock.advance(60_000);
    expect(processes).toHaveLength(2);
    expect(clock.pendingTimers).toBe(0);
    await expect(start()).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
  });
});
