import { monitorEventLoopDelay } from 'node:perf_hooks';
import { describe, expect, it } from 'vitest';
import { monotonicMs } from '../../src/shared/adapters/clock/system-clock.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { ModuleSpec, StartReport, SystemAccess } from '../../src/shared/ports/device-link.ts';
import { type Devices, epoch, type Hands, moduleSpec, never, startDevices, startHands, waitFor } from '../support/device-world.ts';
import { tempFolders } from '../support/temp-folder.ts';
import { testScope } from '../support/test-scope.ts';

const folder = tempFolders();
const scope = testScope();

const rogue = moduleSpec('rogue', 0, { driver: 'rogue', role: 'logic' });

const thrower = (level: number) => moduleSpec('bad', 0, { driver: 'thrower', systems: ['sys-1'], settings: { level } });

/** What modules may ask of their system: one variable that has a value. */
const oneValue: SystemAccess = {
  exec: async () => ({ value: null }),
  status: () => ({ values: {} }),
  count: () => 1,
  follow: (_, listener) => {
    listener({ value: true });
    return () => undefined;
  },
};

interface World {
  hands: Hands;
  devices: Devices;
  exec(module: string, method: string, ...args: Json[]): Promise<Json>;
  start(modules: ModuleSpec[]): Promise<StartReport>;
  /** Each value of a status variable, in order. */
  seen: { name: string; value: Json; atMs: number }[];
  /** What the modules log: `module message`. */
  lines: string[];
}

/** A good module and a bad one in the same driver host; where the bad one ends it, there is another one for the good one. */
async function world(bad: ModuleSpec = rogue): Promise<World> {
  const devices = await startDevices(scope(), folder());
  const hands = startHands(scope(), { hosts: bad === rogue ? 2 : 1 });
  const lines: string[] = [];
  hands.link.serveSystems(oneValue);
  hands.link.onLog(({ module, message }) => void lines.push(`${module} ${message}`));
  const seen: World['seen'] = [];
  hands.link.onStatus(({ module, key, value }) => seen.push({ name: `${module}.${key}`, value, atMs: monotonicMs() }));
  const start = (modules: ModuleSpec[]) => hands.link.start({ location: 'hq', epoch, modules, handover: {} }, never());
  const exec = (module: string, method: string, ...args: Json[]): Promise<Json> =>
    hands.link.exec({ location: 'hq', module, method, args, epoch, deadlineMs: monotonicMs() + 3_000, requestId: 'r', user: 'ada' }, never());
  await start([moduleSpec('good', devices.ports[0] ?? 0), { ...bad, port: bad.role === 'device' ? (devices.ports[0] ?? 0) : 0 }]);
  return { hands, devices, exec, start, seen, lines };
}

/** The bad module ended their host: it is named, also when it runs again, and the good one is back within a second. */
async function expectNamed({ hands, exec, seen }: World, problem: RegExp): Promise<void> {
  await waitFor('the culprit to be named', () => seen.some(({ name, value }) => name === 'rogue.problem' && problem.test(JSON.stringify(value))), 30_000);
  await waitFor('the good module', () => seen.filter(({ name, value }) => name === 'good.connected' && value === true).length >= 2);
  const lost = seen.find(({ name, value }) => name === 'good.connected' && value === false);
  const back = seen.findLast(({ name, value }) => name === 'good.connected' && value === true);
  expect((back?.atMs ?? 0) - (lost?.atMs ?? 0)).toBeLessThan(1_000);
  expect(seen.filter(({ name, value }) => name === 'good.problem' && /ended its driver host/.test(JSON.stringify(value)))).toEqual([]);
  expect(await exec('good', 'echo', 1)).toBe(1);
  expect(hands.status.get('good.problem')).toBeNull();
  expect(hands.log.text()).toContain('"culprit":"hq/rogue"');
  await expect.poll(() => exec('rogue', 'hello').catch(() => null), { timeout: 20_000, interval: 50 }).toBe('hello');
  expect(hands.status.get('rogue.problem')).toMatch(problem);
}

describe('containment: what a driver does wrong costs its own calls, at most its own process, and never the node', () => {
  it('throws everywhere: its calls fail with what was thrown, the rest is in its log and named in status, nothing ends', async () => {
    const { hands, exec, start, devices, seen, lines } = await world(thrower(1));
    const good = moduleSpec('good', devices.ports[0] ?? 0);
    const logged = (what: string, where: string) =>
      waitFor(`${what}: ${where}`, () => lines.some((line) => line.startsWith(`bad ${what}: `) && line.endsWith(`thrown in ${where}`)));
    for (const name of ['method', 'later', 'reply', 'schema']) {
      await expect(exec('bad', name, 1)).rejects.toMatchObject({ code: 'DRIVER_FAILED', facts: { problem: `thrown in ${name}` } });
    }
    await expect(exec('bad', 'noVerdict')).rejects.toMatchObject({ code: 'DRIVER_FAILED', facts: { problem: 'its reply handler gave no verdict' } });
    await expect(hands.link.functions('hq', 'bad')).rejects.toMatchObject({ code: 'DRIVER_FAILED' });
    await devices.control({ push: { name: 'volume', value: 4 } });
    for (const where of ['connected', 'received']) await logged(where, where);
    for (const where of ['every', 'in', 'at']) await logged('schedule', where);
    await logged('subscription', 'listener');
    await devices.control({ push: { name: 'push', value: 4 } });
    for (const where of ['reset', 'push']) await logged('tokeniser', where);
    await logged('disconnected', 'disconnected');
    const named = seen.flatMap(({ name, value }) => (name === 'bad.problem' && typeof value === 'string' ? [value] : []));
    // The first of it.
    expect(named).toEqual([expect.stringMatching(/^\w+: .*thrown in \w+$/)]);
    expect(await exec('bad', 'hello')).toBe('hello');
    // It does not take other settings, and starts anew.
    const early = ['settings', 'tokeniser', 'setup'].map((where) => moduleSpec(where, good.port, { driver: `${where}-thrower` }));
    const { failed } = await start([good, { ...thrower(2), port: good.port }, ...early]);
    await logged('update', 'update');
    // What throws before it runs does not start.
    expect(failed).toHaveLength(early.length);
    for (const { id } of early) expect(hands.status.get(`${id}.problem`)).toMatch(`thrown in ${id}`);
    // It throws while it stops, too, and is gone all the same.
    for (const [what, where] of [['stop', 'stop'], ['handover', 'save']] as const) await logged(what, where);
    expect(await exec('bad', 'hello')).toBe('hello');
    await start([good]);
    await expect(exec('bad', 'hello')).rejects.toMatchObject({ code: 'MODULE_NOT_RUNNING' });
    expect(await exec('good', 'echo', 1)).toBe(1);
    expect(seen.filter(({ name }) => name === 'good.connected' || name === 'good.problem').map(({ value }) => value)).toEqual([null, true]);
    expect(lines.filter((line) => line.startsWith('good'))).toEqual([]);
    expect(hands.metrics.read('holdfast_driver_host_restarts_total', {})).toBe(0);
  });

  it('throws what has no text out of a callback of its own, and when its signal aborts: its process ends', async () => {
    const bad = await world();
    await bad.exec('rogue', 'crashBare');
    await expectNamed(bad, /it ended its driver host: something without a text was thrown/);
    await bad.exec('rogue', 'crashLarge');
    await expectNamed(bad, /it ended its driver host: Error: x{500}/);
    await bad.exec('rogue', 'crashStackless');
    await expectNamed(bad, /it ended its driver host: its stack is a number/);
    await bad.exec('rogue', 'crashAtEnd');
    await bad.start([moduleSpec('good', bad.devices.ports[0] ?? 0)]);
    // Gone from its node, and named all the same.
    await waitFor('it is named', () => /thrown in abort.*"culprit":"hq\/rogue"/.test(bad.hands.log.text()));
    expect(await bad.exec('good', 'echo', 1)).toBe(1);
  });

  it('loops for ever: its process is ended', async () => {
    const bad = await world();
    await expect(bad.exec('rogue', 'loop')).rejects.toMatchObject({ code: 'DRIVER_HOST_LOST' });
    await expectNamed(bad, /it ended its driver host: the driver kept its process from everything else/);
  });

  it.each([['exitProcess', 'exit'], ['exitByName', 'exit'], ['exit', 'abort'], ['killItself', 'kill']])('ends its process (%s)', async (how, called) => {
    const bad = await world();
    await expect(bad.exec('rogue', how)).rejects.toMatchObject({ code: 'DRIVER_HOST_LOST' });
    await expectNamed(bad, new RegExp(`it ended its driver host: the driver called process\\.${called}`));
  });

  it('floods what it prints and what it lets fail: bounded as its log is, and others are answered', async () => {
    const { hands, exec, lines } = await world();
    await exec('rogue', 'printFlood');
    const beganMs = monotonicMs();
    await waitFor('it is named', () => hands.status.get('rogue.problem') === 'it reports more than 1000 values and lines a second', 20_000);
    const seconds = Math.ceil((monotonicMs() - beganMs) / 1_000) + 1;
    expect(lines.filter((line) => line.startsWith('rogue')).length).toBeLessThanOrEqual(limits.moduleReportsPerSecond * seconds);
    expect(await exec('good', 'echo', 1)).toBe(1);
    expect(hands.metrics.read('holdfast_driver_host_restarts_total', {})).toBe(0);
  });

  it.each(['objects', 'buffers'])('grows without end (%s): its process is ended before the machine suffers', async (what) => {
    const bad = await world();
    await bad.exec('rogue', 'grow', what);
    // By timers of its own, of which nobody is told; whose code was the last that the host knows of is innocent.
    await bad.exec('good', 'echo', 1);
    await expectNamed(bad, /it ended its driver host: the process uses \d+ bytes of memory/);
  });

  it('floods status and log: bounded, conflated, and the node has time for its heartbeats', async () => {
    const { hands, exec, seen } = await world();
    const delay = monitorEventLoopDelay({ resolution: 10 });
    delay.enable();
    const beganMs = monotonicMs();
    await exec('rogue', 'flood');
    const flooded = () => seen.filter(({ name }) => name.startsWith('rogue.key-')).length;
    await waitFor('two seconds of it', () => monotonicMs() > beganMs + 2_000);
    const tookMs = monotonicMs() - beganMs;
    delay.disable();
    expect(flooded()).toBeGreaterThan(50);
    // The seconds that are counted began before the flood: one more than it lasted may be touched.
    expect(flooded()).toBeLessThanOrEqual(limits.moduleReportsPerSecond * (Math.ceil(tookMs / 1_000) + 1));
    expect(delay.max / 1e6).toBeLessThan(limits.heartbeatMs);
    expect(hands.status.get('rogue.problem')).toBe('it reports more than 1000 values and lines a second');
    expect(await exec('good', 'echo', 1)).toBe(1);
    expect(hands.metrics.read('holdfast_driver_host_restarts_total', {})).toBe(0);
  });

  it('never answers: the call ends at its deadline', async () => {
    const { exec, hands } = await world();
    const beganMs = monotonicMs();
    await expect(exec('rogue', 'never')).rejects.toMatchObject({ code: 'DEADLINE' });
    expect(monotonicMs() - beganMs).toBeLessThan(4_000);
    await waitFor('it is named', () => hands.status.get('rogue.problem') === 'never had not ended at its deadline');
    expect(await exec('rogue', 'hello')).toBe('hello');
    expect(await exec('good', 'echo', 1)).toBe(1);
  });

  it('throws what no answer can hold: the call fails all the same, with as much of it as fits', async () => {
    const { exec, hands } = await world();
    for (const name of ['throwsCircular', 'throwsLarge', 'throwsLargeFacts']) {
      const error = await exec('rogue', name).catch((thrown: unknown) => thrown);
      expect(error, name).toMatchObject({ code: 'DRIVER_FAILED', facts: { module: 'rogue' } });
      expect(JSON.stringify(error).length, name).toBeLessThan(3 * limits.logLineBytes);
    }
    expect(await exec('rogue', 'hello')).toBe('hello');
    expect(await exec('good', 'echo', 1)).toBe(1);
    expect(hands.metrics.read('holdfast_driver_host_restarts_total', {})).toBe(0);
  });

  it('returns circular or boundless data: the call fails', async () => {
    const { exec, hands } = await world();
    for (const name of ['circular', 'circularStatus', 'large', 'largeStatus']) {
      await expect(exec('rogue', name)).rejects.toMatchObject({ code: 'DRIVER_FAILED', facts: { module: 'rogue' } });
    }
    await waitFor('it is named', () => JSON.stringify(hands.status.get('rogue.problem')).startsWith('"circular: '));
    expect(await exec('rogue', 'hello')).toBe('hello');
    expect(await exec('good', 'echo', 1)).toBe(1);
    expect(hands.metrics.read('holdfast_driver_host_restarts_total', {})).toBe(0);
  });
});

describe('onUpdate: changed settings reach a driver that takes them, without a new connection', () => {
  it('restarts only what does not take them', async () => {
    const { devices, hands, start, exec } = await world();
    const good = moduleSpec('good', devices.ports[0] ?? 0);
    const tunable = (settings: ModuleSpec['settings']) => moduleSpec('tunable', devices.ports[0] ?? 0, { driver: 'tunable', settings });
    await start([good, tunable({ level: 1 })]);
    const opened = () => devices.log().filter(({ event }) => event === 'open').length;
    await waitFor('both connections', () => opened() === 2);
    await start([good, tunable({ level: 2 })]);
    expect(hands.status.get('tunable.level')).toBe(2);
    expect(await exec('tunable', 'level')).toBe(2);
    expect(opened()).toBe(2);
    // What does not fit stops it, and says so.
    await start([good, tunable({ level: 'high' })]);
    await expect(exec('tunable', 'level')).rejects.toMatchObject({ code: 'MODULE_NOT_RUNNING' });
    expect(hands.status.get('tunable.problem')).toMatch(/^settings\.level: /);
    await start([good, tunable({ level: 3, connection: { idleMs: 5 } })]);
    expect(await exec('tunable', 'level')).toBe(3);
    await waitFor('a new connection', () => opened() === 3);
  });
});
