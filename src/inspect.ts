import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, readdir, readFile, stat, statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { availableParallelism, hostname } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { z } from 'zod';
import type { CertificateFacts, CredentialFacts, DatabaseFacts, DataFacts, MasterFacts, SettingsKeyFacts, SiteFacts, StoreFacts } from './cli/doctor/facts.ts';
import type { Environment, LocalCommands } from './cli/deps.ts';
import { checkDriver } from './driver-tools/check.ts';
import { driverFiles } from './driver-tools/driver-files.ts';
import { builtinDrivers } from './drivers/index.ts';
import { credentialRows, credentialsFile } from './shared/adapters/credentials-embedded/file-kind.ts';
import { journalFile } from './shared/adapters/journal-embedded/file-kind.ts';
import { inspectDatabase, type FileKind } from './shared/adapters/sqlite/open.ts';
import { type Database, hasCode } from './shared/adapters/sqlite/sqlite.ts';
import { unwritable, writeLogProblem } from './shared/adapters/data-folder/data-folder.ts';
import { readKeyFile } from './shared/adapters/settings-keys/settings-keys.ts';
import { allRows, storeFile } from './shared/adapters/store-embedded/file-kind.ts';
import { parseDocument } from './shared/adapters/store-embedded/parse.ts';
import { verifyPinned } from './shared/adapters/tls/certificates.ts';
import { type Address, clientVariables, type Config, describeConfig, formatAddress, parseAddress, parseConfig } from './shared/model/config.ts';
import type { AnyDocument, DocumentKind, DocumentOf } from './shared/model/documents.ts';
import { HoldfastError } from './shared/model/errors.ts';
import { limits } from './shared/model/limits.ts';
import { describeAddress } from './shared/model/store-address.ts';
import { sealedWith } from './shared/model/settings-keys.ts';
import { type EdgeAccess, edgeAccess } from './shared/runtime/peer/edge-identity.ts';
import { enrolledEdges } from './shared/runtime/peer/link-authority.ts';
import { dataFiles, driversFolderOf } from './data-files.ts';

/** `holdfast doctor --data`: what lies in a data directory and around it. Nothing here judges; src/cli/doctor does. */
export const inspect: LocalCommands['inspect'] = async ({ folder, env, signal }) => {
  const files = dataFiles(folder);
  const { config, configuration } = readConfiguration(env, folder);
  const documents =
    config?.store == null ? read(files.documents, 'documents.db', storeFile, siteDocuments) : read(files.copy, 'documents-copy.db', storeFile, siteDocuments);
  const journal = read(files.journal, 'control.db', journalFile, () => null);
  const credentials = read(files.credentials, 'credentials.db', credentialsFile, (db) => new Map(credentialRows(db).map(({ key, value }) => [key, value])));
  const identity = credentials.value === null ? null : edgeAccess(credentials.value.get('identity') ?? null);
  const certificates = await readCertificates(files.tls);
  const role = config?.role ?? roleOf(identity, certificates);
  const inUse = [documents, journal, credentials].some(({ facts }) => facts.state === 'in-use');
  const builtins = driversOf(config);
  return {
    folder,
    role,
    node: { version: process.versions.node, wanted: await wantedNode() },
    configuration,
    directory: await readDirectory(folder),
    databases: [documents.facts, journal.facts, credentials.facts],
    certificates,
    newestBackup: await newestIn(files.backups),
    adminKey: await adminKeyId(files.adminKey),
    credentials: credentials.value === null ? null : credentialFacts(credentials.value, identity),
    site: documents.value === null ? null : siteFacts(documents.value, [...builtins.names]),
    writeLog: await writeLogFacts(config),
    settingsKeys: config === null ? null : await settingsKeyFacts(config),
    store: await storeFacts(config, signal),
    drivers: await brokenDrivers(config, signal),
    takenPorts: inUse || config === null ? [] : await takenPorts(config),
    masters: role === 'edge' ? await tryMasters(config, identity, signal) : [],
  };
};

/** The environment counts when it has anything of a server but the directory, which may be named for us alone. */
function readConfiguration(env: Environment, folder: string): { config: Config | null; configuration: DataFacts['configuration'] } {
  const ours = Object.keys(env).filter((name) => name.startsWith('HOLDFAST_') && name !== 'HOLDFAST_DATA' && !clientVariables.includes(name));
  if (ours.length === 0) return { config: null, configuration: null };
  try {
    const config = parseConfig({ ...env, HOLDFAST_DATA: folder }, { cores: availableParallelism(), hostname: hostname() });
    return { config, configuration: { problem: null, described: describeConfig(config) } };
  } catch (error) {
    return { config: null, configuration: { problem: messageOf(error), described: null } };
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

interface Read<T> {
  facts: DatabaseFacts;
  /** null: it cannot be read now. */
  value: T | null;
}

function read<T>(path: string, name: DatabaseFacts['name'], kind: FileKind, work: (db: Database) => T): Read<T> {
  try {
    return { facts: { name, state: 'sound', problem: '' }, value: inspectDatabase(path, kind, work) };
  } catch (error) {
    if (hasCode(error, 'STORE_BUSY')) return { facts: { name, state: 'in-use', problem: '' }, value: null };
    const absent = codeOf(error) === 'ENOENT';
    return { facts: { name, state: absent ? 'absent' : 'damaged', problem: absent ? '' : messageOf(error) }, value: null };
  }
}

function roleOf(identity: EdgeAccess | null, certificates: CertificateFacts[]): DataFacts['role'] {
  if (identity !== null || certificates.some(({ name }) => name === 'edge.pem')) return 'edge';
  return certificates.some(({ name }) => name === 'ca.pem') ? 'master' : null;
}

const manifest = z.object({ engines: z.object({ node: z.string() }) });

async function wantedNode(): Promise<string> {
  const { engines } = manifest.parse(JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')));
  return engines.node.replaceAll(/[^\d.]/g, '');
}

async function readDirectory(folder: string): Promise<DataFacts['directory']> {
  try {
    const found = await stat(folder);
    if (!found.isDirectory()) return 'file';
    const { bavail, bsize } = await statfs(folder);
    return { mode: found.mode & 0o777, unwritable: await unwritable(folder), freeBytes: bavail * bsize };
  } catch (error) {
    // Above it there is a file.
    return codeOf(error) === 'ENOTDIR' ? 'file' : null;
  }
}

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '');

async function writeLogFacts(config: Config | null): Promise<DataFacts['writeLog']> {
  const path = config?.writeLog ?? null;
  const problem = path === null ? null : await writeLogProblem(path);
  return path === null || problem === null ? null : { path, problem };
}

async function readCertificates(folder: string): Promise<CertificateFacts[]> {
  const found: CertificateFacts[] = [];
  for (const name of ['ca.pem', 'server.pem', 'edge.pem']) {
    const pem = await readFile(join(folder, name), 'utf8').catch(() => null);
    if (pem !== null) found.push({ name, endsMs: endOf(pem) });
  }
  return found;
}

function endOf(pem: string): number | null {
  try {
    return Date.parse(new X509Certificate(pem).validTo);
  } catch {
    return null;
  }
}

/** A backup may have any name; what else lies there is nothing that `holdfast restore` takes. */
async function newestIn(folder: string): Promise<string | null> {
  const found = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const paths = found.filter((entry) => entry.isFile()).map(({ name }) => join(folder, name));
  const dated = await Promise.all(paths.map(async (path) => ({ path, ms: await stat(path).then(({ mtimeMs }) => mtimeMs, () => 0) })));
  for (const { path } of dated.toSorted((a, b) => b.ms - a.ms)) if (await isDatabase(path)) return path;
  return null;
}

const DATABASE_MAGIC = 'SQLite format 3\0';

async function isDatabase(path: string): Promise<boolean> {
  const file = await open(path).catch(() => null);
  try {
    const { buffer } = (await file?.read(Buffer.alloc(DATABASE_MAGIC.length))) ?? { buffer: Buffer.alloc(0) };
    return buffer.toString('latin1') === DATABASE_MAGIC;
  } finally {
    await file?.close();
  }
}

/** The id alone: the rest is secret. */
async function adminKeyId(path: string): Promise<string | null> {
  const text = await readFile(path, 'utf8').catch(() => null);
  return text === null ? null : (text.trim().split('.')[0] ?? null);
}

const credentialFacts = (values: ReadonlyMap<string, string>, identity: EdgeAccess | null): CredentialFacts => ({
  enrolled: enrolledEdges(values.keys()),
  edge: identity?.edge ?? null,
});

/** Loaded only where a database is configured. */
async function storeFacts(config: Config | null, signal: AbortSignal): Promise<StoreFacts | null> {
  if (config === null || config.store === null) return null;
  const address = describeAddress(config.store.address);
  try {
    const { inspectSharedStore, isReplicated } = await import('./open-store.ts');
    const replicated = isReplicated(config);
    const { trouble, problem, index } = await inspectSharedStore(config.store, { replicated, signal });
    if (index === null) return { address, replicated, trouble, problem, index };
    const hidden = index.differences.reduce((sum, { missing }) => sum + missing.length, 0);
    const { documents, differences, damaged } = index;
    return { address, replicated, trouble, problem, index: { documents, differences: differences.length, hidden, damaged } };
  } catch (error) {
    return { address, replicated: false, trouble: 'other', problem: messageOf(error), index: null };
  }
}

/** Of the keys only their ids are kept. */
async function settingsKeyFacts({ settingsKeys, settingsKeysFile: path }: Config): Promise<SettingsKeyFacts> {
  if (path === null) return { file: null, problem: null, keys: settingsKeys?.ids ?? [] };
  const mode = await stat(path).then(
    (found) => found.mode & 0o777,
    () => null,
  );
  try {
    return { file: { path, mode }, problem: null, keys: readKeyFile(path).ring.ids };
  } catch (error) {
    return { file: { path, mode }, problem: messageOf(error), keys: [] };
  }
}

// Documents

function siteDocuments(db: Database): AnyDocument[] {
  const documents: AnyDocument[] = [];
  for (const { kind, body } of allRows(db)) {
    const parsed = body === null ? null : parseDocument(kind, body);
    if (parsed !== null && 'document' in parsed) documents.push(parsed.document);
  }
  return documents;
}

/** What only a server that runs knows. */
const unheard = { connected: null, problem: null, location: null, edited: false } as const;

function siteFacts(documents: AnyDocument[], builtins: string[]): SiteFacts {
  const of = <K extends DocumentKind>(kind: K): DocumentOf<K>[] => documents.filter((document): document is DocumentOf<K> => document.type === kind);
  return {
    windows: of('edge').map(({ id, window_start, window_length, timezone }) => ({ location: id, start: window_start, length: window_length, timezone })),
    systems: of('sys').map(({ id, modules }) => ({ id, modules })),
    modules: of('mod').map(({ id, name, driver_id, ip, port, udp, makebreak, running }) => (
      { id, name, driver_id, ip, port, udp, makebreak, running, ...unheard }
    )),
    drivers: of('driver').map(({ id, builtin }) => ({ id, builtin })),
    builtins,
    unheld: [],
    keys: of('api_key').map(({ id, role, revoked }) => ({ id, role, revoked })),
    sealed: documents.flatMap((document) =>
      'settings' in document ? [...sealedWith(document.settings)].map(([key, values]) => ({ id: document.id, key, values })) : [],
    ),
  };
}

// Drivers

function driversOf(config: Config | null): { names: Set<string>; problem: string | null } {
  const names = new Set(Object.keys(builtinDrivers));
  const folder = ownDrivers(config);
  if (folder === null) return { names, problem: null };
  try {
    for (const name of driverFiles(folder).keys()) names.add(name);
    return { names, problem: null };
  } catch (error) {
    return { names, problem: messageOf(error) };
  }
}

/** null: there are none, or not yet. */
function ownDrivers(config: Config | null): string | null {
  const folder = config === null ? null : driversFolderOf(config);
  return folder === null || (config?.repository != null && !existsSync(folder)) ? null : folder;
}

/** Settings that a driver needs are no fault of its file. */
async function brokenDrivers(config: Config | null, signal: AbortSignal): Promise<DataFacts['drivers']> {
  const folder = ownDrivers(config);
  if (folder === null) return [];
  const { problem } = driversOf(config);
  if (problem !== null) return [{ name: folder, file: null, problem }];
  const broken: DataFacts['drivers'] = [];
  for (const [name, { entry }] of driverFiles(folder)) {
    await checkDriver({ path: entry, settings: {}, signal, print: () => undefined }).catch((error: unknown) => {
      signal.throwIfAborted();
      if (!(error instanceof HoldfastError && error.code === 'INPUT_INVALID')) broken.push({ name, file: entry, problem: messageOf(error) });
    });
  }
  return broken;
}

// Network

async function takenPorts(config: Config): Promise<DataFacts['takenPorts']> {
  const wanted: [variable: string, address: Address][] = [['HOLDFAST_HTTP', config.http]];
  if (config.role === 'master') wanted.push(['HOLDFAST_LINK', config.link]);
  const taken: DataFacts['takenPorts'] = [];
  for (const [variable, address] of wanted) {
    const trouble = await listenTrouble(address);
    if (trouble !== null) taken.push({ variable, address: formatAddress(address), trouble });
  }
  return taken;
}

const listenTroubles: Readonly<Record<string, DataFacts['takenPorts'][number]['trouble']>> = {
  EADDRINUSE: 'taken',
  EADDRNOTAVAIL: 'foreign',
  ENOTFOUND: 'foreign',
  EACCES: 'denied',
};

/** null: a server could listen there. An address that is not this machine's is none with any port. */
function listenTrouble({ host, port }: Address): Promise<DataFacts['takenPorts'][number]['trouble'] | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error) => resolve(listenTroubles[codeOf(error)] ?? null));
    server.listen(port, host, () => server.close(() => resolve(null)));
  });
}

function tryMasters(config: Config | null, identity: EdgeAccess | null, signal: AbortSignal): Promise<MasterFacts[]> {
  const configured = config?.role === 'edge' ? config.masters : null;
  return Promise.all((configured ?? identity?.addresses ?? []).map((address) => tryMaster(address, identity?.caFingerprint ?? null, signal)));
}

/** Opens TLS and looks at the certificate; not a byte of ours is sent. */
async function tryMaster(address: string, caFingerprint: string | null, signal: AbortSignal): Promise<MasterFacts> {
  const target = parseAddress(address);
  if (target === null) return { address, outcome: 'unreachable', problem: 'this is not host:port' };
  const socket = connect({ ...target, minVersion: 'TLSv1.3', rejectUnauthorized: false });
  try {
    await secured(socket, AbortSignal.any([signal, AbortSignal.timeout(limits.dialAttemptMs)]));
    const shown = socket.getPeerCertificate(true);
    if (caFingerprint !== null) verifyPinned({ certificate: shown.raw, ca: shown.issuerCertificate.raw, caFingerprint, wallMs: Date.now() });
    return { address, outcome: 'reached', problem: '' };
  } catch (error) {
    return { address, outcome: hasCode(error, 'LINK_REFUSED') ? 'foreign' : 'unreachable', problem: messageOf(error) };
  } finally {
    socket.destroy();
  }
}

function secured(socket: TLSSocket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve);
    // An error that comes later must not end the process.
    socket.on('error', reject);
    signal.addEventListener('abort', () => reject(new Error(`no answer within ${limits.dialAttemptMs} ms`)), { once: true });
  });
}
