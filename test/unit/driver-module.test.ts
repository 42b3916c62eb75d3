import { describe, expect, it } from 'vitest';
import type { Json } from '../../src/shared/foundation/json.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { z } from 'zod';
import { Call } from '../../src/driver-sdk/call.ts';
import { createHarness, defineDriver, delimiter, type DriverContext, method, type Methods } from '../../src/driver-sdk/index.ts';
import { FakeSystem } from '../../src/driver-sdk/fake-system.ts';
import { Module } from '../../src/driver-sdk/module.ts';
import { mockDriver } from '../../src/drivers/mock/driver.ts';
import type { ModuleSpec } from '../../src/shared/ports/device-link.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** Nothing is asked of the system here. */
const noSystem = new FakeSystem({});

const logic = (setup: (ctx: DriverContext<{ level: number }>) => Methods | Promise<Methods>) =>
  defineDriver({ name: 'test', role: 'logic', settings: z.strictObject({ level: z.int().default(1) }), setup });

const device = (setup: (ctx: DriverContext<Record<string, never>>) => Methods) =>
  defineDriver({ name: 'test', role: 'device', settings: z.strictObject({}), tokeniser: () => delimiter('\n'), setup });

describe('a driver', () => {
  it('gets its settings with defaults, or is refused with the name of the field', async () => {
    let level = 0;
    const driver = logic((ctx) => {
      level = ctx.settings.level;
      return {};
    });
    await createHarness(driver, { settings: {} }).start();
    expect(level).toBe(1);
    await expect(createHarness(driver, { settings: { level: 'high' } }).start()).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      facts: { field: 'settings.level' },
    });
  });

  it('offers what setup returns, and nothing that every object has', async () => {
    const harness = createHarness(logic(() => ({ twice: method(z.tuple([z.number()]), (n) => n * 2), nothing: () => undefined })));
    await harness.start();
    await expect(harness.exec('twice', 21)).resolves.toBe(42);
    await expect(harness.exec('nothing')).resolves.toBeNull();
    await expect(harness.exec('twice', 'x')).rejects.toMatchObject({ code: 'INPUT_INVALID', facts: { field: 'args.0' } });
    await expect(harness.exec('twice')).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    for (const name of ['constructor', 'toString', '__proto__']) await expect(harness.exec(name)).rejects.toMatchObject({ code: 'METHOD_NOT_FOUND' });
  });

  it('fails a call, not more, when it throws or returns what is no JSON', async () => {
    const harness = createHarness(
      logic(() => ({
        bug: () => {
          throw new TypeError('oops');
        },
        big: () => 1n,
        fine: () => ({ a: undefined, b: 1 }),
      })),
    );
    await harness.start();
    await expect(harness.exec('bug')).rejects.toMatchObject({ code: 'DRIVER_FAILED', facts: { problem: 'oops' } });
    await expect(harness.exec('big')).rejects.toMatchObject({ code: 'DRIVER_FAILED' });
    await expect(harness.exec('fine')).resolves.toEqual({ b: 1 });
  });

  it('is told when it says what no protocol can carry: names that are none, values nested without end', async () => {
    const deep = (depth: number): Json => Array.from({ length: depth }).reduce<Json>((inner) => [inner], 0);
    /** As JavaScript says it. */
    const odd = (value: unknown): string => value as string;
    const harness = createHarness(
      logic((ctx) => ({
        status: method(z.tuple([z.unknown()]), (key) => ctx.status.set(odd(key), 1)),
        deep: method(z.tuple([z.number()]), (depth) => ctx.status.set('deep', deep(depth))),
        deepAnswer: method(z.tuple([z.number()]), (depth) => deep(depth)),
        ask: method(z.tuple([z.unknown()]), (name) => ctx.system.get('Display').exec(odd(name))),
        follow: method(z.tuple([z.unknown()]), (key) => void ctx.system.get('Display').subscribe(odd(key), () => undefined)),
        deepArgument: () => ctx.system.get('Display').exec('show', deep(65)),
        log: () => ctx.log.info(odd(Buffer.from('as text'))),
      })),
      { system: { Display_1: {} } },
    );
    await harness.start();
    for (const name of [5, null, '', 'x'.repeat(201)]) {
      for (const what of ['status', 'ask', 'follow']) await expect(harness.exec(what, name), `${what} ${name}`).rejects.toThrow(/must be a text of 1 to 200/);
    }
    for (const [what, depth] of [['deep', 65], ['deep', 3_000], ['deep', 50_000], ['deepAnswer', 65], ['deepAnswer', 3_000]] as const) {
      await expect(harness.exec(what, depth), `${what} ${depth}`).rejects.toMatchObject({ code: 'DRIVER_FAILED' });
    }
    await expect(harness.exec('deepArgument')).rejects.toThrow(/nested more than 64 deep/);
    expect(harness.status['deep']).toBeUndefined();
    expect(harness.status['problem']).toMatch(/must be a text of 1 to 200/);
    await harness.exec('deep', 64);
    expect(harness.status['deep']).toEqual(deep(64));
    await harness.exec('log');
    expect(harness.log.map(({ message }) => message)).toContain('as text');
  });

  it('publishes status on change only, notices a changed object, and again when forced', async () => {
    const published: string[] = [];
    const list: number[] = [];
    const contexts: DriverContext<{ level: number }>[] = [];
    const driver = logic((given) => {
      contexts.push(given);
      return {};
    });
    const spec: ModuleSpec = { id: 'm', driver: 'test', role: 'logic', name: 'M', ip: '', port: 0, tls: false, udp: false, makebreak: false, uri: '', settings: {}, systems: [] };
    const module = new Module(
      driver,
      spec,
      { clock: new FakeClock(), transport: null, http: null, system: noSystem, publish: (key, value) => void published.push(`${key}=${JSON.stringify(value)}`), log: () => undefined, entered: () => undefined },
      null,
    );
    await module.start();
    const { status } = contexts[0] ?? expect.fail('setup did not run');
    status.set('a', 1);
    status.set('a', 1);
    status.set('list', list);
    list.push(7);
    status.set('list', list);
    status.signal('a');
    status.signal('unknown');
    expect(published).toEqual(['problem=null', 'a=1', 'list=[]', 'list=[7]', 'a=1']);
    expect(status.get('list')).toEqual([7]);
  });

  it('shows what it does wrong, the first of a minute, and forgets it then', async () => {
    const clock = new FakeClock();
    const problems: unknown[] = [];
    let runs = 0;
    const driver = logic((ctx) => {
      ctx.schedule.every(20_000, () => {
        throw new Error(`run ${(runs += 1)}`);
      });
      return {};
    });
    const spec = { id: 'm', driver: 'test', role: 'logic' as const, name: 'M', ip: '', port: 0, tls: false, udp: false, makebreak: false, uri: '', systems: [] };
    const publish = (key: string, value: unknown): void => void (key === 'problem' && problems.push(value));
    const host = { clock, transport: null, http: null, system: noSystem, publish, log: () => undefined, entered: () => undefined };
    const module = new Module(driver, { ...spec, settings: {} }, host, null);
    await module.start();
    await clock.advance(79_999);
    expect(runs).toBe(3);
    expect(problems).toEqual([null, expect.stringMatching(/^schedule: .*run 1/)]);
    await clock.advance(1);
    expect(problems.slice(2)).toEqual([null, expect.stringMatching(/^schedule: .*run 4/)]);
    await module.stop(0);
    await clock.advance(60_000);
    expect(problems).toHaveLength(4);
  });

  it('repeats a schedule after its task, until the module stops; a task that throws is logged', async () => {
    let runs = 0;
    const harness = createHarness(
      logic((ctx) => {
        ctx.schedule.every(100, () => {
          runs += 1;
          throw new Error(`run ${runs}`);
        });
        const cancelled = ctx.schedule.in(50, () => expect.fail('was cancelled'));
        cancelled.cancel();
        return {};
      }),
    );
    await harness.start();
    await harness.advance(350);
    expect(runs).toBe(3);
    expect(harness.log.map(({ message }) => message)).toContain('schedule: The driver of mod-harness failed: run 3');
    await harness.stop();
    await harness.advance(1_000);
    expect(runs).toBe(3);
  });

  it('knows who asked, only while the call runs', async () => {
    const seen: (string | null)[] = [];
    const harness = createHarness(
      logic((ctx) => ({
        ask: async () => {
          await Promise.resolve();
          seen.push(ctx.user);
          ctx.schedule.in(10, () => void seen.push(ctx.user));
        },
      })),
    );
    await harness.start();
    await harness.exec('ask');
    await harness.advance(10);
    expect(seen).toEqual(['harness', null]);
  });

  it('takes hand-over state of its own version and shape, and nothing else', async () => {
    const stateful = (handoverVersion: number) =>
      defineDriver({
        name: 'test',
        role: 'logic',
        settings: z.strictObject({}),
        handoverVersion,
        setup(ctx) {
          let count = ctx.handover.restore(z.int()) ?? 0;
          ctx.handover.save(() => count);
          return { count: () => (count += 1) };
        },
      });
    const first = createHarness(stateful(1));
    await first.start();
    await first.exec('count');
    await first.exec('count');
    const handover = await first.stop();
    const countAfter = async (version: number, state: typeof handover): Promise<unknown> => {
      const next = createHarness(stateful(version), state === null ? {} : { handover: state });
      await next.start();
      return next.exec('count');
    };
    expect(await countAfter(1, handover)).toBe(3);
    expect(await countAfter(2, handover)).toBe(1);
    expect(await countAfter(1, { version: 1, state: 'damaged' })).toBe(1);
    expect(await countAfter(1, 'garbage')).toBe(1);
  });

  it('is given up when its setup never ends', async () => {
    const harness = createHarness(logic(() => new Promise<Methods>(() => undefined)));
    const started = harness.start();
    const outcome = expect(started).rejects.toMatchObject({ code: 'DRIVER_FAILED' });
    await expect(harness.exec('anything')).rejects.toMatchObject({ code: 'MODULE_NOT_RUNNING' });
    await harness.advance(3_000);
    await outcome;
  });

  it('has a deadline in each handler, and is used on while one never ends', async () => {
    const never = (): Promise<void> => new Promise(() => undefined);
    const harness = createHarness(
      device((ctx) => {
        for (const event of ['connected', 'disconnected', 'received'] as const) ctx.on(event, never);
        return { hello: () => 'hello' };
      }),
    );
    await harness.start();
    await harness.connect();
    await harness.reply('news\n');
    await harness.disconnect();
    expect(await harness.exec('hello')).toBe('hello');
    await harness.advance(limits.driverHandlerMs);
    for (const event of ['connected', 'disconnected', 'received']) {
      expect(harness.log.filter(({ level, message }) => level === 'error' && message.startsWith(`${event}: `))).toHaveLength(1);
    }
  });

  it('is to start anew when its onUpdate never ends, and is used on until then', async () => {
    const clock = new FakeClock();
    const lines: string[] = [];
    const driver = logic((ctx) => {
      ctx.onUpdate(() => new Promise(() => undefined));
      return { level: () => ctx.settings.level };
    });
    const host = { clock, transport: null, http: null, system: noSystem, publish: () => undefined, entered: () => undefined };
    const spec = { id: 'm', driver: 'test', role: 'logic', name: 'M', ip: '', port: 0, tls: false, udp: false, makebreak: false, uri: '', settings: {}, systems: [] } satisfies ModuleSpec;
    const module = new Module(driver, spec, { ...host, log: (level, message) => void lines.push(`${level} ${message}`) }, null);
    await module.start();
    let taken: boolean | null = null;
    void module.update({ level: 2 }).then((result) => (taken = result));
    await clock.advance(limits.driverSetupMs - 1);
    expect([taken, lines]).toEqual([null, []]);
    await clock.advance(1);
    expect([taken, lines]).toEqual([false, [`error update: The driver of m failed: its update did not return within ${limits.driverSetupMs / 1_000} s`]]);
    expect(await module.exec('level', [], new Call({ user: 'test', deadlineMs: clock.monotonicMs() + 1_000 }))).toBe(2);
  });

  it('is stopped in time although its stop handler never ends', async () => {
    const clock = new FakeClock();
    let open = true;
    const driver = logic((ctx) => {
      ctx.on('stop', () => new Promise(() => undefined));
      ctx.signal.addEventListener('abort', () => {
        open = false;
      });
      return {};
    });
    const spec = { id: 'm', driver: 'test', role: 'logic', name: 'M', ip: '', port: 0, tls: false, udp: false, makebreak: false, uri: '', settings: {}, systems: [] } satisfies ModuleSpec;
    const module = new Module(driver, spec, { clock, transport: null, http: null, system: noSystem, publish: () => undefined, log: () => undefined, entered: () => undefined }, null);
    await module.start();
    const stopped = module.stop(500);
    await clock.advance(499);
    expect(open).toBe(true);
    await clock.advance(1);
    await stopped;
    expect(open).toBe(false);
  });
});

describe('a call', () => {
  const line = device((ctx) => ({
    slow: async () => {
      await ctx.send('one\n', { reply: (message) => ({ value: String(message) }) });
      return ctx.send('two\n', { reply: (message) => ({ value: String(message) }) });
    },
    later: () => {
      ctx.schedule.in(120_000, async () => {
        await ctx.send('later\n', { wait: false });
      });
      // Still in the context of this call when it runs, long after the call has ended.
      void Promise.resolve().then(() => ctx.send('after\n', { wait: false }));
    },
  }));
  const running = async (deadlineMs: number) => {
    const clock = new FakeClock();
    const sent: string[] = [];
    let handler: { connected(): void; received(chunk: Uint8Array): void } | null = null;
    const transport = {
      ready: true,
      open: (given: { attempted(): void; connected(): void; received(chunk: Uint8Array): void }) => {
        handler = given;
        given.attempted();
        given.connected();
      },
      write: (data: Uint8Array) => void sent.push(Buffer.from(data).toString().trim()),
      demand: () => undefined,
      unanswered: () => undefined,
      openBreaker: () => undefined,
      up: true,
      renew: () => undefined,
      reset: () => undefined,
      close: () => Promise.resolve(),
    };
    const spec = { id: 'm', driver: 'test', role: 'device', name: 'M', ip: 'x', port: 1, tls: false, udp: false, makebreak: false, uri: '', settings: {}, systems: [] } satisfies ModuleSpec;
    const module = new Module(line, spec, { clock, transport, http: null, system: noSystem, publish: () => undefined, log: () => undefined, entered: () => undefined }, null);
    await module.start();
    const call = new Call({ user: 'ada', deadlineMs });
    return { clock, module, call, sent, receive: (text: string) => handler?.received(Buffer.from(text)) };
  };

  it('ends at its deadline, and its next command does not leave', async () => {
    const { clock, module, call, sent, receive } = await running(1_000);
    const outcome = expect(module.exec('slow', [], call)).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'unknown' } });
    await clock.advance(1_000);
    await outcome;
    receive('late answer\n');
    await clock.advance(10);
    expect(sent).toEqual(['one']);
  });

  it('ends when it is cancelled, and its next command does not leave', async () => {
    const { clock, module, call, sent, receive } = await running(60_000);
    const outcome = expect(module.exec('slow', [], call)).rejects.toMatchObject({ code: 'CANCELLED', facts: { fate: 'unknown' } });
    await clock.advance(0);
    module.cancel(call);
    await outcome;
    receive('late answer\n');
    await clock.advance(10);
    expect(sent).toEqual(['one']);
  });

  it('ends when the code that it runs ends it at once, and never comes back', async () => {
    const clock = new FakeClock();
    const call = new Call({ user: 'ada', deadlineMs: 60_000 });
    const driver = logic(() => ({
      never: () => {
        module.cancel(call);
        return new Promise(() => undefined);
      },
    }));
    const spec = { id: 'm', driver: 'test', role: 'logic', name: 'M', ip: '', port: 0, tls: false, udp: false, makebreak: false, uri: '', settings: {}, systems: [] } satisfies ModuleSpec;
    const host = { clock, transport: null, http: null, system: noSystem, publish: () => undefined, log: () => undefined, entered: () => undefined };
    const module: Module = new Module(driver, spec, host, null);
    await module.start();
    await expect(module.exec('never', [], call)).rejects.toMatchObject({ code: 'CANCELLED', facts: { fate: 'not-sent' } });
  });

  it('ends when the module stops, saying whether something has left', async () => {
    const { module, call } = await running(60_000);
    const outcome = expect(module.exec('slow', [], call)).rejects.toMatchObject({ code: 'CANCELLED', facts: { fate: 'unknown' } });
    await module.stop(0);
    await outcome;
    await expect(module.exec('slow', [], call)).rejects.toMatchObject({ code: 'MODULE_NOT_RUNNING' });
  });

  it('is awaited for a moment when the module stops in good order', async () => {
    const { clock, module, call } = await running(60_000);
    const outcome = expect(module.exec('slow', [], call)).rejects.toMatchObject({ code: 'CANCELLED' });
    let stopped = false;
    const stopping = module.stop(1_000).then(() => (stopped = true));
    await clock.advance(limits.moduleDrainMs - 1);
    expect(stopped).toBe(false);
    await clock.advance(1);
    await stopping;
    await outcome;
  });

  it('has no say in what the driver does on its own afterwards', async () => {
    const { clock, module, call, sent } = await running(1_000);
    await module.exec('later', [], call);
    await clock.advance(120_000);
    expect(sent).toEqual(['after', 'later']);
  });
});

describe('`connected`', () => {
  const attempt = async (driver: ReturnType<typeof device>, live: boolean) => {
    const published: [string, unknown][] = [];
    const transport = {
      ready: true,
      open: (handler: { attempted(): void; connected(): void }) => {
        if (live) handler.connected();
        handler.attempted();
      },
      write: () => undefined,
      demand: () => undefined,
      unanswered: () => undefined,
      openBreaker: () => undefined,
      up: true,
      renew: () => undefined,
      reset: () => undefined,
      close: () => Promise.resolve(),
    };
    const plain = { tls: false, udp: false, makebreak: false, uri: '', settings: {}, systems: [] };
    const spec = { id: 'm', driver: 'test', role: 'device' as const, name: 'M', ip: 'x', port: 1, ...plain };
    const publish = (key: string, value: unknown) => void (key === 'problem' || published.push([key, value]));
    const base = { clock: new FakeClock(), transport, http: null, system: noSystem, publish, log: () => undefined, entered: () => undefined };
    await new Module(driver, spec, base, null).start().catch(() => undefined);
    return published;
  };

  it('is published once the first attempt is over, also of a device that was dead from the start', async () => {
    const plain = device(() => ({}));
    expect(await attempt(plain, false)).toEqual([['connected', false]]);
    expect(await attempt(plain, true)).toEqual([['connected', true]]);
  });

  it('is false, too, when the driver fails: the value of an earlier holder must not stay', async () => {
    const broken = device(() => {
      throw new Error('setup failed');
    });
    expect(await attempt(broken, true)).toEqual([['connected', false]]);
  });

  it('has its place although the driver used up all others', async () => {
    const greedy = device(({ status }) => {
      for (let index = 0; index < limits.statusKeys; index += 1) status.set(`key-${index}`, index);
      expect(() => status.set('one more', 1)).toThrow(RangeError);
      return {};
    });
    expect((await attempt(greedy, false)).at(-1)).toEqual(['connected', false]);
  });
});

describe('the mock driver', () => {
  it('matches answers to commands and learns from events', async () => {
    const harness = createHarness(mockDriver);
    await harness.start();
    await harness.connect();
    expect(harness.status.connected).toBe(true);
    const set = harness.exec('set', 'volume', { left: 3 });
    await harness.advance(0);
    harness.expectSent('set volume {"left":3}\n');
    await harness.reply('ok get volume 1\nevent muted true\nok set vol');
    expect(harness.status.muted).toBe(true);
    await harness.reply('ume {"left":3}\n');
    await expect(set).resolves.toEqual({ left: 3 });
    expect(harness.status.volume).toEqual({ left: 3 });
    harness.expectNothingSent();
    const fail = harness.exec('fail');
    await harness.advance(0);
    await harness.reply('error fail it was asked to\n');
    await expect(fail).rejects.toMatchObject({ code: 'DEVICE_REFUSED', facts: { problem: 'it was asked to' } });
    await harness.disconnect();
    expect(harness.status.connected).toBe(false);
  });

  it('survives nonsense of the device', async () => {
    const harness = createHarness(mockDriver);
    await harness.start();
    await harness.connect();
    await harness.reply('event volume {not json\n\0\xff\nevent\n');
    expect(harness.log.some(({ level }) => level === 'error')).toBe(true);
    await harness.reply(Buffer.alloc(600 * 1024, 'x'));
    expect(harness.status.connected).toBe(false);
    await harness.connect();
    await harness.reply('event volume 4\n');
    expect(harness.status.volume).toBe(4);
  });

  it('hands its values over', async () => {
    const harness = createHarness(mockDriver);
    await harness.start();
    await harness.connect();
    await harness.reply('event volume 4\n');
    const state = await harness.stop();
    const next = createHarness(mockDriver, state === null ? {} : { handover: state });
    await next.start();
    expect(next.status.volume).toBe(4);
  });
});
