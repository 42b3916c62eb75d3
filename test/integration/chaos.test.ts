import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { controlProblems } from '../support/control-log.ts';
import { command, later, logsOf, settled, startFederation, type TestFederation } from '../support/federation.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { staleWrites } from '../support/write-log.ts';

/** Restarts, freezes and cuts at moments that a seed decides, under both policies, while clients go on sending. */

const SITES = [
  { id: 'open', name: 'Available', policy: 'available', timezone: 'UTC' },
  { id: 'strict', name: 'Exclusive', policy: 'exclusive', timezone: 'UTC' },
] as const;
const SEED = 20_261_121;
/** Of each federation: together a minute. */
const CHAOS_MS = 30_000;
const FEDERATIONS = 2;

const scopes = Array.from({ length: FEDERATIONS }, () => new Scope());
const worlds: TestFederation[] = [];
beforeAll(async () => {
  const starts = scopes.map((scope) => startFederation(scope, { sites: SITES, devicesPerSite: 2, singleConnection: true, environment: { HOLDFAST_LOG: 'debug' } }));
  worlds.push(...(await Promise.all(starts)));
}, 120_000);
afterAll(async () => {
  await Promise.all(scopes.map((scope) => scope.close()));
}, 120_000);

/** Breaks something of a site for a while, then mends it. */
async function breakOne({ federation }: TestFederation, site: string, draw: () => number): Promise<string> {
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

async function chaosIn(world: TestFederation, seed: number): Promise<void> {
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
  const breaker = async (site: string, own: number): Promise<void> => {
    const draw = seededRandom(own);
    while (!chaos.signal.aborted) {
      await later(draw() * 4_000);
      await breakOne(world, site, draw);
    }
  };
  const senders = SITES.map(({ id }) => sender(id));
  const breakers = SITES.map(({ id }, i) => breaker(id, seed + i));
  await later(CHAOS_MS);
  chaos.abort();
  await Promise.all([...breakers, ...senders]);

  for (const { id } of SITES) await settled(world, id);
  expect(sent).toBeGreaterThan(100);
  // Refused with a code that a client can act on; a fate that is not known is said to be so.
  const known = new Set(['CONTROL_CHANGING', 'NO_HOLDER', 'LINK_LOST', 'LINK_DOWN', 'DEADLINE', 'DEVICE_OFFLINE', 'DEVICE_LOST', 'CANCELLED', 'MODULE_NOT_RUNNING', 'STALE_EPOCH']);
  expect(refusals.filter((code) => !known.has(code))).toEqual([]);
  for (const { id } of SITES) expect(controlProblems(logsOf(world, id))).toEqual([]);
  expect(staleWrites(world.writes(), 'strict')).toEqual([]);
  expect((await world.location('strict')).dual_control_seconds).toBe(0);
}

describe('a minute of chaos', () => {
  it(`seed ${SEED}: every command is settled, nobody writes under an epoch that is over, and one holder is left`, async () => {
    await Promise.all(worlds.map((world, i) => chaosIn(world, SEED + i * SITES.length)));
  }, 240_000);
});
