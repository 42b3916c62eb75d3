import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { routes } from '../../src/client-sdk/index.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { DataNode } from '../support/couchbase/data-node.ts';
import { eventually } from '../support/couchbase/eventually.ts';
import { command, later, renameSystem, settled, startFederation, type TestFederation } from '../support/federation.ts';

/** A master and an edge, real processes with the real SDK, each with a scope of its own in one database: the stand-in. */
const scope = new Scope();
const node = new DataNode({ collections: ['holdfast', 'berlin'].flatMap((name) => [`${name}.documents`, `${name}.indexes`, `${name}-private.log`]) });
let world: TestFederation;
beforeAll(async () => {
  await node.start();
  scope.defer('database', () => node.stop());
  const environment = (server: string): Record<string, string> => ({
    HOLDFAST_STORE: `couchbase://holdfast@127.0.0.1:${node.port}/holdfast/${server === 'berlin' ? 'berlin' : 'holdfast'}`,
    HOLDFAST_STORE_PASSWORD: 'pw-holdfast',
  });
  world = await startFederation(scope, { sites: [{ id: 'berlin', name: 'Berlin', policy: 'available', timezone: 'Europe/Berlin' }], environment });
}, 120_000);
afterAll(async () => {
  await scope.close();
  expect(node.unknown).toEqual([]);
});

const rename = (name: string): Promise<void> => renameSystem(world.client, 'berlin', name);
const read = (origin: string): Promise<Response> =>
  fetch(`${origin}/api/engine/v2/systems/sys-berlin`, { headers: { 'x-api-key': world.federation.apiKey } });
const nameAt = async (origin: string): Promise<unknown> => ((await (await read(origin)).json()) as { display_name?: unknown }).display_name;
const edgeOrigin = (): string => world.federation.edge('berlin')?.origin ?? '';

describe('a federation on Couchbase', () => {
  it('has its documents there: those of the master, and the copy of the edge', async () => {
    await settled(world, 'berlin');
    await rename('first');
    await eventually('the master has written it', () => (node.collection('holdfast.documents').read('sys-berlin') as { display_name?: unknown } | null)?.display_name === 'first');
    await eventually('so has the edge', () => (node.collection('berlin.documents').read('sys-berlin') as { display_name?: unknown } | null)?.display_name === 'first');
    expect((await read(world.federation.master.origin)).headers.get('x-holdfast-store-age')).toBeNull();
  });

  it('goes on without the database: control stays, commands run, reads say their age, writes are refused, and all is caught up with', async () => {
    const before = await world.location('berlin');
    node.freeze();
    for (const origin of [world.federation.master.origin, edgeOrigin()]) {
      await eventually('the loss is noticed', async () => (await read(origin)).headers.has('x-holdfast-store-age'));
    }
    await expect(rename('refused')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    // Longer than the timeout after which an edge that is lost is replaced.
    for (let seconds = 0; seconds < 8; seconds += 1) {
      expect(await command(world.client, 'berlin')).toBe('hello');
      await later(1_000);
    }
    expect(await world.location('berlin')).toMatchObject({ holder: before.holder, epoch: before.epoch, state: before.state });
    const answer = await read(world.federation.master.origin);
    expect(answer.status).toBe(200);
    expect(Number(answer.headers.get('x-holdfast-store-age'))).toBeGreaterThanOrEqual(7);
    node.thaw();
    await eventually('the database is back', async () => !(await read(world.federation.master.origin)).headers.has('x-holdfast-store-age'));
    await rename('second');
    await eventually('the edge has it', async () => (await nameAt(edgeOrigin())) === 'second', 60_000);
  }, 120_000);

  it('moves control without the database: a takeover, and an edge that starts again from its copy', async () => {
    await node.stop();
    world.federation.edge('berlin')?.process.signal('SIGKILL');
    await world.until('berlin', { holder: 'master', state: 'holding', reason: 'edge-lost' });
    expect(await command(world.client, 'berlin')).toBe('hello');
    await world.federation.restartEdge('berlin');
    await world.until('berlin', { holder: 'master', state: 'waiting-window' }, 30_000);
    await world.client.call(routes.handback, { params: { id: 'berlin' }, body: {} });
    await world.until('berlin', { holder: 'edge' });
    expect(await command(world.client, 'berlin')).toBe('hello');
    await node.start();
    await eventually('both are in touch', async () => {
      const answers = await Promise.all([world.federation.master.origin, edgeOrigin()].map(read));
      return answers.every(({ ok, headers }) => ok && !headers.has('x-holdfast-store-age'));
    });
    await rename('third');
    await eventually('the edge has it', async () => (await nameAt(edgeOrigin())) === 'third');
  }, 120_000);
});
