import { describe, expect, it } from 'vitest';
import { createHarness, type Harness } from '../../../src/driver-sdk/index.ts';
import { snmpDriver } from '../../../src/drivers/snmp/driver.ts';
import { requestId } from '../../../src/drivers/snmp/datagrams.ts';

const NAME = '1.3.6.1.2.1.1.5.0';
const UPTIME = '1.3.6.1.2.1.1.3.0';

/** BER by hand: a second opinion on the library. */
const field = (tag: number, ...parts: (Buffer | string | number)[]): Buffer => {
  const content = Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.from([part]) : Buffer.from(part))));
  const length = content.length < 128 ? [content.length] : [0x82, content.length >> 8, content.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
};
const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return field(2, bytes);
};
const oid = (text: string): Buffer => {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  return field(6, first * 40 + second, ...rest);
};
const varbind = (name: string, value: Buffer): Buffer => field(0x30, oid(name), value);
const text = (value: string | Buffer): Buffer => field(4, value);
const nothing = field(0x81);

interface Answer {
  to: Buffer;
  varbinds: Buffer[];
  community?: string;
  errorStatus?: number;
}
const answer = ({ to, varbinds, community = 'public', errorStatus = 0 }: Answer): Buffer =>
  field(0x30, number(1), text(community), field(0xa2, number(requestId(to) ?? 0), number(errorStatus), number(errorStatus === 0 ? 0 : 1), field(0x30, ...varbinds)));

async function connected(settings = {}): Promise<Harness> {
  const agent = createHarness(snmpDriver, { settings: { poll: { name: NAME, uptime: `.${UPTIME}` }, ...settings } });
  await agent.start();
  await agent.connect();
  return agent;
}

async function polled(settings = {}): Promise<Harness> {
  const agent = await connected(settings);
  await agent.reply(answer({ to: agent.takeSent(), varbinds: [varbind(NAME, text('lab')), varbind(UPTIME, field(0x43, 7))] }));
  return agent;
}

describe('the driver snmp', () => {
  it('asks for all polled objects in one datagram, at once and then at a fixed pace', async () => {
    const agent = await polled();
    expect(agent.status).toMatchObject({ name: 'lab', uptime: 7 });
    await agent.advance(10_000);
    await agent.reply(answer({ to: agent.takeSent(), varbinds: [varbind(NAME, nothing), varbind(UPTIME, field(0x43, 8))] }));
    expect(agent.status).toMatchObject({ name: null, uptime: 8 });
    agent.expectNothingSent();
  });

  it('reads every type: numbers as numbers, text as text, other bytes as hex', async () => {
    const agent = await polled();
    const values: [Buffer, unknown][] = [
      [number(-5), -5],
      [text('Türgong\n'), 'Türgong\n'],
      [text(Buffer.from([0, 0x1b, 0xff])), '00:1b:ff'],
      [field(0x46, 0x01, 0, 0, 0, 0), 4_294_967_296],
      [field(0x46, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), '9223372036854775807'],
      [field(0x40, 10, 0, 0, 9), '10.0.0.9'],
      [oid('1.3.6.1'), '1.3.6.1'],
      [nothing, null],
    ];
    for (const [bytes, value] of values) {
      const got = agent.exec('get', NAME);
      await agent.reply(answer({ to: agent.takeSent(), varbinds: [varbind(NAME, bytes)] }));
      expect(await got).toEqual(value);
    }
  });

  it('ignores answers to other requests, nonsense and half a datagram, and sends again what got no answer', async () => {
    const agent = await polled({ timeoutMs: 1_000, retries: 1 });
    const got = agent.exec('get', NAME);
    const sent = agent.takeSent();
    const right = answer({ to: sent, varbinds: [varbind(NAME, text('here'))] });
    const other = answer({ to: Buffer.from(sent), varbinds: [varbind(NAME, text('late'))] });
    // The last byte of its id.
    other.writeUInt8(other.readUInt8(23) ^ 1, 23);
    expect(requestId(other)).not.toBe(requestId(sent));
    await agent.reply(other);
    await agent.reply('nonsense');
    for (let cut = 0; cut < 24; cut += 1) await agent.reply(right.subarray(0, cut));
    await agent.advance(1_000);
    expect(agent.takeSent()).toEqual(sent);
    await agent.reply(right);
    expect(await got).toBe('here');
  });

  it('fails a call whose answer cannot be read, or comes under another community, and not the next one', async () => {
    const agent = await polled();
    for (const damage of ['cut', 'community'] as const) {
      const failed = expect(agent.exec('get', NAME)).rejects.toMatchObject({ code: 'DRIVER_FAILED' });
      const to = agent.takeSent();
      const whole = answer({ to, varbinds: [varbind(NAME, text('x'))], community: damage === 'community' ? 'secret' : 'public' });
      await agent.reply(damage === 'cut' ? whole.subarray(0, -4) : whole);
      await failed;
    }
    const got = agent.exec('get', NAME);
    await agent.reply(answer({ to: agent.takeSent(), varbinds: [varbind(NAME, text('fine'))] }));
    expect(await got).toBe('fine');
  });

  it('writes under the community for writing only, and says what the agent refuses', async () => {
    const reader = await polled();
    await expect(reader.exec('set', NAME, 'string', 'x')).rejects.toMatchObject({ code: 'INPUT_INVALID', facts: { field: 'settings.writeCommunity' } });
    reader.expectNothingSent();

    const agent = await polled({ writeCommunity: 'private' });
    const set = agent.exec('set', NAME, 'hex', 'cafe');
    const request = agent.takeSent();
    expect(request.includes('private')).toBe(true);
    expect(request.includes(Buffer.from('cafe', 'hex'))).toBe(true);
    await agent.reply(answer({ to: request, community: 'private', varbinds: [varbind(NAME, text('x'))] }));
    // A polled object is read back.
    await agent.reply(answer({ to: agent.takeSent(), varbinds: [varbind(NAME, text('read back')), varbind(UPTIME, field(0x43, 9))] }));
    expect(await set).toBe('cafe');
    expect(agent.status['name']).toBe('read back');

    const refused = expect(agent.exec('set', NAME, 'integer', 5)).rejects.toMatchObject({ code: 'DEVICE_REFUSED', facts: { problem: `NotWritable: ${NAME}` } });
    await agent.reply(answer({ to: agent.takeSent(), community: 'private', varbinds: [varbind(NAME, number(5))], errorStatus: 17 }));
    await refused;
    for (const args of [['integer', 1.5], ['hex', 'xyz'], ['ipaddress', '1.2.3'], ['gauge', -1], ['oid', 'a.b'], ['colour', 1]] as const) {
      await expect(agent.exec('set', NAME, ...args)).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    }
  });

  it('refuses an OID with a number that does not fit into 32 bits', async () => {
    const most = `1.3.6.1.${2 ** 32 - 1}`;
    const fits = createHarness(snmpDriver, { settings: { poll: { top: most } } });
    await fits.start();
    await expect(fits.exec('get', `1.3.6.1.${2 ** 32}`)).rejects.toMatchObject({ code: 'INPUT_INVALID', facts: { field: 'args.0' } });
    const polls = createHarness(snmpDriver, { settings: { poll: { top: `1.3.6.1.${2 ** 32}` } } });
    await expect(polls.start()).rejects.toMatchObject({ code: 'INPUT_INVALID', facts: { field: 'settings.poll.top' } });
    expect(polls.status['problem']).toContain('settings.poll.top: must have no number above 4294967295');
  });

  it('walks what is below an object, and nothing else', async () => {
    const agent = await polled();
    const walked = agent.exec('walk', '1.3.6.1.2.1.1');
    await agent.reply(answer({ to: agent.takeSent(), varbinds: [varbind(UPTIME, field(0x43, 7)), varbind(NAME, text('lab'))] }));
    await agent.reply(answer({ to: agent.takeSent(), varbinds: [varbind('1.3.6.1.2.1.2.1.0', number(3))] }));
    expect(await walked).toEqual({ [UPTIME]: 7, [NAME]: 'lab' });
    agent.expectNothingSent();
  });

  it('ends a walk that has no end', async () => {
    const agent = await polled();
    const walked = expect(agent.exec('walk', '1.3.6.1')).rejects.toMatchObject({ code: 'DEVICE_REFUSED', facts: { problem: 'more than 1000 objects below 1.3.6.1' } });
    for (let page = 0; page <= 50; page += 1) {
      const varbinds = Array.from({ length: 20 }, (_, at) => varbind(`1.3.6.1.${page}.${at}`, number(at)));
      await agent.reply(answer({ to: agent.takeSent(), varbinds }));
    }
    await walked;
    agent.expectNothingSent();
  });

  it('asks for everything again over the next connection', async () => {
    const agent = await polled();
    await agent.disconnect();
    expect(agent.status['connected']).toBe(false);
    await agent.advance(60_000);
    agent.expectNothingSent();
    await agent.connect();
    await agent.reply(answer({ to: agent.takeSent(), varbinds: [varbind(NAME, text('back')), varbind(UPTIME, field(0x43, 1))] }));
    expect(agent.status).toMatchObject({ connected: true, name: 'back' });
  });

  it('refuses settings that cannot be', async () => {
    for (const settings of [{ poll: { connected: NAME } }, { poll: { name: 'sysName' } }, { version: '3' }, { community: '' }]) {
      await expect(createHarness(snmpDriver, { settings }).start()).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    }
  });
});
