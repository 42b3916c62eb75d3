// Drivers that misbehave, for tests of the driver hosts. Plain JavaScript: driver hosts load it as it is.
import { appendFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { exit } from 'node:process';
import { z } from 'zod';
import { defineDriver, delimiter, HoldfastError, method } from '../../dist/driver-sdk/index.js';

const none = z.strictObject({});

const fail = (where) => {
  throw new Error(`thrown in ${where}`);
};

/** Writes down when it starts and stops. */
const recorder = defineDriver({
  name: 'recorder',
  role: 'logic',
  settings: z.strictObject({ file: z.string() }),
  setup(ctx) {
    const note = (event) => appendFileSync(ctx.settings.file, `${JSON.stringify({ event, module: ctx.id })}\n`);
    note('start');
    ctx.on('stop', () => note('stop'));
    return {};
  },
});

const rogue = defineDriver({
  name: 'rogue',
  role: 'logic',
  settings: none,
  setup(ctx) {
    ctx.on('stop', () => new Promise(() => undefined));
    return {
      hello: () => 'hello',
      loop: () => {
        for (;;);
      },
      async loopLater() {
        await new Promise((done) => setTimeout(done, 10));
        for (;;);
      },
      crash: () => {
        ctx.status.set('crash', 'is near');
        setTimeout(() => {
          ctx.status.set('crash', 'is here');
          throw new Error('rogue crashed');
        }, 0);
      },
      /** What it throws has neither a stack nor a text. */
      crashBare: () => {
        setTimeout(() => {
          throw Object.create(null);
        }, 0);
      },
      crashLarge: () => void setImmediate(() => {
        throw new Error('x'.repeat(9 * 1024 * 1024));
      }),
      crashStackless: () => void setImmediate(() => {
        throw Object.assign(new Error('its stack is a number'), { stack: 7 });
      }),
      crashAtEnd: () => {
        ctx.signal.addEventListener('abort', () => fail('abort'));
      },
      reject: () => void Promise.reject(new Error('nobody caught this')),
      print: method(z.tuple([z.string()]), (text) => console.log(text)),
      exit: () => process.abort(),
      exitProcess: () => process.exit(3),
      exitByName: () => exit(3),
      killItself: () => process.kill(process.pid, 'SIGKILL'),
      killFromOutside: () => execFileSync('/bin/kill', ['-9', String(process.pid)]),
      printFlood() {
        const round = () => {
          for (let turn = 0; turn < 200; turn += 1) console.log(`line ${turn}`);
          void Promise.reject(new Error('nobody caught this'));
          setImmediate(round);
        };
        round();
      },
      flood() {
        let count = 0;
        const round = () => {
          for (let turn = 0; turn < 1_000; turn += 1) ctx.status.set(`key-${count % 50}`, (count += 1));
          ctx.log.info(`round ${count}`);
          setImmediate(round);
        };
        round();
      },
      /** Keeps whatever it makes: on the heap, or in memory outside it. */
      grow: method(z.tuple([z.enum(['objects', 'buffers'])]), (what) => {
        const kept = [];
        const round = () => {
          if (what === 'buffers') kept.push(Buffer.alloc(16 * 1024 * 1024, 1));
          else kept.push(Array.from({ length: 100_000 }, (_, at) => ({ at })));
          setTimeout(round, 1);
        };
        round();
      }),
      never: () => new Promise(() => undefined),
      circular: () => {
        const ring = {};
        ring.self = ring;
        return ring;
      },
      circularStatus: () => {
        const ring = {};
        ring.self = ring;
        ctx.status.set('ring', ring);
      },
      large: () => 'x'.repeat(9 * 1024 * 1024),
      throwsCircular: () => {
        const ring = {};
        ring.self = ring;
        throw new HoldfastError('DEVICE_REFUSED', { module: 'rogue', problem: 'it turns', ring });
      },
      throwsLarge: () => {
        throw new Error('x'.repeat(9 * 1024 * 1024));
      },
      throwsLargeFacts: () => {
        throw new HoldfastError('DEVICE_REFUSED', { module: 'rogue', problem: 'x'.repeat(9 * 1024 * 1024) });
      },
      largeStatus: () => ctx.status.set('large', 'x'.repeat(9 * 1024 * 1024)),
    };
  },
});

/** Sends more than a device takes. */
const flood = defineDriver({
  name: 'flood',
  role: 'device',
  settings: none,
  setup: (ctx) => ({
    flood: method(z.tuple([z.int()]), (chunks) => {
      for (let index = 0; index < chunks; index += 1) void ctx.send(Buffer.alloc(1024 * 1024, 'x'), { wait: false });
    }),
  }),
});

const badSetup = defineDriver({
  name: 'bad-setup',
  role: 'logic',
  settings: none,
  setup() {
    throw new Error('setup failed');
  },
});

/** Asks a mock device over HTTP. */
const web = defineDriver({
  name: 'web',
  role: 'service',
  settings: none,
  setup: (ctx) => ({
    ask: method(z.tuple([z.string(), z.int()]), async (line, timeoutMs) => {
      const { status, body } = await ctx.http.request({ path: '/command', method: 'POST', body: line, timeoutMs });
      return `${status} ${body.toString()}`;
    }),
    get: method(z.tuple([z.string()]), async (path) => (await ctx.http.request({ path })).status),
  }),
});

/** Each throws from one thing that is needed before a module runs. */
const settingsThrower = defineDriver({ name: 'settings-thrower', role: 'device', settings: none.refine(() => fail('settings')), setup: () => ({}) });
const tokeniserThrower = defineDriver({ name: 'tokeniser-thrower', role: 'device', settings: none, tokeniser: () => fail('tokeniser'), setup: () => ({}) });
const setupThrower = defineDriver({ name: 'setup-thrower', role: 'device', settings: none, setup: () => fail('setup') });

/** Throws from everything else that a driver may give; a reload, which takes the rest of a message, has its own test. */
const thrower = defineDriver({
  name: 'thrower',
  role: 'device',
  settings: z.strictObject({ level: z.int() }),
  tokeniser: () => {
    const lines = delimiter('\n');
    return {
      push: (chunk) => (String(chunk).startsWith('event push') ? fail('push') : lines.push(chunk)),
      reset: () => fail('reset'),
    };
  },
  setup(ctx) {
    for (const event of ['connected', 'disconnected', 'received', 'stop']) ctx.on(event, () => fail(event));
    const { schedule } = ctx;
    schedule.every(20, () => fail('every'));
    schedule.in(0, async () => fail('in'));
    schedule.at(0, () => fail('at'));
    ctx.system.get('Display_1').subscribe('power', () => fail('listener'));
    ctx.handover.save(() => fail('save'));
    ctx.onUpdate(() => fail('update'));
    return {
      method: () => fail('method'),
      later: async () => {
        await Promise.resolve();
        fail('later');
      },
      schema: method(z.tuple([z.lazy(() => fail('schema'))]), () => null),
      reply: () => ctx.send('echo 1\n', { reply: () => fail('reply') }),
      noVerdict: () => ctx.send('echo 1\n', { reply: () => undefined }),
      hello: () => 'hello',
    };
  },
});

/** Takes changed settings while it runs. */
const tunable = defineDriver({
  name: 'tunable',
  role: 'device',
  settings: z.strictObject({ level: z.int() }),
  setup(ctx) {
    ctx.status.set('level', ctx.settings.level);
    ctx.onUpdate(({ level }) => ctx.status.set('level', level));
    return { level: () => ctx.settings.level };
  },
});

/** Gives up when the device says that something failed, as one would after a wrong password. */
const login = defineDriver({
  name: 'login',
  role: 'device',
  settings: z.strictObject({ password: z.string() }),
  tokeniser: () => delimiter('\n'),
  setup(ctx) {
    ctx.on('connected', async () => {
      const answer = await ctx.send(ctx.settings.password === 'right' ? 'ping\n' : 'fail\n');
      if (String(answer).startsWith('error')) ctx.openBreaker('the password is wrong');
    });
    return {};
  },
});

/** Logs in over each connection; takes another password while it runs. */
const session = defineDriver({
  name: 'session',
  role: 'device',
  settings: z.strictObject({ password: z.string() }),
  tokeniser: () => delimiter('\n'),
  setup(ctx) {
    let opened = 0;
    ctx.onUpdate(() => undefined);
    ctx.on('opened', async () => {
      opened += 1;
      const answer = await ctx.send(ctx.settings.password === 'right' ? 'ping\n' : 'fail\n');
      if (String(answer).startsWith('error')) ctx.openBreaker('the password is wrong');
    });
    return { say: async () => String(await ctx.send(() => `echo ${opened}\n`, { name: 'say' })) };
  },
});

export const drivers = [recorder, rogue, flood, badSetup, web, login, session, settingsThrower, tokeniserThrower, setupThrower, thrower, tunable];
