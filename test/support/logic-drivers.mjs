// Drivers that use their system, for tests of the driver hosts. Plain JavaScript: driver hosts load it as it is.
import { defineDriver, method, z } from '../../dist/driver-sdk/index.js';

/** Does what it is told with the other modules of its system. */
const director = defineDriver({
  name: 'director',
  role: 'logic',
  settings: z.object({ watch: z.string().default('Display_1') }),
  setup(ctx) {
    ctx.system.get(ctx.settings.watch).subscribe('power', (value) => ctx.status.set('seen', value));
    return {
      exec: method(z.tuple([z.string(), z.string(), z.array(z.json())]), (name, what, args) => ctx.system.get(name).exec(what, ...args)),
      status: method(z.tuple([z.string(), z.string()]), (name, key) => ctx.system.get(name).status(key)),
      names: method(z.tuple([z.string()]), async (name) => (await ctx.system.all(name)).map((module) => module.name)),
      circle: () => ctx.system.get('Room_1').exec('circle'),
      who: () => ctx.user,
      /** Asks after a while, on its own behalf, and logs what it got. */
      execLater: (name, what) => {
        ctx.schedule.in(300, async () => {
          await ctx.system.get(name).exec(what).then(String, (error) => ctx.log.info(error.code));
        });
      },
      pid: () => process.pid,
    };
  },
});

/** Another process may run it. */
const aide = defineDriver({
  name: 'aide',
  role: 'service', transports: [],
  settings: z.object({}),
  setup: (ctx) => ({ pid: () => process.pid, who: () => ctx.user, never: () => new Promise(() => undefined) }),
});

export const drivers = [director, aide];
