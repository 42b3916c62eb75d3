import { join } from 'node:path';
import { instant, plural } from '../format.ts';
import type { DatabaseFacts, DataFacts, SiteFacts } from './facts.ts';
import { type Finding, ok, orOk, problem, shellWord, warning } from './finding.ts';
import { checkSettingsKeys } from './settings-checks.ts';
import { checkStore } from './store-checks.ts';

/** Checks of a data directory and of the machine around it. */

const MEGABYTE = 1024 * 1024;
const DISK_PROBLEM_BYTES = 100 * MEGABYTE;
const DISK_WARNING_BYTES = 500 * MEGABYTE;
const DAY_MS = 86_400_000;
/** A master renews its certificate at a start within 60 days of its end, an edge its own 20 days before. */
const RENEWAL_LATE_MS = { master: 30 * DAY_MS, edge: 15 * DAY_MS } as const;

export function checkData(facts: DataFacts, nowMs: number, keys: SiteFacts['keys']): Finding[] {
  const beside = [nodeVersion(facts), ...configuration(facts), ...directory(facts)];
  // What is said of a file as if it were a directory would be wrong.
  if (facts.directory === 'file') return beside;
  return [
    ...beside,
    ...writeLog(facts),
    ...databases(facts),
    ...certificates(facts, nowMs),
    ...enrolment(facts),
    ...administrators(facts, keys ?? facts.site?.keys ?? null),
    ...(facts.settingsKeys === null ? [] : checkSettingsKeys(facts.settingsKeys, facts.site?.sealed ?? [])),
    ...(facts.store === null ? [] : checkStore(facts.store)),
    ...drivers(facts),
    ...ports(facts),
    ...masters(facts),
  ];
}

const numbers = (version: string): number[] => version.split('.').map(Number);

function nodeVersion({ node: { version, wanted } }: DataFacts): Finding {
  const [major = 0, minor = 0] = numbers(version);
  const [wantedMajor = 0, wantedMinor = 0] = numbers(wanted);
  const good = major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
  if (good) return ok('node', `version ${version}`);
  return problem('node', `version ${version} is too old`, `install Node ${wanted} or newer, and start the server with it`);
}

function configuration({ configuration: found }: DataFacts): Finding[] {
  if (found === null) return [];
  if (found.problem === null) return [ok('configuration', 'every variable is known and valid')];
  return [problem('configuration', found.problem, 'correct the environment of the server; docs/operations.md lists the variables')];
}

function directory({ folder, directory: found }: DataFacts): Finding[] {
  if (found === null) return [problem('data directory', `${folder} does not exist`, `\`mkdir -p -m 700 ${shellWord(folder)}\`, or correct HOLDFAST_DATA`)];
  if (found === 'file') return [problem(
    'data directory',
    `${folder} is not a directory`,
    'correct HOLDFAST_DATA or --data, which is to name the directory of a server',
  )];
  const findings: Finding[] = [];
  if (found.unwritable === 'denied') findings.push(problem(
    'data directory',
    `${folder} cannot be written to by this user`,
    `give the folder to the user of the server: \`chown -R <user> ${shellWord(folder)}\``,
  ));
  if (found.unwritable === 'read-only') findings.push(problem(
    'data directory',
    `${folder} is on a file system that is read-only`,
    `mount it for writing (\`findmnt -T ${shellWord(folder)}\` shows which it is), or name another directory in HOLDFAST_DATA`,
  ));
  if ((found.mode & 0o077) !== 0) {
    findings.push(warning(
      'data directory',
      `others may read ${folder} (mode ${found.mode.toString(8)}), and secrets are in it`,
      `\`chmod 700 ${shellWord(folder)}\``,
    ));
  }
  const free = `${Math.floor(found.freeBytes / MEGABYTE)} MB free`;
  const mend = `free space on the disk of ${folder}: without it nobody can gain control`;
  if (found.freeBytes < DISK_PROBLEM_BYTES) findings.push(problem('disk', `nearly full: ${free}`, mend));
  else if (found.freeBytes < DISK_WARNING_BYTES) findings.push(warning('disk', `little space: ${free}`, mend));
  return orOk(findings, 'data directory', `${folder}, ${free}`);
}

function databases(facts: DataFacts): Finding[] {
  const bad = facts.databases.filter(({ state }) => state === 'damaged').map((found) => problem(
    found.name,
    `damaged: ${found.problem}`,
    cure(facts, found),
  ));
  if (journalIsMissing(facts)) {
    bad.push(
      problem(
        'control.db',
        'the control journal is gone, while this server has been in use',
        'start it, and give no order before `holdfast status` shows the link up: each side tells the other the highest epoch',
      ),
    );
  }
  const states = new Set(facts.databases.map(({ state }) => state));
  const found = states.has('in-use') ? 'in use by a running server, which checked them when it opened them' : states.has('sound') ? 'sound' : 'not made yet';
  return orOk(bad, 'databases', found);
}

function journalIsMissing({ databases: found }: DataFacts): boolean {
  const stateOf = (name: DatabaseFacts['name']) => found.find((database) => database.name === name)?.state;
  return stateOf('control.db') === 'absent' && (stateOf('credentials.db') ?? 'absent') !== 'absent';
}

function cure({ folder, role, newestBackup }: DataFacts, { name }: DatabaseFacts): string {
  // With its log: a server refuses to start a new file beside the log of an old one.
  const files = shellWord(join(folder, name));
  const aside = shellWord(join(folder, 'damaged'));
  const moveAway = `\`mkdir -p ${aside} && mv ${files}* ${aside}\``;
  if (name === 'control.db') return `${moveAway}, start the server, and give no order before \`holdfast status\` shows the link up`;
  if (name === 'credentials.db') {
    return role === 'edge'
      ? `${moveAway}, then \`holdfast edge rotate <id>\` at the master, and start the edge with what it prints`
      : `put a copy of credentials.db back, or ${moveAway} and enrol every edge anew: \`holdfast edge add <id>\``;
  }
  if (name === 'documents-copy.db') return `\`rm ${files}*\`: the server reads its documents from the database anew`;
  if (role === 'edge') return `\`rm ${files}*\`: the edge pulls a fresh copy from its master`;
  return `\`holdfast restore ${newestBackup === null ? '<backup>' : shellWord(newestBackup)} --data ${shellWord(folder)}\``;
}

function certificates({ certificates: found, role, folder }: DataFacts, nowMs: number): Finding[] {
  const mend =
    role === 'edge'
      ? 'mend the link to the master, which renews it: `holdfast status` at the master shows it'
      : 'restart the master: it renews its certificate when it starts';
  const late = RENEWAL_LATE_MS[role ?? 'master'];
  const bad = found.flatMap(({ name, endsMs }): Finding[] => {
    if (endsMs === null) return [problem(
      'certificate',
      `${name} cannot be read`,
      name === 'ca.pem' ? `put the copy of ${shellWord(join(folder, 'tls'))} back: edges pin this CA` : mend,
    )];
    const end = instant(endsMs / 1_000);
    if (name === 'ca.pem') return endsMs < nowMs + late ? [problem(
      'certificate',
      `the CA ends on ${end}`,
      'enrol every edge anew under a new CA: `holdfast edge add <id>`',
    )] : [];
    if (endsMs <= nowMs) return [problem('certificate', `${name} has ended on ${end}: clients refuse it`, mend)];
    return endsMs < nowMs + late ? [warning('certificate', `${name} ends on ${end}, and should have been renewed`, mend)] : [];
  });
  return found.length === 0 ? [] : orOk(bad, 'certificate', `good until ${instant(Math.min(...found.map(({ endsMs }) => endsMs ?? 0)) / 1_000)}`);
}

/** At a master: who may connect, and whom there is a document of. At an edge: is it anybody? */
function enrolment({ role, credentials, site }: DataFacts): Finding[] {
  if (credentials === null) return [];
  if (role === 'edge') {
    if (credentials.edge !== null) return [ok('enrolment', `this is the edge ${credentials.edge}`)];
    return [problem('enrolment', 'this edge was never enrolled', '`holdfast edge add <id>` at the master, and start this edge with what it prints')];
  }
  if (site === null) return [];
  const locations = site.windows.map(({ location }) => location);
  const without = locations.filter((id) => !credentials.enrolled.includes(id));
  const lost = credentials.enrolled.filter((id) => !locations.includes(id));
  const bad = [
    ...without.map((id) => problem(
      'enrolment',
      `no edge may connect for the location ${id}`,
      `\`holdfast edge add ${id}\`, and start the edge with what it prints`,
    )),
    ...lost.map((id) => warning(
      'enrolment',
      `the edge ${id} may connect, but there is no location of that id`,
      `\`holdfast edge revoke ${id}\`, or make the location with \`holdfast apply -f <file>\``,
    )),
  ];
  return orOk(bad, 'enrolment', plural(credentials.enrolled.length, 'edge'));
}

function administrators({ role, adminKey, folder }: DataFacts, keys: SiteFacts['keys']): Finding[] {
  if (role !== 'master' || keys === null) return [];
  const admins = keys.filter((key) => key.role === 'admin' && !key.revoked);
  if (keys.length > 0 && admins.length === 0) {
    return [problem(
      'administrators',
      'no key of an administrator is valid',
      `\`holdfast restore <backup> --data ${shellWord(folder)}\`, with a backup from before the last one was revoked`,
    )];
  }
  // The only key there is must lie somewhere.
  if (adminKey !== null && admins.some(({ id }) => id === adminKey) && admins.length > 1) {
    return [warning(
      'administrators',
      `the first administrator's key still lies in ${folder}/admin.key, and you have keys of your own`,
      `\`holdfast key revoke ${adminKey}\`, then \`rm ${shellWord(join(folder, 'admin.key'))}\``,
    )];
  }
  return [ok('administrators', plural(admins.length, 'key'))];
}

const drivers = ({ drivers: found }: DataFacts): Finding[] =>
  found.map(({ name, file, problem: what }) => problem(
    'drivers',
    `${name}: ${what}`,
    file === null ? 'correct the folder, or HOLDFAST_DRIVERS, which names it' : `correct it until \`holdfast driver check ${shellWord(file)}\` accepts it`,
  ));

const writeLog = ({ writeLog: found }: DataFacts): Finding[] =>
  found === null ? [] : [problem(
    'write log',
    `${found.path} cannot be opened: ${found.problem}`,
    'correct HOLDFAST_WRITE_LOG: without its write log a server does not start',
  )];

const ports = ({ takenPorts }: DataFacts): Finding[] =>
  takenPorts.map(({ variable, address, trouble }) => {
    if (trouble === 'foreign') {
      const fix = `set ${variable} to an address of this machine (\`ip -brief address\` shows them)`;
      return problem('ports', `this machine does not have the address of ${address}`, fix);
    }
    if (trouble === 'denied') {
      return problem('ports', `this user may not listen on ${address}`, `set ${variable} to a port above 1023, or give the right to the service of the server`);
    }
    return problem('ports', `${address} is taken by another program`, `stop that program (\`ss -ltnp\` shows it), or set ${variable} to a free port`);
  });

const masters = ({ masters: found }: DataFacts): Finding[] =>
  found.map(({ address, outcome, problem: what }) => {
    if (outcome === 'reached') return ok('master', `${address} is the master that this edge trusts`);
    if (outcome === 'foreign') {
      return problem(
        'master',
        `${address} is not the master that this edge trusts: ${what}`,
        'correct HOLDFAST_MASTERS, or enrol this edge at that master: `holdfast edge add <id>`',
      );
    }
    return problem(
      'master',
      `${address} cannot be reached: ${what}`,
      'start the master, open its HOLDFAST_LINK port in the firewall, or correct HOLDFAST_MASTERS',
    );
  });
