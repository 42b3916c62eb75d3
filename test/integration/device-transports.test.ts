import dgram from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { monotonicMs } from '../../src/shared/adapters/clock/system-clock.ts';
import { createSystemRandom } from '../../src/shared/adapters/random/system-random.ts';
import { openServerIdentity } from '../../src/shared/adapters/tls/certificates.ts';
import type { Json, JsonObject } from '../../src/shared/foundation/json.ts';
import { limits } from '../../src/shared/model/limits.ts';
import type { ModuleSpec } from '../../src/shared/ports/device-link.ts';
import { type Devices, epoch, exec, type Hands, moduleSpec, never, startDevices, startHands, waitFor } from '../support/device-world.ts';
import { tempFolders } from '../support/temp-folder.ts';
import { testScope } from '../support/test-scope.ts';

const folder = tempFolders();
const scope = testScope();

const start = ({ link }: Hands, modules: ModuleSpec[]) => link.start({ location: 'hq', epoch, modules, handover: {} }, never());
/** Devices behind TLS, and the certificate of their CA. */
async function secureDevices(protocol: 'tls' | 'https'): Promise<{ devices: Devices; ca: string }> {
  const own = folder();
  const identity = await openServerIdentity({ folder: own, hosts: ['127.0.0.1', 'display.test'], random: createSystemRandom(), wallMs: Date.now() });
  const flags = ['--protocol', protocol, '--cert', join(own, 'server.pem'), '--key', join(own, 'server.key')];
  return { devices: await startDevices(scope(), own, { flags }), ca: identity.caPem };
}

const data = (devices: Devices): string[] => devices.log().filter(({ event }) => event === 'data').map((line) => line.data);
const events = (devices: Devices): string[] => devices.log().map(({ event }) => event).filter((event) => event !== 'data');

describe('TLS: the certificate of a device is checked unless the module says otherwise', () => {
  const secured = (id: string, devices: Devices, connection: JsonObject) =>
    moduleSpec(id, devices.ports[0] ?? 0, { tls: true, settings: { connection } });

  it('speaks to a device whose certificate fits, by address or by the name that was set', async () => {
    const { devices, ca } = await secureDevices('tls');
    const hands = startHands(scope());
    await start(hands, [secured('by-address', devices, { ca }), secured('by-name', devices, { ca, serverName: 'display.test' })]);
    expect(await exec(hands, 'by-address', 'echo', 1)).toBe(1);
    expect(await exec(hands, 'by-name', 'echo', 2)).toBe(2);
    const total = (await hands.link.writes('hq')).reduce((sum, { bytes }) => sum + bytes, 0);
    expect(total).toBe(data(devices).join('').length);
    await hands.link.stop('hq', 2_000);
    await waitFor('both connections to end with a reset', () => devices.log().filter((line) => line.event === 'closed' && line.data === 'reset').length === 2);
  });

  it('refuses one of an unknown CA or another name: no command leaves, the breaker opens and says why', async () => {
    const { devices, ca } = await secureDevices('tls');
    const hands = startHands(scope());
    const modules = [secured('unknown', devices, {}), secured('other', devices, { ca, serverName: 'projector.test' })];
    const report = await start(hands, modules);
    // A dead device is no failure of a module.
    expect(report.failed).toEqual([]);
    await waitFor('both to say why', () => ['unknown', 'other'].every((id) => hands.status.get(`${id}.problem`) !== null));
    expect(hands.status.get('unknown.problem')).toMatch(/certificate is refused: SELF_SIGNED|certificate is refused: UNABLE/);
    expect(hands.status.get('other.problem')).toMatch(/certificate is refused: ERR_TLS_CERT_ALTNAME_INVALID/);
    expect(hands.status.get('unknown.connected')).toBe(false);
    await expect(exec(hands, 'unknown', 'echo', 1)).rejects.toMatchObject({ code: 'DEVICE_OFFLINE' });
    expect(data(devices)).toEqual([]);
    // A change of settings is tried at once.
    await start(hands, [secured('unknown', devices, { ca })]);
    expect(await exec(hands, 'unknown', 'echo', 1)).toBe(1);
    expect(hands.status.get('unknown.problem')).toBeNull();
  });

  it('takes any when told not to check', async () => {
    const { devices } = await secureDevices('tls');
    const hands = startHands(scope());
    await start(hands, [secured('trusting', devices, { verifyCertificate: false })]);
    expect(await exec(hands, 'trusting', 'echo', 1)).toBe(1);
  });

  it('is given up for a while, too, when the device does not speak TLS', async () => {
    const devices = await startDevices(scope(), folder());
    const hands = startHands(scope());
    await start(hands, [secured('plain', devices, {})]);
    await waitFor('the problem', () => typeof hands.status.get('plain.problem') === 'string');
  });
});

describe('UDP: connected as long as commands are answered', () => {
  it('sends each command as a datagram, and says that a silent device is gone until the socket is opened again', async () => {
    const devices = await startDevices(scope(), folder(), { flags: ['--protocol', 'udp'] });
    const hands = startHands(scope());
    const settings = { timeoutMs: 50, retries: 3 };
    await start(hands, [moduleSpec('mod-1', devices.ports[0] ?? 0, { udp: true, settings })]);
    expect(hands.status.get('mod-1.connected')).toBe(true);
    expect(await exec(hands, 'mod-1', 'echo', 'a b')).toBe('a b');
    expect(data(devices)).toEqual(['echo "a b"\n']);
    await devices.control({ mute: true });
    await expect(exec(hands, 'mod-1', 'echo', 1)).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'unknown' } });
    await waitFor('the silence to be noticed', () => hands.status.get('mod-1.connected') === false);
    await devices.control({ mute: false });
    await waitFor('the device to be back', () => hands.status.get('mod-1.connected') === true, 5_000);
    expect(await exec(hands, 'mod-1', 'echo', 2)).toBe(2);
  });

  it('reaches a broadcast address, as what wakes a device needs', async () => {
    const asleep = dgram.createSocket('udp4');
    scope().defer('asleep', () => void asleep.close());
    await once(asleep.bind(0), 'listening');
    const woken = new Promise<string>((heard) => asleep.once('message', (message) => heard(message.toString())));
    const hands = startHands(scope());
    await start(hands, [moduleSpec('mod-1', asleep.address().port, { ip: '127.255.255.255', udp: true, settings: { pollMs: 50 } })]);
    await waitFor('the socket to be open', () => hands.status.get('mod-1.connected') === true);
    expect(await woken).toMatch(/\n$/);
  });

  it('lets nothing through a closed gate', async () => {
    const devices = await startDevices(scope(), folder(), { flags: ['--protocol', 'udp'] });
    const hands = startHands(scope());
    await start(hands, [moduleSpec('mod-1', devices.ports[0] ?? 0, { udp: true, settings: { pollMs: 10 } })]);
    await waitFor('polling', () => data(devices).length > 5);
    hands.link.closeGate('hq');
    const stamped = (await hands.link.writes('hq')).length;
    await waitFor('refusals', () => hands.metrics.read('holdfast_fencing_refusals_total', { fence: 'device' }) > 5);
    expect(await hands.link.writes('hq')).toHaveLength(stamped);
    expect(data(devices)).toHaveLength(stamped);
  });
});

describe('TCP: connected as long as the connection stands and commands are answered', () => {
  it('says that a device is gone that keeps its connection and answers nothing, and connects anew', async () => {
    const devices = await startDevices(scope(), folder());
    const hands = startHands(scope());
    await start(hands, [moduleSpec('mod-1', devices.ports[0] ?? 0, { settings: { timeoutMs: 50, retries: 3 } })]);
    await devices.control({ mute: true });
    await expect(exec(hands, 'mod-1', 'echo', 1)).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'unknown' } });
    // It may be one that it does not know.
    expect(hands.status.get('mod-1.connected')).toBe(true);
    await expect(exec(hands, 'mod-1', 'echo', 2)).rejects.toMatchObject({ facts: { fate: 'unknown' } });
    await waitFor('the silence to be noticed', () => hands.status.get('mod-1.connected') === false);
    await devices.control({ mute: false });
    await waitFor('the device to be back', () => hands.status.get('mod-1.connected') === true, 5_000);
    expect(await exec(hands, 'mod-1', 'echo', 2)).toBe(2);
  });

  it('asks for a machine that says nothing by keep-alive', async () => {
    const devices = await startDevices(scope(), folder());
    const port = devices.ports[0] ?? 0;
    await start(startHands(scope()), [moduleSpec('mod-1', port)]);
    await waitFor('the connection', () => events(devices).includes('open'));
    // sl, local, remote, state, queues, timer:when. Timer 2 is keep-alive; `when` in hundredths of a second.
    const remote = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
    const row = readFileSync('/proc/net/tcp', 'utf8').split('\n').map((line) => line.trim().split(/\s+/)).find((columns) => columns[2] === remote);
    const [timer, when] = row?.[5]?.split(':') ?? [];
    expect(timer).toBe('02');
    expect(Number.parseInt(when ?? '', 16)).toBeLessThanOrEqual(1_000);
  });
});

describe('make-and-break: connects on demand, closes when idle', () => {
  const brief = (devices: Devices, idleMs: number, settings: JsonObject = {}) =>
    moduleSpec('mod-1', devices.ports[0] ?? 0, { makebreak: true, settings: { ...settings, connection: { idleMs } } });

  it('stays connected between two connections, each of which is there for the commands of its time', async () => {
    const devices = await startDevices(scope(), folder());
    const hands = startHands(scope());
    const changes: Json[] = [];
    hands.link.onStatus(({ key, value }) => void (key === 'connected' && changes.push(value)));
    await start(hands, [brief(devices, 50)]);
    // Tried once, so that it is known whether the device is there.
    await waitFor('the first to close', () => events(devices).length === 2);
    expect(await Promise.all([exec(hands, 'mod-1', 'echo', 1), exec(hands, 'mod-1', 'echo', 2)])).toEqual([1, 2]);
    await waitFor('the second to close', () => events(devices).length === 4);
    // It does not close under a command that takes longer than the idle time.
    expect(await exec(hands, 'mod-1', 'slow', 200)).toBe(200);
    await waitFor('the third to close', () => events(devices).length === 6);
    expect(events(devices)).toEqual(['open', 'closed', 'open', 'closed', 'open', 'closed']);
    expect(changes).toEqual([true]);
  });

  it('logs in over each connection, before what asked for it', async () => {
    const devices = await startDevices(scope(), folder());
    const hands = startHands(scope());
    await start(hands, [{ ...brief(devices, 50, { password: 'right' }), driver: 'session' }]);
    await waitFor('the first to close', () => events(devices).length === 2);
    expect(await exec(hands, 'mod-1', 'say')).toMatch(/2$/);
    await waitFor('the second to close', () => events(devices).length === 4);
    expect(await exec(hands, 'mod-1', 'say')).toMatch(/3$/);
    expect(data(devices)).toEqual(['ping\n', 'ping\n', 'echo 2\n', 'ping\n', 'echo 3\n']);
  });

  it('says that a device is gone when connecting on demand fails, and notices by itself that it is back', async () => {
    const devices = await startDevices(scope(), folder());
    const hands = startHands(scope());
    await start(hands, [brief(devices, 20)]);
    await waitFor('the first to close', () => events(devices).length === 2);
    await devices.control({ refuse: true });
    await expect(exec(hands, 'mod-1', 'echo', 1)).rejects.toMatchObject({ code: 'DEVICE_LOST', facts: { fate: 'not-sent' } });
    expect(hands.status.get('mod-1.connected')).toBe(false);
    await devices.control({ refuse: false });
    await waitFor('the device to be back', () => hands.status.get('mod-1.connected') === true, 5_000);
    expect(await exec(hands, 'mod-1', 'echo', 1)).toBe(1);
  });

  it('lives with a device that closes after each command', async () => {
    const devices = await startDevices(scope(), folder(), { flags: ['--drop-after-bytes', '7'] });
    const hands = startHands(scope());
    await start(hands, [brief(devices, 1_000, { timeoutMs: 200 })]);
    // Cut off before the answer: an unnamed command may have been carried out, and is not sent again.
    await expect(exec(hands, 'mod-1', 'echo', 1)).rejects.toMatchObject({ code: 'DEVICE_LOST', facts: { fate: 'unknown' } });
    expect(hands.status.get('mod-1.connected')).toBe(true);
    await devices.control({ dropAfterBytes: null });
    expect(await exec(hands, 'mod-1', 'echo', 2)).toBe(2);
  });
});

describe('HTTP service: requests pass the same fence as bytes, and stay at their host', () => {
  const service = (uri: string, settings: JsonObject = {}) => moduleSpec('web', 0, { driver: 'web', role: 'service', ip: '', uri, settings });
  const setUp = async (settings: JsonObject = {}) => {
    const devices = await startDevices(scope(), folder(), { flags: ['--protocol', 'http'] });
    const hands = startHands(scope());
    const uri = `http://127.0.0.1:${devices.ports[0]}/api`;
    await start(hands, [service(uri, settings)]);
    return { devices, hands };
  };

  it('keeps the connection, sends the authorisation of the settings, and puts each request on record', async () => {
    const { devices, hands } = await setUp({ connection: { authorization: 'Bearer secret' } });
    expect(await exec(hands, 'web', 'ask', 'echo 1', 1_000)).toBe('200 ok echo 1');
    expect(await exec(hands, 'web', 'ask', 'echo 2', 1_000)).toBe('200 ok echo 2');
    expect(data(devices)).toEqual(['POST /api/command Bearer secret echo 1', 'POST /api/command Bearer secret echo 2']);
    expect(events(devices)).toEqual(['open']);
    expect(await hands.link.writes('hq')).toMatchObject([{ module: 'web', epoch }, { module: 'web', epoch }]);
  });

  it('follows no redirect, takes no answer without end, and refuses a path that leads elsewhere', async () => {
    const { devices, hands } = await setUp();
    expect(await exec(hands, 'web', 'get', '../away')).toBe(302);
    await expect(exec(hands, 'web', 'get', '../large')).rejects.toMatchObject({ code: 'DEVICE_REFUSED' });
    expect(await exec(hands, 'web', 'get', '//127.0.0.1:1/')).toBe(200);
    expect(data(devices).at(-1)).toBe('GET /api/127.0.0.1:1/  ');
  });

  it('says that what answers does not speak HTTP', async () => {
    const telnet = net.createServer((socket) => void socket.once('data', () => socket.end('login: '))).listen(0, '127.0.0.1');
    scope().defer('telnet', () => void telnet.close());
    await once(telnet, 'listening');
    const address = telnet.address();
    const hands = startHands(scope());
    await start(hands, [service(`http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`)]);
    const problem = expect.stringMatching(/^its answer is not HTTP: /);
    await expect(exec(hands, 'web', 'get', 'x')).rejects.toMatchObject({ code: 'DEVICE_REFUSED', facts: { problem } });
    // It took the request, and may have done what that asks for.
    await expect(exec(hands, 'web', 'ask', 'echo 1', 1_000)).rejects.toMatchObject({ code: 'DEVICE_LOST', facts: { fate: 'unknown' } });
    expect(hands.status.get('web.connected')).toBe(false);
  });

  it('ends a request at its deadline, and says when the service is gone and back', async () => {
    const { devices, hands } = await setUp();
    expect(hands.status.get('web.connected')).toBe(true);
    await devices.control({ delayMs: 2_000 });
    await expect(exec(hands, 'web', 'ask', 'echo 1', 100)).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'unknown' } });
    await devices.control({ delayMs: 0, refuse: true });
    await expect(exec(hands, 'web', 'ask', 'echo 1', 1_000)).rejects.toMatchObject({ code: 'DEVICE_OFFLINE' });
    expect(hands.status.get('web.connected')).toBe(false);
    await devices.control({ refuse: false });
    await exec(hands, 'web', 'ask', 'echo 1', 1_000);
    expect(hands.status.get('web.connected')).toBe(true);
  });

  it('says that a service is gone that took four requests in a row and answered none', async () => {
    const { devices, hands } = await setUp();
    const ask = () => exec(hands, 'web', 'ask', 'echo 1', 50).catch((error: unknown) => error);
    await devices.control({ delayMs: 5_000 });
    for (let times = 0; times < 3; times += 1) expect(await ask()).toMatchObject({ code: 'DEADLINE' });
    expect(hands.status.get('web.connected')).toBe(true);
    expect(await ask()).toMatchObject({ code: 'DEADLINE' });
    await waitFor('the service to count as gone', () => hands.status.get('web.connected') === false);
  });

  it('says nothing of a service whose answers others wait for: a request that had no turn in time is not its fault', async () => {
    const { devices, hands } = await setUp();
    const seen: Json[] = [];
    hands.link.onStatus(({ key, value }) => void (key === 'connected' && seen.push(value)));
    await devices.control({ delayMs: 500 });
    const slow = Array.from({ length: limits.httpConnections }, () => exec(hands, 'web', 'ask', 'echo 1', 3_000));
    await waitFor('the requests to arrive', () => data(devices).length === limits.httpConnections);
    await expect(exec(hands, 'web', 'ask', 'echo 2', 100)).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'not-sent' } });
    await Promise.all(slow);
    expect(seen).toEqual([]);
  });

  it('ends with the gate: what waits for an answer is unknown, nothing more leaves', async () => {
    const { devices, hands } = await setUp();
    await devices.control({ delayMs: 3_000 });
    const running = exec(hands, 'web', 'ask', 'echo 1', 4_000).catch((error: unknown) => error);
    await waitFor('the request to arrive', () => data(devices).length === 1);
    const closedMs = monotonicMs();
    hands.link.closeGate('hq');
    expect(await running).toMatchObject({ code: 'CANCELLED', facts: { fate: 'unknown' } });
    expect(monotonicMs() - closedMs).toBeLessThan(1_000);
    await waitFor('the connection to end', () => events(devices).at(-1) === 'closed');
    expect(data(devices)).toHaveLength(1);
  });

  it('checks the certificate of an https service', async () => {
    const { devices, ca } = await secureDevices('https');
    const hands = startHands(scope());
    const uri = `https://127.0.0.1:${devices.ports[0]}`;
    await start(hands, [service(uri)]);
    await expect(exec(hands, 'web', 'ask', 'echo 1', 1_000)).rejects.toMatchObject({ code: 'DEVICE_REFUSED' });
    expect(hands.status.get('web.problem')).toMatch(/certificate is refused/);
    expect(data(devices)).toEqual([]);
    await start(hands, [service(uri, { connection: { ca } })]);
    expect(await exec(hands, 'web', 'ask', 'echo 1', 1_000)).toBe('200 ok echo 1');
  });
});

describe('breaker: a permanent failure is named and not tried again soon', () => {
  it('opens when the driver says that the device refuses it, and closes when a setting changes', async () => {
    const devices = await startDevices(scope(), folder());
    const hands = startHands(scope());
    const login = (password: string) => moduleSpec('mod-1', devices.ports[0] ?? 0, { driver: 'login', settings: { password } });
    await start(hands, [login('wrong')]);
    await waitFor('the breaker', () => hands.status.get('mod-1.problem') === 'the password is wrong');
    await waitFor('the connection to end', () => hands.status.get('mod-1.connected') === false);
    const opened = events(devices).filter((event) => event === 'open').length;
    const untilMs = monotonicMs() + 2_500;
    await waitFor('the time of two ordinary attempts', () => monotonicMs() > untilMs);
    expect(events(devices).filter((event) => event === 'open')).toHaveLength(opened);
    await start(hands, [login('right')]);
    await waitFor('the connection', () => hands.status.get('mod-1.connected') === true);
    expect(hands.status.get('mod-1.problem')).toBeNull();
  });

  it('also when the driver takes that setting while it runs', async () => {
    const devices = await startDevices(scope(), folder());
    const hands = startHands(scope());
    const session = (password: string) => moduleSpec('mod-1', devices.ports[0] ?? 0, { driver: 'session', settings: { password } });
    await start(hands, [session('wrong')]);
    await waitFor('the breaker', () => hands.status.get('mod-1.connected') === false && hands.status.get('mod-1.problem') === 'the password is wrong');
    await start(hands, [session('right')]);
    await waitFor('the connection', () => hands.status.get('mod-1.connected') === true, 5_000);
    expect(hands.status.get('mod-1.problem')).toBeNull();
  });
});

describe('reconnect: a device that another one held is tried at once when the holder is re-stamped', () => {
  it('is connected long before the next attempt would have come', async () => {
    const devices = await startDevices(scope(), folder(), { flags: ['--single'] });
    const other = net.connect({ host: '127.0.0.1', port: devices.ports[0] ?? 0 });
    scope().defer('other', () => void other.destroy());
    await waitFor('the other side to hold it', () => events(devices).includes('open'));
    const hands = startHands(scope());
    await start(hands, [moduleSpec('mod-1', devices.ports[0] ?? 0)]);
    // After the second failure the pause is between 3 and 5 s.
    await waitFor('some failures', () => events(devices).filter((event) => event === 'refused').length >= 3, 15_000);
    other.resetAndDestroy();
    await waitFor('the other side to be gone', () => events(devices).includes('closed'));
    const beganMs = monotonicMs();
    hands.link.restamp('hq', { generation: 0, number: 4 });
    await waitFor('the connection', () => events(devices).at(-1) === 'open');
    expect(monotonicMs() - beganMs).toBeLessThan(2_500);
  });
});
