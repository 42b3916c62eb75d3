import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { command, later, startFederation, type TestFederation } from '../support/federation.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { staleWrites } from '../support/write-log.ts';

/** Restarts, freezes and cuts at moments that a seed decides, under both policies, while clients go on sending. */

const SITES = [
  { id: 'open', name: 'Available', policy: 'available', timezone: 'UTC' },
  { id: 'strict', name: 'Exclusive', policy: 'exclusive', timezone: 'UTC' },
] as const;
const SEED = 20_261_121;
const CHAOS_MS = 60_000;

const scope = new Scope();
let world: TestFederation;
beforeAll(async () => {
  world = await startFederation(scope, { sites: SITES, devicesPerSite: 2, singleConnection: true });
}, 60_000);
afterAll(async () => {
  await scope.close();
});

/** Breaks something of a site for a while, then mends it. */
async function breakOne(site: string, draw: () => number): Promise<string> {
  const { federation } = world;
  const edge = federation.edge(site)!;
  const lastsMs = 500 + draw() * 9_500;
  const kind = Math.floor(draw() * 5);
  if (kind === 0) {
    edge.process.signal('SIGKILL');
    await edge.process.exited;
    await later(lastsMs);
    await federation.restartEdge(site);
    return 'restart';
  }
  if (kind === 1) {
    edge.process.signal('SIGSTOP');
    await later(lastsMs);
    edge.process.signal('SIGCONT');
    return 'freeze';
  }
  edge.relay.set(kind === 2 ? 'cut' : kind === 3 ? 'silent' : 'silent-up');
  await later(lastsMs);
  edge.relay.set('open');
  return edge.relay.mode;
}

describe('a minute of chaos', () => {
  it(`seed ${SEED}: every command is settled, nobody writes under an epoch that is over, and one holder is left`, async () => {
    const chaos = new AbortController();
    const refusals: string[] = [];
    let sent = 0;
    const sender = async (site: string): Promise<void> => {
      while (!chaos.signal.aborted) {
        sent += 1;
        await command(world.client, site, refusals);
        await later(30);
      }
    };
    const breaker = async (site: string, seed: number): Promise<void> => {
      const draw = seededRandom(seed);
      while (!chaos.signal.aborted) {
        await later(draw() * 4_000);
        await breakOne(site, draw);
      }
    };
    const senders = SITES.map(({ id }) => sender(id));
    const breakers = SITES.map(({ id }, i) => breaker(id, SEED + i));
    await later(CHAOS_MS);
    chaos.abort();
    await Promise.all([...breakers, ...senders]);

    for (const { id } of SITES) {
      await expect
        .poll(
          async () => {
            const [there, here] = await Promise.all([world.location(id).catch(() => null), world.atEdge(id).catch(() => null)]);
            return there !== null && here !== null && there.holder === here.holder && there.holder !== 'none' && there.link.state === 'up';
          },
          { timeout: 45_000, interval: 100 },
        )
        .toBe(true);
      await expect.poll(() => command(world.client, id), { timeout: 15_000 }).toBe('hello');
    }
    expect(sent).toBeGreaterThan(100);
    // Refused with a code that a client can act on; a fate that is not known is said to be so.
    const known = new Set(['CONTROL_CHANGING', 'NO_HOLDER', 'LINK_LOST', 'LINK_DOWN', 'DEADLINE', 'DEVICE_OFFLINE', 'DEVICE_LOST', 'CANCELLED', 'MODULE_NOT_RUNNING', 'STALE_EPOCH']);
    expect(refusals.filter((code) => !known.has(code))).toEqual([]);
    expect(staleWrites(world.writes(), 'strict')).toEqual([]);
    expect((await world.location('strict')).dual_control_seconds).toBe(0);
  }, 240_000);
});
