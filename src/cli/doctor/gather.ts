import { HoldfastError, routes } from '../../client-sdk/index.ts';
import type { Client, EventView, Location, ModuleView } from '../../client-sdk/index.ts';
import { toFailure } from '../failures.ts';
import type { Session } from '../session.ts';
import type { EdgeFacts, FederationFacts, HostEndsFacts, RefusalFacts, SiteFacts } from './facts.ts';

/** Asks the server, and the edges that it knows, what the checks need. Throws nothing but usage errors: what does not answer is a fact. */
export async function gatherFederation(session: Session): Promise<FederationFacts> {
  const client = await session.client();
  let facts: FederationFacts = { origin: client.origin, failure: null, role: 'master', waitingFor: [], nowMs: 0, ...NOTHING_KNOWN };
  try {
    const { role, waiting_for } = await client.call(routes.live, {}, QUICK).then(async (live) => ({ ...live, ...(await readiness(client)) }));
    facts = { ...facts, role, waitingFor: waiting_for };
    const locations = await client.all(routes.edgeList, '', QUICK);
    const sealing = await asAdministrator(client.call(routes.settingsKeys, {}, QUICK));
    const failingAt = locations.filter(({ modules }) => modules.failing > 0).map(({ id }) => id);
    const unheld = locations.filter(({ holder }) => holder === 'none').map(({ id }) => id);
    const site = { ...(await gatherSite(client, sealing?.sealed ?? null, failingAt)), unheld };
    const [documents, clockMs] = [await documentsOf(client), await clockOf(session, client)];
    const members = role === 'edge' ? [] : await client.call(routes.members, {}, QUICK);
    const asking = members.flatMap(({ location, edge }) => (edge === null ? [] : [askEdge(session, location, edge, clockMs)]));
    const edges = await Promise.all(asking.map(async (asked) => withBoth(client, await asked, locations)));
    const nowMs = session.deps.clock.wallMs() + clockMs;
    const down = role === 'edge' ? [] : locations.filter(({ link, state }) => link.state === 'down' && state !== 'not-made');
    const refusals = (await Promise.all(down.slice(0, ASKED_AT_MOST).map(({ id }) => refusalOf(client, id, nowMs)))).flat();
    const twins = role === 'edge' ? [] : await twinsOf(client, nowMs);
    const hostEnds = await hostEndsOf(client, nowMs);
    return { ...facts, nowMs, locations, site, ...documents, edges, refusals, twins, hostEnds, settingsKeys: sealing?.keys ?? null };
  } catch (error) {
    // Nothing was found out about the server.
    if (session.deps.signal.aborted) throw error;
    // It ends by itself, and is the one thing that can be said of such a server.
    if (error instanceof HoldfastError && error.code === 'NOT_READY') {
      const { waitingFor } = error.facts;
      return { ...facts, waitingFor: [typeof waitingFor === 'string' ? waitingFor : ITS_START] };
    }
    const { message, next, exitCode } = toFailure(error);
    return { ...facts, failure: { problem: message, fix: next, exitCode } };
  }
}

const ITS_START = 'its start to end';
const QUICK = { timeoutMs: 5_000 };
const NO_ENDS: HostEndsFacts = { count: 0, reason: '' };
const NOTHING_KNOWN = {
  locations: [], site: null, sequence: null, ageSeconds: null, edges: [], refusals: [], twins: [], hostEnds: NO_ENDS, settingsKeys: null,
};

/** 503 is an answer too. */
async function readiness(client: Client): Promise<{ waiting_for: string[] }> {
  try {
    return await client.call(routes.ready, {}, QUICK);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'UNREACHABLE') throw error;
    return { waiting_for: [ITS_START] };
  }
}

async function gatherSite(client: Client, sealed: SiteFacts['sealed'], failingAt: readonly string[]): Promise<Omit<SiteFacts, 'unheld'>> {
  const [systems, found, drivers] = [
    await client.all(routes.systemList, '', QUICK),
    await client.all(routes.moduleList, '', QUICK),
    await client.all(routes.driverList, '', QUICK),
  ];
  const keys = await asAdministrator(client.all(routes.keyList, '', QUICK));
  const problems = await problemsOf(client, found.filter((module) => isInDoubt(module, failingAt)));
  const modules = found.map(({ edge_id, edited, ...module }) => ({
    ...module,
    location: edge_id,
    edited: edited !== null,
    problem: problems.get(module.id) ?? null,
  }));
  return { windows: [], systems, modules, drivers, builtins: null, keys, sealed };
}

/** With a whole site away, more would say nothing new. */
const ASKED_AT_MOST = 50;

/** Of a module that is not connected: its device, or it itself? One whose start failed may never have said whether it is. */
const isInDoubt = ({ running, connected, edge_id }: ModuleView, failingAt: readonly string[]): boolean =>
  running && (connected === false || (connected === null && edge_id !== null && failingAt.includes(edge_id)));

async function problemsOf(client: Client, modules: ModuleView[]): Promise<Map<string, string>> {
  const found = await Promise.all(modules.slice(0, ASKED_AT_MOST).map(async ({ id }): Promise<[string, string][]> => {
    // One that cannot be asked, or is gone by now, is not connected: no more is known.
    const lines = await client.call(routes.moduleError, { params: { id } }, QUICK).catch((): string[] => []);
    return lines.length === 0 ? [] : [[id, lines.join(' ')]];
  }));
  return new Map(found.flat());
}

/** null: the caller may not see it. */
async function asAdministrator<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'FORBIDDEN') return null;
    throw error;
  }
}

/** How far the documents of a server are, and how old. */
async function documentsOf(client: Client): Promise<{ sequence: number | null; ageSeconds: number | null }> {
  const text = await client.call(routes.metrics, {}, QUICK);
  const gauge = (name: string): number | null => {
    const value = new RegExp(`^${name}(?:\\{\\})? (\\S+)$`, 'm').exec(text)?.[1];
    return value === undefined ? null : Number(value);
  };
  return { sequence: gauge('holdfast_replication_sequence'), ageSeconds: gauge('holdfast_store_age_seconds') };
}

/** How far the clock of the server is ahead of ours, down to a second: HTTP says no more. */
async function clockOf(session: Session, client: Client): Promise<number> {
  const { headers } = await client.request(routes.version, {}, QUICK);
  return Date.parse(headers['date'] ?? '') - session.deps.clock.wallMs();
}

async function askEdge(session: Session, id: string, origin: string, masterAheadMs: number): Promise<EdgeFacts> {
  const facts: EdgeFacts = {
    id, origin, outcome: 'not-asked', problem: '', clockAheadMs: 0, sequence: null, ageSeconds: null, location: null,
    both: false, hostEnds: NO_ENDS, unopened: null,
  };
  // Something else may listen there on this machine, and it would be shown the key.
  if (isLoopback(origin) && !isLoopback((await session.client()).origin)) return { ...facts, problem: 'it is an address of its own machine' };
  let client: Client;
  try {
    client = await session.clientOf(origin);
  } catch (error) {
    return { ...facts, problem: toFailure(error).message };
  }
  try {
    const clockAheadMs = (await clockOf(session, client)) - masterAheadMs;
    const sealing = await asAdministrator(client.call(routes.settingsKeys, {}, QUICK));
    const unopened = sealing?.sealed.filter(({ known }) => !known) ?? null;
    const hostEnds = await hostEndsOf(client, session.deps.clock.wallMs() + masterAheadMs + clockAheadMs);
    return { ...facts, outcome: 'answered', clockAheadMs, ...(await documentsOf(client)), location: await locationOf(client, id), hostEnds, unopened };
  } catch (error) {
    return { ...facts, outcome: 'unreachable', problem: toFailure(error).message };
  } finally {
    client.close();
  }
}

/** Master and edge were asked one after the other, and a move between the two answers is none of both at once: so the master is asked again. */
async function withBoth(client: Client, edge: EdgeFacts, locations: readonly Location[]): Promise<EdgeFacts> {
  const before = locations.find(({ id, holder }) => id === edge.id && holder === 'master');
  if (before === undefined || edge.location?.state !== 'holding') return edge;
  const after = await locationOf(client, edge.id).catch(() => null);
  return { ...edge, both: after?.holder === 'master' && after.state !== 'releasing' && after.epoch === before.epoch };
}

/** Each kind of refusal is an event once a minute, for as long as it goes on. */
const RECENT_MS = 180_000;
const NEWEST = 50;

const textOf = (fact: unknown): string => (typeof fact === 'string' ? fact : 'unknown');

async function refusalOf(client: Client, location: string, nowMs: number): Promise<RefusalFacts[]> {
  const { events } = await client.call(routes.eventList, { query: { kind: 'link', location, limit: NEWEST } }, QUICK);
  const isRecent = ({ time }: EventView): boolean => time * 1_000 > nowMs - RECENT_MS;
  // A limit that was reached says nothing of why it was.
  const last = events.findLast(({ event, reason }) => event === 'link-up' || (event === 'link-refused' && reason !== 'rate-limited'));
  if (last === undefined || last.event === 'link-up' || !isRecent(last)) return [];
  return [{ location, remote: textOf(last['remote']), reason: textOf(last['reason']) }];
}

/** The newest of each location. */
async function twinsOf(client: Client, nowMs: number): Promise<RefusalFacts[]> {
  const { events } = await client.call(routes.eventList, { query: { kind: 'link', limit: NEWEST } }, QUICK);
  const recent = events.filter(({ event, reason, time }) => event === 'link-refused' && reason === 'duplicate-identity' && time * 1_000 > nowMs - RECENT_MS);
  const newest = new Map(recent.map(({ location, remote, reason }) => [textOf(location), { remote: textOf(remote), reason: textOf(reason) }]));
  return [...newest].map(([location, refusal]) => ({ location, ...refusal }));
}

async function hostEndsOf(client: Client, nowMs: number): Promise<HostEndsFacts> {
  const { events } = await client.call(routes.eventList, { query: { kind: 'driver', limit: NEWEST } }, QUICK);
  const ends = events.filter(({ event, time }) => event === 'driver-host-ended' && time * 1_000 > nowMs - RECENT_MS);
  return { count: ends.length, reason: textOf(ends.at(-1)?.['reason']).split('\n', 1)[0] ?? '' };
}

async function locationOf(client: Client, id: string): Promise<Location> {
  return client.call(routes.edgeShow, { params: { id } }, QUICK);
}

function isLoopback(origin: string): boolean {
  const { hostname } = new URL(origin);
  return hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.');
}
