import { describe, expect, it } from 'vitest';
import { createHarness, type Harness } from '../../../src/driver-sdk/index.ts';
import { nutDriver } from '../../../src/drivers/nut/driver.ts';

const list = (status: string): string => `BEGIN LIST VAR lab\nVAR lab battery.charge "97"\nVAR lab ups.status "${status}"\nVAR lab ups.mfr "A \\"B\\" C"\nEND LIST VAR lab\n`;

async function connected(settings = {}): Promise<Harness> {
  const ups = createHarness(nutDriver, { settings: { ups: 'lab', ...settings } });
  await ups.start();
  await ups.connect();
  return ups;
}

async function polled(status = 'OL'): Promise<Harness> {
  const ups = await connected();
  ups.expectSent('LIST VAR lab\n');
  await ups.reply(list(status));
  return ups;
}

describe('the driver nut', () => {
  it('logs in, then reads everything, then polls', async () => {
    const ups = await connected({ username: 'admin', password: 'se"cret' });
    ups.expectSent('USERNAME "admin"\n');
    await ups.reply('OK\n');
    ups.expectSent('PASSWORD "se\\"cret"\n');
    await ups.reply('OK\n');
    ups.expectSent('LIST VAR lab\n');
    await ups.reply(list('OL CHRG'));
    expect(ups.status).toMatchObject({ 'battery.charge': '97', 'ups.status': 'OL CHRG', 'ups.mfr': 'A "B" C', on_battery: false, low_battery: false });
    await ups.advance(2_000);
    ups.expectSent('LIST VAR lab\n');
    await ups.reply(list('OB LB'));
    expect(ups.status).toMatchObject({ on_battery: true, low_battery: true });
  });

  it('logs in again over the next connection of make-and-break, before a command', async () => {
    const ups = await connected({ username: 'admin', password: 'secret' });
    for (const answer of ['OK\n', 'OK\n', list('OL')]) await ups.reply(answer);
    for (let sent = 0; sent < 3; sent += 1) ups.takeSent();
    await ups.reopen();
    const done = ups.exec('command', 'beeper.toggle');
    for (const sent of ['USERNAME "admin"\n', 'PASSWORD "secret"\n', 'INSTCMD lab beeper.toggle\n']) {
      ups.expectSent(sent);
      await ups.reply('OK\n');
    }
    expect(await done).toBeNull();
  });

  it('says nothing new about the mains while its server does not know', async () => {
    const ups = await polled('OB');
    for (const status of ['WAIT', 'BYPASS', '']) {
      await ups.advance(2_000);
      ups.expectSent('LIST VAR lab\n');
      await ups.reply(list(status));
      expect(ups.status).toMatchObject({ 'ups.status': status, on_battery: true });
    }
  });

  it('does not run a command again whose answer is late', async () => {
    const ups = await polled();
    const late = expect(ups.exec('command', 'beeper.toggle')).rejects.toMatchObject({ code: 'DEADLINE' });
    ups.expectSent('INSTCMD lab beeper.toggle\n');
    await ups.advance(5_000);
    await late;
    await ups.connect();
    ups.expectSent('LIST VAR lab\n');
    ups.expectNothingSent();
  });

  it('does not take the late answer to a command for that to the next', async () => {
    const ups = await polled();
    const set = expect(ups.exec('set', 'ups.id', 'x')).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'unknown' } });
    ups.expectSent('SET VAR lab ups.id "x"\n');
    await ups.advance(5_000);
    await set;
    expect(ups.status['connected']).toBe(false);
    await ups.connect();
    // That of the new connection takes the place of the one that waited.
    ups.expectSent('LIST VAR lab\n');
    await ups.reply(list('OL'));
    const refused = expect(ups.exec('command', 'no.such.command')).rejects.toMatchObject({ code: 'DEVICE_REFUSED' });
    ups.expectSent('INSTCMD lab no.such.command\n');
    await ups.reply('ERR CMD-NOT-SUPPORTED\n');
    await refused;
  });

  it('shows no variable that the UPS has no more, also one that the other side showed', async () => {
    const ups = await polled();
    const alarm = list('OB').replace('END', 'VAR lab ups.alarm "Replace battery!"\nEND');
    await ups.advance(2_000);
    await ups.reply(alarm);
    expect(ups.status['ups.alarm']).toBe('Replace battery!');
    const other = createHarness(nutDriver, { settings: { ups: 'lab' }, handover: await ups.stop() });
    await other.start();
    for (const [answer, alarmed] of [[list('OL'), null], [alarm, 'Replace battery!'], [list('OL'), null]] as const) {
      if (other.status['connected'] !== true) await other.connect();
      else await other.advance(2_000);
      await other.reply(answer);
      expect(other.status).toMatchObject({ 'ups.alarm': alarmed, 'battery.charge': '97' });
    }
  });

  it.each(['DATA-STALE', 'DRIVER-NOT-CONNECTED'])('shows no readings while the server cannot read the UPS (%s)', async (problem) => {
    const ups = await polled('OB LB');
    await ups.advance(2_000);
    await ups.reply(`ERR ${problem}\n`);
    expect(ups.status).toMatchObject({ connected: true, 'battery.charge': null, 'ups.status': null, on_battery: null, low_battery: null });
    await ups.advance(2_000);
    await ups.reply(list('OL'));
    expect(ups.status).toMatchObject({ 'battery.charge': '97', 'ups.status': 'OL', on_battery: false, low_battery: false });
  });

  it('understands an answer however the bytes are cut', async () => {
    const answer = list('OB');
    for (let at = 1; at < answer.length; at += 1) {
      const ups = await connected();
      await ups.reply(answer.slice(0, at));
      expect(ups.status['on_battery']).toBeUndefined();
      await ups.reply(answer.slice(at));
      expect(ups.status['on_battery']).toBe(true);
    }
    const ups = await connected();
    for (const byte of answer) await ups.reply(byte);
    expect(ups.status['on_battery']).toBe(true);
  });

  it('gets and sets variables, runs commands, and says what the server refuses', async () => {
    const ups = await polled();
    const got = ups.exec('get', 'ups.mfr');
    ups.expectSent('GET VAR lab ups.mfr\n');
    await ups.reply('VAR lab ups.mfr "A \\\\ B"\n');
    expect(await got).toBe('A \\ B');

    const set = ups.exec('set', 'ups.id', 'x"\nLOGOUT');
    ups.expectSent('SET VAR lab ups.id "x\\" LOGOUT"\n');
    await ups.reply('OK\n');
    ups.expectSent('LIST VAR lab\n');
    await ups.reply(list('OL'));
    await set;

    const refused = expect(ups.exec('command', 'beeper.off')).rejects.toMatchObject({ code: 'DEVICE_REFUSED', facts: { problem: 'CMD-NOT-SUPPORTED' } });
    ups.expectSent('INSTCMD lab beeper.off\n');
    await ups.reply('ERR CMD-NOT-SUPPORTED\n');
    await refused;
    await expect(ups.exec('get', 'a b')).rejects.toMatchObject({ code: 'INPUT_INVALID' });
  });

  it('does not take a late answer for another one', async () => {
    const ups = await polled();
    const got = ups.exec('get', 'ups.mfr');
    ups.expectSent('GET VAR lab ups.mfr\n');
    await ups.reply(list('OB'));
    await ups.reply('VAR lab battery.charge "1"\n');
    await ups.reply('VAR lab ups.mfr "here"\n');
    expect(await got).toBe('here');
  });

  it('drops a server that never ends a list, and reads everything again over the next connection', async () => {
    const ups = await polled();
    await ups.reply(`BEGIN LIST VAR lab\n${'x'.repeat(600 * 1024)}`);
    expect(ups.status['connected']).toBe(false);
    await ups.advance(10_000);
    ups.expectNothingSent();
    await ups.connect();
    ups.expectSent('LIST VAR lab\n');
    await ups.reply(list('OB'));
    expect(ups.status['on_battery']).toBe(true);
  });
});
