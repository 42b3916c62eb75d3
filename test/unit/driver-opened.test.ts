import { describe, expect, it } from 'vitest';
import { createHarness, defineDriver, delimiter, type DriverContext, method, z } from '../../src/driver-sdk/index.ts';
import { limits } from '../../src/shared/model/limits.ts';

type Context = DriverContext<Record<string, never>>;

/** A device with a method `ask`; what it is asked twice it is asked by a name. */
const device = (setup: (ctx: Context) => void, afterTimeout: 'keep' | 'reconnect' = 'keep') =>
  createHarness(
    defineDriver({
      name: 'test',
      role: 'device',
      settings: z.strictObject({}),
      tokeniser: () => delimiter('\n'),
      afterTimeout,
      setup: (ctx) => {
        setup(ctx);
        return { ask: method(z.tuple([z.string()]), async (text) => (await ctx.send(text, { name: text }))?.toString() ?? null) };
      },
    }),
  );

const login = (ctx: Context): void => {
  ctx.on('opened', async () => {
    await ctx.send('user');
    await ctx.send('password');
  });
  ctx.on('connected', async () => ctx.status.set('read', String(await ctx.send('read'))));
};

async function connected(setup: (ctx: Context) => void = login, replies: string[] = ['go on\n', 'welcome\n', 'on\n']) {
  const harness = device(setup);
  await harness.start();
  await harness.connect();
  for (const reply of replies) await harness.reply(reply);
  for (let sent = 0; sent < replies.length; sent += 1) harness.takeSent();
  return harness;
}

describe('`opened`: each connection, also those of make-and-break', () => {
  it('comes before `connected`, and both before what waited', async () => {
    const harness = device(login);
    await harness.start();
    const waited = harness.exec('ask', 'waited');
    await harness.connect();
    const steps = [
      ['user', 'go on\n'],
      ['password', 'welcome\n'],
      ['read', 'on\n'],
      ['waited', 'fine\n'],
    ] as const;
    for (const [sent, reply] of steps) {
      harness.expectSent(sent);
      harness.expectNothingSent();
      await harness.reply(reply);
    }
    expect(await waited).toBe('fine');
    expect(harness.status['read']).toBe('on');
  });

  it('comes alone when make-and-break connects again, before what asked for it', async () => {
    const harness = await connected();
    await harness.reopen();
    const asked = harness.exec('ask', 'level');
    for (const [sent, reply] of [['user', 'go on\n'], ['password', 'welcome\n'], ['level', '3\n']] as const) {
      harness.expectSent(sent);
      harness.expectNothingSent();
      await harness.reply(reply);
    }
    expect(await asked).toBe('3');
    expect(harness.status['connected']).toBe(true);
  });

  it('what a login had left goes over no other connection', async () => {
    const failed: unknown[] = [];
    const harness = await connected((ctx) =>
      ctx.on('opened', () => {
        for (const step of ['user', 'password']) ctx.send(step, { name: step }).catch((error: unknown) => failed.push(error));
      }),
      ['go on\n', 'welcome\n'],
    );
    await harness.reopen();
    harness.expectSent('user');
    await harness.reopen();
    expect(failed).toMatchObject([{ code: 'DEVICE_LOST', facts: { fate: 'unknown' } }, { code: 'DEVICE_LOST', facts: { fate: 'not-sent' } }]);
    harness.expectSent('user');
    await harness.reply('go on\n');
    harness.expectSent('password');
    await harness.reply('welcome\n');
    harness.expectNothingSent();
  });

  it('what `connected` had not ended goes on after the login of the next', async () => {
    const harness = await connected(
      (ctx) => {
        ctx.on('opened', async () => void (await ctx.send('user')));
        ctx.on('connected', async () => {
          await ctx.send('first');
          await new Promise<void>((resolve) => void ctx.schedule.in(1_000, resolve));
          await ctx.send('second');
        });
      },
      ['welcome\n', 'one\n'],
    );
    const asked = harness.exec('ask', 'level');
    await harness.reopen();
    harness.expectSent('user');
    await harness.reply('welcome\n');
    harness.expectNothingSent();
    await harness.advance(1_000);
    harness.expectSent('second');
    harness.expectNothingSent();
    await harness.reply('two\n');
    harness.expectSent('level');
    await harness.reply('3\n');
    expect(await asked).toBe('3');
  });

  it('one that never ends keeps nobody waiting any more after a while: `connected` comes, and the log says so', async () => {
    const harness = device((ctx) => {
      ctx.on('opened', () => new Promise(() => undefined));
      ctx.on('connected', () => ctx.status.set('here', true));
    });
    await harness.start();
    await harness.connect();
    await harness.advance(limits.greetingMs - 1);
    expect(harness.status['here']).toBeUndefined();
    await harness.advance(1);
    expect(harness.status['here']).toBe(true);
    expect(harness.log).toMatchObject([{ level: 'warn', message: expect.stringMatching(/^opened: other commands go on/) }]);
  });
});

describe('`connected` comes only when the device is there', () => {
  it.each<[string, (ctx: Context) => void | Promise<unknown>]>([
    ['openBreaker', (ctx) => ctx.openBreaker('wrong password')],
    ['reconnect', (ctx) => ctx.reconnect('busy')],
    ['a time-out', (ctx) => ctx.send('user', { timeoutMs: 10 }).catch(() => undefined)],
  ])('not when `opened` has ended the connection: %s', async (_, end) => {
    const harness = device((ctx) => {
      ctx.on('opened', async () => void (await end(ctx)));
      ctx.on('connected', () => ctx.status.set('here', true));
    }, 'reconnect');
    await harness.start();
    await harness.connect();
    await harness.advance(10);
    expect(harness.status).toMatchObject({ connected: false });
    expect(harness.status['here']).toBeUndefined();
  });

  it('nor when a service is gone before `opened` has ended; and once when it is back', async () => {
    const driver = defineDriver({
      name: 'test',
      role: 'service',
      settings: z.strictObject({}),
      setup: (ctx) => {
        let times = 0;
        ctx.on('opened', () => new Promise<void>((resolve) => void ctx.schedule.in(1_000, resolve)));
        ctx.on('connected', () => ctx.status.set('times', (times += 1)));
        return {};
      },
    });
    const service = createHarness(driver);
    await service.start();
    await service.disconnect();
    await service.advance(1_000);
    expect(service.status['times']).toBeUndefined();
    await service.connect();
    await service.disconnect();
    await service.connect();
    await service.advance(1_000);
    expect(service.status['times']).toBe(1);
  });
});

describe('a function as data: asked each time that the command leaves', () => {
  const salted = (ctx: Context): { salt: string } => {
    const now = { salt: '' };
    ctx.on('opened', () => new Promise<void>((resolve) => {
      const hear = (message: Buffer): void => {
        now.salt = message.toString();
        resolve();
      };
      ctx.on('received', hear);
    }));
    return now;
  };

  it('over another connection too', async () => {
    let now = { salt: '' };
    const harness = createHarness(
      defineDriver({
        name: 'test',
        role: 'device',
        settings: z.strictObject({}),
        tokeniser: () => delimiter('\n'),
        setup: (ctx) => {
          now = salted(ctx);
          return { on: () => ctx.send(() => `${now.salt} on`, { name: 'on', reply: () => 'done' }) };
        },
      }),
    );
    await harness.start();
    const on = harness.exec('on');
    await harness.connect();
    await harness.reply('abc\n');
    harness.expectSent('abc on');
    await harness.reopen();
    await harness.reply('def\n');
    harness.expectSent('def on');
    await harness.reply('ok\n');
    await on;
  });

  it('fails its command alone when it throws', async () => {
    const harness = await connected((ctx) => {
      ctx.schedule.in(0, async () => {
        const thrown = ctx.send(() => {
          throw new Error('no session');
        });
        ctx.status.set('failed', await thrown.then(String, (error: unknown) => String(error)));
      });
    }, []);
    await harness.advance(0);
    expect(harness.status['failed']).toMatch(/no session/);
    const asked = harness.exec('ask', 'level');
    harness.expectSent('level');
    await harness.reply('3\n');
    expect(await asked).toBe('3');
  });
});

describe('`reconnect`: the driver ends the connection', () => {
  it('and it is told why', async () => {
    const harness = device((ctx) => {
      ctx.on('received', () => ctx.reconnect('the session is over'));
      ctx.on('disconnected', (reason) => ctx.status.set('why', reason));
    });
    await harness.start();
    await harness.connect();
    await harness.reply('BYE\n');
    expect(harness.status).toMatchObject({ connected: false, why: 'the session is over' });
    await harness.connect();
    expect(harness.status['connected']).toBe(true);
  });
});

it('`now` is the clock on the wall, and that of the test', async () => {
  const harness = device((ctx) => ctx.schedule.in(5_000, () => ctx.status.set('now', ctx.now())));
  await harness.start();
  await harness.advance(5_000);
  expect(harness.status['now']).toBe(Date.parse('2025-01-01T00:00:05Z'));
});

describe('a status variable', () => {
  it.each([
    ['what is no value', undefined, /level was set to undefined, which is no value; null stands for none/],
    ['bytes, such as the answer to `send`', Buffer.from('on'), /level was set to bytes; toString\(\) makes text of them/],
  ])('refuses %s, also the first time', async (_, value, problem) => {
    const harness = device((ctx) => {
      ctx.on('received', () => ctx.status.set('level', value as never));
    });
    await harness.start();
    await harness.connect();
    await harness.reply('x\n');
    expect(harness.log).toMatchObject([{ level: 'error', message: expect.stringMatching(problem) }, { level: 'error' }]);
    expect(harness.status['level']).toBeUndefined();
  });
});

it('a method that passes on what `send` resolves with is told that it is bytes', async () => {
  const driver = defineDriver({
    name: 'test',
    role: 'device',
    settings: z.strictObject({}),
    setup: (ctx) => ({ raw: () => ctx.send('x') }),
  });
  const harness = createHarness(driver);
  await harness.start();
  await harness.connect();
  const raw = harness.exec('raw');
  await harness.reply('on');
  await expect(raw).rejects.toMatchObject({ facts: { problem: 'a value is bytes; toString() makes text of them' } });
});
