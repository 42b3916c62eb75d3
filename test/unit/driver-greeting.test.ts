import { describe, expect, it } from 'vitest';
import { createHarness, defineDriver, delimiter, type DriverContext, type Harness, latest, method, type SendOptions, z } from '../../src/driver-sdk/index.ts';
import { limits } from '../../src/shared/model/limits.ts';

const done = (): 'done' => 'done';

/** A device on which a command waits since before it was connected. */
async function waiting(greet: (ctx: DriverContext<Record<string, never>>) => void, { delayMs = 0, priority = 50, name = 'power' } = {}) {
  const driver = defineDriver({
    name: 'test',
    role: 'device',
    settings: z.strictObject({}),
    tokeniser: () => delimiter('\n'),
    delayMs,
    setup: (ctx) => {
      greet(ctx);
      return { send: method(z.tuple([z.string()]), (text) => ctx.send(text, { name, priority, reply: done })) };
    },
  });
  const device = createHarness(driver);
  await device.start();
  const sent = device.exec('send', 'waited');
  device.expectNothingSent();
  return { device, sent };
}

const login = (ctx: DriverContext<Record<string, never>>, options: SendOptions = {}): void =>
  ctx.on('connected', async () => {
    await ctx.send('user', options);
    await ctx.send('password', options);
    ctx.status.set('in', true);
  });

/** In two steps, and then what waited. */
async function expectLogin(device: Harness): Promise<void> {
  device.expectSent('user');
  await device.reply('go on\n');
  device.expectSent('password');
  await device.reply('welcome\n');
  device.expectSent('waited');
}

describe('what the `connected` handlers send goes first', () => {
  it.each([50, 10_000])('a login of two steps comes before what waited, of priority %i, and before what is asked meanwhile', async (priority) => {
    const { device, sent } = await waiting(login, { priority });
    await device.connect();
    device.expectSent('user');
    const meanwhile = device.exec('send', 'meanwhile');
    meanwhile.catch(() => undefined);
    device.expectNothingSent();
    await device.reply('go on\n');
    device.expectSent('password');
    device.expectNothingSent();
    await device.reply('welcome\n');
    expect(device.status['in']).toBe(true);
    // Of the same name as what waited.
    device.expectSent('meanwhile');
    await device.reply('ok\n');
    await expect(meanwhile).resolves.toBeNull();
    await expect(sent).rejects.toMatchObject({ code: 'COMMAND_REPLACED' });
    device.expectNothingSent();
  });

  it.each([0, 100])('also when they wait for more than answers, and not for theirs, with a pause of %i ms', async (delayMs) => {
    const { device } = await waiting(
      (ctx) =>
        ctx.on('connected', async () => {
          await ctx.send('wake', { wait: false });
          await new Promise<void>((resolve) => void ctx.schedule.in(2_000, resolve));
          await ctx.send('user', { wait: false });
        }),
      { delayMs },
    );
    await device.connect();
    device.expectSent('wake');
    await device.advance(1_999);
    device.expectNothingSent();
    await device.advance(1);
    device.expectSent('user');
    if (delayMs > 0) device.expectNothingSent();
    await device.advance(delayMs);
    device.expectSent('waited');
  });

  it('what answers the banner belongs to it: a handler may wait for that', async () => {
    const { device } = await waiting((ctx) => {
      let greeted: () => void = () => undefined;
      ctx.on('connected', () => new Promise((resolve) => (greeted = resolve)));
      ctx.on('received', async (banner) => {
        await ctx.send(`digest of ${banner.toString()}`);
        greeted();
      });
    });
    await device.connect();
    device.expectNothingSent();
    await device.reply('4711\n');
    device.expectSent('digest of 4711');
    device.expectNothingSent();
    await device.reply('ok\n');
    device.expectSent('waited');
  });

  it('also what they do not wait for', async () => {
    const { device } = await waiting((ctx) =>
      ctx.on('connected', () => {
        for (const step of ['user', 'password']) void ctx.send(step);
      }),
    );
    await device.connect();
    await expectLogin(device);
  });

  it('not what a handler of the connection before does late, nor does its end end anything', async () => {
    const ends: (() => void)[] = [];
    const { device } = await waiting((ctx) =>
      ctx.on('connected', async () => {
        const isFirst = ends.length === 0;
        await new Promise<void>((resolve) => ends.push(resolve));
        if (isFirst) void ctx.send('late');
      }),
    );
    await device.connect();
    await device.disconnect();
    await device.connect();
    ends[0]?.();
    await device.advance(0);
    device.expectNothingSent();
    ends[1]?.();
    await device.advance(0);
    device.expectSent('waited');
    await device.reply('ok\n');
    device.expectSent('late');
  });

  it('at each connection anew, and nothing of the one before is in the way', async () => {
    const { device } = await waiting(login);
    await device.connect();
    device.expectSent('user');
    await device.disconnect();
    await device.connect();
    await expectLogin(device);
    device.expectNothingSent();
  });
});

describe('what waits goes on', () => {
  it.each([
    { login: 'is not answered', attempts: 2, end: (device: Harness) => device.advance(2_000) },
    { login: 'is refused', attempts: 1, end: (device: Harness) => device.reply('no\n') },
  ])('when the login $login; first what its handler then does', async ({ attempts, end }) => {
    const { device } = await waiting((ctx) =>
      ctx.on('connected', async () => {
        const reply = (message: Buffer) => ({ abort: message.toString() });
        await ctx.send('user', { timeoutMs: 1_000, retries: 1, reply }).catch(() => ctx.send('guest', { wait: false }));
      }),
    );
    await device.connect();
    await end(device);
    for (let attempt = 0; attempt < attempts; attempt += 1) device.expectSent('user');
    device.expectSent('guest');
    device.expectSent('waited');
  });

  it('when a handler never ends: after a while, and the log says so', async () => {
    const { device } = await waiting((ctx) => ctx.on('connected', () => new Promise(() => undefined)));
    await device.connect();
    await device.advance(limits.greetingMs - 1);
    device.expectNothingSent();
    await device.advance(1);
    device.expectSent('waited');
    expect(device.log).toMatchObject([
      { level: 'warn', message: expect.stringMatching(/^connected: other commands go on: its handlers have not ended after 10 s; they may wait/) },
    ]);
    // Of a connection that has ended it is no news.
    await device.disconnect();
    await device.connect();
    await device.disconnect();
    await device.advance(limits.greetingMs);
    await device.connect();
    await device.stop();
    await device.advance(limits.greetingMs);
    expect(device.log).toHaveLength(1);
  });

  it('when a newer command took the place of one of the handler, which waits for the answer to that', async () => {
    const { device } = await waiting((ctx) => {
      const refresh = latest(() => ctx.send('refresh', { name: 'refresh' }));
      ctx.schedule.in(100, async () => void (await refresh()));
      ctx.on('connected', async () => {
        void ctx.send('user');
        await refresh();
      });
    });
    await device.connect();
    device.expectSent('user');
    await device.advance(100);
    await device.reply('go on\n');
    device.expectSent('refresh');
    await device.reply('fresh\n');
    device.expectSent('waited');
  });

  it('with the connection, when there is no handler', async () => {
    const { device } = await waiting(() => undefined);
    await device.connect();
    device.expectSent('waited');
  });
});
