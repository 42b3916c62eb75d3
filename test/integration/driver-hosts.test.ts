import net from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { monotonicMs } from '../../src/shared/adapters/clock/system-clock.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import type { DeviceWrite, ModuleSpec } from '../../src/shared/ports/device-link.ts';
import { epoch, exec, type Hands, isAlive, moduleSpec, never, readLines, startDevices, startHands, startParent, waitFor } from '../support/device-world.ts';
import { tempFolders } from '../support/temp-folder.ts';
import { testScope } from '../support/test-scope.ts';

const folder = tempFolders();
const scope = testScope();

const rogue = (id = 'rogue', more: Partial<ModuleSpec> = {}) => moduleSpec(id, 0, { driver: 'rogue', role: 'logic', ...more });
const polled = (id: string, port: number) => moduleSpec(id, port, { settings: { pollMs: 10, timeoutMs: 1_000 } });

const start = ({ link }: Hands, modules: ModuleSpec[], more: object = {}) =>
  link.start({ location: 'hq', epoch, modules, handover: {}, ...more }, never());

/** A module is away for a moment after its host ended. */
const untilItRuns = async (hands: Hands, module: string): Promise<void> => {
  await expect.poll(() => exec(hands, module, 'hello').catch(() => null), { timeout: 5_000 }).toBe('hello');
};

describe('modules on driver hosts', () => {
  it('drive a device: calls, status, errors, and the writes on record', async () => {
    const file = join(folder(), 'writes.jsonl');
    const devices = await startDevices(scope(), folder());
    const hands = startHands(scope(), { writeLog: file });
    expect(await start(hands, [moduleSpec('mod-1', devices.ports[0] ?? 0)])).toEqual({ started: 1, failed: [] });
    expect(await exec(hands, 'mod-1', 'power', true)).toBe(true);
    expect(await exec(hands, 'mod-1', 'echo', { text: 'ü\n€' })).toEqual({ text: 'ü\n€' });
    await waitFor('status', () => hands.status.get('mod-1.power') === true);
    expect(hands.status.get('mod-1.connected')).toBe(true);
    await expect(exec(hands, 'mod-1', 'fail')).rejects.toMatchObject({ code: 'DEVICE_REFUSED' });
    await expect(exec(hands, 'mod-1', 'power', 'loud')).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    await expect(exec(hands, 'mod-1', 'none')).rejects.toMatchObject({ code: 'METHOD_NOT_FOUND' });

    const writes = await hands.link.writes('hq');
    const received = devices.log().filter(({ event }) => event === 'data');
    expect(writes).toHaveLength(3);
    expect(writes.map(({ bytes }) => bytes)).toEqual(received.map(({ bytes }) => bytes));
    expect(writes[0]).toMatchObject({ module: 'mod-1', location: 'hq', epoch });
    // The stamps are of the same clock as the device's own: each write came just before it arrived.
    for (const [index, write] of writes.entries()) expect(write.monotonicMs).toBeLessThanOrEqual(received[index]?.monotonicMs ?? 0);
    expect(readLines<DeviceWrite>(file)).toEqual(writes.map((write) => ({ ...write, node: 'node-1' })));
  });

  it('start devices, services, logic, triggers and stop in reverse, over two hosts', async () => {
    const file = join(folder(), 'order.jsonl');
    const hands = startHands(scope(), { hosts: 2 });
    const roles = ['trigger', 'logic', 'service', 'device'] as const;
    // More than one host gets: 64 of a driver stay together.
    const modules = roles.flatMap((role) => Array.from({ length: 40 }, (_, index) => rogue(`${role}-${index}`, { driver: 'recorder', role, settings: { file } })));
    expect((await start(hands, modules)).started).toBe(160);
    await hands.link.stop('hq', 5_000);
    const events = readLines<{ event: string; module: string }>(file).map(({ event, module }) => `${event} ${module.split('-')[0]}`);
    const runs = events.filter((event, index) => event !== events[index - 1]);
    expect(runs).toEqual([
      ...['device', 'service', 'logic', 'trigger'].map((role) => `start ${role}`),
      ...['trigger', 'logic', 'service', 'device'].map((role) => `stop ${role}`),
    ]);
    expect(events).toHaveLength(320);
  });

  it('say what is wrong with a module, and start the others', async () => {
    const devices = await startDevices(scope(), folder());
    const port = devices.ports[0] ?? 0;
    const hands = startHands(scope());
    const report = await start(hands, [
      moduleSpec('good', port),
      moduleSpec('unknown', port, { driver: 'no-such' }),
      moduleSpec('settings', port, { settings: { pollMs: -1 } }),
      moduleSpec('udp', port, { udp: true, tls: true }),
      moduleSpec('nowhere', port, { ip: '' }),
      rogue('bad', { driver: 'bad-setup' }),
    ]);
    expect(report.started).toBe(1);
    const problems = new Map(report.failed.map(({ module, problem }) => [module, problem]));
    expect(problems.get('unknown')).toContain('no driver no-such');
    expect(problems.get('settings')).toContain('settings.pollMs');
    expect(problems.get('udp')).toContain('udp');
    expect(problems.get('nowhere')).toContain('ip');
    expect(problems.get('bad')).toContain('setup failed');
    await expect(exec(hands, 'bad', 'x')).rejects.toMatchObject({ code: 'MODULE_NOT_RUNNING' });
    expect(await exec(hands, 'good', 'echo', 1)).toBe(1);
  });

  it('reach a device that comes up later, and one that dropped the connection', async () => {
    const devices = await startDevices(scope(), folder(), { flags: ['--refuse'] });
    const hands = startHands(scope());
    expect((await start(hands, [moduleSpec('mod-1', devices.ports[0] ?? 0)])).started).toBe(1);
    await expect(exec(hands, 'mod-1', 'echo', 1)).rejects.toMatchObject({ code: 'DEVICE_OFFLINE' });
    await devices.control({ refuse: false });
    await waitFor('connection', () => hands.status.get('mod-1.connected') === true, 5_000);
    await devices.control({ dropAfterBytes: 1 });
    await expect(exec(hands, 'mod-1', 'echo', 1)).rejects.toMatchObject({ code: 'DEVICE_LOST', facts: { fate: 'unknown' } });
    await devices.control({ dropAfterBytes: null });
    await waitFor('reconnect', () => hands.status.get('mod-1.connected') === true, 5_000);
    expect(await exec(hands, 'mod-1', 'echo', 2)).toBe(2);
  });

  it('say that a device is dead, also when it was dead from the start', async () => {
    const devices = await startDevices(scope(), folder(), { ports: 2, flags: ['--refuse'] });
    const hands = startHands(scope());
    const modules = devices.ports.map((port, index) => moduleSpec(`mod-${index}`, port));
    expect((await start(hands, modules)).started).toBe(2);
    await waitFor('both values', () => hands.status.has('mod-0.connected') && hands.status.has('mod-1.connected'));
    expect(Object.fromEntries(hands.status)).toMatchObject({ 'mod-0.connected': false, 'mod-1.connected': false });
  });

  it('start and stop by the thousand', async () => {
    const devices = await startDevices(scope(), folder(), { ports: 1_000 });
    const hands = startHands(scope(), { hosts: 2 });
    // Warm: the processes start with the node, long before they are needed.
    await hands.link.writes('hq');
    const beganMs = monotonicMs();
    const report = await start(hands, devices.ports.map((port, index) => moduleSpec(`mod-${index}`, port)));
    const startMs = monotonicMs() - beganMs;
    // Should a host have ended: why.
    expect(hands.log.lines.filter(({ event }) => event === 'driver-host-ended')).toEqual([]);
    expect(report).toEqual({ started: 1_000, failed: [] });
    await waitFor('all connected', () => [...hands.status].filter(([key, value]) => key.endsWith('.connected') && value === true).length === 1_000);
    const stoppedMs = monotonicMs();
    await hands.link.stop('hq', 60_000);
    // A figure, not a promise: it depends on the machine and on what else runs there.
    console.info(`1,000 modules: start ${Math.round(startMs)} ms, stop ${Math.round(monotonicMs() - stoppedMs)} ms`);
    await expect.poll(() => devices.log().filter(({ event }) => event === 'closed').length, { timeout: 10_000 }).toBe(1_000);
  });
});

describe('changing hands', () => {
  it('a device with one connection goes from one node to the other and back, never refusing, with its state', async () => {
    const devices = await startDevices(scope(), folder(), { flags: ['--single'] });
    const nodes = [startHands(scope(), { nodeId: 'edge' }), startHands(scope(), { nodeId: 'master' })] as const;
    const modules = [polled('mod-1', devices.ports[0] ?? 0)];
    let handover: Record<string, Json> = {};
    for (let turn = 0; turn < 12; turn += 1) {
      const hands = nodes[turn % 2] ?? expect.fail('two nodes');
      const own = { generation: 0, number: turn + 2 };
      await hands.link.start({ location: 'hq', epoch: own, modules, handover }, never());
      await waitFor('connection', () => hands.status.get('mod-1.connected') === true, 1_000);
      if (turn > 0) await waitFor('value handed over', () => hands.status.get('mod-1.turn') === turn - 1, 1_000);
      const call = { location: 'hq', module: 'mod-1', method: 'set', args: ['turn', turn], epoch: own, deadlineMs: monotonicMs() + 5_000, requestId: 'r', user: 'ada' };
      await hands.link.exec(call, never());
      ({ handover } = await hands.link.stop('hq', 2_000));
      hands.status.clear();
    }
    const log = devices.log();
    expect(log.filter(({ event }) => event === 'refused')).toEqual([]);
    // Break before make, as the device saw it.
    await waitFor('all closed', () => devices.log().filter(({ event }) => event === 'closed').length === 12);
    const connections = devices.log().filter(({ event }) => event !== 'data').map(({ event }) => event);
    expect(connections).toEqual(Array.from({ length: 12 }, () => ['open', 'closed']).flat());
    // With a reset: what the kernel still held is thrown away.
    expect(devices.log().filter(({ event, data }) => event === 'closed' && data !== 'reset')).toEqual([]);
  });

  it('a stopped location starts anew under a newer epoch at once, also a device with one connection', async () => {
    const devices = await startDevices(scope(), folder(), { flags: ['--single'] });
    const hands = startHands(scope());
    const modules = [polled('mod-1', devices.ports[0] ?? 0)];
    const call = { location: 'hq', module: 'mod-1', method: 'echo', args: [1], requestId: 'r', user: 'ada' };
    for (let turn = 1; turn <= 20; turn += 1) {
      const own = { generation: 0, number: turn * 2 };
      const authority = () => ({ epoch: own, deadlineMs: monotonicMs() + 5_000 });
      await hands.link.start({ location: 'hq', epoch: own, modules, handover: {} }, never());
      // No waiting: the first attempt to connect was a good one.
      expect(await hands.link.exec({ ...call, ...authority() }, never())).toBe(1);
      const stopped = hands.link.stop('hq', 2_000);
      const refused = { code: 'GATE_CLOSED' };
      await expect(hands.link.exec({ ...call, ...authority() }, never())).rejects.toMatchObject(refused);
      // Every other time the start does not wait for the stop by itself.
      if (turn % 2 === 0) await stopped;
      await expect(hands.link.exec({ ...call, ...authority() }, never())).rejects.toMatchObject(refused);
    }
    expect(devices.log().filter(({ event }) => event === 'refused')).toEqual([]);
    await waitFor('all closed', () => devices.log().filter(({ event }) => event === 'closed').length === 20);
    const connections = devices.log().filter(({ event }) => event !== 'data').map(({ event }) => event);
    expect(connections).toEqual(Array.from({ length: 20 }, () => ['open', 'closed']).flat());
  });

  it('a closed gate lets nothing through, also not what the hosts had queued; open again, the modules go on', async () => {
    const devices = await startDevices(scope(), folder(), { ports: 50 });
    const hands = startHands(scope(), { hosts: 2 });
    await start(hands, devices.ports.map((port, index) => polled(`mod-${index}`, port)));
    await waitFor('polling', () => devices.log().filter(({ event }) => event === 'data').length > 200);
    const queued = Array.from({ length: 500 }, (_, index) => exec(hands, `mod-${index % 50}`, 'echo', index));
    hands.link.closeGate('hq');
    // The pipe is ordered: once they answer this, the hosts have heard of it.
    await hands.link.writes('hq');
    const closedMs = monotonicMs();
    const outcomes = await Promise.allSettled(queued);
    expect(outcomes.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(0);
    await waitFor('refusals', () => hands.metrics.read('holdfast_fencing_refusals_total', { fence: 'device' }) > 100);
    const late = (await hands.link.writes('hq')).filter(({ monotonicMs: at }) => at > closedMs);
    expect(late).toEqual([]);
    const total = (await hands.link.writes('hq')).reduce((sum, { bytes }) => sum + bytes, 0);
    expect(devices.log().reduce((sum, { bytes }) => sum + bytes, 0)).toBe(total);
    expect(devices.log().filter(({ event }) => event === 'closed')).toEqual([]);
  });

  it('bytes that the kernel has not taken when the gate closes never leave', async () => {
    let received = 0;
    let closed = false;
    const taken: net.Socket[] = [];
    const server = net.createServer((socket) => {
      taken.push(socket.pause());
      socket.on('data', (chunk) => (received += chunk.length));
      socket.on('error', () => undefined);
      socket.on('close', () => (closed = true));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    scope().defer('server', () => void server.close());
    const address = server.address();
    const hands = startHands(scope());
    await start(hands, [moduleSpec('mod-1', typeof address === 'object' ? (address?.port ?? 0) : 0, { driver: 'flood' })]);
    await exec(hands, 'mod-1', 'flood', 64);
    hands.link.closeGate('hq');
    await waitFor('the connection to be dropped', () => hands.status.get('mod-1.connected') === false);
    for (const socket of taken) socket.resume();
    await waitFor('the device to notice', () => closed);
    expect(received).toBeLessThan(64 * 1024 * 1024);
    const stamped = await hands.link.writes('hq');
    expect(stamped.length).toBeLessThan(64);
  });

  it('re-stamps what runs: the device notices nothing, the writes carry the new epoch', async () => {
    const devices = await startDevices(scope(), folder());
    const hands = startHands(scope());
    await start(hands, [polled('mod-1', devices.ports[0] ?? 0)]);
    const slow = exec(hands, 'mod-1', 'slow', 300);
    await waitFor('the command to arrive', () => devices.log().some(({ data }) => data.startsWith('slow')));
    const raised = { generation: 0, number: 6 };
    hands.link.restamp('hq', raised);
    await expect(slow).resolves.toBe(300);
    await expect(exec(hands, 'mod-1', 'echo', 1)).rejects.toMatchObject({ code: 'STALE_EPOCH' });
    await waitFor('a poll', () => devices.log().at(-1)?.data === 'ping\n');
    expect((await hands.link.writes('hq')).at(-1)?.epoch).toEqual(raised);
    expect(devices.log().filter(({ event }) => event === 'open')).toHaveLength(1);
  });

  it('a host that does not stop is killed within the deadline; other locations go on elsewhere', async () => {
    const devices = await startDevices(scope(), folder(), { ports: 2 });
    const hands = startHands(scope());
    await start(hands, [moduleSpec('mod-1', devices.ports[0] ?? 0), rogue()]);
    const other = { location: 'branch', epoch, modules: [moduleSpec('mod-2', devices.ports[1] ?? 0)], handover: {} };
    await hands.link.start(other, never());
    const lost = exec(hands, 'rogue', 'loop').catch((error: unknown) => error);
    const beganMs = monotonicMs();
    await hands.link.stop('hq', 800);
    console.info(`stopping a host that does not obey, within 800 ms: ${Math.round(monotonicMs() - beganMs)} ms`);
    expect(await lost).toMatchObject({ code: 'DRIVER_HOST_LOST' });
    await waitFor('the device to be let go', () => devices.log().some(({ device, event }) => device === 0 && event === 'closed'), 1_000);
    await waitFor('the other location', () => devices.log().filter(({ device, event }) => device === 1 && event === 'open').length === 2, 3_000);
  });
});

describe('bad drivers', () => {
  it.each(['loop', 'loopLater'])('an endless loop (%s) is ended within 2 s and costs the neighbours less than 1 s', async (method) => {
    const devices = await startDevices(scope(), folder());
    const hands = startHands(scope());
    const changes: { value: Json; atMs: number }[] = [];
    hands.link.onStatus(({ module, key, value }) => {
      if (module === 'mod-1' && key === 'connected') changes.push({ value, atMs: monotonicMs() });
    });
    await start(hands, [moduleSpec('mod-1', devices.ports[0] ?? 0), rogue()]);
    await expect(exec(hands, 'rogue', 'hello')).resolves.toBe('hello');
    const beganMs = monotonicMs();
    await expect(exec(hands, 'rogue', method)).rejects.toMatchObject({ code: 'DRIVER_HOST_LOST', facts: { fate: 'unknown' } });
    expect(monotonicMs() - beganMs).toBeLessThan(2_000);
    await waitFor('the neighbour', () => changes.length >= 3);
    const [, lost, back] = changes;
    expect([lost?.value, back?.value]).toEqual([false, true]);
    expect((back?.atMs ?? 0) - (lost?.atMs ?? 0)).toBeLessThan(1_000);
    expect(await exec(hands, 'mod-1', 'echo', 1)).toBe(1);
    expect(hands.log.text()).toContain('"culprit":"hq/rogue"');
  });

  it('a crash costs its host only; the second one takes the driver away from the others', async () => {
    const devices = await startDevices(scope(), folder());
    const hands = startHands(scope());
    await start(hands, [polled('mod-1', devices.ports[0] ?? 0), rogue()]);
    for (let time = 1; time <= 2; time += 1) {
      await untilItRuns(hands, 'rogue');
      await exec(hands, 'rogue', 'crash');
      await waitFor(`restart ${time}`, () => hands.metrics.read('holdfast_driver_host_restarts_total', {}) === time);
      await waitFor('the neighbour', () => hands.status.get('mod-1.connected') === true);
    }
    // What was reported right before counts.
    expect(hands.status.get('rogue.crash')).toBe('is here');
    expect(hands.log.text()).toContain('rogue crashed');
    expect(hands.log.lines.some(({ event, facts }) => event === 'driver-isolated' && 'driver' in facts && facts.driver === 'rogue')).toBe(true);
    await untilItRuns(hands, 'rogue');
    // Alone now: its third crash does not touch the neighbour.
    const opened = devices.log().filter(({ event }) => event === 'open').length;
    await exec(hands, 'rogue', 'crash');
    await waitFor('restart 3', () => hands.metrics.read('holdfast_driver_host_restarts_total', {}) === 3);
    expect(await exec(hands, 'mod-1', 'echo', 1)).toBe(1);
    expect(devices.log().filter(({ event }) => event === 'open')).toHaveLength(opened);
  });

  it('one that was killed, without a last word, is replaced too; who was at work is told, as a suspicion', async () => {
    const devices = await startDevices(scope(), folder());
    const hands = startHands(scope());
    await start(hands, [rogue(), moduleSpec('mod-1', devices.ports[0] ?? 0)]);
    await expect(exec(hands, 'rogue', 'killFromOutside')).rejects.toMatchObject({ code: 'DRIVER_HOST_LOST' });
    await untilItRuns(hands, 'rogue');
    expect(hands.status.get('rogue.problem')).toBe('it seems to have ended its driver host (SIGKILL): no other module had a call under way');
    expect(hands.log.text()).toContain('"atWork":["hq/rogue"]');
    await waitFor('the neighbour', () => hands.status.get('mod-1.connected') === true);
    expect(hands.status.get('mod-1.problem')).toBeNull();
  });

  it('what a driver prints, and a rejection that nobody caught, become log lines of its module', async () => {
    const hands = startHands(scope());
    const lines: string[] = [];
    hands.link.onLog(({ location, module, level, message }) => void lines.push(`${location} ${module} ${level} ${message}`));
    await start(hands, [rogue()]);
    await exec(hands, 'rogue', 'print', 'hello');
    await exec(hands, 'rogue', 'reject');
    await waitFor('log lines', () => lines.length === 2);
    expect(lines).toEqual(['hq rogue info hello', 'hq rogue error unhandled rejection: nobody caught this']);
    expect(await exec(hands, 'rogue', 'hello')).toBe('hello');
  });
});

describe('without a node', () => {
  it('orphan rule: when the node is killed every device connection is gone within 1 s, and so are the hosts', async () => {
    const devices = await startDevices(scope(), folder(), { ports: 20 });
    const modules = devices.ports.map((port, index) => polled(`mod-${index}`, port));
    const { child, ready } = await startParent(scope(), { modules, hosts: 2 });
    await waitFor('polling', () => devices.log().filter(({ event }) => event === 'data').length > 100);
    const killedMs = monotonicMs();
    child.kill('SIGKILL');
    await waitFor('the devices to be let go', () => devices.log().filter(({ event }) => event === 'closed').length === 20, 2_000);
    for (const { event, monotonicMs: at } of devices.log()) {
      if (event === 'closed') expect(at - killedMs).toBeLessThan(1_000);
    }
    expect(devices.log().filter(({ event, data }) => event === 'closed' && data !== 'reset')).toEqual([]);
    expect(ready.hosts).toHaveLength(2);
    await waitFor('the hosts to end', () => !ready.hosts.some(isAlive), 2_000);
  });

  it('a node that is stuck keeps no device: writes end at the lease, connections right after', async () => {
    const devices = await startDevices(scope(), folder(), { ports: 10 });
    const modules = devices.ports.map((port, index) => polled(`mod-${index}`, port));
    const { child, ready } = await startParent(scope(), { modules, hosts: 2, leaseMs: 1_500 });
    child.kill('SIGSTOP');
    const { untilMs } = ready as { hosts: number[]; untilMs: number };
    await waitFor('the devices to be let go', () => devices.log().filter(({ event }) => event === 'closed').length >= 10, 5_000);
    const log = devices.log();
    const data = log.filter(({ event }) => event === 'data').map(({ monotonicMs: at }) => at);
    expect(Math.max(...data)).toBeGreaterThan(untilMs - 500);
    // The devices' own stamps, in another process: allow for its delays.
    expect(Math.max(...data)).toBeLessThan(untilMs + 100);
    for (const { event, monotonicMs: at } of log) {
      if (event !== 'closed') continue;
      expect(at).toBeGreaterThanOrEqual(untilMs - 1);
      expect(at).toBeLessThan(untilMs + 500);
    }
    // No new connection either: the first attempt would have come after about a second.
    await waitFor('the time of a reconnect', () => monotonicMs() > untilMs + 1_500);
    expect(devices.log().filter(({ event }) => event === 'open')).toHaveLength(10);
  });

  it('the write log holds every byte that a device received, also when hosts and node are killed', async () => {
    const file = join(folder(), 'writes.jsonl');
    const devices = await startDevices(scope(), folder(), { ports: 10 });
    const modules = devices.ports.map((port, index) => polled(`mod-${index}`, port));
    const { child, ready } = await startParent(scope(), { modules, hosts: 2, writeLog: file });
    await waitFor('polling', () => devices.log().filter(({ event }) => event === 'data').length > 300);
    for (const pid of ready.hosts) process.kill(pid, 'SIGKILL');
    child.kill('SIGKILL');
    await waitFor('the devices to be let go', () => devices.log().filter(({ event }) => event === 'closed').length >= 10);
    const writes = readLines<DeviceWrite & { node: string }>(file);
    for (const [device] of devices.ports.entries()) {
      const received = devices.log().filter((line) => line.device === device).reduce((sum, { bytes }) => sum + bytes, 0);
      const own = writes.filter(({ module }) => module === `mod-${device}`);
      const written = own.reduce((sum, { bytes }) => sum + bytes, 0);
      expect(received).toBeGreaterThan(0);
      // The record comes first, so the last write may be on record and not have left.
      expect(written).toBeGreaterThanOrEqual(received);
      expect(written - received).toBeLessThanOrEqual(own.at(-1)?.bytes ?? 0);
      expect(own.every(({ node }) => node === 'parent')).toBe(true);
    }
  });
});
