// Drivers that misbehave, for tests of the driver hosts. Plain JavaScript: driver hosts load it as it is.
import { appendFileSync } from 'node:fs';
import { z } from 'zod';
import { defineDriver, method } from '../../dist/driver-sdk/index.js';

const none = z.strictObject({});

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
      crash: () => void setTimeout(() => {
        throw new Error('rogue crashed');
      }, 0),
      reject: () => void Promise.reject(new Error('nobody caught this')),
      print: method(z.tuple([z.string()]), (text) => console.log(text)),
      exit: () => process.abort(),
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

export const drivers = [recorder, rogue, flood, badSetup];
