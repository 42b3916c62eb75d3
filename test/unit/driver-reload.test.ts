import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { Call } from '../../src/driver-sdk/call.ts';
import { defineDriver, delimiter, type Driver, type DriverContext, HoldfastError, method, type Methods } from '../../src/driver-sdk/index.ts';
import { FakeSystem } from '../../src/driver-sdk/fake-system.ts';
import { Module } from '../../src/driver-sdk/module.ts';
import type { TransportHandler } from '../../src/driver-sdk/transport.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { ModuleSpec } from '../../src/shared/ports/device-link.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { later } from '../support/link-pipe.ts';

type Setup = (ctx: DriverContext<{ level: number }>) => Methods | Promise<Methods>;

/** Code of the driver, by what its setup does. */
const code = (setup: Setup, more: { delayMs?: number; handoverVersion?: number; reconnectOnReload?: boolean } = {}): Driver =>
  defineDriver({ name: 'test', role: 'device', settings: z.strictObject({ level: z.int().default(1) }), tokeniser: () => delimiter('\n'), setup, ...more });

/** Sends what it is told, and answers `answer` with its own name before it. */
const sender = (name: string): Setup => (ctx) => ({
  ask: method(z.tuple([z.string()]), async (text) => `${name}: ${(await ctx.send(`${text}\n`, { name: text }))?.toString()}`),
  who: () => name,
});

const spec = (settings: ModuleSpec['settings'] = {}): ModuleSpec =>
  ({ id: 'm', driver: 'test', role: 'device', name: 'M', ip: 'x', port: 1, tls: false, udp: false, makebreak: false, uri: '', settings, systems: [] });

/** A module that runs, connected, and the other end of its line. */
async function running(first: Setup | Driver) {
  const clock = new FakeClock();
  const sent: string[] = [];
  const published: string[] = [];
  const log: string[] = [];
  let handler: TransportHandler | null = null;
  let renewed = 0;
  const transport = {
    ready: true,
    open: (given: TransportHandler) => {
      handler = given;
      given.connected();
      given.attempted();
    },
    write: (data: Uint8Array) => void sent.push(Buffer.from(data).toString().trim()),
    demand: () => undefined,
    unanswered: () => undefined,
    openBreaker: () => undefined,
    up: true,
    renew: () => void (renewed += 1),
    reset: () => undefined,
    close: () => Promise.resolve(),
  };
  const host = {
    clock,
    transport,
    http: null,
    system: new FakeSystem({}),
    publish: (key: string, value: unknown) => void published.push(`${key}=${JSON.stringify(value)}`),
    log: (_: string, message: string) => void log.push(message),
    entered: () => undefined,
  };
  const module = new Module(typeof first === 'function' ? code(first) : first, spec(), host, null);
  await module.start();
  const exec = (name: string, ...args: string[]) =>
    module.exec(name, args, new Call({ user: 'ada', deadlineMs: clock.monotonicMs() + 60_000 }));
  /** With the time that calls which run get to end. */
  const reload = async (next: Setup | Driver, settings: ModuleSpec['settings'] = {}): Promise<void> => {
    const done = module.reload(typeof next === 'function' ? code(next) : next, spec(settings));
    done.catch(() => undefined);
    await clock.advance(limits.moduleDrainMs);
    await done;
  };
  const receive = (text: string): void => handler?.received(Buffer.from(text));
  /** As the transport does after `renew`: it says nothing of the end. */
  const reconnect = (): void => {
    transport.ready = false;
    handler?.interrupted();
    transport.ready = true;
    handler?.connected();
  };
  return { clock, module, sent, published, log, exec, reload, receive, renewed: () => renewed, reconnect, disconnect: () => handler?.disconnected('gone') };
}

describe('a reload', () => {
  it('passes the hand-over state on, keeps status and connection, and runs the methods of the new code', async () => {
    const counter = (step: number): Setup => (ctx) => {
      let count = ctx.handover.restore(z.int()) ?? 0;
      ctx.handover.save(() => count);
      return {
        count: () => {
          count += step;
          ctx.status.set('count', count);
          return count;
        },
      };
    };
    const { exec, reload, published, module, renewed } = await running(counter(1));
    await exec('count');
    published.length = 0;
    await reload(counter(10));
    expect(published).toEqual([]);
    expect(await exec('count')).toBe(11);
    expect([renewed(), Object.keys(module.functions())]).toEqual([0, ['count']]);
  });

  it('gives the new code changed settings, and its pause between commands', async () => {
    const { clock, exec, reload, sent } = await running(sender('old'));
    const levels: number[] = [];
    await reload(
      code(
        (ctx) => {
          levels.push(ctx.settings.level);
          return { two: () => void [ctx.send('a\n', { wait: false }), ctx.send('b\n', { wait: false })] };
        },
        { delayMs: 500 },
      ),
      { level: 7 },
    );
    expect(levels).toEqual([7]);
    await exec('two');
    expect(sent).toEqual(['a']);
    await clock.advance(500);
    expect(sent).toEqual(['a', 'b']);
  });

  it('keeps queued commands: they leave in their order, once, and their callers are answered by the code that began them', async () => {
    const { exec, reload, sent, receive } = await running(sender('old'));
    const answers = Promise.all([exec('ask', 'one'), exec('ask', 'two')]);
    await reload(sender('new'));
    const third = exec('ask', 'three');
    for (const answer of ['1', '2', '3']) receive(`${answer}\n`);
    expect(await answers).toEqual(['old: 1', 'old: 2']);
    await new Promise(setImmediate);
    receive('3\n');
    expect(await third).toBe('new: 3');
    expect(sent).toEqual(['one', 'two', 'three']);
  });

  it('lets calls that come meanwhile wait for the new code; those given up do not run', async () => {
    const ready = later<void>();
    const { clock, exec, module } = await running(sender('old'));
    const done = module.reload(
      code(async (ctx) => {
        await ready.promise;
        return sender('new')(ctx);
      }),
      spec(),
    );
    const waiting = exec('who');
    const call = new Call({ user: 'ada', deadlineMs: 60_000 });
    const cancelled = expect(module.exec('who', [], call)).rejects.toMatchObject({ code: 'CANCELLED', facts: { fate: 'not-sent' } });
    const late = expect(module.exec('who', [], new Call({ user: 'ada', deadlineMs: 10 }))).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'not-sent' } });
    module.cancel(call);
    await clock.advance(limits.moduleDrainMs + 10);
    ready.resolve();
    await done;
    expect(await waiting).toBe('new');
    await cancelled;
    await late;
  });

  it('waits a moment for calls that run, so that their change of state is handed over', async () => {
    const { exec, reload, receive } = await running((ctx) => {
      let last = 'none';
      ctx.handover.save(() => last);
      return { ask: async () => (last = `one ${(await ctx.send('x\n'))?.toString()}`) };
    });
    const asked = exec('ask');
    queueMicrotask(() => receive('answer\n'));
    await reload((ctx) => ({ last: () => ctx.handover.restore(z.string()) }));
    expect([await asked, await exec('last')]).toEqual(['one answer', 'one answer']);
  });

  it('ends the schedules and handlers of the old code, and what it still tells by itself is no news', async () => {
    const ran: string[] = [];
    const busy = (name: string): Setup => (ctx) => {
      ctx.schedule.every(1_000, () => void ran.push(name));
      ctx.on('received', () => void ran.push(`${name} received`));
      ctx.on('stop', () => ctx.status.set('stopped', true));
      ctx.signal.addEventListener('abort', () => ctx.status.set('late', name));
      if (name === 'old') void ctx.send('loop\n', { name: 'loop' }).then(() => ctx.send('again\n')).catch(() => void ran.push('refused'));
      return {};
    };
    const { clock, reload, receive, published, sent, renewed } = await running(busy('old'));
    await reload(busy('new'));
    // To the loop of the old code, and then to whoever listens.
    receive('answer\nhello\n');
    await clock.advance(1_000);
    expect(ran).toEqual(['new received', 'refused', 'new']);
    expect(published.join()).not.toMatch(/stopped|late/);
    expect(sent).not.toContain('again');
    expect(renewed()).toBe(1);
  });
});

describe('new code that fails', () => {
  it('leaves the old as it was: setup that throws, settings that do not fit', async () => {
    const stopped: string[] = [];
    const ticks: string[] = [];
    const { clock, exec, reload, receive, published, renewed } = await running((ctx) => {
      ctx.on('stop', () => void stopped.push('old'));
      ctx.schedule.every(1_000, () => void ticks.push('old'));
      return sender('old')(ctx);
    });
    const asked = exec('ask', 'one');
    await expect(
      reload((ctx) => {
        ctx.schedule.every(1_000, () => void ticks.push('new'));
        throw new TypeError('oops');
      }),
    ).rejects.toThrow('oops');
    await expect(reload(sender('new'), { level: 'high' })).rejects.toMatchObject({ code: 'INPUT_INVALID', facts: { field: 'settings.level' } });
    receive('1\n');
    expect([await asked, await exec('who')]).toEqual(['old: 1', 'old']);
    await clock.advance(1_000);
    expect([stopped, [...new Set(ticks)], renewed(), published]).toEqual([[], ['old'], 0, ['problem=null', 'connected=true']]);
  });

  it('does not live on when the module stops while it is being set up', async () => {
    const ticks: string[] = [];
    const { clock, module } = await running(sender('old'));
    const done = module.reload(
      code(async (ctx) => {
        ctx.schedule.every(10, () => void ticks.push('new'));
        await new Promise(() => undefined);
        return {};
      }),
      spec(),
    );
    const refused = expect(done).rejects.toMatchObject({ code: 'MODULE_NOT_RUNNING' });
    await clock.advance(5);
    await module.stop(0);
    await refused;
    await clock.advance(1_000);
    expect(ticks).toEqual([]);
  });
});

describe('the connection at a reload', () => {
  it('is made anew for code that acts when it is connected, and tried at once while there is none', async () => {
    const connected: string[] = [];
    const { reload, renewed, disconnect } = await running(sender('old'));
    await reload((ctx) => {
      ctx.on('connected', () => void connected.push('new'));
      return {};
    });
    expect([renewed(), connected]).toEqual([1, []]);
    await reload(sender('newer'));
    expect(renewed()).toBe(2);
    await reload(sender('newest'));
    expect(renewed()).toBe(2);
    disconnect();
    await reload(sender('last'));
    expect(renewed()).toBe(3);
  });

  it('is made anew for code that waits for the banner of the device, or for its end: of a connection that is kept it would see neither', async () => {
    const greeted = (name: string): Setup => (ctx) => {
      let banner = '';
      ctx.on('received', (message) => void (banner = message.toString()));
      ctx.on('disconnected', () => void (banner = ''));
      return {
        ask: async () => {
          if (banner === '') throw new HoldfastError('DEVICE_OFFLINE', { module: ctx.id });
          return `${name} ${banner}: ${(await ctx.send('power?\n'))?.toString()}`;
        },
      };
    };
    const { exec, reload, receive, renewed, reconnect } = await running(greeted('old'));
    receive('hello 1\n');
    await reload(greeted('new'));
    expect(renewed()).toBe(1);
    reconnect();
    receive('hello 2\n');
    const asked = exec('ask');
    await new Promise(setImmediate);
    receive('on\n');
    expect(await asked).toBe('new hello 2: on');
  });

  it.each(['connected', 'disconnected', 'received', 'stop'] as const)('is made anew for code that listens to `%s`, before or after', async (event) => {
    const { reload, renewed } = await running(sender('old'));
    await reload((ctx) => {
      ctx.on(event, () => undefined);
      return {};
    });
    expect(renewed()).toBe(1);
    await reload(sender('newer'));
    expect(renewed()).toBe(2);
    await reload(sender('newest'));
    expect(renewed()).toBe(2);
  });

  it('is kept or made anew as the code says of itself; the new code has the last word', async () => {
    const listening: Setup = (ctx) => {
      ctx.on('received', () => undefined);
      return {};
    };
    const { reload, renewed } = await running(listening);
    await reload(code(listening, { reconnectOnReload: false }));
    await reload(code(listening, { reconnectOnReload: false }));
    expect(renewed()).toBe(0);
    await reload(code(sender('new'), { reconnectOnReload: true }));
    expect(renewed()).toBe(1);
    await reload(sender('newer'));
    expect(renewed()).toBe(2);
  });

  it('begins with `opened` for the new code, also during the login of the old', async () => {
    const ran: string[] = [];
    const greeted = (name: string, opened: () => Promise<void> | void): Setup => (ctx) => {
      ctx.on('opened', () => {
        ran.push(`${name} opened`);
        return opened();
      });
      ctx.on('connected', () => void ran.push(`${name} connected`));
      return {};
    };
    const { reload, reconnect } = await running(greeted('old', () => new Promise(() => undefined)));
    await reload(greeted('new', () => undefined));
    await new Promise(setImmediate);
    expect(ran).toEqual(['old opened']);
    reconnect();
    expect(ran).toEqual(['old opened', 'new opened', 'new connected']);
  });

  it('leaves nothing of the login of the old code to the new', async () => {
    const login: Setup = (ctx) => {
      ctx.on('connected', () => {
        for (const step of ['user\n', 'password\n']) void ctx.send(step);
      });
      return {};
    };
    const { reload, reconnect, receive, sent } = await running(login);
    await reload(login);
    reconnect();
    for (let answers = 0; answers < 3; answers += 1) receive('ok\n');
    expect(sent).toEqual(['user', 'user', 'password']);
  });

  it('loses no message that was half there', async () => {
    const received: string[] = [];
    const listener = (name: string): Driver =>
      code(
        (ctx) => {
          ctx.on('received', (message) => void received.push(`${name}: ${message.toString()}`));
          return {};
        },
        { reconnectOnReload: false },
      );
    const { reload, receive } = await running(listener('old'));
    receive('hel');
    await reload(listener('new'));
    receive('lo\n');
    expect(received).toEqual(['new: hello']);
  });

  it('takes place although the old code throws when it gives that message away', async () => {
    const tokeniser = () => ({
      ...delimiter('\n'),
      takeRest: () => {
        throw new Error('not mine');
      },
    });
    const { reload, exec } = await running({ ...code(sender('old')), tokeniser });
    await reload(sender('new'));
    expect(await exec('who')).toBe('new');
  });
});
