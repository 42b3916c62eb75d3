import { defineDriver, method, z } from 'holdfast/driver';

/** Nothing but what every driver costs. */
export default defineDriver({
  name: 'echo',
  role: 'logic',
  settings: z.strictObject({}),
  setup: (ctx) => ({
    echo: method(z.tuple([z.unknown()]), async (value) => value),
    publish: method(z.tuple([z.json()]), async (value) => ctx.status.set('value', value)),
  }),
});
