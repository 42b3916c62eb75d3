import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import type { Location } from '../../src/client-sdk/index.ts';
import { checkData } from '../../src/cli/doctor/data-checks.ts';
import type { DatabaseFacts, DataFacts, EdgeFacts, FederationFacts, ModuleFacts, SiteFacts, StoreFacts } from '../../src/cli/doctor/facts.ts';
import { checkFederation } from '../../src/cli/doctor/federation-checks.ts';
import type { Finding } from '../../src/cli/doctor/finding.ts';
import { checkSite } from '../../src/cli/doctor/site-checks.ts';
import { locationOf } from '../../src/shared/api/views.ts';
import { commandsIn, type Fault, hasPlaceholder, linesFor, mending, shellWords } from '../support/doctor-fixes.ts';
import { locationView } from '../support/fake-node.ts';
import { codeOf } from '../tidy/support/code.ts';
import { programForDocs } from '../tidy/support/program.ts';
import { filesOf, read } from '../tidy/support/sources.ts';

const NOW = Date.parse('2026-06-01T00:00Z');
const DAY = 86_400_000;

// What is healthy

const display: ModuleFacts = { id: 'mod-1', name: 'Display', driver_id: 'driver-mock', ip: '192.0.2.1', port: 23, udp: false, makebreak: false, running: true, connected: true, problem: null, location: 'berlin', edited: false };
const site: SiteFacts = {
  windows: [{ location: 'berlin', start: '0 4 * * *', length: 3_600, timezone: 'Europe/Berlin' }],
  systems: [{ id: 'sys-1', modules: ['mod-1', 'mod-2'] }],
  modules: [display, { ...display, id: 'mod-2', ip: '192.0.2.2' }],
  drivers: [{ id: 'driver-mock', builtin: 'mock' }],
  builtins: ['mock', 'nut'],
  keys: [{ id: 'key-1', role: 'admin', revoked: false }],
  sealed: [{ id: 'mod-1', key: '0a0b0c0d', values: 2 }],
  unheld: [],
};
const keyFile = { path: '/etc/settings.keys', mode: 0o600 };
const data: DataFacts = {
  folder: '/data',
  role: 'master',
  node: { version: '20.19.0', wanted: '20.19' },
  configuration: { problem: null, described: {} },
  directory: { mode: 0o700, unwritable: null, freeBytes: 10 ** 10 },
  databases: [
    { name: 'documents.db', state: 'sound', problem: '' },
    { name: 'control.db', state: 'sound', problem: '' },
    { name: 'credentials.db', state: 'sound', problem: '' },
  ],
  certificates: [
    { name: 'ca.pem', endsMs: NOW + 3_000 * DAY },
    { name: 'server.pem', endsMs: NOW + 300 * DAY },
  ],
  newestBackup: '/data/backups/monday.db',
  adminKey: 'key-1',
  writeLog: null,
  credentials: { enrolled: ['berlin'], edge: null },
  site,
  settingsKeys: { file: keyFile, problem: null, keys: ['0a0b0c0d'] },
  store: null,
  drivers: [],
  takenPorts: [],
  masters: [],
};
const edgeData: DataFacts = {
  ...data,
  role: 'edge',
  certificates: [{ name: 'edge.pem', endsMs: NOW + 25 * DAY }],
  credentials: { enrolled: [], edge: 'berlin' },
  adminKey: null,
  masters: [{ address: '192.0.2.9:7443', outcome: 'reached', problem: '' }],
};
const modules = { total: 2, running: 2, failing: 0 };
const berlin: Location = locationOf(locationView('berlin', { modules }));
const edge: EdgeFacts = { id: 'berlin', origin: 'https://berlin:8443', outcome: 'answered', problem: '', clockAheadMs: 900, sequence: 100, ageSeconds: 1, location: { ...berlin, state: 'holding' }, both: false, hostEnds: { count: 2, reason: 'exit code 1' }, unopened: [] };
const federation: FederationFacts = { origin: 'https://master:8080', failure: null, role: 'master', waitingFor: [], nowMs: NOW, locations: [berlin], site, sequence: 101, ageSeconds: 0, edges: [edge], refusals: [], twins: [], hostEnds: { count: 0, reason: '' }, settingsKeys: ['0a0b0c0d'] };

const ofData = (facts: Partial<DataFacts>, base = data): Finding[] => checkData({ ...base, ...facts }, NOW, null);
const ofStore = (facts: Partial<StoreFacts>): Finding[] => ofData({ store: { address: 'couchbase://u@db/holdfast', replicated: false, trouble: null, problem: '', index: null, ...facts } });
const ofSite = (facts: Partial<SiteFacts>): Finding[] => checkSite({ ...site, ...facts }, NOW);
const ofLocation = (facts: Partial<Location>): Finding[] => checkFederation({ ...federation, locations: [{ ...berlin, ...facts }], edges: [] });
const ofEdge = (facts: Partial<EdgeFacts>, location: Partial<Location> = {}): Finding[] =>
  checkFederation({ ...federation, locations: [{ ...berlin, ...location }], edges: [{ ...edge, ...facts }] });
const damaged = (name: DatabaseFacts['name'], role: 'master' | 'edge' = 'master'): Finding[] =>
  ofData({ databases: [{ name, state: 'damaged', problem: 'page 3' }] }, role === 'edge' ? edgeData : data);
const atMaster = { holder: 'master', state: 'waiting-window', reason: 'edge-lost' } as const;

const failing = { locations: [{ ...berlin, modules: { total: 2, running: 1, failing: 1 } }], edges: [] };

const refusing = (reason: string): Finding[] =>
  checkFederation({ ...federation, locations: [{ ...berlin, link: { state: 'down' } }], edges: [], refusals: [{ location: 'berlin', remote: '192.0.2.8', reason }] });

/** Each planted fault: what the doctor finds, what it says of it, and what it says to do. */
const faults: [fault: Fault, findings: Finding[], verdict: 'warning' | 'problem', found: RegExp, fix: RegExp][] = [
  ['Node is too old', ofData({ node: { version: '20.9.0', wanted: '20.19' } }), 'problem', /20\.9\.0 is too old/, /install Node 20\.19/],
  ['a variable is misspelled', ofData({ configuration: { problem: 'HOLDFAST_ROEL: is unknown; did you mean HOLDFAST_ROLE?', described: null } }), 'problem', /HOLDFAST_ROEL/, /environment/],
  ['the data directory is gone', ofData({ directory: null }), 'problem', /does not exist/, /mkdir -p -m 700 \/data/],
  ['the data directory cannot be written to', ofData({ directory: { mode: 0o700, unwritable: 'denied', freeBytes: 10 ** 10 } }), 'problem', /cannot be written/, /chown/],
  ['the data directory is read-only', ofData({ directory: { mode: 0o700, unwritable: 'read-only', freeBytes: 10 ** 10 } }), 'problem', /file system that is read-only/, /^mount it.*`findmnt -T \/data`/],
  ['the data directory is a file', ofData({ directory: 'file', databases: [{ name: 'documents.db', state: 'damaged', problem: 'ENOTDIR' }] }), 'problem', /^\/data is not a directory$/, /correct HOLDFAST_DATA/],
  ['the write log cannot be opened', ofData({ writeLog: { path: '/log/w', problem: 'this user may not write there' } }), 'problem', /\/log\/w cannot be opened: this user/, /HOLDFAST_WRITE_LOG/],
  ['others may read the data directory', ofData({ directory: { mode: 0o755, unwritable: null, freeBytes: 10 ** 10 } }), 'warning', /mode 755/, /chmod 700 \/data/],
  ['the disk is nearly full', ofData({ directory: { mode: 0o700, unwritable: null, freeBytes: 10 ** 7 } }), 'problem', /nearly full: 9 MB/, /free space/],
  ['the disk gets full', ofData({ directory: { mode: 0o700, unwritable: null, freeBytes: 4 * 10 ** 8 } }), 'warning', /little space: 381 MB/, /free space/],
  ['the documents of a master are damaged', damaged('documents.db'), 'problem', /page 3/, /holdfast restore \/data\/backups\/monday\.db --data \/data/],
  ['the documents of an edge are damaged', damaged('documents.db', 'edge'), 'problem', /page 3/, /`rm \/data\/documents\.db\*`/],
  ['the copy of a database is damaged', damaged('documents-copy.db'), 'problem', /page 3/, /`rm \/data\/documents-copy\.db\*`/],
  ['the journal is damaged', damaged('control.db'), 'problem', /page 3/, /give no order/],
  ['the credentials of an edge are damaged', damaged('credentials.db', 'edge'), 'problem', /page 3/, /holdfast edge rotate/],
  ['the credentials of a master are damaged', damaged('credentials.db'), 'problem', /page 3/, /put a copy .* back.*`holdfast edge add <id>`/],
  [
    'the journal is gone while there are credentials',
    ofData({ databases: [{ name: 'control.db', state: 'absent', problem: '' }, { name: 'credentials.db', state: 'sound', problem: '' }] }),
    'problem',
    /journal is gone/,
    /give no order before `holdfast status`/,
  ],
  ['the certificate of an edge ends', ofData({ certificates: [{ name: 'edge.pem', endsMs: NOW + 5 * DAY }] }, edgeData), 'warning', /ends on 2026-06-06/, /link to the master/],
  ['the certificate of a master has ended', ofData({ certificates: [{ name: 'server.pem', endsMs: NOW - 1 }] }), 'problem', /has ended/, /restart the master/],
  ['the CA cannot be read', ofData({ certificates: [{ name: 'ca.pem', endsMs: null }] }), 'problem', /ca\.pem cannot be read/, /\/data\/tls/],
  ['the CA ends', ofData({ certificates: [{ name: 'ca.pem', endsMs: NOW + 5 * DAY }] }), 'problem', /the CA ends on 2026-06-06/, /new CA/],
  ['a location has no enrolled edge', ofData({ credentials: { enrolled: [], edge: null } }), 'problem', /no edge may connect for the location berlin/, /holdfast edge add berlin/],
  ['an enrolled edge has no location', ofData({ credentials: { enrolled: ['berlin', 'rome'], edge: null } }), 'warning', /edge rome may connect/, /holdfast edge revoke rome/],
  ['an edge was never enrolled', ofData({ credentials: { enrolled: [], edge: null } }, edgeData), 'problem', /never enrolled/, /`holdfast edge add <id>` at the master/],
  ['no administrator is left', ofData({ site: { ...site, keys: [{ id: 'key-1', role: 'admin', revoked: true }] } }), 'problem', /no key of an administrator/, /holdfast restore/],
  [
    "the first administrator's key still lies about",
    ofData({ site: { ...site, keys: [...(site.keys ?? []), { id: 'key-2', role: 'admin', revoked: false }] } }),
    'warning',
    /admin\.key/,
    /`holdfast key revoke key-1`, then `rm \/data\/admin\.key`/,
  ],
  [
    'a server with sealed values has no key',
    ofData({ settingsKeys: { file: null, problem: null, keys: [] } }),
    'problem',
    /2 values of mod-1 cannot be opened: the settings key 0a0b0c0d is not there/,
    /HOLDFAST_SETTINGS_KEYS_FILE/,
  ],
  [
    'values are sealed with a key that is no longer listed',
    ofData({ settingsKeys: { file: keyFile, problem: null, keys: ['ffffffff'] } }),
    'problem',
    /settings key 0a0b0c0d is not there/,
    /put the line of 0a0b0c0d into \/etc\/settings\.keys.*holdfast apply/,
  ],
  ['others may read the settings keys', ofData({ settingsKeys: { file: { ...keyFile, mode: 0o644 }, problem: null, keys: ['0a0b0c0d'] } }), 'problem', /mode 644/, /chmod 600 \/etc\/settings\.keys/],
  ['the file of settings keys is not there', ofData({ settingsKeys: { file: { ...keyFile, mode: null }, problem: 'ENOENT', keys: [] } }), 'problem', /ENOENT/, /HOLDFAST_SETTINGS_KEYS_FILE.*--file \/etc\/settings\.keys/],
  [
    'the settings keys cannot be read',
    ofData({ settingsKeys: { file: keyFile, problem: 'line 1 is no key', keys: [] } }),
    'problem',
    /line 1 is no key/,
    /correct the file.*`holdfast settings new-key` prints/,
  ],
  ...(
    [
      ['the SDK is not installed', 'sdk', /npm install couchbase@/],
      ['the database is away', 'away', /can be reached/],
      ['the password of the database is wrong', 'credentials', /HOLDFAST_STORE_PASSWORD_FILE/],
      ['the bucket is missing', 'bucket', /bucket-create/],
      ['the scope is missing', 'scope', /collection-manage/],
      ['replicas make durable writes impossible', 'durability', /bucket-edit --bucket-replica 0/],
      ['nothing is replicated to the database', 'replication', /holdfast xdcr status/],
      ['the disk of the database is full', 'room', /free disk space on the data nodes/],
      ['the database refuses for another reason', 'other', /docs\/couchbase\.md/],
    ] as const
  ).map(([fault, trouble, fix]): (typeof faults)[number] => [fault, ofStore({ trouble, problem: 'why' }), 'problem', /db\/holdfast: why/, fix]),
  ['an index disagrees with the documents', ofStore({ index: { documents: 9, differences: 1, hidden: 3, damaged: [] } }), 'problem', /1 index disagrees.*3 are hidden/, /holdfast index rebuild/],
  ['a document in the database is damaged', ofStore({ index: { documents: 9, differences: 0, hidden: 0, damaged: ['document mod-1: bad'] } }), 'problem', /mod-1: bad/, /holdfast apply/],
  ['a driver of the folder is broken', ofData({ drivers: [{ name: 'lamp', file: '/drivers/lamp.ts', problem: 'lamp.ts:3:1: unexpected }' }] }), 'problem', /lamp\.ts:3:1/, /`holdfast driver check \/drivers\/lamp\.ts`/],
  ['the folder of drivers cannot be read', ofData({ drivers: [{ name: '/drivers', file: null, problem: 'ENOENT' }] }), 'problem', /\/drivers: ENOENT/, /HOLDFAST_DRIVERS/],
  ['a port is taken', ofData({ takenPorts: [{ variable: 'HOLDFAST_HTTP', address: '127.0.0.1:8080', trouble: 'taken' }] }), 'problem', /127\.0\.0\.1:8080 is taken/, /HOLDFAST_HTTP/],
  ['an address is not of this machine', ofData({ takenPorts: [{ variable: 'HOLDFAST_HTTP', address: '192.0.2.1:8080', trouble: 'foreign' }] }), 'problem', /does not have the address of 192/, /HOLDFAST_HTTP/],
  ['a port may not be listened on', ofData({ takenPorts: [{ variable: 'HOLDFAST_HTTP', address: '0.0.0.0:443', trouble: 'denied' }] }), 'problem', /may not listen on 0\.0\.0\.0:443/, /HOLDFAST_HTTP/],
  ['the master cannot be reached', ofData({ masters: [{ address: 'm:7443', outcome: 'unreachable', problem: 'refused' }] }, edgeData), 'problem', /m:7443 cannot be reached/, /HOLDFAST_MASTERS/],
  ['the master is another one', ofData({ masters: [{ address: 'm:7443', outcome: 'foreign', problem: 'foreign-ca' }] }, edgeData), 'problem', /not the master that this edge trusts/, /holdfast edge add/],

  ['a window is in no time zone', ofSite({ windows: [{ location: 'berlin', start: '0 4 * * *', length: 60, timezone: 'Europe/Berlun' }] }), 'problem', /berlin never opens: .*Europe\/Berlun/, /holdfast window next --cron/],
  ['a system lists a missing module', ofSite({ systems: [{ id: 'sys-1', modules: ['mod-1', 'mod-2', 'mod-9'] }] }), 'problem', /lists the module mod-9/, /`holdfast apply -f <file>`, which has the module mod-9/],
  ['a module is in no system', ofSite({ systems: [{ id: 'sys-1', modules: ['mod-1'] }] }), 'warning', /no system lists mod-2/, /holdfast apply/],
  ['a driver document is missing', ofSite({ drivers: [] }), 'problem', /mod-1 needs the driver driver-mock/, /`holdfast apply -f <file>`, which has the driver driver-mock/],
  ['a driver document names an unknown driver', ofSite({ drivers: [{ id: 'driver-mock', builtin: 'mokc' }] }), 'problem', /names "mokc"/, /set builtin to mock/],
  ['a driver document names a driver that is like no other', ofSite({ drivers: [{ id: 'driver-mock', builtin: 'thermostat' }] }), 'problem', /names "thermostat"/, /HOLDFAST_DRIVERS/],
  ['two modules keep a connection to one device', ofSite({ modules: [display, { ...display, id: 'mod-2' }] }), 'warning', /mod-1, mod-2 .* 192\.0\.2\.1:23/, /makebreak: true/],
  ['a device is not connected', ofSite({ modules: [display, { ...display, id: 'mod-2', ip: '192.0.2.2', connected: false }] }), 'problem', /mod-2 \(192\.0\.2\.2:23\) is not connected/, /power and network.*`holdfast get sys-1 Display_2`/],
  [
    'a module does not work',
    ofSite({ modules: [display, { ...display, id: 'mod-2', ip: '192.0.2.2', connected: false, problem: 'settings.baud must be a number' }] }),
    'problem',
    /mod-2 does not work: settings\.baud must be a number/,
    /^correct what it says.*`holdfast get sys-1 Display_2`/,
  ],
  [
    'a logic module does not work',
    ofSite({ modules: [display, { ...display, id: 'mod-2', ip: '', port: 0, connected: null, problem: 'There is no driver pjlink' }] }),
    'problem',
    /mod-2 does not work: There is no driver pjlink/,
    /or at the server that drives it/,
  ],

  ['the server does not answer', checkFederation({ ...federation, failure: { problem: 'Cannot reach x', fix: 'start it', exitCode: 3 } }), 'problem', /Cannot reach x/, /start it/],
  ['a running server lacks a key of sealed settings', checkFederation({ ...federation, settingsKeys: ['ffffffff'] }), 'problem', /settings key 0a0b0c0d is not there/, /put the line of 0a0b0c0d/],
  ['an edge lacks a key of sealed settings', ofEdge({ unopened: [{ id: 'mod-1', key: 'ffffffff', values: 1 }] }), 'problem', /1 value of mod-1 .* ffffffff is not there/, /put the line of ffffffff/],
  ['the server is starting', checkFederation({ ...federation, waitingFor: ['edges'] }), 'warning', /waits for edges/, /log/],
  ['no edge has ever connected', ofLocation({ link: { state: 'down' }, reason: 'never-held' }), 'problem', /no edge has ever connected/, /holdfast edge add berlin/],
  ['the link is down', ofLocation({ link: { state: 'down' } }), 'problem', /edge is not connected/, /start the edge/],
  ['the link is down, seen from the edge', checkFederation({ ...federation, role: 'edge', locations: [{ ...berlin, link: { state: 'down' } }], edges: [] }), 'problem', /no link to a master/, /holdfast doctor --data/],
  [
    'an edge is refused for want of an enrolment',
    refusing('unknown-edge'),
    'problem',
    /its edge is refused: it is not enrolled, or was revoked \(unknown-edge, from 192\.0\.2\.8\)/,
    /^`holdfast edge add berlin`, and start the edge with what it prints/,
  ],
  ['two machines have one identity', checkFederation({ ...federation, twins: [{ location: 'berlin', remote: '192.0.2.8:5', reason: 'duplicate-identity' }] }), 'problem', /two machines have its identity.*192\.0\.2\.8:5 is refused/, /^stop that one/],
  ['an edge is refused for another reason', refusing('wrong-binding'), 'problem', /its edge is refused: wrong-binding \(from/, /holdfast events --kind link --location berlin/],
  [
    'the master refuses this edge',
    checkFederation({ ...federation, role: 'edge', locations: [{ ...berlin, link: { state: 'down', refused: 'refused-by-peer' } }], edges: [] }),
    'problem',
    /the master refuses this edge/,
    /`holdfast doctor` at the master.*`holdfast edge add berlin` there/,
  ],
  ['driver hosts end again and again', checkFederation({ ...federation, hostEnds: { count: 3, reason: 'exit code 1' } }), 'problem', /again and again \(3 times.*: exit code 1/, /holdfast events --kind driver/],
  ['driver hosts of an edge end again and again', ofEdge({ hostEnds: { count: 9, reason: 'EACCES' } }), 'problem', /again and again.*EACCES/, /asked of that server/],
  [
    'a location could not be made',
    ofLocation({ holder: 'none', state: 'not-made', reason: 'location-not-made', link: { state: 'down' } }),
    'problem',
    /stored, but the master could not make it/,
    /`holdfast events --location berlin` says why; .*restart the master.*`holdfast apply -f <file>`/,
  ],
  [
    'control is changing hands',
    ofLocation({ holder: 'none', state: 'releasing', reason: 'operator-handback', since: NOW / 1_000 - 5 }),
    'warning',
    /control is changing hands \(releasing, operator-handback\)/,
    /^ask again in a few seconds; `holdfast events --location berlin`/,
  ],
  [
    'a move of control does not end',
    ofLocation({ holder: 'none', state: 'standby', reason: 'edge-stalled', since: NOW / 1_000 - 90 }),
    'problem',
    /nobody holds it \(standby, edge-stalled\)/,
    /holdfast location takeover berlin/,
  ],
  ['nobody holds', ofLocation({ holder: 'none', link: { state: 'down' } }), 'problem', /nobody holds it/, /holdfast location takeover berlin/],
  ['nobody holds while failover is off', ofLocation({ holder: 'none', failover: false, link: { state: 'down' } }), 'problem', /nobody holds it/, /^start the edge.*failover: false/],
  ['control waits at the master', ofLocation(atMaster), 'warning', /the master holds it while its edge is connected/, /`holdfast location handback berlin`, or `holdfast window open berlin --for 2m`/],
  [
    'control waits at the master, seen from the edge',
    checkFederation({ ...federation, role: 'edge', locations: [{ ...berlin, ...atMaster }], edges: [] }),
    'warning',
    /the master holds it while its edge is connected/,
    /^`holdfast location handback berlin`$/,
  ],
  ['control waits at the master during a hold-down', ofLocation({ ...atMaster, hold_down: 90 }), 'warning', /the master holds it while/, /^`holdfast location handback berlin`$/],
  ['a location is paused', ofLocation({ paused: true }), 'warning', /paused/, /holdfast location resume berlin/],
  ['a hold-down runs', ofLocation({ hold_down: 90 }), 'warning', /hold-down runs for another 1m30s/, /^mend the line; it ends by itself$/],
  ['a hold-down runs while the master holds', ofLocation({ ...atMaster, hold_down: 90 }), 'warning', /hold-down runs for another 1m30s/, /mend the line; `holdfast location handback berlin`/],
  [
    'modules fail',
    checkFederation({ ...federation, ...failing, site: { ...site, modules: [display, { ...display, id: 'mod-2', problem: 'its setup failed: no such port' }] } }),
    'problem',
    /1 module of 2 failing/,
    /^`holdfast get sys-1 Display_2` shows the problem of the first; `holdfast events --kind driver --location berlin` says/,
  ],
  ['modules fail of which nobody knows which', checkFederation({ ...federation, ...failing }), 'problem', /1 module of 2 failing/, /^`holdfast events --kind driver --location berlin` says/],
  [
    'modules fail of which only the edge knows',
    ofEdge({ location: { ...berlin, state: 'holding', modules: { total: 2, running: 0, failing: 2 } } }),
    'problem',
    /2 modules of 2 failing, as it says itself/,
    /^`holdfast events --kind driver --location berlin`, asked of the edge/,
  ],
  [
    'the drivers are not those of the wanted commit',
    ofLocation({ commit: { wanted: 'c'.repeat(40), actual: null, busy: false, problem: 'no such commit' } }),
    'problem',
    /wanted commit: no such commit/,
    /`holdfast driver repository berlin`/,
  ],
  ['a window never opens', ofLocation({ window: { open: false, closes: null, next: null, schedule: { start: '0 0 30 2 *', length: 60, timezone: 'UTC' } } }), 'problem', /never opens/, /window_start/],
  [
    'edited code',
    checkFederation({ ...federation, site: { ...site, modules: site.modules.map((module) => ({ ...module, edited: true })) }, locations: [{ ...berlin, edited: 2 }], edges: [] }),
    'warning',
    /2 modules run code that was edited and not committed/,
    /take it back: `holdfast driver reload driver-mock --revert --location berlin`$/,
  ],
  ['edited code that no module names yet', ofLocation({ edited: 2 }), 'warning', /2 modules run code that was edited/, /`holdfast driver reload <id> --revert --location berlin`/],
  ['both sides held', ofLocation({ dual_control_seconds: 4 }), 'warning', /both held it for 4s/, /holdfast location history berlin/],
  ['both sides hold now', ofEdge({ both: true }, { ...atMaster, link: { state: 'down' } }), 'problem', /both drive the devices now/, /mend the line/],
  ['the clock of an edge is wrong', ofEdge({ clockAheadMs: -120_000 }), 'warning', /its clock is 2m0s behind.*who controls does not depend on it/, /timedatectl set-ntp true/],
  ['an edge is behind with its documents', ofEdge({ sequence: 40 }), 'problem', /61 changes behind/, /log/],
  ['the copy of an edge is old', ofEdge({ ageSeconds: 3_700 }), 'problem', /documents are 1h1m old/, /holdfast doctor --data/],
  ['the documents of the server are old', checkFederation({ ...federation, ageSeconds: 90 }), 'problem', /documents are 1m30s old/, /holdfast doctor --data/],
  ['the API of an edge is not reached', ofEdge({ outcome: 'unreachable', problem: 'nothing listens there' }), 'warning', /nothing listens there/, /HOLDFAST_ORIGIN/],
  ['an edge announces an address of its own machine', ofEdge({ outcome: 'not-asked', problem: 'it is an address of its own machine' }), 'warning', /not for clients elsewhere/, /HOLDFAST_HTTP/],
];

// What is in the source, and what the program takes

const checks = filesOf(['src/cli/doctor'], /-checks\.ts$/);

/** What each call of `problem` or `warning` finds, where it is written there as a text. */
function findingsIn(source: string): RegExp[] {
  const code = codeOf(source);
  return [...code.matchAll(/\b(?:problem|warning)\(/g)].flatMap(({ index }) => textAt(source.slice(code.indexOf(',', index) + 1).trimStart()));
}

function textAt(source: string): RegExp[] {
  const quote = source[0] ?? '';
  if (quote !== "'" && quote !== '`') return [];
  let pattern = '';
  let depth = 0;
  for (let at = 1; at < source.length && (depth > 0 || source[at] !== quote); at += 1) {
    if (source.startsWith('${', at)) pattern += depth === 0 ? '.*' : '';
    else if (depth === 0) pattern += (source[at] ?? '').replace(/[\\^$.*+?()[\]{}|]/, '\\$&');
    if (source.startsWith('${', at)) [depth, at] = [depth + 1, at + 1];
    else if (source[at] === '}' && depth > 0) depth -= 1;
  }
  return [new RegExp(`^${pattern}$`)];
}

/** Why the program does not take these words; null: it does. Nothing is run. */
async function problemOf(words: readonly string[]): Promise<string | null> {
  const program = programForDocs();
  const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)];
  for (const command of all(program)) if (command.commands.length === 0) command.action(() => undefined);
  return program.parseAsync(words, { from: 'user' }).then(
    () => null,
    (error: unknown) => String(error),
  );
}

describe('the doctor', () => {
  it.each(faults)('%s: it is found, and nothing else is', (_, findings, verdict, found, fix) => {
    const bad = findings.filter((finding) => finding.verdict !== 'ok');
    expect(bad.map((finding) => [finding.verdict, finding.found])).toContainEqual([verdict, expect.stringMatching(found)]);
    expect(bad.find((finding) => found.test(finding.found))?.fix).toMatch(fix);
    // Of one thing only, though perhaps more than once: a driver is missing for each of its modules.
    expect(new Set(bad.map((finding) => finding.check.split(' ').at(-1))).size).toBe(1);
  });

  it('has nothing to say of what is healthy', () => {
    for (const findings of [ofData({}), ofData({}, edgeData), ofStore({ replicated: true }), ofSite({}), checkFederation(federation)]) {
      expect(findings.filter(({ verdict }) => verdict !== 'ok')).toEqual([]);
      expect(findings.length).toBeGreaterThan(0);
      expect(findings.every(({ fix }) => fix === null)).toBe(true);
    }
  });

  it('takes a first start, a location without a window and modules nobody has heard of for what they are', () => {
    const first = ofData({ databases: data.databases.map((database) => ({ ...database, state: 'absent' as const })), credentials: null, site: null, certificates: [], adminKey: null, configuration: null });
    const found = [...first, ...ofSite({ windows: [{ location: 'berlin', start: null, length: 60, timezone: 'UTC' }], modules: site.modules.map((module) => ({ ...module, connected: null })) })];
    expect(found.filter(({ verdict }) => verdict !== 'ok')).toEqual([]);
    // Their devices were let go; that nobody holds them is said once, with the location.
    expect(ofSite({ unheld: ['berlin'], modules: site.modules.map((module) => ({ ...module, connected: false })) }).filter(({ verdict }) => verdict !== 'ok')).toEqual([]);
    expect(ofLocation({ window: { open: false, closes: null, next: null, schedule: null } }).filter(({ verdict }) => verdict !== 'ok')).toEqual([]);
  });
});

describe('what the doctor says to do', () => {
  const rows = faults.map(([fault, findings, , found, fix]) => {
    const said = findings.find((finding) => found.test(finding.found) && fix.test(finding.fix ?? ''));
    return { fault, findings, lines: commandsIn(said?.fix ?? '') };
  });

  it('is run by a test for every fault, or a reason is given', () => {
    expect(rows.map(({ fault }) => fault).toSorted()).toEqual(Object.keys(mending).toSorted());
    const run = rows.filter(({ fault }) => linesFor(fault).length > 0);
    expect(run.filter(({ fault, lines }) => !linesFor(fault).every((begin) => lines.some((line) => line.startsWith(begin))))).toEqual([]);
    // What is left out of such a fix is what a person has to fill in.
    const leftOut = run.flatMap(({ fault, lines }) => lines.filter((line) => !linesFor(fault).some((begin) => line.startsWith(begin))));
    expect(leftOut.filter((line) => !hasPlaceholder(line))).toEqual([]);
  });

  it('is planted for every finding in the source', () => {
    const all = rows.flatMap(({ findings }) => findings);
    const calls = checks.flatMap((file) => findingsIn(read(file)).map((pattern) => ({ file, pattern })));
    expect(calls.length).toBeGreaterThan(45);
    const unplanted = calls.filter(({ pattern }) => !all.some(({ verdict, found }) => verdict !== 'ok' && pattern.test(found)));
    // Every rule that the configuration takes has a next time; what else its reader says is planted.
    expect(unplanted.map(({ pattern }) => String(pattern))).toEqual([String.raw`/^that of .* never opens: ".*"$/`]);
  });

  it('names no command outside backticks, and none that the program does not take', async () => {
    // In the source, so that no branch is left out; and as printed, for what is put together.
    const sources = checks.map((file) => read(file).replaceAll('\\`', '`').replaceAll(/^ *(?:\/\*\*|\*|\/\/).*$/gm, '').replaceAll(/\$\{[^{}]*\}/g, 'x'));
    const texts = [...sources, ...rows.flatMap(({ findings }) => findings.map(({ fix }) => fix ?? ''))];
    const marked = /`(holdfast [^`\n]*)`/g;
    expect(texts.filter((text) => /holdfast [a-z-]/.test(text.replaceAll(marked, '')))).toEqual([]);
    const lines = [...new Set(texts.flatMap((text) => [...text.matchAll(marked)].map(([, line = '']) => line.replaceAll(/<[a-z]+>/g, 'x'))))];
    expect(lines.length).toBeGreaterThan(30);
    for (const line of lines) expect([line, await problemOf(shellWords(line).slice(1))]).toEqual([line, null]);
    expect(await Promise.all([['frobnicate'], ['edge', 'remove', 'x'], ['edge', 'add'], ['apply'], ['status', '--wait'], ['edge', 'add', 'x', 'y']].map(problemOf))).not.toContain(null);
  });

  it('has paths that are one word of a shell, whatever is in them', () => {
    const folder = "/srv/hold fast's $HOME";
    const [bad] = ofData({ folder, directory: { mode: 0o755, unwritable: null, freeBytes: 10 ** 10 } }).filter(({ verdict }) => verdict !== 'ok');
    expect(commandsIn(bad?.fix ?? '').map(shellWords)).toEqual([['chmod', '700', folder]]);
    const [damagedOne] = ofData({ folder, newestBackup: `${folder}/b.db`, databases: [{ name: 'documents.db', state: 'damaged', problem: '' }] }).filter(({ verdict }) => verdict !== 'ok');
    expect(commandsIn(damagedOne?.fix ?? '').map(shellWords)).toEqual([['holdfast', 'restore', `${folder}/b.db`, '--data', folder]]);
  });
});
