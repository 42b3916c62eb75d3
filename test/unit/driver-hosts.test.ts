import { describe, expect, it } from 'vitest';
import { limits } from '../../src/shared/model/limits.ts';
import { epoch, never, spec, setUp } from '../support/fake-hosts.ts';

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

  it('says of a module that is not wanted any more that it is not connected, once, and of no other', async () => {
    const { start, host, link } = setUp();
    await start([spec('same'), spec('gone'), spec('changed'), spec('never')]);
    for (const module of ['same', 'gone', 'changed']) host().say({ t: 'status', location: 'hq', module, key: 'connected', value: true, epoch: epoch(2) });
    await start([spec('same'), spec('gone'), spec('changed'), spec('never')]);
    const said: unknown[] = [];
    link.onStatus(({ module, key, value }) => key === 'connected' && said.push([module, value]));
    await start([spec('same'), spec('changed', { settings: { a: 1 } })]);
    await start([spec('same'), spec('changed', { settings: { a: 1 } })]);
    expect(said).toEqual([['gone', false]]);
  });

  it('says of a module that does not start that it is not connected, whatever an earlier holder said; a logic module never says', async () => {
    const { start, host, link } = setUp();
    const seen: unknown[] = [];
    link.onStatus(({ module, key, value }) => void seen.push([module, key, value]));
    await start([spec('fine')]);
    host().failing = { device: 'There is no driver pjlink', logic: 'There is no driver room' };
    await start([spec('fine'), spec('device', { driver: 'pjlink' }), spec('logic', { driver: 'room', role: 'logic' })]);
    expect(seen).toEqual([['device', 'problem', 'There is no driver pjlink'], ['device', 'connected', false], ['logic', 'problem', 'There is no driver room']]);
  });

  it('says so of a module whose host is away, and why', async () => {
    const { start, host, link, clock } = setUp();
    await start([spec('fine')]);
    host().die('exit code 1');
    const seen: unknown[] = [];
    link.onStatus(({ module, key, value }) => void (module === 'late' && seen.push([key, value])));
    const starting = start([spec('fine'), spec('late')]);
    await clock.advance(0);
    expect(seen).toEqual([['problem', 'its driver host ended; it is being started again'], ['connected', false]]);
    await clock.advance(1_000);
    await starting;
  });

  it('gives changed settings to a running module when its driver takes them; anything else that changed is a new start', async () => {
    const { start, host } = setUp();
    await start([spec('taken'), spec('moved')]);
    host().updatable = ['taken', 'moved'];
    host().heard.length = 0;
    const changed = [spec('taken', { settings: { a: 1 } }), spec('moved', { settings: { a: 1 }, port: 9 })];
    await start(changed);
    expect(host().of('update').flatMap(({ modules }) => modules)).toEqual([changed[0]]);
    expect(host().of('stop').flatMap(({ modules }) => modules)).toEqual(['moved']);
    // They are known now.
    host().heard.length = 0;
    await start(changed);
    expect(host().heard.map(({ t }) => t)).toEqual([]);
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

  it('takes what was under way when the epoch rose for the new one; of an earlier start it stays what it was', async () => {
    const { start, link, host } = setUp();
    await start([spec('mod-1')], { epoch: epoch(2) });
    const told: unknown[] = [];
    link.onStatus(({ value, epoch }) => told.push([value, epoch.number]));
    const say = (value: string, number: number) => host().say({ t: 'status', location: 'hq', module: 'mod-1', key: 'power', value, epoch: epoch(number) });
    link.restamp('hq', epoch(4));
    link.restamp('hq', epoch(6));
    say('twice behind', 2);
    say('behind', 4);
    say('present', 6);
    say('of an earlier start', 0);
    await Promise.resolve();
    expect(told).toEqual([['twice behind', 6], ['behind', 6], ['present', 6], ['of an earlier start', 0]]);
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
    host().say({ t: 'pong', id: 0, refused: 3 });
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
