import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { routes } from '../../src/client-sdk/index.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { bothDroveMs, controlProblems, readControlLog } from '../support/control-log.ts';
import { command, later, logsOf, settled, startFederation, type TestFederation } from '../support/federation.ts';
import { staleWrites } from '../support/write-log.ts';

/**
 * Every gap between two steps of a hand-back, hit exactly: the process stops itself right after the line that it logs
 * about the step (test/support/stop-at-step.mjs). Both policies; devices that take one connection only.
 * Several federations share the cases.
 */

const SITES = [
  { id: 'open', name: 'Available', policy: 'available', timezone: 'UTC' },
  { id: 'strict', name: 'Exclusive', policy: 'exclusive', timezone: 'UTC' },
] as const;

/**
 * What is stored, sent and changed on each side, in order, up to the step that ends the hand-back. The master stores the
 * epoch of the edge twice: when the first report comes under it, and with the claim.
 */
const STEPS = {
  edge: ['sent hello', 'stored edge', 'claiming', 'sent control.claimed', 'holding'],
  master: ['sent control.renegotiate', 'stored none', 'sent negotiate', 'releasing', 'sent control.granted', 'stored none', 'stored edge', 'standby'],
} as const;

type Side = keyof typeof STEPS;
type Fault = 'kill' | 'freeze' | 'cut' | 'silent';
interface Case {
  side: Side;
  fault: Fault;
  /** From 1. */
  step: number;
  /** Whose hand-back is hit; both are under way. An edge is hit in its own. */
  site: (typeof SITES)[number]['id'] | 'both';
  lastsMs: number;
}

const FREEZE_MS = 5_000;
/** Longer than a lease. */
const LONG_FREEZE_MS = { edge: 30_000, master: 13_000 };
const LINE_MS = 4_000;
const FEDERATIONS = 5;

function* allCases(): Generator<Case> {
  // The long ones first, so that no federation is left alone with one at the end.
  for (const side of ['edge', 'master'] as const) {
    const gaps = STEPS[side].length - 1;
    for (let step = gaps; step >= 1; step -= 1) {
      const lastsMs = step === gaps ? LONG_FREEZE_MS[side] : FREEZE_MS;
      for (const site of side === 'edge' ? (['both'] as const) : (['open', 'strict'] as const)) {
        yield { side, fault: 'freeze', step, site, lastsMs };
        yield { side, fault: 'kill', step, site, lastsMs: 0 };
      }
      if (side === 'edge') {
        yield { side, fault: 'cut', step, site: 'both', lastsMs: LINE_MS };
        yield { side, fault: 'silent', step, site: 'both', lastsMs: LINE_MS };
      }
    }
  }
}

const scopes = Array.from({ length: FEDERATIONS }, () => new Scope());
const worlds: TestFederation[] = [];
beforeAll(async () => {
  const environment = {
    HOLDFAST_LOG: 'debug',
    HOLDFAST_DRIVER_HOSTS: '1',
    NODE_OPTIONS: `--import=${resolve('test/support/stop-at-step.mjs')}`,
  };
  const starts = scopes.map((scope) => startFederation(scope, { sites: SITES, devicesPerSite: 2, singleConnection: true, environment }));
  worlds.push(...(await Promise.all(starts)));
}, 120_000);
afterAll(async () => {
  await Promise.all(scopes.map((scope) => scope.close()));
}, 120_000);

async function masterHolds(world: TestFederation, site: string): Promise<void> {
  if ((await world.location(site)).holder !== 'master') await world.client.call(routes.takeover, { params: { id: site }, body: {} }, { timeoutMs: 20_000 });
  await expect.poll(() => command(world.client, site), { timeout: 15_000 }).toBe('hello');
}

const isStopped = (pid: number): boolean => /\) T [^)]*$/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));

/** Stops the process at the step, breaks what the case says, mends it again. */
async function hit(world: TestFederation, folder: string, { fault, step, lastsMs }: Case, location: string): Promise<void> {
  const edge = world.federation.edge(folder);
  const process = edge?.process ?? world.federation.master.process;
  const order = join(world.federation.dataDir, folder, 'stop-at-step.json');
  writeFileSync(order, JSON.stringify({ location, step, signal: fault === 'kill' ? 'SIGKILL' : 'SIGSTOP' }));
  await expect.poll(() => existsSync(order), { timeout: 20_000, interval: 10, message: `${folder} gets to step ${step}` }).toBe(false);
  if (fault === 'kill') {
    await process.exited;
    await (edge === undefined ? world.federation.restartMaster() : world.federation.restartEdge(folder));
    return;
  }
  // The order is gone before the signal comes: going on too early would leave the process stopped for good.
  await expect.poll(() => isStopped(process.pid), { timeout: 20_000, interval: 10, message: `${folder} is stopped` }).toBe(true);
  if (fault === 'freeze') {
    await later(lastsMs);
    process.signal('SIGCONT');
    return;
  }
  edge?.relay.set(fault);
  process.signal('SIGCONT');
  await later(lastsMs);
  edge?.relay.set('open');
}

async function play(world: TestFederation, kase: Case): Promise<void> {
  const ids = SITES.map(({ id }) => id);
  await Promise.all(ids.map((id) => masterHolds(world, id)));
  const targets = kase.side === 'edge' ? ids.map((id) => hit(world, id, kase, id)) : [hit(world, 'master', kase, kase.site)];
  const ordered = ids.map((id) => world.client.call(routes.handback, { params: { id }, body: {} }, { timeoutMs: 20_000 }).catch(() => undefined));
  await Promise.all(targets);
  await Promise.all(ids.map((id) => settled(world, id)));
  await Promise.all(ordered);
}

/** What a server stored, sent and did about a location since the moment. */
function stepsSince(world: TestFederation, folder: string, location: string, sinceMs: number): string[] {
  const steps: string[] = [];
  for (const line of readControlLog(join(world.federation.dataDir, `${folder}.log`))) {
    if (line.event === 'starting' || line.location !== location || line.time < sinceMs) continue;
    if (line.event === 'control-stored') steps.push(`stored ${line.record.holder}`);
    else if (line.event === 'control') steps.push(line.state);
    else if (line.event === 'control-sent' && !line.message.t.startsWith('control.renew')) steps.push(`sent ${line.message.t}`);
  }
  return steps;
}

describe('a hand-back', () => {
  it('has the steps that the faults below are aimed at', async () => {
    const [world] = worlds;
    if (world === undefined) throw new Error('no federation');
    await masterHolds(world, 'open');
    const fromMs = Date.now();
    await world.client.call(routes.handback, { params: { id: 'open' }, body: {} }, { timeoutMs: 20_000 });
    // The answer may be there before the last step.
    await expect.poll(() => stepsSince(world, 'open', 'open', fromMs)).toEqual(STEPS.edge);
    await expect.poll(() => stepsSince(world, 'master', 'open', fromMs)).toEqual(STEPS.master);
  });

  it('ends with one holder, whichever side is killed, frozen or cut off between any two steps', async () => {
    const cases = [...allCases()];
    const failures: string[] = [];
    await Promise.all(
      worlds.map(async (world) => {
        for (let kase = cases.shift(); kase !== undefined; kase = cases.shift()) {
          const { side, fault, step, site } = kase;
          const title = `${fault} of ${side} after "${STEPS[side][step - 1]}" (${site})`;
          await play(world, kase).catch((error: unknown) => failures.push(`${title}: ${String(error)}`));
        }
      }),
    );
    expect(failures).toEqual([]);
  }, 300_000);

  it.each(SITES)('leaves a record by which no rule was broken under $policy', async ({ id, policy }) => {
    for (const world of worlds) {
      const logs = logsOf(world, id);
      expect(controlProblems(logs)).toEqual([]);
      expect(staleWrites(logs.writes, id)).toEqual([]);
      const reported = (await world.location(id)).dual_control_seconds;
      if (policy === 'exclusive') expect(reported).toBe(0);
      else expect(Math.abs(reported - bothDroveMs(logs) / 1_000)).toBeLessThan(1);
    }
  });
});
