import type { MasterOrder } from '../../../src/shared/control/master-control.ts';
import type { Party, Terms } from '../../../src/shared/model/control.ts';
import type { Site } from './site.ts';
import { describeJournal, describeTerms, seconds } from './transcript.ts';
import type { World } from './world.ts';

/** What a story may say. Each form is listed in test/scenarios/README.md. */
interface Form {
  pattern: RegExp;
  run(world: World, groups: Record<string, string>): void | Promise<void>;
}

/** A form that is about one location: named first, or the only one there is. */
const at = (
  text: string,
  run: (site: Site, groups: Record<string, string>, world: World) => void | Promise<void>,
): Form => ({
  pattern: new RegExp(`^(?:(?<location>[a-z]+) )??${text}$`),
  run: (world, groups) => run(siteOf(world, groups['location']), groups, world),
});

const of = (text: string, run: (world: World, groups: Record<string, string>) => void | Promise<void>): Form => ({
  pattern: new RegExp(`^${text}$`),
  run,
});

const TIME = String.raw`(?<time>\d+(?:\.\d+)?(?:ms|s|m))`;
const PARTY = '(?<party>edge|master)';

const forms: Form[] = [
  of(String.raw`location (?<name>[a-z]+)(?<terms>( [a-z]+=\S+)*)`, (world, { name = '', terms = '' }) => {
    world.addSite(name, readTerms(terms, { failover: true, policy: 'available', timeoutMs: 20_000, paused: false }));
  }),
  of(`run ${TIME}`, (world, { time = '' }) => world.clock.advance(toMs(time))),
  at(`run until ${PARTY} (?<state>[a-z-]+)`, (site, { party, state = '' }, world) => runUntil(world, site, party as Party, state)),

  at('given (?<what>the edge holds(?: alone)?|the master holds(?:, the edge waits)?)', (site, { what = '' }, world) =>
    given(world, site, what),
  ),
  at('edge boot', async (site) => {
    if (site.edge !== null) throw new Error('the edge runs already');
    await site.bootEdge();
  }),
  at('edge (?<way>crash|power-off)', (site, { way }) => {
    if (site.edge === null) throw new Error('the edge is down already');
    site.stopEdge(way === 'power-off');
  }),
  of('master boot', async (world) => {
    if (world.masterRuns) throw new Error('the master runs already');
    await world.bootMaster();
  }),
  of('master (?<way>crash|power-off)', (world, { way }) => {
    if (!world.masterRuns) throw new Error('the master is down already');
    world.stopMaster(way === 'power-off');
  }),
  of('master back-up', (world) => world.backUp()),
  of('master restore', async (world) => {
    if (world.masterRuns) throw new Error('stop the master before it is restored');
    await world.restore();
  }),

  at('cut link', (site) => site.network.cut()),
  at('heal link', (site) => site.network.heal()),
  at('reset link', (site) => site.network.reset()),
  at(`link delay ${TIME}`, (site, { time = '' }) => {
    site.network.delayMs = toMs(time);
  }),
  at(`${PARTY} (?<way>is deaf|hears again)`, (site, { party, way }) => {
    site.network.deaf = way === 'is deaf' ? (party as Party) : null;
  }),
  at(`${PARTY} says (?<frame>\\{.*\\})`, (site, { party, frame = '' }) => {
    site.network.sendFrame(party as Party, site.network.newest, frame);
  }),

  at('order (?<order>takeover|handback|pause|resume)', (site, { order }, world) => {
    const refusal = site.order(order as MasterOrder);
    if (refusal !== null) world.transcript.say(`refused: ${refusal}`);
  }),
  at('override', (site, _, world) => {
    const refusal = site.override();
    if (refusal !== null) world.transcript.say(`refused: ${refusal}`);
  }),
  at('window (?<way>opens|closes)', (site, { way }) => site.setWindow(way === 'opens')),
  at(String.raw`terms(?<terms>( [a-z]+=\S+)+)`, (site, { terms = '' }) => site.setTerms(readTerms(terms, site.terms))),

  at(`${PARTY} disk (?<way>works|fails|takes ${TIME})`, (site, { party, way, time }, world) => {
    const disk = party === 'edge' ? site.edgeDisk : world.masterDisk;
    disk.fails = way === 'fails';
    disk.delayMs = time === undefined ? 0 : toMs(time);
  }),
  at(`${PARTY} modules (?<way>start|stop) in ${TIME}`, (site, { party, way, time = '' }) => {
    site.modules[party as Party][way === 'start' ? 'startMs' : 'stopMs'] = toMs(time);
  }),
  at(`${PARTY} modules (?<way>fail to start|start again)`, (site, { party, way }) => {
    site.modules[party as Party].fails = way === 'fail to start';
  }),
  at(String.raw`edge has (?<dead>\d+) dead devices?`, (site, { dead }) => {
    site.modules.edge.deadDevices = Number(dead);
  }),
  at(String.raw`${PARTY} value (?<module>\w+)\.(?<key>\w+)=(?<value>\S+)`, (site, groups) => {
    const { party, module = '', key = '', value = '' } = groups;
    site.modules[party as Party].set(module, key, JSON.parse(value));
  }),
  at(String.raw`edge clock (?<ahead>[+-]\d+)h rate (?<rate>[\d.]+)`, (site, { ahead, rate }) => {
    if (site.edge !== null) throw new Error('the clock of a running edge does not jump');
    site.edgeClock.skew(Number(ahead) * 3_600_000, Number(rate));
  }),

  at('holder', (site, _, world) => {
    world.transcript.say(world.sites.size === 1 ? site.holder() : `${site.name}  ${site.holder()}`);
  }),
  at(`${PARTY} writes to a device`, (site, { party }, world) => {
    world.transcript.say(`${party}: ${site.modules[party as Party].tryWrite()}`);
  }),
  at('journals', (site, _, world) => {
    for (const party of ['edge', 'master'] as const) {
      const journal = site[party]?.journal ?? null;
      world.transcript.say(`${party}: ${journal === null ? 'down' : `${describeJournal(journal)}, ${describeTerms(journal.terms)}`}`);
    }
  }),
  at('dual control', (site, _, world) => {
    world.transcript.say(`both drove for ${seconds(site.judge.dualMs(world.clock.monotonicMs()))}`);
  }),
  of('show renewals', (world) => {
    world.showRenewals = true;
  }),
];

export async function runCommand(world: World, command: string): Promise<void> {
  for (const { pattern, run } of forms) {
    const match = pattern.exec(command);
    if (match === null) continue;
    await run(world, match.groups ?? {});
    // What happens at this very instant belongs to the command.
    await world.clock.advance(0);
    return;
  }
  throw new Error(`unknown command: ${command}`);
}

function siteOf(world: World, name: string | undefined): Site {
  const site = name === undefined && world.sites.size === 1 ? [...world.sites.values()][0] : world.sites.get(name ?? '');
  if (site === undefined) throw new Error(name === undefined ? 'say which location' : `there is no location ${name}`);
  return site;
}

function readTerms(text: string, before: Terms): Terms {
  const terms = { ...before };
  for (const pair of text.split(' ').filter((word) => word !== '')) {
    const [name, value = ''] = pair.split('=');
    if (name === 'failover' && (value === 'true' || value === 'false')) terms.failover = value === 'true';
    else if (name === 'policy' && (value === 'available' || value === 'exclusive')) terms.policy = value;
    else if (name === 'timeout') terms.timeoutMs = toMs(value);
    else throw new Error(`unknown term: ${pair}`);
  }
  return terms;
}

function toMs(text: string): number {
  const match = /^(?<amount>\d+(?:\.\d+)?)(?<unit>ms|s|m)$/.exec(text);
  if (match?.groups === undefined) throw new Error(`not a time: ${text}`);
  const factors: Record<string, number> = { ms: 1, s: 1_000, m: 60_000 };
  return Number(match.groups['amount']) * (factors[match.groups['unit'] ?? ''] ?? 1);
}

const PATIENCE_MS = 120_000;

async function runUntil(world: World, site: Site, party: Party, state: string): Promise<void> {
  const untilMs = world.clock.monotonicMs() + PATIENCE_MS;
  while (site[party]?.state.state !== state) {
    if (world.clock.monotonicMs() >= untilMs) throw new Error(`the ${party} was not ${state} within ${PATIENCE_MS / 1_000} s`);
    await world.clock.advance(10);
  }
}

/** How a story may begin, without telling how it came to that: played like everything else, only not told. */
async function given(world: World, site: Site, what: string): Promise<void> {
  if (what !== 'the edge holds alone' && !world.masterRuns) await runCommand(world, 'master boot');
  await runCommand(world, `${site.name} edge boot`);
  await runUntil(world, site, 'edge', 'holding');
  await world.clock.advance(1_000);
  if (what.startsWith('the master holds')) {
    await runCommand(world, `${site.name} edge power-off`);
    await runUntil(world, site, 'master', 'holding');
  }
  if (what.endsWith('the edge waits')) {
    await runCommand(world, `${site.name} edge boot`);
    await runUntil(world, site, 'edge', 'standby');
    await world.clock.advance(1_000);
  }
  world.transcript.begin();
  await runCommand(world, `${site.name} holder`);
}
