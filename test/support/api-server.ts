import { serveClientSockets } from '../../src/shared/adapters/client-ws/serve-sockets.ts';
import { rateAddress } from '../../src/shared/adapters/http/rate-address.ts';
import { startHttpServer } from '../../src/shared/adapters/http/server.ts';
import type { HttpServer } from '../../src/shared/adapters/http/server.ts';
import { createMemoryEvents } from '../../src/shared/adapters/store-memory/memory-events.ts';
import { createApi } from '../../src/shared/api/api.ts';
import type { Api } from '../../src/shared/api/api.ts';
import { createApiKey } from '../../src/shared/api/auth/credentials.ts';
import type { SiteFiles } from '../../src/shared/api/site-files.ts';
import type { Role } from '../../src/shared/client-api/schemas.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import type { DocumentStore } from '../../src/shared/ports/document-store.ts';
import type { EventLog } from '../../src/shared/ports/event-log.ts';
import type { Log } from '../../src/shared/ports/log.ts';
import type { Metrics } from '../../src/shared/ports/metrics.ts';
import { openEventLog } from '../../src/shared/runtime/events/event-log.ts';
import { recordingLog } from '../../src/shared/runtime/events/event-recorder.ts';
import { createSiteFiles } from '../../src/shared/runtime/site-files/site-plan.ts';
import type { Sealing } from '../../src/shared/runtime/site-files/site-secrets.ts';
import { createClient } from '../../src/client-sdk/index.ts';
import type { Client } from '../../src/client-sdk/index.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeNode, locationView } from './fake-node.ts';
import { sealingWith } from './settings-keys.ts';

export interface LogLine {
  level: 'debug' | 'info' | 'warn' | 'error';
  event: string;
  facts: Record<string, unknown>;
}

/** A text of several lines is the real thing. Text `conflict` plans fine and cannot be run; text `bad` cannot even be planned. */
class FakeSiteFiles implements SiteFiles {
  readonly put: SiteFiles['put'];
  readonly remove: SiteFiles['remove'];
  readonly #store: DocumentStore;
  #sealing: Sealing;
  readonly applied: string[] = [];

  /** Documents one by one are the real thing. */
  constructor(store: DocumentStore, sealing: Sealing) {
    this.#store = store;
    this.#sealing = sealing;
    this.put = (...given) => this.#real().put(...given);
    this.remove = (...given) => this.#real().remove(...given);
  }

  /** With these keys from now on. */
  sealWith(sealing: Sealing): void {
    this.#sealing = sealing;
  }

  #real(): SiteFiles {
    return createSiteFiles(this.#store, { builtins: ['mock'], sealing: this.#sealing });
  }

  sealed: SiteFiles['sealed'] = () => this.#real().sealed();
  rekey: SiteFiles['rekey'] = () => this.#real().rekey();

  async plan(text: string) {
    if (text.includes('\n')) return await this.#real().plan(text);
    if (text === 'bad') throw new HoldfastError('INPUT_INVALID', { field: 'systems.0.name', problem: 'is missing' });
    const changes = text === '' ? [] : [{ op: 'update' as const, kind: 'edge', id: 'edge-1', details: ['timeout: 20 → 30'] }];
    return {
      plan: { changes, unchanged: 2, warnings: ['edge-1 goes dark while the master is down'] },
      location: null,
      run: async () => {
        if (text === 'conflict') throw new HoldfastError('VERSION_CONFLICT', { id: 'edge-1', expected: '1', actual: '2' });
        this.applied.push(text);
      },
    };
  }

  async export(): Promise<string> {
    return 'edges: []\n';
  }
}

const noMetrics: Metrics = { add: () => undefined, set: () => undefined, read: () => 0 };

export interface TestServer {
  node: FakeNode;
  api: Api;
  clock: FakeClock;
  http: HttpServer;
  siteFiles: FakeSiteFiles;
  log: LogLine[];
  events: EventLog;
  /** Says something as the parts of a server do: in the log, and with that in the events. */
  say: Log['info'];
  programmerErrors: unknown[];
  /** How old the documents are; null: they are those of the database. */
  staleMs: { value: number | null };
  /** `<id>.<secret>` of each role. */
  keys: Record<Role, string>;
  client(apiKey: string | null): Client;
  close(): Promise<void>;
}

export interface TestServerOptions {
  role?: 'edge' | 'master';
  tls?: { cert: string; key: string };
  requestsPerMinute?: number;
  unreadBytes?: number;
  connections?: number;
  timeouts?: { headersTimeout: number; requestTimeout: number; connectionsCheckingInterval: number };
  origins?: readonly string[];
  sealing?: Sealing;
}

/** The real API and HTTP server on loopback, in front of a node in memory with locations `edge-1` and `edge-2`. */
export async function startTestServer({ role = 'master', origins, sealing = sealingWith('1'), ...http }: TestServerOptions = {}): Promise<TestServer> {
  const node = new FakeNode(role);
  node.views.set('edge-2', locationView('edge-2', { failover: false }));
  node.views.set('edge-1', locationView('edge-1'));
  const clock = new FakeClock();
  const log: LogLine[] = [];
  let drawn = 0;
  const random = { next: () => 0.5, hex: (bytes: number) => (drawn += 1).toString(16).padStart(bytes * 2, '0') };
  const note = (level: LogLine['level']) => (event: string, facts: object = {}) => void log.push({ level, event, facts: { ...facts } });
  const plain = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error'), child: () => plain };
  const events = await openEventLog({ store: createMemoryEvents({ random }), clock, log: plain, metrics: noMetrics });
  const logger = recordingLog(plain, events);
  const siteFiles = new FakeSiteFiles(node.store, sealing);
  const programmerErrors: unknown[] = [];
  const staleMs: { value: number | null } = { value: null };
  const make = async (role: Role): Promise<string> => (await createApiKey({ store: node.store, random, clock }, { name: `the ${role}`, role })).key;
  const keys = { viewer: await make('viewer'), operator: await make('operator'), admin: await make('admin') };
  const api = createApi({
    node,
    events,
    clock,
    random,
    log: logger,
    metrics: noMetrics,
    metricsText: async () => '# HELP holdfast_modules Modules\n',
    siteFiles,
    staleMs: () => staleMs.value,
    version: '1.2.3',
    origins: origins ?? [],
    scheme: http.tls === undefined ? 'http' : 'https',
    backup: async (name) => ({ path: `/data/backups/${name ?? 'by-time'}` }),
    onProgrammerError: (error) => void programmerErrors.push(error),
  });
  const server = await startHttpServer({ api, host: '127.0.0.1', port: 0, clock, random, ...http });
  serveClientSockets(server.server, api.sockets, { clock, rateAddress });
  const clients: Client[] = [];
  return {
    node,
    api,
    clock,
    http: server,
    siteFiles,
    log,
    events,
    say: logger.info,
    programmerErrors,
    staleMs,
    keys,
    client: (apiKey) => {
      const client = createClient({ origin: server.origin, apiKey });
      clients.push(client);
      return client;
    },
    close: async () => {
      for (const client of clients) client.close();
      await server.close();
    },
  };
}

/** Plain requests to the server of the moment, with the key of a role. */
export function requestsTo(server: () => TestServer) {
  const url = (path: string): string => `${server().http.origin}${path}`;
  const as = (role: Role): Record<string, string> => ({ 'x-api-key': server().keys[role] });
  const get = (path: string, headers: Record<string, string> = as('admin')): Promise<Response> => fetch(url(path), { headers });
  const post = (path: string, body?: string, headers: Record<string, string> = as('admin')): Promise<Response> =>
    fetch(url(path), { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, ...(body === undefined ? {} : { body }) });
  return { url, as, get, post };
}

/** Waits until a condition holds; fails after two seconds of real time. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 2_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
