import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { ModulesProgress } from '../../src/shared/ports/device-link.ts';
import { createMemoryLog } from '../support/memory-log.ts';
import { epoch, type FakeHost, never, setUp, spec } from '../support/fake-hosts.ts';

const many = (count: number) => Array.from({ length: count }, (_, index) => spec(`mod-${index}`));
const order = (modules: ReturnType<typeof many>) => ({ location: 'hq', epoch: epoch(2), modules, handover: {} });
const asAnna = (action: 'unload' | 'release' | 'cancel', ...modules: string[]) => ({ location: 'hq', action, modules, by: 'anna' });
const startedAt = (host: FakeHost) => host.of('start').flatMap(({ modules }) => modules.map((module) => module.spec.id));
const stoppedAt = (host: FakeHost) => host.of('stop').flatMap(({ modules }) => modules);

/** Everything that is told of a module. */
function problemsOf(link: ReturnType<typeof setUp>['link']): Map<string, unknown> {
  const problems = new Map<string, unknown>();
  link.onStatus(({ module, key, value }) => key === 'problem' && problems.set(module, value));
  return problems;
}

describe('a module that is unloaded', () => {
  it('stops, and stays so through changes of documents until it is released; others notice nothing', async () => {
    const { link, start, host, call } = setUp();
    const problems = problemsOf(link);
    await start([spec('mod-1'), spec('mod-2')]);
    expect(await link.manage(asAnna('unload', 'mod-1', 'nowhere'), never)).toEqual(['mod-1']);
    expect(stoppedAt(host())).toEqual(['mod-1']);
    expect(problems.get('mod-1')).toContain('unloaded by anna');
    await expect(link.exec(call(), never)).rejects.toMatchObject({ code: 'MODULE_NOT_RUNNING', facts: { reason: expect.stringContaining('anna') } });

    host().heard.length = 0;
    const report = await start([spec('mod-1', { port: 7 }), spec('mod-2')]);
    expect([report.started, report.failed.map(({ module }) => module)]).toEqual([1, ['mod-1']]);
    expect([startedAt(host()), stoppedAt(host())]).toEqual([[], []]);
    expect(await link.manage(asAnna('release', 'mod-1', 'mod-2'), never)).toEqual(['mod-1']);
    // As the documents have it by now.
    expect(host().of('start').flatMap(({ modules }) => modules.map((module) => module.spec))).toEqual([spec('mod-1', { port: 7 })]);
    expect((await start([spec('mod-1', { port: 7 }), spec('mod-2')])).failed).toEqual([]);
  });

  it('is forgotten when nobody wants it any more, and when the location stops', async () => {
    const { link, start, host } = setUp();
    await start([spec('mod-1'), spec('mod-2')]);
    await link.manage(asAnna('unload', 'mod-1', 'mod-2'), never);
    await start([spec('mod-2')]);
    host().heard.length = 0;
    await start([spec('mod-1'), spec('mod-2')]);
    expect(startedAt(host())).toEqual(['mod-1']);
    await link.stop('hq', 1_000);
    await start([spec('mod-1'), spec('mod-2')]);
    expect(startedAt(host())).toEqual(['mod-1', 'mod-1', 'mod-2']);
  });

  it('runs again when it is loaded; code that is refused leaves it unloaded', async () => {
    const { link, start, host } = setUp();
    await start([spec('mod-1')]);
    await link.manage(asAnna('unload', 'mod-1'), never);
    host().refusal = new HoldfastError('DRIVER_INVALID', { place: 'mock.ts:1:1', problem: 'no' });
    const load = () => link.reload({ location: 'hq', driver: 'mock', module: 'mod-1' }, never);
    await expect(load()).rejects.toMatchObject({ code: 'DRIVER_INVALID' });
    host().refusal = null;
    expect((await start([spec('mod-1')])).failed).toMatchObject([{ module: 'mod-1', problem: expect.stringContaining('anna') }]);
    host().heard.length = 0;
    expect(await load()).toMatchObject([{ module: 'mod-1', problem: null }]);
    expect(startedAt(host())).toEqual(['mod-1']);
  });
});

describe('a start of thousands of modules', () => {
  const inFlight = limits.modulesBatch * limits.modulesBatches;

  it('goes in bounded portions, and says how far it has come', async () => {
    const log = createMemoryLog();
    const { link, host, clock } = setUp(1, log);
    const seen: ModulesProgress[] = [];
    link.onProgress((location, progress) => progress !== null && seen.push({ ...progress, location }));
    host().holdsStarts = true;
    host().failing = { 'mod-3': 'boom' };
    const started = link.start(order(many(inFlight + 250)), never);
    await clock.advance(0);
    expect(startedAt(host())).toHaveLength(inFlight);
    expect(Math.max(...host().of('start').map(({ modules }) => modules.length))).toBe(limits.modulesBatch);
    await clock.advance(1_200);
    host().answerStart();
    await clock.advance(0);
    expect(startedAt(host())).toHaveLength(inFlight + 100);
    expect(seen.at(-1)).toMatchObject({ action: 'start', done: 100, total: inFlight + 250, failing: 1 });
    expect(log.lines).toContainEqual(expect.objectContaining({ event: 'modules-progress', facts: expect.objectContaining({ progress: `100/${inFlight + 250} modules, 1 failing`, action: 'start' }) }));
    host().holdsStarts = false;
    while (host().answerStart()) await clock.advance(0);
    expect(await started).toMatchObject({ started: inFlight + 249, failed: [{ module: 'mod-3' }] });
    let last: ModulesProgress | null | undefined;
    link.onProgress((_, progress) => (last = progress));
    await link.stop('hq', 1_000);
    expect(last).toBeNull();
  });

  it('is ended by an operator: what has not begun is held back, and later starts leave it so', async () => {
    const { link, host, clock } = setUp();
    const problems = problemsOf(link);
    host().holdsStarts = true;
    const modules = many(inFlight + 250);
    const started = link.start(order(modules), never);
    await clock.advance(0);
    await link.manage(asAnna('cancel'), never);
    host().holdsStarts = false;
    while (host().answerStart()) await clock.advance(0);
    const report = await started;
    expect([report.started, report.failed.length]).toEqual([inFlight, 250]);
    expect(problems.get(`mod-${inFlight}`)).toContain('cancelled by anna');
    host().heard.length = 0;
    await link.start(order([...modules, spec('more')]), never);
    expect(startedAt(host())).toEqual(['more']);
    expect(await link.manage(asAnna('release', ...modules.map(({ id }) => id)), never)).toHaveLength(250);
    expect(startedAt(host())).toHaveLength(251);
    await expect(link.manage(asAnna('cancel'), never)).rejects.toMatchObject({ code: 'ORDER_REFUSED' });
  });

  it('ends at once with the loss of control: nothing that waited starts behind the stop, and the stop is one message', async () => {
    const { link, host, clock } = setUp();
    host().holdsStarts = true;
    const abort = new AbortController();
    const started = link.start(order(many(inFlight + 250)), abort.signal);
    await clock.advance(0);
    abort.abort(new Error('control lost'));
    await expect(started).rejects.toThrow('control lost');
    host().answerStart();
    await clock.advance(0);
    const stopped = link.stop('hq', 1_000);
    host().holdsStarts = false;
    while (host().answerStart()) await clock.advance(0);
    await stopped;
    expect(startedAt(host())).toHaveLength(inFlight);
    expect(host().of('stop').map(({ modules }) => modules.length)).toEqual([inFlight + 250]);
  });

  it('starts each module once at a host that took the place of one that ended meanwhile', async () => {
    const { link, host, clock, processes } = setUp();
    host().holdsStarts = true;
    const started = link.start(order(many(inFlight + 250)), never);
    await clock.advance(0);
    host(0).die('exit code 1');
    await clock.advance(1_000);
    await started;
    await clock.advance(1_000);
    const again = startedAt(processes.at(-1) ?? host(0));
    expect([again.length, new Set(again).size]).toEqual([inFlight + 250, inFlight + 250]);
  });
});

describe('a stop of thousands of modules by request', () => {
  it('goes in portions and is ended by an operator: what still runs goes on', async () => {
    const { link, host, clock, call } = setUp();
    const modules = many(1_250);
    await link.start(order(modules), never);
    host().heard.length = 0;
    host().holdsStops = true;
    const stopped = link.start(order([]), never);
    await clock.advance(0);
    expect(stoppedAt(host())).toHaveLength(1_000);
    await link.manage(asAnna('cancel'), never);
    host().holdsStops = false;
    while (host().answerStop()) await clock.advance(0);
    await stopped;
    expect(stoppedAt(host())).toHaveLength(1_000);
    void link.exec(call({ module: 'mod-1200' }), never).catch(() => undefined);
    expect(host().of('exec')).toHaveLength(1);
    await expect(link.exec(call({ module: 'mod-1' }), never)).rejects.toMatchObject({ code: 'MODULE_NOT_RUNNING' });
  });
});

describe('what a change of documents did', () => {
  it('is said once, with counts and names; of the first start, and of a change that concerns nobody, nothing is said', async () => {
    const log = createMemoryLog();
    const { start, host } = setUp(1, log);
    const said = () => log.lines.flatMap(({ event, facts }) => (event === 'modules-converged' ? [facts] : []));
    await start([spec('same'), spec('gone'), spec('moved'), spec('tuned')]);
    await start([spec('same'), spec('gone'), spec('moved'), spec('tuned')]);
    expect(said()).toEqual([]);
    host().updatable = ['tuned'];
    await start([spec('same'), spec('moved', { port: 7 }), spec('tuned', { settings: { a: 1 } }), spec('new')]);
    expect(said()).toMatchObject([{ location: 'hq', started: 1, stopped: 1, restarted: 1, updated: 1, modules: ['tuned', 'gone', 'moved', 'new'] }]);
    await start([...many(50), spec('same'), spec('moved', { port: 7 }), spec('tuned', { settings: { a: 1 } }), spec('new')]);
    expect(said().at(-1)).toMatchObject({ started: 50, modules: { length: limits.namedModules } });
  });
});
