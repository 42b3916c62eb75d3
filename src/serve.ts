import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, hostname, networkInterfaces } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { composeEdge } from './edge/compose.ts';
import type { EdgeCertificate, ServedCertificate } from './edge/edge-certificate.ts';
import { composeMaster } from './master/compose.ts';
import { serveClientSockets } from './shared/adapters/client-ws/serve-sockets.ts';
import { createSystemClock } from './shared/adapters/clock/system-clock.ts';
import { openCredentials } from './shared/adapters/credentials-embedded/credentials.ts';
import { openEmbeddedEvents } from './shared/adapters/events-embedded/embedded-events.ts';
import { createHostProcesses } from './shared/adapters/host-process/host-process.ts';
import { type HttpServer, startHttpServer } from './shared/adapters/http/server.ts';
import { openEmbeddedJournal } from './shared/adapters/journal-embedded/embedded-journal.ts';
import { createPinoLog } from './shared/adapters/log/pino-log.ts';
import { createPromMetrics } from './shared/adapters/metrics/prom-metrics.ts';
import { createSystemRandom } from './shared/adapters/random/system-random.ts';
import { type EmbeddedStore, openEmbeddedStore } from './shared/adapters/store-embedded/embedded-store.ts';
import { createMemoryEvents } from './shared/adapters/store-memory/memory-events.ts';
import { openKeyFile } from './shared/adapters/settings-keys/settings-keys.ts';
import { openServerIdentity } from './shared/adapters/tls/certificates.ts';
import { createApi } from './shared/api/api.ts';
import { createApiKey } from './shared/api/credentials.ts';
import { Scope } from './shared/foundation/scope.ts';
import { isLoopbackHost } from './shared/link/certificate-request.ts';
import { type Config, describeConfig, isWildcard, parseConfig } from './shared/model/config.ts';
import { HoldfastError } from './shared/model/errors.ts';
import type { DeviceLink } from './shared/ports/device-link.ts';
import type { Clock } from './shared/ports/clock.ts';
import type { EventLog } from './shared/ports/event-log.ts';
import type { Log } from './shared/ports/log.ts';
import type { Metrics } from './shared/ports/metrics.ts';
import type { Random } from './shared/ports/random.ts';
import { fixedSettingsKeys, noSettingsKeys, type SettingsKeys } from './shared/ports/settings-keys.ts';
import { createDriverHosts } from './shared/runtime/driver-hosts.ts';
import { openEventLog } from './shared/runtime/event-log.ts';
import { recordingLog } from './shared/runtime/event-recorder.ts';
import type { HoldfastNode } from './shared/runtime/node.ts';
import type { NodeParts } from './shared/runtime/node-parts.ts';
import { createSiteFiles } from './shared/runtime/site-plan.ts';
import { driverFiles } from './driver-tools/driver-files.ts';
import { builtinDrivers } from './drivers/index.ts';

interface ServerParts extends NodeParts {
  events: EventLog;
  store: EmbeddedStore;
}

export interface RunningServer {
  node: HoldfastNode;
  /** Of the client API. */
  origin: string;
  /** Ends everything in order: API, modules, link, hosts, stores. */
  close(): Promise<void>;
}

/** Files of a data directory. */
export const dataFiles = (data: string) => ({
  documents: join(data, 'documents.db'),
  journal: join(data, 'control.db'),
  credentials: join(data, 'credentials.db'),
  events: join(data, 'events.db'),
  tls: join(data, 'tls'),
  backups: join(data, 'backups'),
  adminKey: join(data, 'admin.key'),
});

/** Starts the server that the environment describes. Throws CONFIG_INVALID, STORE_BUSY, STORE_DAMAGED, and the reason of `signal` when it aborts first. */
export async function startServer(env: Readonly<Record<string, string | undefined>>, signal: AbortSignal): Promise<RunningServer> {
  const config = parseConfig(env, { cores: availableParallelism(), hostname: hostname() });
  const log = createPinoLog({ level: config.log, fd: 1, base: { server: config.role } });
  log.info('starting', { config: describeConfig(config) });
  const scope = new Scope();
  try {
    return await assemble(config, log, { scope, signal });
  } catch (error) {
    await closeScope(scope, log);
    throw error;
  }
}

async function assemble(config: Config, plainLog: Log, { scope, signal }: { scope: Scope; signal: AbortSignal }): Promise<RunningServer> {
  const files = dataFiles(config.data);
  plainLog.info('drivers', { names: driverNames(config) });
  await mkdir(config.data, { recursive: true, mode: 0o700 });
  const metrics = createPromMetrics();
  const parts = await openParts(config, { log: plainLog, metrics, scope });
  const { clock, random, log, store, events, settingsKeys } = parts;
  const { node, tls, certificate } = await composeNode(config, parts);
  scope.defer('node', () => node.stop());

  const api = createApi({
    node,
    events,
    clock,
    random,
    log,
    metrics,
    metricsText: () => metrics.text(),
    siteFiles: createSiteFiles(store, {
      sealing: { keys: settingsKeys, random },
      // Read each time: a driver may have been added since.
      get builtins() {
        return driverNames(config);
      },
    }),
    version: await packageVersion(),
    origins: config.origins,
    backup: async (name) => {
      await mkdir(files.backups, { recursive: true, mode: 0o700 });
      const path = join(files.backups, name ?? `documents-${new Date(clock.wallMs()).toISOString().replaceAll(':', '-')}.db`);
      await store.backup(path);
      return { path };
    },
    onProgrammerError: crash,
  });
  const listen = async (): Promise<HttpServer> => {
    const shown = certificate === null ? tls : await certificate.first(signal);
    const http = await startHttpServer({ api, ...config.http, ...(shown === null ? {} : { tls: shown }), clock, random });
    scope.defer('api', () => http.close());
    serveClientSockets(http.server, api.sockets);
    node.announceOrigin(config.origin ?? originFromOutside(config, http.origin));
    log.info('listening', { origin: http.origin, pid: process.pid });
    return http;
  };

  if (config.role === 'master') await firstAdminKey(parts, files.adminKey);
  // An edge without a certificate gets one over its link, so its node comes first: devices do not wait for it.
  const early = certificate?.missing === true ? null : await listen();
  await node.start();
  const http = early ?? (await listen());
  if (certificate !== null) {
    const kept = certificate.keep(scope.signal, (renewed) => http.replaceCertificate(renewed));
    scope.defer('certificate', () => kept);
  }
  log.info('ready', { id: node.id, origin: http.origin });
  return { node, origin: http.origin, close: () => closeScope(scope, plainLog) };
}

interface ComposedNode {
  node: HoldfastNode & { start(): Promise<void>; stop(): Promise<void> };
  /** What the API shows; null: plain HTTP on loopback, or an edge, which has its `certificate`. */
  tls: ServedCertificate | null;
  certificate: EdgeCertificate | null;
}

async function composeNode(config: Config, parts: NodeParts): Promise<ComposedNode> {
  const { tls: folder } = dataFiles(config.data);
  const plain = isLoopbackHost(config.http.host);
  if (config.role === 'edge') {
    const made = await composeEdge(parts, config, { tls: plain ? null : { folder, machine }, readSecret: () => readSecret(config.secretFile) });
    return { ...made, tls: null };
  }
  const hosts = [...new Set([config.advertise.host, config.http.host, 'localhost', '127.0.0.1'])].filter((host) => !/^(0\.0\.0\.0|::)$/.test(host));
  const identity = await openServerIdentity({ folder, hosts, random: parts.random, wallMs: parts.clock.wallMs() });
  const node = await composeMaster(parts, config, { identity, folder });
  return { node, tls: plain ? null : { cert: identity.chain, key: identity.key }, certificate: null };
}

/** Read at the first start only: it may be gone afterwards. */
async function readSecret(path: string | null): Promise<string | null> {
  try {
    return path === null ? null : (await readFile(path, 'utf8')).trim();
  } catch (error) {
    const problem = `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    throw new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_SECRET_FILE', problem }, { cause: error });
  }
}

/** "All addresses of this machine" is nothing that a client could be sent to. */
const originFromOutside = (config: Config, origin: string): string =>
  isWildcard(config.http.host) ? `${new URL(origin).protocol}//${hostname()}:${new URL(origin).port}` : origin;

const machine = (): { hostname: string; addresses: string[] } => ({
  hostname: hostname(),
  addresses: Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address)),
});

async function openParts(config: Config, base: { log: Log; metrics: Metrics; scope: Scope }): Promise<ServerParts> {
  const { metrics, scope } = base;
  const files = dataFiles(config.data);
  const clock = createSystemClock();
  const random = createSystemRandom();
  const owned = async <T extends { close(): Promise<void> }>(name: string, opening: Promise<T>): Promise<T> => {
    const file = await opening;
    scope.defer(name, () => file.close());
    return file;
  };
  // First to open and last to close: what the others say is in it.
  const events = await owned('events', openEvents(files.events, { ...base, clock, random }));
  const log = recordingLog(base.log, events);
  const settingsKeys = openSettingsKeys(config, { clock, log, scope });
  // Each on a thread of its own, so side by side. One that opens after another was refused is closed by the scope.
  const [credentials, journal, store] = await Promise.all([
    owned('credentials', openCredentials({ path: files.credentials })),
    owned('journal', openEmbeddedJournal({ path: files.journal, log })),
    owned('store', openEmbeddedStore({ path: files.documents, log })),
  ]);
  const entry = join(dirname(fileURLToPath(import.meta.url)), 'driver-host', 'main.js');
  const hostProcesses = createHostProcesses({ entry, ...(config.drivers === null ? {} : { driversFolder: resolve(config.drivers) }) });
  const writeLog = config.writeLog === null ? {} : { writeLog: config.writeLog };
  const createDeviceLink = (nodeId: string): DeviceLink =>
    createDriverHosts({ clock, log, metrics, random, hostProcesses, hosts: config.driverHosts, nodeId, ...writeLog });
  return { clock, random, log, metrics, store, journal, credentials, settingsKeys, events, createDeviceLink };
}

function openSettingsKeys({ settingsKeysFile, settingsKeys }: Config, { clock, log, scope }: { clock: Clock; log: Log; scope: Scope }): SettingsKeys {
  if (settingsKeysFile === null) return settingsKeys === null ? noSettingsKeys : fixedSettingsKeys(settingsKeys);
  const file = openKeyFile(settingsKeysFile, { clock, log });
  scope.defer('settings-keys', () => file.close());
  return file;
}

/** A disk that takes no events keeps no server from its devices: then they are kept in memory. Throws STORE_BUSY. */
async function openEvents(path: string, { log, metrics, clock, random }: { log: Log; metrics: Metrics; clock: Clock; random: Random }): Promise<EventLog> {
  try {
    return await openEventLog({ store: await openEmbeddedEvents({ path, log }), clock, log, metrics });
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code === 'STORE_BUSY') throw error;
    log.warn('events-in-memory', { error });
    return await openEventLog({ store: createMemoryEvents({ random }), clock, log, metrics });
  }
}

/** The drivers that a driver document may name. Throws CONFIG_INVALID when the folder cannot be read. */
function driverNames({ drivers }: Config): string[] {
  const builtin = Object.keys(builtinDrivers);
  if (drivers === null) return builtin;
  try {
    return [...builtin, ...driverFiles(drivers).keys()];
  } catch (error) {
    const problem = `${drivers} cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    throw new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_DRIVERS', problem });
  }
}

/** Somebody must be able to make the first key: it lies in the data directory, readable by the owner only. */
async function firstAdminKey(parts: ServerParts, path: string): Promise<void> {
  if ((await parts.store.list('api_key', { limit: 1 })).length > 0) return;
  const { key } = await createApiKey(parts, { name: 'first administrator', role: 'admin' });
  await writeFile(path, `${key}\n`, { mode: 0o600 });
  parts.log.info('admin-key-created', { path });
}

const manifest = z.object({ version: z.string() });

async function packageVersion(): Promise<string> {
  return manifest.parse(JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'))).version;
}

async function closeScope(scope: Scope, log: Log): Promise<void> {
  for (const { name, error } of await scope.close('shutting down')) log.error('shutdown-step-failed', { step: name, error });
}

/** A broken invariant of the program: no catch may swallow it, the supervisor starts a clean process. */
function crash(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}
