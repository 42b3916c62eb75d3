import { describe, expect, it } from 'vitest';
import { createHarness, type Harness } from '../../../src/driver-sdk/index.ts';
import { mpdDriver } from '../../../src/drivers/mpd/driver.ts';
import type { Json } from '../../../src/shared/foundation/json.ts';

const block = (command: string): string => `noidle\ncommand_list_ok_begin\n${command}\ncommand_list_end\nidle player mixer options playlist\n`;
const REFRESH = block('status\ncurrentsong');
const answered = (fields: string): string => `${fields}list_OK\nOK\n`;
const playing = (state: string, volume: number): string => answered(`volume: ${volume}\nrepeat: 1\nstate: ${state}\nplaylistlength: 2\nTitle: A: B\n`);

async function greeted(handover?: Json): Promise<Harness> {
  const player = createHarness(mpdDriver, handover === undefined ? {} : { handover });
  await player.start();
  await player.connect();
  player.expectNothingSent();
  await player.reply('OK MPD 0.23.5\n');
  return player;
}

async function ready(): Promise<Harness> {
  const player = await greeted();
  player.expectSent(REFRESH);
  await player.reply(playing('stop', 20));
  return player;
}

describe('the driver mpd', () => {
  it('waits for the greeting, then asks for everything', async () => {
    const player = await ready();
    expect(player.status).toMatchObject({ version: '0.23.5', state: 'stop', volume: 20, repeat: true, queue_length: 2, song: 'A: B', error: null });
  });

  it('understands answers however the bytes are cut', async () => {
    const bytes = `OK MPD 0.23.5\n${playing('play', 40)}`;
    const greeting = bytes.indexOf('\n') + 1;
    for (let at = 1; at < bytes.length; at += 1) {
      const player = createHarness(mpdDriver);
      await player.start();
      await player.connect();
      // The player answers only what it was asked.
      for (const part of [bytes.slice(0, Math.min(at, greeting)), bytes.slice(Math.min(at, greeting), Math.max(at, greeting)), bytes.slice(Math.max(at, greeting))]) {
        await player.reply(part);
      }
      expect(player.status).toMatchObject({ version: '0.23.5', state: 'play', volume: 40 });
    }
  });

  it('shows a change when the command that made it resolves', async () => {
    const player = await ready();
    const done = player.exec('volume', 55);
    player.expectSent(block('setvol 55'));
    await player.reply(answered(''));
    player.expectSent(REFRESH);
    await player.reply(playing('stop', 55));
    expect(await done).toBe(55);
    expect(player.status['volume']).toBe(55);
  });

  it('asks again when the player pushes a change, which is not taken for an answer', async () => {
    const player = await ready();
    const added = player.exec('add', 'a "b"\nkill');
    player.expectSent(block('add "a \\"b\\" kill"'));
    await player.reply('changed: mixer\nOK\n');
    await player.reply(answered(''));
    // That of the change, and that of the command.
    player.expectSent(REFRESH);
    await player.reply(playing('play', 60));
    await player.reply(playing('play', 60));
    await added;
    expect(player.status).toMatchObject({ state: 'play', volume: 60 });
  });

  it('answers a command although what it asks for afterwards was asked for anew by a push', async () => {
    const player = await ready();
    const [volume, repeat] = [player.exec('volume', 55), player.exec('repeat', true)];
    player.expectSent(block('setvol 55'));
    await player.reply(answered(''));
    player.expectSent(block('repeat 1'));
    await player.reply('changed: mixer\nOK\n');
    await player.reply(answered(''));
    for (let refresh = 0; refresh < 2; refresh += 1) {
      player.expectSent(REFRESH);
      await player.reply(playing('stop', 55));
    }
    expect(await Promise.all([volume, repeat])).toEqual([55, null]);
  });

  it('says what the player refuses', async () => {
    const player = await ready();
    const refused = expect(player.exec('add', 'nothing')).rejects.toMatchObject({ code: 'DEVICE_REFUSED', facts: { problem: 'No such directory' } });
    player.expectSent(block('add "nothing"'));
    await player.reply('ACK [50@0] {add} No such directory\n');
    await refused;
    await expect(player.exec('volume', 101)).rejects.toMatchObject({ code: 'INPUT_INVALID' });
  });

  it.each([
    ['next', 'next', []],
    ['previous', 'previous', []],
    ['add', 'add "a.wav"', ['a.wav']],
  ] as const)('%s is not repeated when its answer is late', async (method, command, args) => {
    const player = await ready();
    const done = player.exec(method, ...args);
    player.expectSent(block(command));
    await player.advance(5_000);
    player.expectNothingSent();
    await expect(done).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'unknown' } });
    // What may be carried out twice is.
    void player.exec('play');
    player.expectSent(block('play'));
    await player.advance(4_999);
    player.expectNothingSent();
    await player.advance(1);
    player.expectSent(block('play'));
  });

  /** Asked four times, five seconds each, and again by the next poll. */
  const ignore = async (player: Harness): Promise<void> => {
    for (let again = 0; again < 4; again += 1) {
      await player.advance(5_000);
      player.expectSent(REFRESH);
    }
    await player.advance(4_999);
    expect(player.status['connected']).toBe(true);
    await player.advance(1);
  };

  it.each([
    ['that stopped answering', ignore],
    ['whose connection ended', (player: Harness) => player.disconnect()],
  ])('notices a player %s, and asks for everything over the next connection', async (_, lose) => {
    const player = await ready();
    await player.advance(10_000);
    player.expectSent(REFRESH);
    await lose(player);
    expect(player.status['connected']).toBe(false);
    player.expectNothingSent();
    await player.connect();
    await player.reply('OK MPD 0.23.6\n');
    player.expectSent(REFRESH);
    await player.reply(playing('pause', 20));
    expect(player.status).toMatchObject({ version: '0.23.6', state: 'pause' });
  });

  it('hands the volume over: the other side sets it first', async () => {
    const player = await ready();
    const done = player.exec('volume', 33);
    await player.reply(answered(''));
    await player.reply(playing('stop', 33));
    await done;
    const saved = await player.stop();
    const other = await greeted(saved);
    other.expectSent(block('setvol 33'));
  });
});
