import { availableParallelism, hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Running, ServerParts } from './assemble.ts';
import { dataFiles, driversFolderOf } from './data-files.ts';
import { createSystemClock } from './shared/adapters/clock/system-clock.ts';
import { openDataFolder, tryWriteLog } from './shared/adapters/data-folder/data-folder.ts';
import { openCredentials } from './shared/adapters/credentials-embedded/credentials.ts';
import { openEmbeddedEvents } from './shared/adapters/events-embedded/embedded-events.ts';
import { createHostProcesses } from './shared/adapters/host-process/host-process.ts';
import { openWorkingCopy } from './shared/adapters/git/working-copy.ts';
import { openEmbeddedJournal } from './shared/adapters/journal-embedded/embedded-journal.ts';
import { createPinoLog } from './shared/adapters/log/pino-log.ts';
import { createPromMetrics } from './shared/adapters/metrics/prom-metrics.ts';
import { createSystemRandom } from './shared/adapters/random/system-random.ts';
import { openStore, type ServerStore } from './open-store.ts';
import { createMemoryEvents } from './shared/adapters/store-memory/memory-events.ts';
import { openKeyFile } from './shared/adapters/settings-keys/settings-keys.ts';
import { nodeWebhooks } from './shared/adapters/webhooks/node-webhooks.ts';
import { tuneV8 } from './shared/adapters/v8/tune-v8.ts';
import { Scope } from './shared/foundation/scope.ts';
import { type Config, describeConfig, parseConfig } from './shared/model/config.ts';
import { HoldfastError } from './shared/model/errors.ts';
import type { Clock } from './shared/ports/clock.ts';
import type { DeviceLink } from './shared/ports/device-link.ts';
import type { EventLog } from './shared/ports/event-log.ts';
import type { Log } from './shared/ports/log.ts';
import type { Metrics } from './shared/ports/metrics.ts';
import type { Random } from './shared/ports/random.ts';
import { fixedSettingsKeys, noSettingsKeys, type SettingsKeys } from './shared/ports/settings-keys.ts';
import { createDriverHosts } from './shared/runtime/driver-hosts/driver-hosts.ts';
import { edgeOf } from './shared/runtime/peer/edge-identity.ts';
import { openEventLog } from './shared/runtime/events/event-log.ts';
import { recordingLog } from './shared/runtime/events/event-recorder.ts';
import { createShutdown } from './shared/runtime/shutdown.ts';

export interface RunningServer extends Running {
  /** Ends everything in order: API, modules, link, hosts, stores. */
  close(): Promise<void>;
}

/** Starts the server that the environment describes. Throws CONFIG_INVALID, STORE_BUSY, STORE_DAMAGED, and the reason of `signal` when it aborts first. */
export async function startServer(env: Readonly<Record<string, string | undefined>>, signal: AbortSignal): Promise<RunningServer> {
  tuneV8();
  const config = parseConfig(env, { cores: availableParallelism(), hostname: hostname() });
  const log = createPinoLog({ level: config.log, fd: 1, base: { server: config.role } });
  log.info('starting', { config: describeConfig(config) });
  const scope = new Scope();
  const shutdown = createShutdown({ scope, clock: createSystemClock(), log, exit: (code) => process.exit(code) });
  // Also of a start that does not hear that it shall end.
  signal.addEventListener('abort', () => shutdown.begin(), { once: true });
  try {
    await openDataFolder(config.data);
    if (config.writeLog !== null) await tryWriteLog(config.writeLog);
    // Files are opened and checked on their threads while this one loads the larger part of the program.
    const [parts, { assemble }] = await Promise.all([openParts(config, log, { scope, signal }), import('./assemble.ts')]);
    return { ...(await assemble(config, parts, { scope, signal })), close: () => shutdown.end() };
  } catch (error) {
    await shutdown.end();
    throw error;
  }
}

async function openParts(config: Config, plainLog: Log, { scope, signal }: { scope: Scope; signal: AbortSignal }): Promise<ServerParts> {
  const files = dataFiles(config.data);
  const clock = createSystemClock();
  const random = createSystemRandom();
  const metrics = createPromMetrics();
  const owned = async <T extends { close(): Promise<void> }>(name: string, opening: Promise<T>): Promise<T> => {
    const file = await opening;
    scope.defer(name, () => file.close());
    return file;
  };
  // First to open and last to close: what the others say is in it.
  const events = await owned('events', openEvents(files.events, { log: plainLog, metrics, clock, random }));
  const log = recordingLog(plainLog, events);
  const settingsKeys = openSettingsKeys(config, { clock, log, scope });
  // Each on a thread of its own, so side by side. One that opens after another was refused is closed by the scope.
  const opening = owned('credentials', openCredentials({ path: files.credentials }));
  const openDocuments = async (): Promise<ServerStore> => {
    const location = config.role === 'edge' && config.store !== null ? edgeOf(await opening, config.enrol) : null;
    return openStore(config, { clock, random, log, metrics, signal, location });
  };
  const [credentials, journal, store, workingCopy] = await Promise.all([
    opening,
    owned('journal', openEmbeddedJournal({ path: files.journal, log })),
    owned('store', openDocuments()),
    config.repository === null ? null : openWorkingCopy({ folder: files.drivers, repository: config.repository, clock }),
  ]);
  const driversFolder = driversFolderOf(config);
  const entry = join(dirname(fileURLToPath(import.meta.url)), 'driver-host', 'main.js');
  const hostProcesses = createHostProcesses({ entry, ...(driversFolder === null ? {} : { driversFolder }) });
  const writeLog = config.writeLog === null ? {} : { writeLog: config.writeLog };
  const createDeviceLink = (nodeId: string): DeviceLink =>
    createDriverHosts({ clock, log, metrics, random, hostProcesses, hosts: config.driverHosts, nodeId, ...writeLog });
  return { clock, random, log, metrics, store, journal, credentials, settingsKeys, events, createDeviceLink, webhooks: nodeWebhooks, workingCopy };
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
