import type { Command } from 'commander';
import { type ClusterAddress, clusterAddressSchema, referenceNameSchema } from '../../shared/model/cluster-address.ts';
import type { ClusterChange, ReplicationState } from '../../shared/model/xdcr.ts';
import type { ClusterAccess } from '../deps.ts';
import { usageFailure } from '../failures.ts';
import { clean, type Cell, plural } from '../format.ts';
import { type Danger, dangerous, type Session } from '../session.ts';

interface CentreOptions {
  centre: string;
  centrePasswordFile?: string;
  centreCa?: string;
  plain?: boolean;
}

interface SetUpOptions extends CentreOptions, Danger {
  site: string;
  sitePasswordFile?: string;
  siteCa?: string;
  name: string;
  memory: string;
}

const EXAMPLE = 'https://admin@db.example.org:18091/holdfast';
const passwords = { centre: 'HOLDFAST_XDCR_PASSWORD', site: 'HOLDFAST_XDCR_SITE_PASSWORD' } as const;
const LEAST_MB = 256;

export function addXdcr(program: Command, session: Session): void {
  const xdcr = program
    .command('xdcr')
    .description('copies of the database at sites, which the cluster of the centre fills: Couchbase Enterprise, docs/couchbase.md');

  const setUp = xdcr
    .command('setup')
    .description('make what is missing at both clusters: nodes, buckets, scopes, collections, the reference and the replication; resume a paused one');
  named(ofSite(ofCentre(setUp)))
    .option('--memory <megabytes>', 'quota of a node that is set up anew; a new bucket gets half of it', '512');
  dangerous(setUp).action((options: SetUpOptions) => runSetUp(session, options));

  const status = xdcr.command('status').description('does the cluster of the centre reach its sites, and how much is left to send');
  ofCentre(status)
    .option('--name <name>', 'only this site')
    .action(async (options: CentreOptions & { name?: string }) => {
      const centre = await centreOf(session, options);
      const name = options.name === undefined ? null : nameOf(options.name);
      const rows = await session.deps.xdcr.states({ centre, name, signal: session.deps.signal });
      session.result(rows, () => stateText(session, rows));
    });

  const remove = xdcr.command('remove').description('end the replication to a site, and forget it; what the site has stays there');
  dangerous(named(ofCentre(remove))).action(async (options: CentreOptions & Danger & { name: string }) => {
    session.requireConfirmable(options);
    const centre = await centreOf(session, options);
    const all = { centre, name: nameOf(options.name), signal: session.deps.signal };
    await perform(session, options, (dryRun) => session.deps.xdcr.remove({ ...all, dryRun }));
  });
}

const ofCentre = (command: Command): Command =>
  command
    .requiredOption('--centre <address>', `administration of the cluster of the centre, with bucket and scope, such as ${EXAMPLE}`)
    .option('--centre-password-file <path>', `file with the password of its user; without it ${passwords.centre}`)
    .option('--centre-ca <path>', 'PEM file of the authority that signed its certificate')
    .option('--plain', 'accept addresses with http://, which show passwords and documents to the network');
const ofSite = (command: Command): Command =>
  command
    .requiredOption('--site <address>', 'the same of the cluster of the site, as the centre reaches it')
    .option('--site-password-file <path>', `file with the password of its user; without it ${passwords.site}`)
    .option('--site-ca <path>', 'PEM file of the authority that signed its certificate; the centre checks it by that too');
const named = (command: Command): Command => command.requiredOption('--name <name>', 'how the centre calls the site, such as its location');

async function runSetUp(session: Session, options: SetUpOptions): Promise<void> {
  session.requireConfirmable(options);
  const { siteCa, sitePasswordFile, plain } = options;
  const centre = await centreOf(session, options);
  const site = await accessOf(session, { side: 'site', text: options.site, passwordFile: sitePasswordFile, ca: siteCa, plain });
  if (site.address.tls && site.ca === null) throw usageFailure('--site-ca is missing', 'the centre sends only to a site whose certificate it can check');
  const memoryMb = Number(options.memory);
  if (!Number.isInteger(memoryMb) || memoryMb < LEAST_MB || memoryMb > 1_000_000) {
    throw usageFailure(`--memory ${options.memory} is no number of megabytes`, `at least ${LEAST_MB}, such as 512`);
  }
  const all = { centre, site, name: nameOf(options.name), memoryMb, signal: session.deps.signal };
  await perform(session, options, (dryRun) => session.deps.xdcr.setUp({ ...all, dryRun }));
}

/** Shows what would change, asks, and does it. */
async function perform(session: Session, options: Danger, run: (dryRun: boolean) => Promise<ClusterChange[]>): Promise<void> {
  const planned = await run(true);
  const dry_run = options.dryRun === true;
  if (dry_run || planned.length === 0) {
    const end = dry_run ? 'Dry run: nothing was changed.\n' : '';
    session.result({ changes: planned, dry_run }, () => `${planned.length === 0 ? 'There is nothing to change.\n' : callText(planned)}${end}`);
    return;
  }
  await session.confirm(`Make ${plural(planned.length, 'call')}?`, callText(planned), options);
  const done = await run(false);
  session.result({ changes: done, dry_run }, () => `${callText(done)}Done: ${plural(done.length, 'call')}.\n`);
}

/** Values of forms in one line each; a certificate would fill the screen. */
const callText = (changes: readonly ClusterChange[]): string =>
  changes.map(({ cluster, call, form }) => `${cluster}: ${clean(call)}\n${Object.entries(form).map(formLine).join('')}`).join('');
const formLine = ([key, value]: [string, string]): string => `  ${key}=${clean(key === 'certificate' ? '(the file of --site-ca)' : value)}\n`;

function stateText(session: Session, rows: readonly ReplicationState[]): string {
  if (rows.length === 0) return 'The centre knows no such site: holdfast xdcr setup\n';
  const cells = rows.map((row): Cell[] => [
    row.name,
    row.hostname,
    { text: row.encryption, colour: row.encryption === 'full' ? 'green' : 'yellow' },
    { text: row.status, colour: row.status === 'running' && row.errors.length === 0 ? 'green' : 'red' },
    row.changes_left === null ? '-' : String(row.changes_left),
    row.docs_written === null ? '-' : String(row.docs_written),
  ]);
  const advice = rows.flatMap(({ name, status, errors }) => [
    ...(status === 'running' ? [] : [`${clean(name)}: ${advices[status] ?? advices['other']}\n`]),
    ...errors.map((error) => `${clean(name)}: ${clean(error)}\n`),
  ]);
  return `${session.table(['SITE', 'CLUSTER', 'TLS', 'REPLICATION', 'LEFT', 'WRITTEN'], cells)}${advice.join('')}`;
}

const advices: Readonly<Record<string, string>> = {
  paused: 'nothing is sent while it is paused; holdfast xdcr setup resumes it',
  none: 'the centre knows the site and sends it nothing; holdfast xdcr setup makes the replication',
  other: 'it does not run; see whether the centre reaches the cluster of the site, and the logs of XDCR there',
};

const centreOf = (session: Session, { centre, centrePasswordFile, centreCa, plain }: CentreOptions): Promise<ClusterAccess> =>
  accessOf(session, { side: 'centre', text: centre, passwordFile: centrePasswordFile, ca: centreCa, plain });

interface Named {
  side: 'centre' | 'site';
  text: string;
  passwordFile: string | undefined;
  ca: string | undefined;
  plain: boolean | undefined;
}

/** Passwords are never arguments: everybody on the machine sees those. */
async function accessOf({ deps }: Session, { side, text, passwordFile, ca, plain }: Named): Promise<ClusterAccess> {
  const parsed = clusterAddressSchema.safeParse(text);
  if (!parsed.success) throw usageFailure(`--${side} ${parsed.error.issues[0]?.message ?? ''}`, `write such as ${EXAMPLE}`);
  const address: ClusterAddress = parsed.data;
  if (!address.tls && plain !== true) throw usageFailure(`--${side} is without TLS`, 'write https://, or add --plain on a network that nobody else is on');
  if (!address.tls && ca !== undefined) throw usageFailure(`--${side}-ca is for https://`, 'leave it out, or correct the address');
  const variable = passwords[side];
  const password = passwordFile === undefined ? (deps.env[variable] ?? '') : (await deps.readFile(passwordFile)).trim();
  if (password === '') throw usageFailure(`there is no password of the ${side}`, `give --${side}-password-file, or set ${variable}`);
  return { address, password, ca: ca === undefined ? null : await deps.readFile(ca) };
}

function nameOf(text: string): string {
  const parsed = referenceNameSchema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw usageFailure(`--name ${parsed.error.issues[0]?.message ?? ''}`, 'such as berlin');
}
