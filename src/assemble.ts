import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { dataFiles, driversFolderOf } from './data-files.ts';
import type { ServerStore } from './open-store.ts';
import { driverFiles } from './driver-tools/driver-files.ts';
import { builtinDrivers } from './drivers/index.ts';
import { composeEdge } from './edge/compose.ts';
import type { EdgeCertificate, ServedCertificate } from './edge/edge-certificate.ts';
import { composeMaster } from './master/compose.ts';
import { serveClientSockets } from './shared/adapters/client-ws/serve-sockets.ts';
import { rateAddress } from './shared/adapters/http/rate-address.ts';
import { type HttpServer, startHttpServer } from './shared/adapters/http/server.ts';
import type { PromMetrics } from './shared/adapters/metrics/prom-metrics.ts';
import { openServerIdentity } from './shared/adapters/tls/certificates.ts';
import { createApi } from './shared/api/api.ts';
import { createApiKey } from './shared/api/auth/credentials.ts';
import type { Scope } from './shared/foundation/scope.ts';
import { isLoopbackHost } from './shared/link/certificate-request.ts';
import { type Config, isWildcard } from './shared/model/config.ts';
import { HoldfastError } from './shared/model/errors.ts';
import type { EventLog } from './shared/ports/event-log.ts';
import type { HoldfastNode } from './shared/runtime/node.ts';
import type { NodeParts } from './shared/runtime/node-parts.ts';
import { createSiteFiles, type PlanOptions } from './shared/runtime/site-files/site-plan.ts';

/** What a server has opened before its node is made. */
export interface ServerParts extends NodeParts {
  events: EventLog;
  store: ServerStore;
  metrics: PromMetrics;
}

export interface Running {
  node: HoldfastNode;
  /** Of the client API. */
  origin: string;
}

/** Node and API over the opened files, started. What it opens belongs to the scope. Throws CONFIG_INVALID, and the reason of `signal`. */
export async function assemble(config: Config, parts: ServerParts, { scope, signal }: { scope: Scope; signal: AbortSignal }): Promise<Running> {
  const files = dataFiles(config.data);
  const { clock, random, log, metrics, store, events } = parts;
  log.info('drivers', { names: driverNames(config) });
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
    siteFiles: createSiteFiles(store, siteOptions(config, parts), () => node.caughtUp()),
    staleMs: () => store.staleMs(),
    version: await packageVersion(),
    // Behind a proxy that ends TLS its own pages come from there.
    origins: [...config.origins, ...(config.origin === null ? [] : [config.origin])],
    scheme: tls === null && certificate === null ? 'http' : 'https',
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
    serveClientSockets(http.server, api.sockets, { clock, rateAddress });
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
  return { node, origin: http.origin };
}

const siteOptions = (config: Config, { settingsKeys, random }: ServerParts): PlanOptions => ({
  sealing: { keys: settingsKeys, random },
  endOfTurn: setImmediate,
  // Read each time: a driver may have been added since.
  get builtins() {
    return driverNames(config);
  },
});

interface ComposedNode {
  node: HoldfastNode & { start(): Promise<void>; stop(): Promise<void>; caughtUp(): Promise<void> };
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

/** The drivers that a driver document may name. Throws CONFIG_INVALID when the folder cannot be read. */
function driverNames(config: Config): string[] {
  const builtin = Object.keys(builtinDrivers);
  const folder = driversFolderOf(config);
  if (folder === null || (config.repository !== null && !existsSync(folder))) return builtin;
  try {
    return [...builtin, ...driverFiles(folder).keys()];
  } catch (error) {
    const problem = `${folder} cannot be read: ${error instanceof Error ? error.message : String(error)}`;
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

/** A broken invariant of the program: no catch may swallow it, the supervisor starts a clean process. */
function crash(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}
