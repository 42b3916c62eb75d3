import { defineDriver, method, z } from 'holdfast/driver';

/** Changes a status variable at its own pace. */
export default defineDriver({
  name: 'ticker',
  role: 'logic',
  settings: z.strictObject({ everyMs: z.int().min(1), firstMs: z.int().min(0) }),
  setup(ctx) {
    let count = 0;
    const tick = (): void => ctx.status.set('count', (count += 1));
    ctx.schedule.in(ctx.settings.firstMs, () => void ctx.schedule.every(ctx.settings.everyMs, tick));
    return { echo: method(z.tuple([z.unknown()]), async (value) => value) };
  },
});
