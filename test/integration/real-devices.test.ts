import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { type Client, routes } from '../../src/client-sdk/index.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import type { ModuleSpec } from '../../src/shared/ports/device-link.ts';
import { epoch, exec, type Hands, moduleSpec, never, startHands, waitFor } from '../support/device-world.ts';
import { startFederation } from '../support/federation.ts';
import { missingPrograms, startAgent, startPlayer, startUps } from '../support/real-programs.ts';
import { testScope } from '../support/test-scope.ts';
import { staleWrites } from '../support/write-log.ts';

const scope = testScope();

const start = async (modules: ModuleSpec[]): Promise<Hands> => {
  const hands = startHands(scope());
  expect(await hands.link.start({ location: 'hq', epoch, modules, handover: {} }, never())).toEqual({ started: modules.length, failed: [] });
  return hands;
};
const until = ({ status }: Hands, name: string, value: unknown): Promise<void> =>
  waitFor(`${name} to be ${JSON.stringify(value)}`, () => status.get(name) === value, 15_000);

/** As a player says it over a connection of its own. */
async function uptimeOf(port: number): Promise<number> {
  const socket = connect(port, '127.0.0.1');
  socket.write('stats\nclose\n');
  return Number(/^uptime: (\d+)$/m.exec(await text(socket))?.[1]);
}

describe.skipIf(missingPrograms !== '')(`real programs as devices${missingPrograms === '' ? '' : `: ${missingPrograms}`}`, () => {
  it('a UPS: readings, a variable set, a refusal, the mains gone, the server killed and started again', async () => {
    const ups = await startUps(scope());
    const hands = await start([
      moduleSpec('ups', ups.port, { driver: 'nut', settings: { ups: 'lab', username: 'admin', password: 'secret', pollMs: 200 } }),
    ]);
    await until(hands, 'ups.battery.charge', '97');
    await until(hands, 'ups.on_battery', false);
    expect(await exec(hands, 'ups', 'get', 'ups.model')).toBe('Lab');
    await expect(exec(hands, 'ups', 'get', 'no.such.variable')).rejects.toMatchObject({ code: 'DEVICE_REFUSED', facts: { problem: 'VAR-NOT-SUPPORTED' } });
    expect(await exec(hands, 'ups', 'set', 'ups.mfr', 'Acme')).toBe('Acme');
    await until(hands, 'ups.ups.mfr', 'Acme');
    await ups.status('OB LB');
    await until(hands, 'ups.on_battery', true);
    await until(hands, 'ups.low_battery', true);

    // A server that starts knows nothing of the mains for a moment: no reason to say that they are back.
    const mains: Json[] = [];
    hands.link.onStatus(({ key, value }) => void (key === 'on_battery' && mains.push(value)));
    await ups.kill();
    await until(hands, 'ups.connected', false);
    await ups.start();
    await until(hands, 'ups.connected', true);
    await expect.poll(() => exec(hands, 'ups', 'get', 'ups.status'), { timeout: 20_000 }).toBe('OB LB');
    expect(mains).not.toContain(false);
    await ups.status('OL');
    await until(hands, 'ups.on_battery', false);
  }, 60_000);

  it('a media player: commands, a refusal, changes that it pushes, killed and started again', async () => {
    const player = await startPlayer(scope());
    const hands = await start([moduleSpec('player', player.port, { driver: 'mpd' }), moduleSpec('other', player.port, { driver: 'mpd' })]);
    await until(hands, 'player.state', 'stop');
    expect(hands.status.get('player.version')).toMatch(/^\d+\./);
    await exec(hands, 'player', 'add', 'beep.wav');
    await exec(hands, 'player', 'play');
    expect(hands.status.get('player.state')).toBe('play');
    // A player that started anew is told by that: younger than it was.
    await expect.poll(() => uptimeOf(player.port), { timeout: 15_000 }).toBeGreaterThan(4);
    expect(await exec(hands, 'player', 'volume', 37)).toBe(37);
    // Pushed: nobody asked through the other connection.
    await until(hands, 'other.volume', 37);
    await until(hands, 'other.state', 'play');
    await Promise.all([exec(hands, 'player', 'pause', true), exec(hands, 'other', 'repeat', true)]);
    await until(hands, 'player.repeat', true);
    await until(hands, 'other.state', 'pause');
    await expect(exec(hands, 'player', 'add', 'no-such-song.wav')).rejects.toMatchObject({ code: 'DEVICE_REFUSED' });

    await player.kill();
    await until(hands, 'player.connected', false);
    await player.start();
    await until(hands, 'player.connected', true);
    await until(hands, 'player.volume', 37);
    await exec(hands, 'player', 'stop');
    await until(hands, 'other.state', 'stop');
  }, 60_000);

  it('an SNMP agent: objects polled, read, written and walked, refusals, killed and started again', async () => {
    const agent = await startAgent(scope());
    const sysContact = '1.3.6.1.2.1.1.4.0';
    const sysName = '1.3.6.1.2.1.1.5.0';
    const settings = { writeCommunity: 'private', poll: { name: sysName, contact: sysContact, nothing: '1.3.6.1.2.1.1.99.0' }, pollMs: 500, timeoutMs: 500, retries: 1 };
    const hands = await start([moduleSpec('agent', agent.port, { driver: 'snmp', udp: true, settings })]);
    await until(hands, 'agent.name', 'lab-agent');
    expect(hands.status.get('agent.nothing')).toBeNull();
    expect(await exec(hands, 'agent', 'get', sysName)).toBe('lab-agent');
    expect(await exec(hands, 'agent', 'get', '1.3.6.1.2.1.1.3.0')).toBeGreaterThan(0);

    expect(await exec(hands, 'agent', 'set', sysContact, 'string', 'night shift')).toBe('night shift');
    expect(hands.status.get('agent.contact')).toBe('night shift');
    // Fixed in the configuration of the agent.
    await expect(exec(hands, 'agent', 'set', sysName, 'string', 'other')).rejects.toMatchObject({ code: 'DEVICE_REFUSED', facts: { problem: `NotWritable: ${sysName}` } });
    await expect(exec(hands, 'agent', 'set', sysContact, 'integer', 'x')).rejects.toMatchObject({ code: 'INPUT_INVALID', facts: { field: 'args.2' } });

    const system = await exec(hands, 'agent', 'walk', '1.3.6.1.2.1.1');
    expect(system).toMatchObject({ [sysName]: 'lab-agent', [sysContact]: 'night shift' });
    expect(Object.keys(system ?? {}).every((oid) => oid.startsWith('1.3.6.1.2.1.1.'))).toBe(true);

    // Every request, answered or not, passed the gate and is on record.
    expect((await hands.link.writes('hq')).filter(({ module }) => module === 'agent').length).toBeGreaterThan(5);
    await agent.kill();
    await until(hands, 'agent.connected', false);
    await agent.start();
    await waitFor('an answer', () => hands.status.get('agent.contact') !== 'night shift', 20_000);
    await until(hands, 'agent.connected', true);
    expect(await exec(hands, 'agent', 'get', sysName)).toBe('lab-agent');
  }, 60_000);

  it('all of them move with control, and so does a rule over two of them: the media pauses while the UPS runs on battery', async () => {
    const [ups, player, agent] = await Promise.all([startUps(scope()), startPlayer(scope()), startAgent(scope())]);
    const sites = [{ id: 'berlin', name: 'Berlin', policy: 'available', timezone: 'UTC' }] as const;
    const world = await startFederation(scope(), { sites, devicesPerSite: 1 });
    const { client, federation } = world;
    await addRoom(client, { ups: ups.port, player: player.port, agent: agent.port });
    const value = (module: string, key: string): Promise<unknown> =>
      client.call(routes.variable, { params: { id: 'sys-room', module, key } }).catch(() => null);
    const comes = (module: string, key: string, wanted: unknown): Promise<void> =>
      expect.poll(() => value(module, key), { timeout: 30_000, interval: 50, message: `${module}.${key}` }).toBe(wanted);
    const play = (method: string, ...args: Json[]): Promise<Json> =>
      client.call(routes.exec, { params: { id: 'sys-room', module: 'Player_1', method }, body: args });
    await comes('Ups_1', 'on_battery', false);
    await comes('Agent_1', 'name', 'lab-agent');
    await comes('Player_1', 'state', 'stop');
    await comes('Guard_1', 'paused', false);
    await play('add', 'beep.wav');
    await play('play');
    await comes('Player_1', 'state', 'play');

    federation.edge('berlin')?.process.signal('SIGKILL');
    await world.until('berlin', { holder: 'master', state: 'holding' });
    await ups.status('OB');
    await comes('Ups_1', 'on_battery', true);
    await comes('Player_1', 'state', 'pause');
    await comes('Guard_1', 'paused', true);

    await federation.restartEdge('berlin');
    await world.until('berlin', { holder: 'master', state: 'waiting-window' });
    await world.untilEdge('berlin', { holder: 'master', state: 'standby' });
    await client.call(routes.handback, { params: { id: 'berlin' }, body: {} });
    await world.untilEdge('berlin', { holder: 'edge', state: 'holding' });
    // That it was paused here came with the hand-over; nothing moves while the power does not.
    await comes('Guard_1', 'paused', true);
    expect(await value('Player_1', 'state')).toBe('pause');
    await ups.status('OL');
    await comes('Player_1', 'state', 'play');
    await comes('Guard_1', 'paused', false);
    await comes('Agent_1', 'connected', true);

    const writes = world.writes();
    expect(staleWrites(writes, 'berlin')).toEqual([]);
    for (const module of ['mod-ups', 'mod-player', 'mod-agent']) {
      const nodes = writes.filter((write) => write.module === module).map(({ node }) => node);
      expect(nodes.filter((node, at) => node !== nodes[at - 1])).toHaveLength(3);
    }
  }, 180_000);
});

/** A system with a module of each driver that speaks to a real program, and the rule, all controlled by the edge. */
async function addRoom(client: Client, ports: { ups: number; player: number; agent: number }): Promise<void> {
  const { text } = await client.call(routes.export, {});
  const documents = parse(text) as Record<'drivers' | 'systems' | 'modules', object[]>;
  const at = { edge_control_id: 'berlin', ip: '127.0.0.1' };
  const agentSettings = { pollMs: 500, poll: { name: '1.3.6.1.2.1.1.5.0' } };
  documents.drivers.push(
    ...['nut', 'mpd', 'snmp'].map((builtin) => ({ id: `driver-${builtin}`, name: builtin, builtin, role: 'device' })),
    { id: 'driver-guard', name: 'Guard', builtin: 'pause-on-battery', role: 'logic' },
  );
  documents.systems.push({ id: 'sys-room', name: 'Room', edge_control_id: 'berlin', modules: ['mod-ups', 'mod-player', 'mod-agent', 'mod-guard'] });
  documents.modules.push(
    { ...at, id: 'mod-ups', name: 'Ups', driver_id: 'driver-nut', port: ports.ups, settings: { ups: 'lab', pollMs: 200 } },
    { ...at, id: 'mod-player', name: 'Player', driver_id: 'driver-mpd', port: ports.player },
    { ...at, id: 'mod-agent', name: 'Agent', driver_id: 'driver-snmp', udp: true, port: ports.agent, settings: agentSettings },
    { id: 'mod-guard', name: 'Guard', driver_id: 'driver-guard', edge_control_id: 'berlin' },
  );
  await client.call(routes.apply, { body: { text: stringify(documents), dry_run: false } });
}
