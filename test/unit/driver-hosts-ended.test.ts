import { describe, expect, it } from 'vitest';
import { limits } from '../../src/shared/model/limits.ts';
import type { StatusValue } from '../../src/shared/ports/device-link.ts';
import type { FromHost } from '../../src/shared/runtime/driver-hosts/messages.ts';
import { epoch, never, spec, setUp } from '../support/fake-hosts.ts';

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
    expect(seen.map(({ key, value }) => [key, value])).toEqual([
      ['connected', true],
      ['problem', 'it seems to have ended its driver host (SIGSEGV): no other module had a call under way'],
      ['connected', false],
      ['problem', 'its driver host ended; it is being started again'],
    ]);
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

  it('that is stuck without using the processor is noticed by heartbeats without an answer', async () => {
    const { start, host, clock, processes } = setUp();
    await start();
    await clock.advance(5_000);
    expect(processes).toHaveLength(1);
    host().answersPings = false;
    await clock.advance(limits.hostDeadMs + limits.hostHeartbeatMs);
    expect(host(0).killed).toBe(true);
    expect(processes).toHaveLength(2);
  });

  it('that breaks the protocol is killed', async () => {
    const { start, host, clock } = setUp();
    await start();
    host().say({ t: 'started' } as FromHost);
    await clock.advance(0);
    expect(host(0).killed).toBe(true);
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

  it('whose culprit is known: the modules of others start at once on a host that runs', async () => {
    const { start, startedAt, host, clock, link } = setUp(2);
    const problems: [string, unknown][] = [];
    const faultsAt = (index: number) => host(index).of('start').flatMap(({ modules }) => modules.map(({ fault }) => fault));
    link.onStatus(({ module, key, value }) => void (key === 'problem' && problems.push([module, value])));
    // These two drivers go to the first host.
    await start([spec('mod-1', { driver: 'good' }), spec('mod-2', { driver: 'bad' })]);
    expect(startedAt(0)).toEqual(['mod-1', 'mod-2']);
    host(0).die('exit code 1', 'hq/mod-2');
    await Promise.resolve();
    expect(startedAt(1)).toEqual(['mod-1']);
    expect(problems).toEqual([
      ['mod-1', 'its driver host ended; it is being started again'],
      ['mod-2', 'it ended its driver host: boom'],
    ]);
    await clock.advance(300);
    expect(startedAt(2)).toEqual(['mod-2']);
    // It is told what it did, to show that for a while; once.
    expect(faultsAt(1)).toEqual([null]);
    expect(faultsAt(2)).toEqual(['it ended its driver host: boom']);
    host(2).answersPings = false;
    await clock.advance(limits.hostDeadMs + 5_000);
    expect(faultsAt(3)).toEqual([null]);
  });

  describe('without a word', () => {
    /** What is said of each module when the host of all of them ends while these have calls under way. */
    async function saidOf(modules: string[], busy: string[], end = 'SIGKILL'): Promise<Record<string, unknown>> {
      const { start, host, link, call, clock } = setUp();
      await start(modules.map((id) => spec(id)));
      const said: Record<string, unknown> = {};
      link.onStatus(({ module, key, value }) => void (key === 'problem' && (said[module] = value)));
      const lost = busy.map((module) => link.exec(call({ module }), never).catch(() => null));
      await clock.advance(0);
      host(0).die(end);
      await Promise.all(lost);
      await clock.advance(300);
      // Shown for a while when it runs again, as what a driver certainly did is.
      const faults = host(1).of('start').flatMap(({ modules }) => modules.map(({ spec: { id }, fault }) => [id, fault ?? LOST]));
      expect(Object.fromEntries(faults)).toEqual(said);
      return said;
    }
    const LOST = 'its driver host ended; it is being started again';
    const suspected = (why: string, end = 'SIGKILL') => `it seems to have ended its driver host (${end}): no other module ${why}`;
    const among = (others: string) => `its driver host ended without a word (SIGKILL) while it had a call under way, as had ${others}`;

    it('its only module is named, and among several the only one with a call under way', async () => {
      expect(await saidOf(['mod-1'], [])).toEqual({ 'mod-1': suspected('was there') });
      expect(await saidOf(['mod-1', 'mod-2'], ['mod-2', 'mod-2'], 'SIGSEGV')).toEqual({ 'mod-1': LOST, 'mod-2': suspected('had a call under way', 'SIGSEGV') });
    });

    it('those with calls under way hear of each other, and when there are none all hear how it ended', async () => {
      expect(await saidOf(['mod-1', 'mod-2', 'mod-3'], ['mod-1', 'mod-3'])).toEqual({ 'mod-1': among('mod-3'), 'mod-2': LOST, 'mod-3': among('mod-1') });
      const many = Array.from({ length: 8 }, (_, index) => `mod-${index}`);
      expect(await saidOf(many, many)).toMatchObject({ 'mod-7': among('mod-0, mod-1, mod-2, mod-3, mod-4 and 2 more') });
      const nobody = 'its driver host ended without a word (SIGKILL) while no call was under way';
      expect(await saidOf(['mod-1', 'mod-2'], [])).toEqual({ 'mod-1': nobody, 'mod-2': nobody });
    });

    it('nobody is suspected of what the node did itself', async () => {
      const { start, host, link, clock } = setUp();
      await start([spec('mod-1')]);
      const problems: unknown[] = [];
      link.onStatus(({ key, value }) => void (key === 'problem' && problems.push(value)));
      host().answersPings = false;
      await clock.advance(limits.hostDeadMs + limits.hostHeartbeatMs);
      expect(problems).toEqual([LOST]);
    });
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
