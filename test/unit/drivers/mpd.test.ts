import { describe, expect, it } from 'vitest';
import { createHarness, type Harness } from '../../../src/driver-sdk/index.ts';
import { mpdDriver } from '../../../src/drivers/mpd/driver.ts';
import type { Json } from '../../../src/shared/foundation/json.ts';

const block = (command: string): string => `noidle\ncommand_list_ok_begin\n${command}\ncommand_list_end\nidle player mixer options playlist\n`;
const REFRESH = block('status\ncurrentsong\nstats');
const answered = (fields: string): string => `${fields}list_OK\nOK\n`;
const playing = (state: string, volume: number, uptime = 100): string =>
  answered(`volume: ${volume}\nrepeat: 1\nstate: ${state}\nplaylistlength: 2\nTitle: A: B\nuptime: ${uptime}\n`);

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
    await expect(done).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'unknown' } });
    expect(player.status['connected']).toBe(false);
    player.expectNothingSent();
  });

  it('repeats over the next connection what may be carried out twice', async () => {
    const player = await ready();
    void player.exec('play');
    player.expectSent(block('play'));
    await player.advance(5_000);
    expect(player.status['connected']).toBe(false);
    player.expectNothingSent();
    await player.connect();
    player.expectSent(block('play'));
  });

  it('does not take the late answer to a command for that to the next', async () => {
    const player = await ready();
    const first = expect(player.exec('add', 'slow.wav')).rejects.toMatchObject({ code: 'DEADLINE' });
    player.expectSent(block('add "slow.wav"'));
    await player.advance(5_000);
    await first;
    await player.reply(answered(''));
    await player.connect();
    await player.reply('OK MPD 0.23.5\n');
    player.expectSent(REFRESH);
    // Of nothing that was asked.
    await player.reply(answered(''));
    expect(player.status).toMatchObject({ state: 'stop', volume: 20, song: 'A: B' });
    await player.reply(playing('play', 20));
    expect(player.status).toMatchObject({ state: 'play', volume: 20 });
    const second = expect(player.exec('add', 'nothing.wav')).rejects.toMatchObject({ code: 'DEVICE_REFUSED' });
    player.expectSent(block('add "nothing.wav"'));
    await player.reply('ACK [50@0] {add} No such directory\n');
    await second;
  });

  it.each([
    ['that stopped answering', (player: Harness) => player.advance(5_000)],
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

  it.each([
    ['that started anew: sets it again', 0, 5, true],
    ['that was away for longer than it had been up, and started anew: sets it again', 600_000, 500, true],
    ['that was only cut off, where somebody turned the knob: leaves it', 30_000, 130, false],
    ['that was cut off for long, where somebody turned the knob: leaves it', 600_000, 699, false],
  ])('the volume of a player %s', async (_, awayMs, uptime, isSet) => {
    const player = await ready();
    const done = player.exec('volume', 33);
    await player.reply(answered(''));
    await player.reply(playing('stop', 33));
    await done;
    for (const sent of [block('setvol 33'), REFRESH]) player.expectSent(sent);
    await player.disconnect();
    await player.advance(awayMs);
    await player.connect();
    await player.reply('OK MPD 0.23.5\n');
    player.expectSent(REFRESH);
    await player.reply(playing('stop', 70, uptime));
    if (isSet) {
      player.expectSent(block('setvol 33'));
      await player.reply(answered(''));
      player.expectSent(REFRESH);
      await player.reply(playing('stop', 33, uptime));
    }
    player.expectNothingSent();
    expect(player.status['volume']).toBe(isSet ? 33 : 70);
  });

  it('lists all outputs', async () => {
    const player = await ready();
    const listed = player.exec('outputs');
    player.expectSent(block('outputs'));
    await player.reply(answered('outputid: 0\noutputname: Hall\noutputenabled: 1\nattribute: dop=0\nattribute: formats=a=b\noutputid: 1\noutputname: Bar\noutputenabled: 0\n'));
    expect(await listed).toEqual([
      { outputid: '0', outputname: 'Hall', outputenabled: '1', attributes: { dop: '0', formats: 'a=b' } },
      { outputid: '1', outputname: 'Bar', outputenabled: '0', attributes: {} },
    ]);
  });

  it('hands the volume over, as the player said last: one that started anew meanwhile gets it from the other side', async () => {
    const player = await ready();
    await player.reply('changed: mixer\nOK\n');
    await player.reply(playing('stop', 44));
    const saved = await player.stop();
    const other = await greeted(saved);
    other.expectSent(REFRESH);
    await other.reply(playing('stop', 100, 3));
    other.expectSent(block('setvol 44'));
  });
});
