import { describe, expect, it } from 'vitest';
import { createHarness, type Harness } from '../../../src/driver-sdk/index.ts';
import { pauseOnBatteryDriver } from '../../../src/drivers/pause-on-battery/driver.ts';
import type { Json } from '../../../src/shared/foundation/json.ts';

interface Room extends Harness {
  power(onBattery: boolean | null): Promise<void>;
  player(state: string): Promise<void>;
  /** Calls of the player fail from now on. */
  failing: boolean;
}

async function start(handover?: Json): Promise<Room> {
  const pause = (): null => {
    if (room.failing) throw new Error('the player is gone');
    return null;
  };
  const harness = createHarness(pauseOnBatteryDriver, { system: { Ups_1: {}, Player_1: { pause } }, ...(handover === undefined ? {} : { handover }) });
  const room: Room = Object.assign(harness, {
    failing: false,
    power: (onBattery: boolean | null) => harness.system.setStatus('Ups_1', 'on_battery', onBattery),
    player: (state: string) => harness.system.setStatus('Player_1', 'state', state),
  });
  await room.start();
  return room;
}

describe('the driver pause-on-battery', () => {
  it('pauses what plays when the power fails, and lets it go on when the mains are back', async () => {
    const room = await start();
    await room.player('play');
    await room.power(false);
    room.system.expectNoCall();
    await room.power(true);
    room.system.expectCall('Player_1', 'pause', true);
    expect(room.status['paused']).toBe(true);
    await room.player('pause');
    await room.power(false);
    room.system.expectCall('Player_1', 'pause', false);
    expect(room.status['paused']).toBe(false);
    await room.advance(60_000);
    room.system.expectNoCall();
  });

  it('leaves a player alone that did not play, or that somebody touched meanwhile', async () => {
    const room = await start();
    for (const state of ['stop', 'pause']) {
      await room.player(state);
      await room.power(true);
      await room.power(false);
    }
    room.system.expectNoCall();
    await room.player('play');
    await room.power(true);
    room.system.expectCall('Player_1', 'pause', true);
    // Somebody wants to hear it on battery.
    await room.player('play');
    await room.advance(60_000);
    await room.power(false);
    room.system.expectNoCall();
    expect(room.status['paused']).toBe(false);
  });

  it('does nothing while nothing is known of the power, and waits for a player that is not known yet', async () => {
    const room = await start();
    await room.power(true);
    room.system.expectNoCall();
    await room.player('play');
    await room.advance(5_000);
    room.system.expectCall('Player_1', 'pause', true);
    await room.player('pause');
    await room.power(null);
    await room.advance(5_000);
    room.system.expectNoCall();
    await room.power(false);
    room.system.expectCall('Player_1', 'pause', false);
  });

  it('waits for a player of which it is unknown what it does', async () => {
    const room = await start();
    await room.player('unknown');
    await room.power(true);
    room.system.expectNoCall();
    await room.player('play');
    await room.advance(5_000);
    room.system.expectCall('Player_1', 'pause', true);
  });

  it('keeps what was decided last while the UPS cannot be read', async () => {
    const room = await start();
    await room.player('play');
    await room.power(true);
    room.system.expectCall('Player_1', 'pause', true);
    await room.player('pause');
    await room.power(null);
    await room.advance(60_000);
    await room.power(true);
    room.system.expectNoCall();
    expect(room.status['paused']).toBe(true);
    await room.power(null);
    await room.power(false);
    room.system.expectCall('Player_1', 'pause', false);
    await room.player('play');
    await room.power(null);
    await room.advance(60_000);
    room.system.expectNoCall();
  });

  it('tries again what failed', async () => {
    const room = await start();
    await room.player('play');
    room.failing = true;
    await room.power(true);
    room.system.expectCall('Player_1', 'pause', true);
    expect(room.log.at(-1)).toMatchObject({ level: 'error' });
    room.failing = false;
    await room.advance(5_000);
    room.system.expectCall('Player_1', 'pause', true);
    await room.advance(60_000);
    room.system.expectNoCall();
  });

  it('hands over whether it paused the player, so that the other side lets it go on, and pauses nothing twice', async () => {
    const edge = await start();
    await edge.player('play');
    await edge.power(true);
    const saved = await edge.stop();
    expect(saved).toEqual({ version: 1, state: { followed: true, paused: true } });

    const master = await start(saved);
    expect(master.status['paused']).toBe(true);
    await master.player('pause');
    await master.power(true);
    master.system.expectNoCall();
    await master.power(false);
    master.system.expectCall('Player_1', 'pause', false);

    const other = await start(saved);
    // Somebody pressed play before control moved: that stands.
    await other.player('play');
    await other.power(true);
    other.system.expectNoCall();
  });
});
