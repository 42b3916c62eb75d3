import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import type { StatusValue } from '../../src/shared/ports/device-link.ts';
import { epoch, setUp, spec } from '../support/fake-hosts.ts';
import { createMemoryLog } from '../support/memory-log.ts';

const PASSWORD = 'correct-horse-battery';
const opened = (password: string) => ({ settings: { password }, sealed: { secrets: [password], problem: null } });
const shut = { settings: { password: null }, sealed: { secrets: [], problem: 'mod-1: settings.password is sealed with the settings key 0a0b0c0d' } };

function world() {
  const log = createMemoryLog();
  const made = setUp(1, log);
  const told: StatusValue[] = [];
  made.link.onStatus((value) => told.push(value));
  const problemsOf = (module: string) => told.filter(({ key, module: of }) => key === 'problem' && of === module).map(({ value }) => value);
  return { ...made, log, told, problemsOf };
}

describe('a module whose settings cannot be opened', () => {
  it('does not start and says why, once, while the others do', async () => {
    const { start, startedAt, call, link, problemsOf, log, told } = world();
    const modules = [spec('mod-1', shut), spec('mod-2')];
    expect(await start(modules)).toEqual({ started: 1, failed: [{ module: 'mod-1', problem: shut.sealed.problem }] });
    await start([...modules, spec('mod-3')]);
    expect(startedAt(0)).toEqual(['mod-2', 'mod-3']);
    expect(problemsOf('mod-1')).toEqual([shut.sealed.problem]);
    expect(told).toContainEqual(expect.objectContaining({ module: 'mod-1', key: 'connected', value: false }));
    expect(log.lines.filter(({ event }) => event === 'module-problem')).toHaveLength(1);
    await expect(link.exec(call(), new AbortController().signal)).rejects.toMatchObject({ code: 'MODULE_NOT_RUNNING', facts: { reason: shut.sealed.problem } });
  });

  it('starts once they can be opened', async () => {
    const { start, startedAt, problemsOf, metrics } = world();
    await start([spec('mod-1', shut)]);
    expect(metrics.read('holdfast_modules', { state: 'failed' })).toBe(1);
    expect(await start([spec('mod-1', opened(PASSWORD))])).toEqual({ started: 1, failed: [] });
    expect(startedAt(0)).toEqual(['mod-1']);
    expect(problemsOf('mod-1').at(-1)).toBeNull();
    expect(metrics.read('holdfast_modules', { state: 'failed' })).toBe(0);
  });

  it('keeps running with the settings that it had, also when its host is started anew', async () => {
    const { start, host, clock, startedAt, problemsOf, told } = world();
    await start([spec('mod-1', opened(PASSWORD))]);
    host().heard.length = 0;
    expect(await start([spec('mod-1', shut)])).toEqual({ started: 1, failed: [] });
    expect(host().of('stop')).toEqual([]);
    expect(problemsOf('mod-1').at(-1)).toMatch(/0a0b0c0d; until then it keeps the settings that it has$/);
    expect(told.filter(({ key }) => key === 'connected')).toEqual([]);
    host().die('SIGKILL');
    await clock.advance(1_000);
    expect(startedAt(1)).toEqual(['mod-1']);
    expect(host(1).of('start')[0]?.modules[0]?.spec.settings).toEqual({ password: PASSWORD });
    await start([spec('mod-1', opened(PASSWORD))]);
    expect(problemsOf('mod-1').at(-1)).toBeNull();
    expect(host(1).of('stop')).toEqual([]);
  });
});

describe('secrets in settings', () => {
  it('are sealed anew, or for the first time, without a word to the module', async () => {
    const { start, host } = world();
    await start([spec('mod-1', { settings: { password: PASSWORD } })]);
    host().heard.length = 0;
    await start([spec('mod-1', opened(PASSWORD))]);
    expect(host().heard.filter(({ t }) => t !== 'ping')).toEqual([]);
  });

  it('are taken out of what a driver says: log lines, problems, failures, errors, last words', async () => {
    const { start, host, link, call, log, told, clock } = world();
    const lines: string[] = [];
    link.onLog(({ message }) => lines.push(message));
    // Known as a secret from the second order on only.
    await start([spec('mod-1', { settings: { password: PASSWORD } })]);
    await start([spec('mod-1', opened(PASSWORD))]);
    const of = { location: 'hq', module: 'mod-1' };
    host().say({ t: 'log', ...of, level: 'info', message: `login ${PASSWORD} refused` });
    host().say({ t: 'log', location: '', module: '', level: 'error', message: `unhandled: ${PASSWORD}` });
    host().print(`console: ${PASSWORD}`);
    host().say({ t: 'status', ...of, key: 'problem', value: `bad ${PASSWORD}`, epoch: epoch(2) });
    const running = link.exec(call(), new AbortController().signal);
    const id = host().of('exec')[0]?.id ?? 0;
    host().say({ t: 'error', id, error: { code: 'DRIVER_FAILED', message: PASSWORD, help: '', facts: { module: 'mod-1', problem: `no: ${PASSWORD}` } } });
    const error: unknown = await running.catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'DRIVER_FAILED', facts: { problem: 'no: [secret]' }, message: expect.not.stringContaining(PASSWORD) });
    host().failing = { 'mod-2': `cannot log in with ${PASSWORD}` };
    const report = await start([spec('mod-1', opened(PASSWORD)), spec('mod-2', { ...opened(PASSWORD), port: 2 })]);
    expect(report.failed).toEqual([{ module: 'mod-2', problem: 'cannot log in with [secret]' }]);
    host().die('exit code 1', 'hq/mod-1', `Error: ${PASSWORD}`);
    await clock.advance(10);
    expect(lines).toEqual(['login [secret] refused']);
    expect(told).toContainEqual(expect.objectContaining({ key: 'problem', value: 'it ended its driver host: Error: [secret]' }));
    for (const text of [log.text(), JSON.stringify(told), lines.join()]) expect(text).not.toContain(PASSWORD);
    for (const text of ['unhandled: [secret]', 'console: [secret]']) expect(log.text()).toContain(text);
  });

  it('are taken out of what is wrong with new code', async () => {
    const { start, host, link } = world();
    await start([spec('mod-1', opened(PASSWORD))]);
    host().refusal = new HoldfastError('DRIVER_INVALID', { place: 'mock.ts', problem: `settings.password of module mod-1: ${PASSWORD} is too short` });
    const refused = link.reload({ location: 'hq', driver: 'mock', module: null }, new AbortController().signal);
    await expect(refused).rejects.toMatchObject({ facts: { problem: 'settings.password of module mod-1: [secret] is too short' } });
  });

  it('leaves the words of other modules, and short words, alone', async () => {
    const { start, host, link, clock } = world();
    const lines: string[] = [];
    link.onLog(({ message }) => lines.push(message));
    await start([spec('mod-1', { settings: { pin: 'on' }, sealed: { secrets: [PASSWORD, 'on'], problem: null } }), spec('mod-2')]);
    host().say({ t: 'log', location: 'hq', module: 'mod-1', level: 'info', message: 'turned on' });
    host().say({ t: 'log', location: 'hq', module: 'mod-2', level: 'info', message: PASSWORD });
    await clock.advance(0);
    expect(lines).toEqual(['turned on', PASSWORD]);
  });
});
