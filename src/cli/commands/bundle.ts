import { gzipSync } from 'node:zlib';
import type { Command } from 'commander';
import { routes } from '../../client-sdk/index.ts';
import type { Client } from '../../client-sdk/index.ts';
import { diagnose } from './doctor.ts';
import type { Diagnosis } from './doctor.ts';
import type { DataFacts } from '../doctor/facts.ts';
import { CliFailure, toFailure } from '../failures.ts';
import { clean, plural } from '../format.ts';
import { Redactor, secretsIn } from '../redact.ts';
import type { Session } from '../session.ts';

const LOG_LINES = 1_000;
const LOG_BYTES = 1024 * 1024;
const HISTORY = '100';
/** Of the parts that are missing. */
const NAMED = 3;

interface BundleOptions {
  file?: string;
  data?: string;
  log?: string;
}

export function addBundle(program: Command, session: Session): void {
  program
    .command('bundle')
    .description('write diagnostics without secrets into a file, to give to somebody who helps')
    .option('--file <path>', 'the file to make; without it one with the time in its name, here')
    .option('--data <directory>', 'look at the data directory of a server on this machine too, as holdfast doctor does')
    .option('--log <path>', `add the last ${LOG_LINES} lines of this log, redacted`)
    .action(async ({ file, data, log }: BundleOptions) => {
      const made = new Date(session.deps.clock.wallMs()).toISOString();
      const path = file ?? `holdfast-bundle-${made.replaceAll(':', '-')}.json.gz`;
      const lines = log === undefined ? null : await tail(session, log);
      const diagnosis = await diagnose(session, data);
      const missing: Missing[] = [];
      const sections = { bundle: { format: 1, made, version: session.deps.version }, ...(await gather(session, diagnosis, missing)), log: lines };
      const redactor = new Redactor(await secretsToHide(session, diagnosis));
      const redacted = Object.entries(sections).map(([name, section]) => [
        name,
        name === 'log' ? (lines?.map((line) => redactor.line(line)) ?? null) : redactor.value(section),
      ]);
      await session.deps.writeFile(path, gzipSync(JSON.stringify(Object.fromEntries(redacted), null, 1)));
      const problems = diagnosis.findings.filter(({ verdict }) => verdict === 'problem').length;
      session.result({ file: path, problems }, () => `${clean(path)}\n`);
      session.note(`Read it before you hand it on: zcat ${clean(path)} | less`);
      session.note('Names and addresses are in it; secrets that look like none may be in log lines.');
      endWith(path, missing);
    });
}

/** A part of the file that is not in it, and why. */
interface Missing {
  what: string;
  failure: CliFailure;
}

/** The file was written with all that could be had. Whoever asked for it, also a program, hears what it lacks. */
function endWith(path: string, missing: readonly Missing[]): void {
  const [first] = missing;
  if (first === undefined) return;
  const { message, next, exitCode } = first.failure;
  const names = missing.slice(0, NAMED).map(({ what }) => what).join(', ');
  const more = missing.length > NAMED ? ` and ${plural(missing.length - NAMED, 'part')} more` : '';
  throw new CliFailure(`${path} was written without ${names}${more}: ${message}`, next, exitCode);
}

async function tail(session: Session, path: string): Promise<string[]> {
  return (await session.deps.readTail(path, LOG_BYTES)).split('\n').filter((line) => line !== '').slice(-LOG_LINES);
}

/** What a federation and a data directory say of themselves. A part that cannot be had says why instead. */
async function gather(session: Session, { findings, data, federation }: Diagnosis, missing: Missing[]): Promise<Record<string, unknown>> {
  const local = data === null ? null : localPart(data);
  if (federation === null) return { findings, data: local, federation: null };
  if (federation.failure !== null) {
    const { problem, fix, exitCode } = federation.failure;
    missing.push({ what: 'what the server knows', failure: new CliFailure(problem, fix, exitCode) });
    return { findings, data: local, federation: { problem, fix } };
  }
  const client = await session.client();
  const part = <T>(what: string, value: Promise<T>): Promise<T | { not_available: string }> =>
    value.catch((error: unknown) => {
      if (session.deps.signal.aborted) throw error;
      const failure = toFailure(error);
      missing.push({ what, failure });
      return { not_available: failure.message };
    });
  const { origin, role, waitingFor, locations, sequence, edges, site } = federation;
  return {
    findings,
    data: local,
    federation: { origin, role, waitingFor, sequence },
    locations,
    edges: edges.map(({ location: _, ...edge }) => edge),
    documents: site === null ? null : documentsOf(site),
    server: await part('its version', client.call(routes.version, {})),
    members: await part('the members', client.call(routes.members, {})),
    history: Object.fromEntries(await Promise.all(locations.map(async ({ id }) => [id, await part(`the history of ${id}`, historyOf(client, id))]))),
    metrics: await part('its metrics', client.call(routes.metrics, {}).then((text) => text.split('\n'))),
  };
}

function localPart({ role, node, configuration, directory, databases, certificates }: DataFacts): Partial<DataFacts> {
  return { role, node, configuration, directory, databases, certificates };
}

const historyOf = (client: Client, id: string) => client.call(routes.edgeHistory, { params: { id }, query: { limit: HISTORY } });

/** How documents hang together. Settings, addresses and texts of people stay out. */
function documentsOf({ systems, modules, drivers }: NonNullable<NonNullable<Diagnosis['federation']>['site']>): unknown {
  return {
    systems: systems.map(({ id, modules: listed }) => ({ id, modules: listed })),
    modules: modules.map(({ id, driver_id, running, connected, udp, makebreak }) => ({ id, driver_id, running, connected, udp, makebreak })),
    drivers: drivers.map(({ id, builtin }) => ({ id, builtin })),
  };
}

/** Secrets that a device may have repeated in a log. Settings are read for this only; a key that may not read them hides fewer. */
async function secretsToHide(session: Session, { federation }: Diagnosis): Promise<string[]> {
  const { env } = session.deps;
  const own = ['HOLDFAST_KEY', 'HOLDFAST_ENROL', 'HOLDFAST_XDCR_PASSWORD', 'HOLDFAST_XDCR_SITE_PASSWORD'].flatMap((name) => env[name] ?? []);
  if (federation === null || federation.failure !== null) return own;
  try {
    const settings = await (await session.client()).all(routes.settingsList);
    return [...own, ...settings.flatMap(({ settings_string }) => secretsIn(JSON.parse(settings_string)))];
  } catch (error) {
    session.note(`settings were not read to find their secrets in the log: ${toFailure(error).message}`);
    return own;
  }
}
