import type { Location } from '../../client-sdk/index.ts';
import { limits } from '../../shared/model/limits.ts';
import { duration, plural } from '../format.ts';
import type { EdgeFacts, FederationFacts, HostEndsFacts, RefusalFacts, SiteFacts } from './facts.ts';
import { type Finding, ok, orOk, problem, warning } from './finding.ts';
import { checkSealed, unopenedValues } from './settings-checks.ts';
import { nameInSystem, TRY_WINDOW } from './site-checks.ts';

/** Checks of a federation that runs, as the server that was asked sees it, and its edges themselves. */
export function checkFederation(facts: FederationFacts): Finding[] {
  const { failure, origin, role, waitingFor } = facts;
  if (failure !== null) return [problem('server', failure.problem, failure.fix)];
  const server =
    waitingFor.length === 0 ? ok(
      'server',
      `${origin} is ${role === 'edge' ? 'an edge' : 'a master'} and takes requests`,
    ) : warning('server', `${origin} waits for ${waitingFor.join(', ')}`, 'ask again in a few seconds; longer than a minute: see its log');
  const old = checkAge('server', facts.ageSeconds);
  const sealed = facts.settingsKeys === null ? [] : checkSealed(facts.settingsKeys, facts.site?.sealed ?? []);
  const locations = facts.locations.flatMap((location) => checkLocation(location, facts));
  const edges = [...facts.twins.map(twinOf), ...facts.edges.flatMap((edge) => checkEdge(edge, facts))];
  return [server, ...old, ...sealed, ...checkHosts('server', facts.hostEnds), ...locations, ...edges];
}

function checkLocation(location: Location, { role, nowMs, site, refusals }: FederationFacts): Finding[] {
  const { id, holder, state, reason, modules } = location;
  const check = `location ${id}`;
  if (state === 'not-made') {
    return [problem(
      check,
      'its document is stored, but the master could not make it: nobody controls it, and its edge is refused',
      `\`holdfast events --location ${id}\` says why; mend that, then restart the master, or change the document with \`holdfast apply -f <file>\``,
    )];
  }
  const bad = [...linkOf(location, role, refusals.find((refusal) => refusal.location === id)), ...holderOf(location, role, nowMs), ...pausesOf(location)];
  if (modules.failing > 0) {
    bad.push(problem(check, `${plural(modules.failing, 'module')} of ${modules.total} failing`, failingFix(id, site)));
  }
  if (location.commit.problem !== null) {
    bad.push(problem(
      check,
      `its drivers are not those of the wanted commit: ${location.commit.problem}`,
      `\`holdfast driver repository ${id}\` shows it; the code before runs on`,
    ));
  }
  if (location.window.schedule !== null && location.window.next === null) {
    bad.push(problem(
      check,
      `its restore window never opens: "${location.window.schedule.start}"`,
      `correct window_start and timezone with \`holdfast apply -f <file>\`; ${TRY_WINDOW}`,
    ));
  }
  if (location.edited > 0) {
    bad.push(warning(
      check,
      `${plural(location.edited, 'module')} ${location.edited === 1 ? 'runs' : 'run'} code that was edited and not committed: the next restart drops it`,
      `bring the change into the files of the driver and \`holdfast driver reload <id>\`, or take it back: ${revertOf(id, site)}`,
    ));
  }
  if (location.dual_control_seconds > 0) {
    bad.push(warning(
      check,
      `edge and master both held it for ${duration(location.dual_control_seconds)} in all`,
      `\`holdfast location history ${id}\` shows when; policy: exclusive rules it out, at its price (docs/operations.md)`,
    ));
  }
  return orOk(bad, check, `the ${holder} holds it (${state}, ${reason})`);
}

/** One of them by its name, if one says what it lacks, and what shows them all. */
function failingFix(location: string, site: SiteFacts | null): string {
  const all = `\`holdfast events --kind driver --location ${location}\` says why each of them does not start`;
  if (site === null) return all;
  const failing = site.modules.filter((module) => module.location === location && module.problem !== null);
  const first = failing.map((module) => nameInSystem(module, site)).find((found) => found !== null) ?? null;
  if (first === null) return all;
  const [system, module] = first;
  return `\`holdfast get ${system} ${module}\` shows the problem of the first; ${all}`;
}

/** A command for each driver of which code was edited; which those are is known a moment later than how many modules run it. */
function revertOf(location: string, site: SiteFacts | null): string {
  const edited = (site?.modules ?? []).filter((module) => module.edited && module.location === location);
  const drivers = edited.length === 0 ? ['<id>'] : [...new Set(edited.map(({ driver_id }) => driver_id))];
  return drivers.map((driver) => `\`holdfast driver reload ${driver} --revert --location ${location}\``).join(', ');
}

/** What the reason of a refusal means, where a new enrolment mends it. */
const enrolAnew: Readonly<Record<string, string>> = {
  'unknown-edge': 'it is not enrolled, or was revoked',
  'unknown-secret': 'it shows a secret that is not known here any more',
  'wrong-secret': 'it shows a wrong secret',
  'token-spent': 'its enrolment string was used before',
  'token-expired': 'its enrolment string has expired',
};

function refusedBy({ id }: Location, { reason, remote }: RefusalFacts): Finding {
  const check = `location ${id}`;
  const meaning = enrolAnew[reason];
  if (meaning !== undefined) return problem(
    check,
    `its edge is refused: ${meaning} (${reason}, from ${remote})`,
    `\`holdfast edge add ${id}\`, and start the edge with what it prints: it is enrolled anew`,
  );
  return problem(
    check,
    `its edge is refused: ${reason} (from ${remote})`,
    `\`holdfast events --kind link --location ${id}\` shows each kind of refusal; docs/link.md explains the words`,
  );
}

const twinOf = ({ location, remote }: RefusalFacts): Finding =>
  problem(
    `edge ${location}`,
    `two machines have its identity, such as copies of one disk: the one at ${remote} is refused while the other is connected`,
    `stop that one; to make it the edge of another location, empty its data directory and start it with what \`holdfast edge add <id>\` prints`,
  );

function linkOf(location: Location, role: 'master' | 'edge', refusal: RefusalFacts | undefined): Finding[] {
  const { id, link, reason } = location;
  if (link.state === 'up') return [];
  const check = `location ${id}`;
  if (refusal !== undefined) return [refusedBy(location, refusal)];
  if (role === 'edge' && link.refused === 'refused-by-peer') return [problem(
    check,
    'the master refuses this edge: it was revoked, or shows a wrong secret',
    `\`holdfast doctor\` at the master says which; \`holdfast edge add ${id}\` there, and start this edge with what it prints`,
  )];
  if (role === 'edge') return [problem(
    check,
    'this edge has no link to a master',
    '`holdfast doctor --data <directory>` on this machine tries each master',
  )];
  if (reason === 'never-held') return [problem(
    check,
    'no edge has ever connected',
    `\`holdfast edge add ${id}\`, and start the edge with what it prints`,
  )];
  return [problem(
    check,
    'its edge is not connected',
    'start the edge, or mend its line; `holdfast doctor --data <directory>` on its machine says which',
  )];
}

const MOVING: ReadonlySet<string> = new Set(['releasing', 'taking-over', 'claiming']);

/** Longer than any move takes. */
const MOVE_MS = 60_000;

function holderOf(location: Location, role: 'master' | 'edge', nowMs: number): Finding[] {
  const { id, holder, state, reason, since, link, window, paused, failover, hold_down } = location;
  const check = `location ${id}`;
  // Whoever has just let go, or is asked to claim, is heard: a planned move is no fault, and an order would cut it off.
  if (holder === 'none' && (link.state === 'up' || MOVING.has(state)) && nowMs - since * 1_000 < MOVE_MS) return [warning(
    check,
    `control is changing hands (${state}, ${reason})`,
    `ask again in a few seconds; \`holdfast events --location ${id}\` says what keeps it`,
  )];
  if (holder === 'none') return [problem(
    check,
    `nobody holds it (${state}, ${reason})`,
    // A master refuses to take over then, whoever asks.
    !failover && role === 'master'
      ? 'start the edge, or mend its line: with failover: false only the edge holds it'
      : `\`holdfast location takeover ${id}\`, or wait if \`holdfast status\` shows a time`,
  )];
  if (holder !== 'master' || link.state === 'down' || paused) return [];
  const soon = window.schedule === null ? 'it has no restore window' : 'it waits for its restore window';
  // Windows are the master's, and none has an effect during a hold-down.
  const byWindow = role === 'edge' || hold_down > 0 ? '' : `, or \`holdfast window open ${id} --for 2m\``;
  return [warning(
    check,
    `the master holds it while its edge is connected; ${soon}`,
    `\`holdfast location handback ${id}\`${byWindow}`,
  )];
}

function pausesOf({ id, holder, paused, hold_down }: Location): Finding[] {
  const check = `location ${id}`;
  const findings: Finding[] = [];
  if (paused) findings.push(warning(check, 'it is paused: nothing moves by itself', `\`holdfast location resume ${id}\``));
  if (hold_down > 0) {
    findings.push(warning(
      check,
      `a hold-down runs for another ${duration(hold_down)}: its line broke too often`,
      holder === 'master' ? `mend the line; \`holdfast location handback ${id}\` goes before it` : 'mend the line; it ends by itself',
    ));
  }
  return findings;
}

/** A little more than a copy may be without being called old by its server. */
const OLD_SECONDS = limits.storeBeatLostMs / 1_000 + 5;

function checkAge(check: string, ageSeconds: number | null): Finding[] {
  if (ageSeconds === null || ageSeconds <= OLD_SECONDS) return [];
  return [problem(
    check,
    `its documents are ${duration(ageSeconds)} old: its database is away, or a copy to which nothing is replicated`,
    '`holdfast doctor --data <directory>`, on its machine; `holdfast xdcr status --centre <address>` shows replication by the database',
  )];
}

/** One that ended once has been started again, and its event says why. */
const ENDS_AGAIN = 3;

function checkHosts(check: string, { count, reason }: HostEndsFacts): Finding[] {
  if (count < ENDS_AGAIN) return [];
  return [problem(
    check,
    `its driver hosts end again and again (${count} times in the last minutes): ${reason}`,
    '`holdfast events --kind driver`, asked of that server, shows each end and whose code did it',
  )];
}

const CLOCKS_APART_MS = 60_000;
/** Changes reach an edge in less than a second; a few may be under way. */
const CHANGES_BEHIND = 20;

function checkEdge(edge: EdgeFacts, { locations, sequence }: FederationFacts): Finding[] {
  const { id, origin, outcome } = edge;
  const check = `edge ${id}`;
  const atMaster = locations.find((location) => location.id === id);
  if (edge.both) {
    return [problem(
      check,
      'edge and master both drive the devices now',
      'mend the line between them: the edge keeps the devices, and the master lets go',
    )];
  }
  // That it is away was said with its location.
  if (atMaster?.link.state === 'down') return [];
  const fix = 'set HOLDFAST_HTTP of the edge to an address that clients reach, or HOLDFAST_ORIGIN to what leads there';
  if (outcome === 'not-asked') return [warning(check, `its origin ${origin} is not for clients elsewhere: ${edge.problem}`, fix)];
  if (outcome === 'unreachable') return [warning(check, `it is linked, but its client API is not reached: ${edge.problem}`, fix)];
  const bad: Finding[] = [...unopenedValues(check, edge.unopened ?? [], null), ...checkHosts(check, edge.hostEnds)];
  if (Math.abs(edge.clockAheadMs) > CLOCKS_APART_MS) {
    const apart = `${duration(Math.abs(edge.clockAheadMs) / 1_000)} ${edge.clockAheadMs > 0 ? 'ahead' : 'behind'}`;
    bad.push(warning(
      check,
      `its clock is ${apart}: certificates, tokens and times in logs are wrong; who controls does not depend on it`,
      '`timedatectl set-ntp true`, on the machine whose clock is wrong',
    ));
  }
  const failing = edge.location?.modules.failing ?? 0;
  // What the master knows of was said with the location.
  if (failing > (atMaster?.modules.failing ?? 0)) bad.push(problem(
    check,
    `${plural(failing, 'module')} of ${edge.location?.modules.total ?? failing} failing, as it says itself`,
    `\`holdfast events --kind driver --location ${id}\`, asked of the edge, says why each of them does not start`,
  ));
  bad.push(...checkAge(check, edge.ageSeconds));
  if (edge.sequence !== null && sequence !== null && sequence - edge.sequence > CHANGES_BEHIND) {
    bad.push(problem(
      check,
      `its documents are ${plural(sequence - edge.sequence, 'change')} behind those of the master`,
      'see "replication" in its log; after a restart of the edge it pulls them anew',
    ));
  }
  return orOk(bad, check, `${origin} answers, its clock and documents agree`);
}
