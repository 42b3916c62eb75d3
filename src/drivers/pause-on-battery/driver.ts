import { defineDriver, z } from '../../driver-sdk/index.ts';

const module = z.string().regex(/^[A-Za-z][A-Za-z0-9]{0,59}(?:_[1-9]\d{0,3})?$/, 'must be a name such as Display_1');

const settings = z.object({
  /** Has the status variable `on_battery`, as modules of the driver `nut` do. */
  ups: module.default('Ups_1'),
  /** Has the status variable `state` and the method `pause`, as modules of the driver `mpd` do. */
  player: module.default('Player_1'),
  /** What could not be done yet is tried again this often. */
  retryMs: z.int().min(100).default(5_000),
});

const savedSchema = z.object({ followed: z.boolean(), paused: z.boolean() });

/**
 * Pauses a media player when the power fails, and lets it go on when the mains are back, if it was paused here. What
 * somebody does to the player meanwhile stands: the rule acts on changes of the power only.
 */
export const pauseOnBatteryDriver = defineDriver({
  name: 'pause-on-battery',
  role: 'logic',
  settings,
  setup(ctx) {
    const player = ctx.system.get(ctx.settings.player);
    let onBattery: boolean | null = null;
    /** The power that the player was made to follow. */
    let { followed, paused } = ctx.handover.restore(savedSchema) ?? { followed: false, paused: false };
    let busy = false;
    ctx.handover.save(() => ({ followed, paused }));
    ctx.status.set('paused', paused);

    const setPaused = (value: boolean): void => {
      paused = value;
      ctx.status.set('paused', value);
    };
    const follow = async (): Promise<void> => {
      const target = onBattery;
      if (busy || target === null || target === followed) return;
      busy = true;
      try {
        const state = await player.status('state');
        // Nothing is known of the player yet: whether it plays is asked again.
        if (state === null || state === 'unknown') return;
        if (target && state === 'play') {
          // First of all: whether a pause that failed has arrived is not known.
          setPaused(true);
          await player.exec('pause', true);
        }
        if (!target && paused && state === 'pause') await player.exec('pause', false);
        if (!target) setPaused(false);
        followed = target;
      } finally {
        busy = false;
      }
      // The power may have changed meanwhile.
      await follow();
    };

    ctx.system.get(ctx.settings.ups).subscribe('on_battery', (value) => {
      // Null is neither mains nor battery: the UPS cannot be read, and what was decided last stands.
      onBattery = typeof value === 'boolean' ? value : null;
      return follow();
    });
    ctx.schedule.every(ctx.settings.retryMs, follow);
    return {};
  },
});
