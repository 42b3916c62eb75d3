import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { routes } from '../../src/client-sdk/index.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { command, startFederation, type TestFederation } from '../support/federation.ts';
import { childrenOf, lowThreadsOf } from '../support/processes.ts';
import { staleWrites } from '../support/write-log.ts';

/** Real processes, real TLS, real sockets: one master, two edges, killed and cut and frozen. */

const scope = new Scope();
let world: TestFederation;
beforeAll(async () => {
  world = await startFederation(scope);
}, 60_000);
afterAll(async () => {
  await scope.close();
});

const openWindow = async (site: string): Promise<void> => {
  const now = new Date();
  await setEdge(site, { window_start: `${now.getUTCMinutes()} ${now.getUTCHours()} * * *`, window_length: 300, timezone: 'UTC' });
};

async function setEdge(site: string, fields: Record<string, unknown>): Promise<void> {
  const { parse, stringify } = await import('yaml');
  const { text } = await world.client.call(routes.export, {});
  const documents = parse(text) as { edges: Record<string, unknown>[] };
  for (const edge of documents.edges) if (edge['id'] === site) Object.assign(edge, fields);
  await world.client.call(routes.apply, { body: { text: stringify(documents), dry_run: false } });
}

it.runIf(process.platform === 'linux')('servers and driver hosts run commands before they collect and compile', () => {
  const { pid } = world.federation.master.process;
  // A server also has the thread that writes events.
  expect(lowThreadsOf(pid)).toBe(6);
  const hosts = childrenOf(pid);
  expect(hosts).not.toEqual([]);
  for (const host of hosts) expect(lowThreadsOf(host)).toBe(5);
});

describe('an edge that dies', () => {
  it('is replaced by the master after the timeout, and gets control back in the restore window', async () => {
    const { federation } = world;
    expect(await command(world.client, 'berlin')).toBe('hello');
    federation.edge('berlin')?.process.signal('SIGKILL');
    const from = Date.now();
    await world.until('berlin', { holder: 'master', state: 'holding', reason: 'edge-lost' });
    const takeoverMs = Date.now() - from;
    expect(takeoverMs).toBeGreaterThan(5_000);
    expect(takeoverMs).toBeLessThan(9_000);
    expect(await command(world.client, 'berlin')).toBe('hello');

    await federation.restartEdge('berlin');
    await world.until('berlin', { holder: 'master', state: 'waiting-window' });
    await world.untilEdge('berlin', { holder: 'master', state: 'standby' });
    // A client of the edge is served by the master meanwhile.
    const edgeClient = federation.client(federation.edge('berlin')?.origin);
    expect(await command(edgeClient, 'berlin')).toBe('hello');
    edgeClient.close();

    await openWindow('berlin');
    await world.until('berlin', { holder: 'edge', state: 'standby' });
    await world.untilEdge('berlin', { holder: 'edge', state: 'holding', reason: 'window-open' });
    expect(await command(world.client, 'berlin')).toBe('hello');
    expect(staleWrites(world.writes(), 'berlin')).toEqual([]);
  });

  it('leaves its history with the reasons', async () => {
    const history = await world.client.call(routes.edgeHistory, { params: { id: 'berlin' }, query: {} });
    const states = history.map(({ state }) => state);
    for (const state of ['suspect', 'taking-over', 'holding', 'releasing', 'standby']) expect(states).toContain(state);
  });
});

describe('a line that is cut', () => {
  it('changes nothing at a holding edge, and heal restarts nothing', async () => {
    const edge = world.federation.edge('berlin')!;
    const before = await world.atEdge('berlin');
    edge.relay.set('cut');
    await world.untilEdge('berlin', { holder: 'edge', state: 'holding' });
    await world.untilEdge('berlin', { link: { state: 'down' } }, 5_000);
    const edgeClient = world.federation.client(edge.origin);
    expect(await command(edgeClient, 'berlin')).toBe('hello');
    edgeClient.close();
    edge.relay.set('open');
    await world.until('berlin', { holder: 'edge', state: 'standby' });
    const after = await world.atEdge('berlin');
    expect(after).toMatchObject({ epoch: before.epoch, since: before.since });
  });

  it('is noticed within 3.5 s when it is half-open, in each direction', async () => {
    for (const mode of ['silent', 'silent-up', 'silent-down'] as const) {
      const edge = world.federation.edge('lisbon')!;
      await world.until('lisbon', { holder: 'edge', state: 'standby' });
      edge.relay.set(mode);
      const from = Date.now();
      await Promise.all([
        world.until('lisbon', { link: { state: 'down' } }, 6_000),
        world.untilEdge('lisbon', { link: { state: 'down' } }, 6_000),
      ]);
      expect(Date.now() - from).toBeLessThan(3_600);
      edge.relay.set('open');
      await world.until('lisbon', { holder: 'edge', state: 'standby' });
    }
  });
});

describe('an edge that freezes', () => {
  it('under `exclusive` is fenced by its lease: the master takes over and nobody writes twice', async () => {
    const edge = world.federation.edge('lisbon')!;
    await world.until('lisbon', { holder: 'edge', state: 'standby' });
    edge.process.signal('SIGSTOP');
    await world.until('lisbon', { holder: 'master', state: 'holding' }, 25_000);
    expect(await command(world.client, 'lisbon')).toBe('hello');
    edge.process.signal('SIGCONT');
    await world.until('lisbon', { holder: 'master', state: 'waiting-window' });
    await world.untilEdge('lisbon', { holder: 'master', state: 'standby' });
    expect(await command(world.client, 'lisbon')).toBe('hello');
    expect(staleWrites(world.writes(), 'lisbon')).toEqual([]);
    expect((await world.location('lisbon')).dual_control_seconds).toBe(0);
    await world.client.call(routes.handback, { params: { id: 'lisbon' }, body: {} });
    await world.until('lisbon', { holder: 'edge', state: 'standby' });
  });

  it('under `available` keeps its devices, and the time that both held is measured', async () => {
    const edge = world.federation.edge('berlin')!;
    edge.process.signal('SIGSTOP');
    await world.until('berlin', { holder: 'master', state: 'holding' });
    const from = Date.now();
    edge.process.signal('SIGCONT');
    await world.until('berlin', { holder: 'edge', state: 'standby' });
    const bothMs = Date.now() - from;
    const { dual_control_seconds: dual } = await world.location('berlin');
    // From the takeover, which was just seen, to the verdict: the master's gate closes then, whatever it still stops.
    expect(dual).toBeGreaterThan(0);
    expect(dual * 1_000).toBeLessThan(bothMs + 1_000);
    const metrics = await (await fetch(`${world.federation.master.origin}/metrics`, { headers: { 'x-api-key': world.federation.apiKey } })).text();
    expect(metrics).toMatch(/holdfast_dual_control_seconds_total\{location="berlin"\} [0-9.]+/);
  });
});

describe('a master that freezes', () => {
  it('for longer than the timeout takes nobody over who is there when it goes on, and under `exclusive` the edge claims again', async () => {
    const { federation } = world;
    const before = await world.atEdge('berlin');
    const dual = (await world.location('berlin')).dual_control_seconds;
    federation.master.process.signal('SIGSTOP');
    // Both timeouts are over then.
    await world.untilEdge('lisbon', { holder: 'none', state: 'standby', reason: 'lease-ended' });
    federation.master.process.signal('SIGCONT');
    await world.until('lisbon', { holder: 'edge', state: 'standby' });
    await world.until('berlin', { holder: 'edge', state: 'standby', link: expect.objectContaining({ state: 'up' }) });
    expect(await world.atEdge('berlin')).toMatchObject({ epoch: before.epoch, since: before.since });
    expect((await world.location('berlin')).dual_control_seconds).toBe(dual);
    const { events } = await world.client.call(routes.eventList, { query: { kind: 'server' } });
    expect(events.at(-1)).toMatchObject({ event: 'stood-still' });
  });
});

describe('a master that dies', () => {
  it('leaves every site running, and finds them so when it comes back', async () => {
    const { federation } = world;
    const before = await world.atEdge('berlin');
    federation.master.process.signal('SIGKILL');
    await federation.master.process.exited;
    const edgeClient = federation.client(federation.edge('berlin')?.origin);
    await world.untilEdge('berlin', { link: { state: 'down' } }, 5_000);
    expect(await command(edgeClient, 'berlin')).toBe('hello');
    await federation.restartMaster();
    await world.until('berlin', { holder: 'edge', state: 'standby' });
    await world.until('lisbon', { holder: 'edge', state: 'standby' }, 30_000);
    expect(await world.atEdge('berlin')).toMatchObject({ epoch: before.epoch, since: before.since });
    edgeClient.close();
  });

  it('is not needed by an edge that loses its power meanwhile: it boots from its own copy and drives', async () => {
    const { federation } = world;
    const edge = federation.edge('berlin')!;
    federation.master.process.signal('SIGKILL');
    edge.process.signal('SIGKILL');
    await Promise.all([federation.master.process.exited, edge.process.exited]);
    await federation.restartEdge('berlin');
    const alone = await world.untilEdge('berlin', { holder: 'edge', state: 'holding', reason: 'master-unreachable' });
    expect(alone.modules).toMatchObject({ total: 3, running: 3 });
    const edgeClient = federation.client(edge.origin);
    expect(await command(edgeClient, 'berlin')).toBe('hello');
    edgeClient.close();
    await federation.restartMaster();
    await world.until('berlin', { holder: 'edge', state: 'standby' });
    expect(await world.atEdge('berlin')).toMatchObject({ epoch: alone.epoch, since: alone.since });
  });

  it('refuses to start twice on the same store', async () => {
    const second = await world.federation.tryServe('master');
    expect(second).toMatchObject({ exited: 'code 1' });
    expect(second.output).toContain('is in use by another process');
  });
});

describe('an operator', () => {
  it('takes control and hands it back, with an audit line for each', async () => {
    const dry = await world.client.call(routes.takeover, { params: { id: 'berlin' }, body: { dry_run: true } });
    expect(dry).toMatchObject({ before: { holder: 'edge' }, after: { holder: 'master' } });
    expect(await world.location('berlin')).toMatchObject({ holder: 'edge' });
    await world.client.call(routes.takeover, { params: { id: 'berlin' }, body: {} });
    expect(await world.location('berlin')).toMatchObject({ holder: 'master', reason: 'operator-takeover' });
    // Users and operators of the edge that let go are served by the master.
    const edgeClient = world.federation.client(world.federation.edge('berlin')?.origin);
    expect(await command(edgeClient, 'berlin')).toBe('hello');
    await edgeClient.call(routes.handback, { params: { id: 'berlin' }, body: {} });
    edgeClient.close();
    expect(await world.location('berlin')).toMatchObject({ holder: 'edge' });
    expect(staleWrites(world.writes(), 'lisbon')).toEqual([]);
  });
});
