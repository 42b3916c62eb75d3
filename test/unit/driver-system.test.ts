import { describe, expect, it } from 'vitest';
import { Call } from '../../src/driver-sdk/call.ts';
import { createHarness, defineDriver, type DriverContext, method, type Methods, z } from '../../src/driver-sdk/index.ts';
import { Module } from '../../src/driver-sdk/module.ts';
import type { SystemPort } from '../../src/driver-sdk/system.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { ModuleSpec, SystemRequest } from '../../src/shared/ports/device-link.ts';
import { FakeClock } from '../support/fake-clock.ts';

type Context = DriverContext<Record<string, Json>>;
const logic = (setup: (ctx: Context) => Methods) => defineDriver({ name: 'test', role: 'logic', settings: z.record(z.string(), z.json()), setup });

/** A module whose requests nobody answers unless the test does. */
async function running(setup: (ctx: Context) => Methods, systems = ['sys-1']) {
  const clock = new FakeClock();
  const asked: { request: SystemRequest; signal: AbortSignal; answer(value: Json): void }[] = [];
  const watching = new Set<(value: Json) => void>();
  const system: SystemPort = {
    ask: (request, signal) =>
      new Promise((answer, reject) => {
        asked.push({ request, signal, answer });
        signal.addEventListener('abort', () => reject(signal.reason as Error));
      }),
    watch: (_, listener) => {
      watching.add(listener);
      return () => watching.delete(listener);
    },
  };
  const spec: ModuleSpec = { id: 'mod-1', driver: 'test', role: 'logic', name: 'M', ip: '', port: 0, tls: false, udp: false, makebreak: false, uri: '', settings: {}, systems };
  const module = new Module(logic(setup), spec, { clock, transport: null, http: null, system, publish: () => undefined, log: () => undefined, entered: () => undefined }, null);
  await module.start();
  const exec = (name: string, deadlineMs = 1_000) => {
    const call = new Call({ user: 'ada', deadlineMs });
    return { call, result: module.exec(name, [], call) };
  };
  return { clock, module, asked, watching, exec };
}

describe('system', () => {
  it('get: calls a module by name and index, the first one when there is no index', async () => {
    const harness = createHarness(
      logic(({ system }) => ({
        second: () => system.get('Display_2').exec('power', true),
        first: () => system.get('Display').exec('volume', 3),
        read: () => system.get('Display_1').status('volume'),
      })),
      { system: { Display_1: { volume: (level) => level }, Display_2: { power: (on) => on } } },
    );
    await harness.start();
    expect(await harness.exec('second')).toBe(true);
    expect(await harness.exec('first')).toBe(3);
    harness.system.expectCall('Display_2', 'power', true);
    expect(() => harness.system.expectCall('Display_1', 'volume', 4)).toThrow('expected the call Display_1.volume(4), got Display_1.volume(3)');
    expect(await harness.exec('read')).toBeNull();
    await harness.system.setStatus('Display_1', 'volume', 7);
    expect(await harness.exec('read')).toBe(7);
  });

  it('all: every module of a name, in the order of the system', async () => {
    const power = { power: (on: Json) => on };
    const harness = createHarness(
      logic(({ system }) => ({ names: async () => (await system.all('Display')).map(({ name }) => name) })),
      { system: { Display_1: power, Lights_1: power, Display_2: power } },
    );
    await harness.start();
    expect(await harness.exec('names')).toEqual(['Display_1', 'Display_2']);
  });

  it('subscribe: the value now and each change, until it is cancelled', async () => {
    const seen: Json[] = [];
    let cancel = (): void => undefined;
    const harness = createHarness(
      logic(({ system }) => {
        ({ cancel } = system.get('Display_1').subscribe('power', (value) => void seen.push(value)));
        return {};
      }),
    );
    await harness.start();
    await harness.system.setStatus('Display_1', 'power', true);
    await harness.system.setStatus('Display_1', 'power', true);
    await harness.system.setStatus('Display_1', 'other', 1);
    await harness.system.setStatus('Display_1', 'power', false);
    cancel();
    await harness.system.setStatus('Display_1', 'power', true);
    expect(seen).toEqual([true, false]);
  });

  it('refuses what is no name, and a module that no system lists', async () => {
    const names = ['', 'Display_0', 'Display_x', '__proto__', 'a b'];
    const harness = createHarness(logic(({ system }) => ({ get: method(z.tuple([z.string()]), (name) => system.get(name).name) })));
    await harness.start();
    for (const name of names) await expect(harness.exec('get', name)).rejects.toMatchObject({ code: 'DRIVER_FAILED' });
    const alone = await running(({ system }) => ({ get: () => system.get('Display_1').name }), []);
    await expect(alone.exec('get').result).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('a call of another module', () => {
  const asking = ({ system }: Context) => ({ ask: () => system.get('Display_1').exec('slow'), later: () => void system.get('Display_1').exec('slow') });

  it('is made for the user and by the deadline of the call that it is made for', async () => {
    const { asked, exec, clock } = await running(asking);
    const { result } = exec('ask');
    const outcome = expect(result).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'unknown' } });
    await clock.advance(0);
    expect(asked[0]?.request).toMatchObject({ kind: 'exec', method: 'slow', user: 'ada', deadlineMs: 1_000 });
    await clock.advance(1_000);
    await outcome;
    expect(asked[0]?.signal.aborted).toBe(true);
  });

  it('is cancelled with the call that it is made for, and with its module', async () => {
    const { asked, module, exec, clock } = await running(asking);
    const first = exec('ask');
    await clock.advance(0);
    module.cancel(first.call);
    await expect(first.result).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(asked[0]?.signal.aborted).toBe(true);
    const second = exec('ask');
    await clock.advance(0);
    const stopped = module.stop(0);
    await expect(second.result).rejects.toMatchObject({ code: 'CANCELLED', facts: { fate: 'unknown' } });
    await stopped;
    expect(asked[1]?.signal.aborted).toBe(true);
  });

  it('is made for the module itself in its own work, and ends after 10 s', async () => {
    const failures: unknown[] = [];
    const { asked, clock } = await running((ctx) => {
      ctx.schedule.in(5, () => ctx.system.get('Display_1').exec('slow').then(() => undefined, (error: unknown) => void failures.push(error)));
      return {};
    });
    await clock.advance(5);
    expect(asked[0]?.request).toMatchObject({ user: 'mod-1', deadlineMs: 5 + limits.requestMs });
    await clock.advance(limits.requestMs);
    expect(failures).toMatchObject([{ code: 'DEADLINE' }]);
  });

  it('is bounded in number, so that modules that call each other in a circle meet an error', async () => {
    const { asked, exec, clock } = await running(asking);
    const calls = Array.from({ length: limits.systemRequests }, () => exec('ask').result);
    await clock.advance(0);
    await expect(exec('ask').result).rejects.toMatchObject({ code: 'QUEUE_FULL' });
    for (const { answer } of asked) answer(1);
    expect(await Promise.all(calls)).toHaveLength(limits.systemRequests);
    const next = exec('ask').result;
    await clock.advance(0);
    asked.at(-1)?.answer(2);
    expect(await next).toBe(2);
  });

  it('subscriptions are bounded too, and end on unload', async () => {
    const { module, watching } = await running(({ system }) => {
      const display = system.get('Display_1');
      for (let at = 0; at < limits.systemSubscriptions; at += 1) display.subscribe('power', () => undefined);
      expect(() => display.subscribe('power', () => undefined)).toThrow(RangeError);
      return {};
    });
    expect(watching.size).toBe(limits.systemSubscriptions);
    await module.stop(0);
    expect(watching.size).toBe(0);
  });
});

describe('public methods can be listed', () => {
  it('with name, arity and parameters, from the schema and the function', async () => {
    const harness = createHarness(
      logic(() => ({
        power: method(z.tuple([z.boolean()]), async (on) => on),
        preset: method(z.tuple([z.int().meta({ title: 'slot' }), z.string().optional()]), (a, name = ['x', ')'].join(',')) => [a, name]),
        taken: method(z.tuple([z.object({ a: z.int() })]), ({ a }) => a),
        plain: (first, ...rest) => [first, rest],
        single: async (x) => x,
        nothing() {
          return null;
        },
      })),
    );
    await harness.start();
    expect(harness.functions()).toMatchObject({
      power: { arity: 1, order: ['on'], params: { on: { type: 'boolean' } } },
      preset: { arity: 2, order: ['slot', 'name'], params: { slot: { type: 'integer' }, name: { type: 'string' } } },
      taken: { arity: 1, order: ['arg1'], params: { arg1: { type: 'object' } } },
      plain: { arity: 2, order: ['first', 'rest'], params: { first: {} } },
      single: { arity: 1, order: ['x'] },
      nothing: { arity: 0, order: [], params: {} },
    });
  });
});
