import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { epoch, type FakeHost, never, setUp, spec } from '../support/fake-hosts.ts';

const order = (module: string | null = null) => ({ location: 'hq', driver: 'lamp', module });
const lamp = (id: string, more: object = {}) => spec(id, { driver: 'lamp', ...more });
const steps = (host: FakeHost) => host.heard.flatMap((message) => {
  if (message.t === 'prepare' || message.t === 'reload') return [`${message.t} ${message.modules.map(({ id }) => id).join()}`.trim()];
  if (message.t === 'start') return [`start ${message.modules.map((module) => module.spec.id).join()}`];
  if (message.t === 'stop') return [`stop ${message.modules.join()}`];
  return message.t === 'compile' ? ['compile'] : [];
});
const forget = (...hosts: FakeHost[]): void => {
  for (const host of hosts) host.heard.length = 0;
};

describe('a reload on the hosts of a node', () => {
  it('compiles once, lets each host that needs it try the new code, and only then puts it in place; other drivers see nothing', async () => {
    const { start, link, host } = setUp(2);
    await start([...Array.from({ length: 70 }, (_, index) => lamp(`lamp-${index}`)), spec('other')]);
    forget(host(0), host(1));
    const reloaded = await link.reload(order(), never);
    expect(reloaded).toHaveLength(70);
    expect(reloaded).toContainEqual({ module: 'lamp-3', problem: null, pausedMs: 7 });
    const heard = [host(0), host(1)].map((one) => steps(one).map((step) => step.split(' ')[0]));
    expect(heard.flat().filter((step) => step === 'compile')).toHaveLength(1);
    expect(heard.map((one) => one.filter((step) => step !== 'compile'))).toEqual([['prepare', 'reload', 'reload'], ['prepare', 'reload', 'reload']]);
    expect([host(0), host(1)].flatMap(steps).join()).not.toContain('other');
  });

  it('touches nothing when one host refuses the new code, and says why', async () => {
    const { start, link, host } = setUp(2);
    await start(Array.from({ length: 70 }, (_, index) => lamp(`lamp-${index}`)));
    forget(host(0), host(1));
    host(1).refusal = new HoldfastError('DRIVER_INVALID', { place: '/drivers/lamp.ts:2:1', problem: 'no' });
    await expect(link.reload(order(), never)).rejects.toMatchObject({ code: 'DRIVER_INVALID', facts: { place: '/drivers/lamp.ts:2:1', problem: 'no' } });
    expect([host(0), host(1)].flatMap(steps).filter((step) => !/^(compile|prepare)/.test(step))).toEqual([]);
  });

  it('tries the new code in a process of its own first: code that ends it, or is refused there, reaches no host', async () => {
    const { start, link, host, trial, trials, restarts } = setUp(2);
    await start(Array.from({ length: 70 }, (_, index) => lamp(`lamp-${index}`)));
    forget(host(0), host(1));
    trial.ends = true;
    const ended = await link.reload(order(), never).catch((error: unknown) => error);
    expect(ended).toMatchObject({ code: 'DRIVER_INVALID', facts: { place: '/drivers/lamp.ts', problem: expect.stringContaining('exit code 1') } });
    trial.ends = false;
    trial.refusal = new HoldfastError('DRIVER_INVALID', { place: '/drivers/lamp.ts:2:1', problem: 'no' });
    await expect(link.reload(order(), never)).rejects.toMatchObject({ facts: { problem: 'no' } });
    expect([host(0), host(1)].flatMap(steps)).toEqual(['compile', 'compile']);
    trial.refusal = null;
    expect(await link.reload(order(), never)).toHaveLength(70);
    expect(trials.map((one) => one.of('prepare').flatMap(({ modules }) => modules).length)).toEqual([70, 70, 70]);
    expect([restarts(), trials.some((one) => one.of('start').length > 0)]).toEqual([0, false]);
  });

  it('says so when the new code ends the process that loads it', async () => {
    const { start, link, host } = setUp();
    await start([lamp('lamp-1')]);
    host().endsAt = 'prepare';
    await expect(link.reload(order(), never)).rejects.toMatchObject({ code: 'DRIVER_INVALID', facts: { place: '/drivers/lamp.ts' } });
  });

  it('starts modules that did not run, and those that the new code can reach by a start only, with their state', async () => {
    const { start, link, host } = setUp();
    host().failing = { dead: 'boom' };
    await start([lamp('live'), lamp('dead'), lamp('moved')]);
    host().unswappable = ['moved'];
    host().failing = {};
    forget(host());
    const reloaded = await link.reload(order(), never);
    expect(reloaded.map(({ module, problem }) => [module, problem])).toEqual([['live', null], ['dead', null], ['moved', null]]);
    expect(steps(host())).toEqual(['compile', 'prepare live,moved', 'reload', 'reload live,moved', 'stop dead,moved', 'start dead,moved']);
  });

  it('says which module does not start with the new code', async () => {
    const { start, link, host } = setUp();
    await start([lamp('live'), lamp('moved')]);
    host().unswappable = ['moved'];
    host().failing = { moved: 'boom' };
    expect(await link.reload(order(), never)).toMatchObject([{ module: 'live', problem: null }, { module: 'moved', problem: 'boom' }]);
  });

  it('of one module starts that one anew', async () => {
    const { start, link, host } = setUp();
    await start([lamp('one'), lamp('two')]);
    forget(host());
    expect(await link.reload(order('two'), never)).toMatchObject([{ module: 'two', problem: null }]);
    expect(steps(host())).toEqual(['compile', 'prepare two', 'reload', 'stop two', 'start two']);
  });

  it('that has begun goes on when nobody waits any more; one that has not does not begin', async () => {
    const { start, link, host, clock } = setUp();
    await start([lamp('lamp-1')]);
    forget(host());
    const abort = new AbortController();
    const [begun, behind] = [link.reload(order('lamp-1'), abort.signal), link.reload(order('lamp-1'), abort.signal)];
    const given = Promise.all([begun, behind].map((one) => expect(one).rejects.toThrow('gone')));
    await Promise.resolve();
    abort.abort(new Error('gone'));
    await given;
    await clock.advance(0);
    expect(steps(host())).toEqual(['compile', 'prepare lamp-1', 'reload', 'stop lamp-1', 'start lamp-1']);
  });

  it('finds nothing to do for what does not run here, and ends when the location stops', async () => {
    const { start, link, host } = setUp();
    expect(await link.reload(order(), never)).toEqual([]);
    await start([spec('other')]);
    expect(await link.reload(order(), never)).toEqual([]);
    await link.start({ location: 'hq', epoch: epoch(2), modules: [lamp('lamp-1')], handover: {} }, never);
    forget(host());
    const ended = expect(link.reload(order(), never)).rejects.toMatchObject({ code: 'CANCELLED' });
    await link.stop('hq', 1_000);
    await ended;
    expect(steps(host()).join()).not.toContain('reload');
  });
});
