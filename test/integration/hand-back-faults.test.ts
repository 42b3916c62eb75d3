import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { routes } from '../../src/client-sdk/index.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { command, later, startFederation, type TestFederation } from '../support/federation.ts';
import { staleWrites } from '../support/write-log.ts';

/**
 * Each side is killed, frozen or cut at many moments of a hand-back, so that every gap between two of its steps is
 * hit: the order, hello, stop, grant, claim, claimed. Both policies; devices that take one connection only.
 */

const SITES = [
  { id: 'open', name: 'Available', policy: 'available', timezone: 'UTC' },
  { id: 'strict', name: 'Exclusive', policy: 'exclusive', timezone: 'UTC' },
] as const;

/** Milliseconds after the order: a hand-back takes about 50. */
const MOMENTS = [0, 12, 40];

const scope = new Scope();
let world: TestFederation;
beforeAll(async () => {
  world = await startFederation(scope, { sites: SITES, devicesPerSite: 2, singleConnection: true });
}, 60_000);
afterAll(async () => {
  await scope.close();
});

type Fault = (site: string) => () => Promise<void> | void;

const faults: Record<string, Fault> = {
  'the edge is killed': (site) => {
    world.federation.edge(site)?.process.signal('SIGKILL');
    return () => world.federation.restartEdge(site);
  },
  'the edge freezes': (site) => {
    world.federation.edge(site)?.process.signal('SIGSTOP');
    return () => world.federation.edge(site)?.process.signal('SIGCONT');
  },
  'the line is cut': (site) => {
    world.federation.edge(site)?.relay.set('cut');
    return () => world.federation.edge(site)?.relay.set('open');
  },
  'the line goes silent': (site) => {
    world.federation.edge(site)?.relay.set('silent');
    return () => world.federation.edge(site)?.relay.set('open');
  },
};

/** One holder, both views agree, commands are answered again. */
async function settled(site: string): Promise<void> {
  await expect
    .poll(
      async () => {
        const [there, here] = await Promise.all([world.location(site).catch(() => null), world.atEdge(site).catch(() => null)]);
        const agreed = there !== null && here !== null && there.holder === here.holder && there.holder !== 'none' && there.link.state === 'up';
        return agreed && (there.state === 'standby' || there.state === 'waiting-window' || there.state === 'holding');
      },
      { timeout: 45_000, interval: 100 },
    )
    .toBe(true);
  // A device that takes one connection refuses a second one: whoever came too early tries again within 10 s.
  await expect.poll(() => command(world.client, site), { timeout: 15_000 }).toBe('hello');
}

async function handbackWith(site: string, fault: Fault, momentMs: number): Promise<void> {
  if ((await world.location(site)).holder !== 'master') await world.client.call(routes.takeover, { params: { id: site }, body: {} }, { timeoutMs: 20_000 });
  await expect.poll(() => command(world.client, site), { timeout: 15_000 }).toBe('hello');
  const ordered = world.client.call(routes.handback, { params: { id: site }, body: {} }, { timeoutMs: 20_000 }).catch(() => undefined);
  await later(momentMs);
  const heal = fault(site);
  // Long enough for the link to be noticed dead, and at `exclusive` for a lease to run out now and then.
  await later(momentMs === 0 ? 4_000 : 12_000);
  await heal();
  await settled(site);
  await ordered;
}

describe.each(Object.entries(faults))('%s during a hand-back', (_, fault) => {
  it.each(MOMENTS)('%i ms after the order: one holder afterwards, and nobody wrote under an epoch that was over', async (momentMs) => {
    await Promise.all(SITES.map(({ id }) => handbackWith(id, fault, momentMs)));
    expect(staleWrites(world.writes(), 'strict')).toEqual([]);
    expect((await world.location('strict')).dual_control_seconds).toBe(0);
  }, 90_000);
});

describe.each(['SIGKILL', 'SIGSTOP'] as const)('the master gets %s during a hand-back', (signal) => {
  it.each([5, 30])('%i ms after the order: it finds one holder afterwards', async (momentMs) => {
    for (const { id } of SITES) {
      if ((await world.location(id)).holder !== 'master') await world.client.call(routes.takeover, { params: { id }, body: {} }, { timeoutMs: 20_000 });
    }
    const ordered = SITES.map(({ id }) => world.client.call(routes.handback, { params: { id }, body: {} }, { timeoutMs: 20_000 }).catch(() => undefined));
    await later(momentMs);
    const { process } = world.federation.master;
    process.signal(signal);
    await later(5_000);
    if (signal === 'SIGSTOP') process.signal('SIGCONT');
    else await world.federation.restartMaster();
    await Promise.all(SITES.map(({ id }) => settled(id)));
    await Promise.all(ordered);
    expect(staleWrites(world.writes(), 'strict')).toEqual([]);
    expect((await world.location('strict')).dual_control_seconds).toBe(0);
  }, 90_000);
});
