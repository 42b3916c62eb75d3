import { describe, expect, it } from 'vitest';
import { createHarness, defineDriver, delimiter, type DriverContext, type Harness, method, type Methods, z } from '../../src/driver-sdk/index.ts';

/** A scene controller with an HTTP API. */
const scenes = defineDriver({
  name: 'scenes',
  role: 'service',
  settings: z.strictObject({}),
  setup: (ctx) => ({
    recall: method(z.tuple([z.int()]), async (scene) => {
      const { status, body } = await ctx.http.request({ path: `/scenes/${scene}`, method: 'POST', body: '{}' });
      ctx.status.set('scene', scene);
      return [status, body.toString()];
    }),
    list: async () => JSON.parse((await ctx.http.request({ path: '/scenes', timeoutMs: 1_000 })).body.toString()) as string[],
  }),
});

describe('the test harness of the SDK: a driver of a service is tested without one', () => {
  it('sees each request, and answers it when the test says so', async () => {
    const service = createHarness(scenes);
    await service.start();
    expect(service.status['connected']).toBe(true);
    const recalled = service.exec('recall', 3);
    expect(service.expectRequest({ method: 'POST', path: '/scenes/3' }).body).toBe('{}');
    expect(service.status['scene']).toBeUndefined();
    await service.respond({ status: 202, body: 'soon' });
    expect(await recalled).toEqual([202, 'soon']);
    expect(service.status['scene']).toBe(3);

    const listed = service.exec('list');
    expect(() => service.expectNoRequest()).toThrow('expected no request, got GET /scenes ""');
    service.expectRequest({ path: '/scenes' });
    await service.respond({ body: ['day', 'night'] });
    expect(await listed).toEqual(['day', 'night']);
    service.expectNoRequest();
    expect(() => service.respond({})).toThrow('no request waits');
  });

  it('says what was asked instead', async () => {
    const service = createHarness(scenes);
    await service.start();
    void service.exec('list').catch(() => undefined);
    expect(() => service.expectRequest({ method: 'POST', path: '/scenes' })).toThrow('expected the request POST /scenes "", got GET /scenes ""');
    expect(() => service.expectRequest({ path: '/scenes' })).toThrow('got none');
    await service.stop();
  });

  it('lets a request run out of time, and lose its service', async () => {
    const service = createHarness(scenes);
    await service.start();
    const late = expect(service.exec('list')).rejects.toMatchObject({ code: 'DEADLINE' });
    await service.advance(1_000);
    await late;
    const lost = expect(service.exec('list')).rejects.toMatchObject({ code: 'DEVICE_LOST' });
    await service.disconnect();
    await lost;
    expect(service.status['connected']).toBe(false);
    const again = service.exec('list');
    await service.respond({ body: [] });
    await again;
    expect(service.status['connected']).toBe(true);
  });
});

describe('the test harness of the SDK: awaiting once is enough', () => {
  const names = Array.from({ length: 12 }, (_, at) => `Lamp_${at + 1}`);
  const rounds = defineDriver({
    name: 'rounds',
    role: 'logic',
    settings: z.strictObject({}),
    setup: (ctx) => {
      const round = async (): Promise<void> => {
        for (const name of names) await ctx.system.get(name).exec('dim', 1);
        ctx.status.set('done', true);
      };
      ctx.schedule.in(1_000, round);
      return {
        round,
        refuse: () => {
          throw new Error('never');
        },
      };
    },
  });

  it.each([
    ['at once', () => 1],
    ['a turn of the event loop later', () => new Promise<number>((done) => setImmediate(done, 1))],
  ])('for a method that asks many modules one after the other, which answer %s', async (_, dim) => {
    const room = createHarness(rounds, { system: Object.fromEntries(names.map((name) => [name, { dim }])) });
    await room.start();
    await room.advance(1_000);
    for (const name of names) room.system.expectCall(name, 'dim', 1);
    expect(room.status['done']).toBe(true);
  });

  it('and a call that fails meanwhile may be looked at afterwards', async () => {
    const room = createHarness(rounds);
    await room.start();
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', note);
    const refused = room.exec('refuse');
    await room.advance(0);
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
    await expect(refused).rejects.toThrow('never');
  });
});

describe('the test harness of the SDK: what was sent', () => {
  const hall = defineDriver({
    name: 'hall',
    role: 'device',
    settings: z.strictObject({}),
    tokeniser: () => delimiter(Buffer.from([0xff])),
    setup: (ctx) => ({
      say: method(z.tuple([z.string()]), (text) => ctx.send(text, { wait: false })),
      bytes: method(z.tuple([z.array(z.int())]), (bytes) => ctx.send(Uint8Array.from(bytes), { reply: (answer) => ({ value: [...answer] }) })),
    }),
  });
  const connected = async () => {
    const device = createHarness(hall);
    await device.start();
    await device.connect();
    return device;
  };

  it('is text as `send` encodes it, or bytes, and so is what the device answers', async () => {
    const device = await connected();
    await device.exec('say', 'Saal Ä');
    device.expectSent('Saal Ä');
    const asked = device.exec('bytes', [0xaa, 0x06]);
    device.expectSent(Uint8Array.from([0xaa, 0x06]));
    device.expectNothingSent();
    await device.reply(Uint8Array.from([0xaa, 0x04, 0xff]));
    expect(await asked).toEqual([0xaa, 0x04]);
    await device.exec('say', 'ä');
    expect(device.takeSent()).toEqual(Buffer.from('ä'));
  });

  it('is shown as text, or in hexadecimal where it is none', async () => {
    const device = await connected();
    const sent = async (bytes: number[]): Promise<void> => void (await device.exec('say', Buffer.from(bytes).toString('latin1')));
    await device.exec('say', 'Saal Ä\n');
    expect(() => device.expectSent('Saal A\n')).toThrow(String.raw`expected "Saal A\n" to be sent, got "Saal Ä\n"`);
    await sent([2, 0x50, 0x4f, 0x4e, 3]);
    expect(() => device.expectSent('PON')).toThrow(String.raw`expected "PON" to be sent, got "\u0002PON\u0003"`);
    await sent([1, 0, 0x41]);
    expect(() => device.expectSent(Uint8Array.from([0xaa, 6]))).toThrow('expected the bytes aa 06 to be sent, got the bytes 01 00 41');
    expect(() => device.expectSent('x')).toThrow('expected "x" to be sent, got nothing');
    void device.exec('bytes', [0xaa, 6]).catch(() => undefined);
    expect(() => device.expectNothingSent()).toThrow('expected nothing to be sent, got the bytes aa 06');
    expect(() => device.expectSent('\xaa\x06')).toThrow('got the bytes aa 06; give bytes as a Uint8Array, for text is sent in UTF-8');
    await device.stop();
  });
});

describe('the test harness of the SDK: what a server does with a module', () => {
  const dimmer = (setup: (ctx: DriverContext<{ level: number }>) => Methods) =>
    createHarness(defineDriver({ name: 'dimmer', role: 'device', settings: z.strictObject({ level: z.int().default(1) }), tokeniser: () => delimiter('\n'), setup }));

  it('gives changed settings to a driver that takes them, and says when it does not', async () => {
    const takes = dimmer((ctx) => {
      ctx.onUpdate(({ level }) => ctx.status.set('level', level));
      return { level: () => ctx.settings.level };
    });
    await takes.start();
    expect(await takes.update({ level: 7 })).toBe(true);
    expect([takes.status['level'], await takes.exec('level')]).toEqual([7, 7]);
    expect(await takes.update({ level: 'high' })).toBe(false);
    const none = dimmer(() => ({}));
    await none.start();
    expect(await none.update({ level: 7 })).toBe(false);
  });

  it('forgets why the device refused when it is connected again', async () => {
    const device = dimmer((ctx) => {
      ctx.on('received', (message) => ctx.openBreaker(message.toString()));
      return {};
    });
    await device.start();
    await device.connect();
    await device.reply('wrong password\n');
    expect(device.status).toMatchObject({ connected: false, problem: 'wrong password' });
    await device.connect();
    expect(device.status).toMatchObject({ connected: true, problem: null });
  });

  it('takes the word of a reply that ends the connection: the end is told of afterwards', async () => {
    const device = dimmer((ctx) => ({
      off: () =>
        ctx.send('off', {
          name: 'off',
          reply: () => {
            ctx.reconnect('it sleeps');
            return 'done';
          },
        }),
    }));
    await device.start();
    await device.connect();
    const off = device.exec('off');
    device.expectSent('off');
    await device.reply('bye\n');
    expect(await off).toBeNull();
    expect(device.status['connected']).toBe(false);
    await device.connect();
    device.expectNothingSent();
  });

  it('forgets why a service refused when it answers again', async () => {
    const service = createHarness(
      defineDriver({ name: 'web', role: 'service', settings: z.strictObject({}), setup: (ctx) => ({ end: () => ctx.openBreaker('wrong key') }) }),
    );
    await service.start();
    await service.exec('end');
    expect(service.status).toMatchObject({ connected: false, problem: 'wrong key' });
    await service.connect();
    expect(service.status).toMatchObject({ connected: true, problem: null });
  });

  it('waits for a `stop` handler as long as a server, and for the answer that the test gives it', async () => {
    const seen: string[] = [];
    const leaving = (): Harness =>
      dimmer((ctx) => {
        ctx.on('stop', async () => void seen.push(String(await ctx.send('logout'))));
        return {};
      });
    const answered = leaving();
    await answered.start();
    await answered.connect();
    const stopped = answered.stop();
    answered.expectSent('logout');
    await answered.reply('bye\n');
    await stopped;
    expect(seen).toEqual(['bye']);
    const silent = leaving();
    await silent.start();
    await silent.connect();
    await expect(silent.stop()).resolves.toBeNull();
    expect(seen).toEqual(['bye']);
  });

  it('gives a system to logic only', async () => {
    const device = dimmer((ctx) => ({ ask: () => ctx.system.get('Lamp_1').exec('power') }));
    await device.start();
    await expect(device.exec('ask')).rejects.toMatchObject({ code: 'NOT_FOUND', facts: { kind: 'system' } });
  });
});
