import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { routes } from '../../src/client-sdk/index.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { holdfastNode } from '../support/couchbase/couchbase-world.ts';
import type { Seen } from '../support/couchbase/data-node.ts';
import { eventually } from '../support/couchbase/eventually.ts';
import { keepReplicating } from '../support/couchbase/replication.ts';
import { command, renameSystem, settled, startFederation, type TestFederation } from '../support/federation.ts';
import { seededRandom } from '../support/seeded-random.ts';

/** A master and an edge, real processes with the real SDK: the edge reads a copy of the database, and the test plays its replication. */
const scope = new Scope();
const [centre, site] = [holdfastNode(), holdfastNode()];
const written: Seen[] = [];
let replication: ReturnType<typeof keepReplicating>;
let world: TestFederation;
beforeAll(async () => {
  await Promise.all([centre.start(), site.start()]);
  for (const node of [centre, site]) scope.defer('database', () => node.stop());
  site.fault = (seen) => {
    if (seen.opcode !== 0x00) written.push(seen);
    return null;
  };
  replication = keepReplicating({ from: centre, to: site, draw: seededRandom(5) });
  scope.defer('replication', () => replication.stop());
  const environment = (server: string): Record<string, string> => ({
    HOLDFAST_STORE: `couchbase://holdfast@127.0.0.1:${server === 'berlin' ? site.port : centre.port}/holdfast`,
    HOLDFAST_STORE_PASSWORD: 'pw-holdfast',
    ...(server === 'berlin' ? { HOLDFAST_REPLICATION: 'xdcr' } : {}),
  });
  world = await startFederation(scope, { sites: [{ id: 'berlin', name: 'Berlin', policy: 'available', timezone: 'Europe/Berlin' }], environment });
}, 120_000);
afterAll(async () => {
  await scope.close();
  expect([...centre.unknown, ...site.unknown]).toEqual([]);
  expect(written).toEqual([]);
});

const read = (): Promise<Response> =>
  fetch(`${world.federation.edge('berlin')?.origin ?? ''}/api/engine/v2/systems/sys-berlin`, { headers: { 'x-api-key': world.federation.apiKey } });
const nameAtEdge = async (): Promise<unknown> => ((await (await read()).json()) as { display_name?: unknown }).display_name;

const rename = (name: string): Promise<void> => renameSystem(world.client, 'berlin', name);

describe('an edge on a copy that replication fills', () => {
  it('drives its devices by it, and hears of changes that way alone', async () => {
    await settled(world, 'berlin');
    expect(await command(world.client, 'berlin')).toBe('hello');
    await rename('first');
    await eventually('the edge has it', async () => (await nameAtEdge()) === 'first');
    replication.paused = true;
    await rename('second');
    await eventually('the copy is old', async () => (await read()).headers.has('x-holdfast-store-age'));
    // The link is up all the time.
    expect(await nameAtEdge()).toBe('first');
    expect(await command(world.client, 'berlin')).toBe('hello');
    replication.paused = false;
    await eventually('the edge has it', async () => (await nameAtEdge()) === 'second');
    await eventually('the copy is fresh', async () => !(await read()).headers.has('x-holdfast-store-age'));
    // The database would refuse what came over the link.
    expect(readFileSync(join(world.federation.dataDir, 'berlin.log'), 'utf8')).not.toMatch(/"event":"(replication-failed|snapshot-taken)"/);
  }, 60_000);

  it('starts again while its database is away, and controls', async () => {
    await site.stop();
    world.federation.edge('berlin')?.process.signal('SIGKILL');
    await world.until('berlin', { holder: 'master', state: 'holding', reason: 'edge-lost' });
    await world.federation.restartEdge('berlin');
    await world.until('berlin', { holder: 'master', state: 'waiting-window' }, 30_000);
    await world.client.call(routes.handback, { params: { id: 'berlin' }, body: {} });
    await world.until('berlin', { holder: 'edge' });
    expect(await command(world.client, 'berlin')).toBe('hello');
    expect(await nameAtEdge()).toBe('second');
    await site.start();
    await rename('third');
    await eventually('the edge has it', async () => (await nameAtEdge()) === 'third');
  }, 120_000);
});
