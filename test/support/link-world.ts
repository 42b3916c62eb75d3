import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { expect } from 'vitest';
import { WebSocket } from 'ws';
import { createSystemClock } from '../../src/shared/adapters/clock/system-clock.ts';
import { createLinkDialler } from '../../src/shared/adapters/link-ws/dialler.ts';
import { createLinkListener } from '../../src/shared/adapters/link-ws/listener.ts';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import { createSystemRandom } from '../../src/shared/adapters/random/system-random.ts';
import { openServerIdentity, type ServerIdentity, verifyPinned } from '../../src/shared/adapters/tls/certificates.ts';
import type { Scope } from '../../src/shared/foundation/scope.ts';
import type { Clock } from '../../src/shared/ports/clock.ts';
import type { CredentialStore } from '../../src/shared/ports/credential-store.ts';
import type { Connection, LinkDialler, LinkListener } from '../../src/shared/ports/transport.ts';
import { EdgeIdentity } from '../../src/shared/runtime/peer/edge-identity.ts';
import { type Claimant, LinkAuthority } from '../../src/shared/runtime/peer/link-authority.ts';
import { createMemoryLog } from './memory-log.ts';

export const clock = createSystemClock();
export const random = createSystemRandom();

export type MemoryCredentials = CredentialStore & { values: Map<string, string>; beforeWrite: () => Promise<void> | void };

/** Credentials in memory; `beforeWrite` may fail, or take its time. */
export function memoryCredentials(values = new Map<string, string>()): MemoryCredentials {
  const credentials: MemoryCredentials = {
    values,
    beforeWrite: () => undefined,
    get: (key) => values.get(key) ?? null,
    set: async (key, value) => {
      await credentials.beforeWrite();
      values.set(key, value);
    },
    compareAndSet: async (key, expected, value) => {
      await credentials.beforeWrite();
      if ((values.get(key) ?? null) !== expected) return false;
      if (value === null) values.delete(key);
      else values.set(key, value);
      return true;
    },
  };
  return credentials;
}

/** An authority that can be held up in the middle of a proof. */
class PausableAuthority extends LinkAuthority {
  afterClaim: () => Promise<void> = () => Promise.resolve();

  override async claimant(user: string): Promise<Claimant> {
    const claimant = await super.claimant(user);
    await this.afterClaim();
    return claimant;
  }
}

export interface TestMaster {
  address: string;
  port: number;
  identity: ServerIdentity;
  authority: PausableAuthority;
  listener: LinkListener;
  credentials: MemoryCredentials;
  log: ReturnType<typeof createMemoryLog>;
  metrics: ReturnType<typeof createPromMetrics>;
  /** Connections that proved themselves. */
  connections: Connection[];
  refused(reason: string): number;
}

export interface MasterSetup {
  identity?: Partial<ServerIdentity>;
  clock?: Clock;
  credentials?: MemoryCredentials;
  onConnection?: (connection: Connection) => void;
}

/** A listener on loopback with everything behind it that it needs. */
export async function startMaster(scope: Scope, folder: string, setup: MasterSetup = {}): Promise<TestMaster> {
  const made = await openServerIdentity({ folder, hosts: ['127.0.0.1'], random, wallMs: clock.wallMs() });
  const identity = { ...made, ...setup.identity };
  const parts = { random, clock: setup.clock ?? clock, log: createMemoryLog(), metrics: createPromMetrics() };
  const credentials = setup.credentials ?? memoryCredentials();
  const connections: Connection[] = [];
  let address = '';
  const authority = new PausableAuthority({
    ...parts,
    credentials,
    caFingerprint: identity.caFingerprint,
    addresses: () => [address],
    closePeer: (edge, reason) => listener.closePeer(edge, reason),
  });
  const listener = createLinkListener({ ...parts, ...identity, host: '127.0.0.1', port: 0, masterId: 'master-1', authority });
  ({ address } = await listener.start((connection) => {
    connections.push(connection);
    setup.onConnection?.(connection);
  }));
  scope.defer('master', () => listener.close());
  const refused = (reason: string): number => parts.metrics.read('holdfast_link_refused_total', { reason });
  watched.push({ credentials, log: parts.log, metrics: parts.metrics });
  return { ...parts, address, port: Number(address.split(':')[1]), identity, authority, listener, credentials, connections, refused };
}

export interface TestEdge {
  dialler: LinkDialler;
  identity: EdgeIdentity;
  credentials: MemoryCredentials;
  log: ReturnType<typeof createMemoryLog>;
  dial(address: string): Promise<Connection>;
}

/** `secret`: what an operator has put beside the enrolment string. */
export async function createEdge(enrolment: string | null, credentials = memoryCredentials(), secret: string | null = null): Promise<TestEdge> {
  const identity = await EdgeIdentity.open(credentials, random, enrolment, async () => secret);
  const log = createMemoryLog();
  const dialler = createLinkDialler({ identity, clock, random, log, verifyPinned });
  for (const secret of [enrolment, ...secretsOf(credentials)]) if (secret !== null) secrets.add(secret);
  watched.push({ log });
  return { dialler, identity, credentials, log, dial: (address) => dialler.dial(address, AbortSignal.timeout(10_000)) };
}

/** An edge that is enrolled and has been connected once. */
export async function enrolledEdge(master: TestMaster, edge = 'berlin'): Promise<TestEdge> {
  const made = await createEdge((await master.authority.add(edge)).enrolment);
  await hangUp(await made.dial(master.address));
  return made;
}

/** Somebody who has all of an edge but its secret. */
export async function impostorOf(edge: TestEdge, changes: object = {}): Promise<TestEdge> {
  const known = JSON.parse(edge.credentials.values.get('identity') ?? '{}') as { secrets: { id: string }[] };
  const guessed = { ...known, secrets: known.secrets.map(({ id }) => ({ id, secret: 'f'.repeat(64) })), ...changes };
  return createEdge(null, memoryCredentials(new Map([['identity', JSON.stringify(guessed)]])));
}

export async function hangUp(connection: Connection): Promise<void> {
  const { closed } = collect(connection);
  connection.close('done');
  await closed;
}

// ── Secrets ─────────────────────────────────────────────────────────────────

const secrets = new Set<string>();
const watched: { log: ReturnType<typeof createMemoryLog>; credentials?: MemoryCredentials; metrics?: ReturnType<typeof createPromMetrics> }[] = [];

function secretsOf(credentials: MemoryCredentials): string[] {
  const identity = JSON.parse(credentials.values.get('identity') ?? '{}') as { secrets?: { secret: string }[]; token?: string | null };
  return [...(identity.secrets ?? []).map(({ secret }) => secret), ...(identity.token == null ? [] : [identity.token])];
}

/** No log line, metric or record of a master holds a secret of an edge. Call it after each test. */
export async function expectNoSecretLeaked(): Promise<void> {
  const kept = watched.splice(0);
  const texts = kept.map(({ log, credentials }) => `${log.text()}${JSON.stringify([...(credentials?.values ?? [])])}`);
  texts.push(...(await Promise.all(kept.map(async ({ metrics }) => (await metrics?.text()) ?? ''))));
  for (const secret of secrets) for (const text of texts) expect(text).not.toContain(secret);
  secrets.clear();
}

// ── Connections ─────────────────────────────────────────────────────────────

export interface Collected {
  frames: string[];
  /** Why it closed, each time that it was told: it must be once. */
  closings: string[];
  closed: Promise<string>;
  drained: () => number;
}

/** Listens, and keeps what comes. */
export function collect(connection: Connection): Collected {
  const frames: string[] = [];
  const closings: string[] = [];
  let drained = 0;
  const closed = new Promise<string>((resolve) => {
    connection.listen({
      frame: (text) => void frames.push(text),
      drained: () => {
        drained += 1;
      },
      closed: (reason) => {
        closings.push(reason);
        resolve(reason);
      },
    });
  });
  return { frames, closings, closed, drained: () => drained };
}

/** A WebSocket to the link port of somebody who is no edge. */
export async function stranger(scope: Scope, address: string): Promise<WebSocket> {
  const socket = new WebSocket(`wss://${address}/link`, { rejectUnauthorized: false });
  socket.on('error', () => undefined);
  await once(socket, 'open');
  scope.defer('stranger', () => socket.terminate());
  return socket;
}

export interface RelaySetup {
  /** Where the master sees the connection come from. */
  from?: string;
  /** Called with each chunk; what it returns is passed on, null cuts both sides. */
  toMaster?: (chunk: Buffer) => Buffer | null | Promise<Buffer | null>;
  toEdge?: (chunk: Buffer) => Buffer | null | Promise<Buffer | null>;
}

/** A relay of TCP bytes between an edge and its master: TLS goes through it unbroken. */
export async function startRelay(scope: Scope, master: TestMaster, setup: RelaySetup = {}): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect({ port: master.port, host: '127.0.0.1', localAddress: setup.from ?? '127.0.0.1' });
    const cut = (): void => {
      near.destroy();
      far.destroy();
    };
    const pass = (from: Socket, to: Socket, hook: RelaySetup['toEdge'] = (chunk) => chunk): void => {
      let order = Promise.resolve();
      sockets.add(from);
      from.on('error', cut).on('close', cut);
      from.on('data', (chunk: Buffer) => {
        order = order.then(async () => {
          const passed = await hook(chunk);
          if (passed === null) cut();
          else to.write(passed);
        });
      });
    };
    pass(near, far, setup.toMaster);
    pass(far, near, setup.toEdge);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  scope.defer('relay', () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  return `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
}
