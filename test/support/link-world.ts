import { connect as connectTcp, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { createSystemClock } from '../../src/shared/adapters/clock/system-clock.ts';
import { createLinkDialler } from '../../src/shared/adapters/link-ws/dialler.ts';
import { createLinkListener } from '../../src/shared/adapters/link-ws/listener.ts';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import { createSystemRandom } from '../../src/shared/adapters/random/system-random.ts';
import { openServerIdentity, type ServerIdentity, verifyPinned } from '../../src/shared/adapters/tls/certificates.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import type { CredentialStore } from '../../src/shared/ports/credential-store.ts';
import type { Connection, LinkDialler, LinkListener } from '../../src/shared/ports/transport.ts';
import { EdgeIdentity } from '../../src/shared/runtime/edge-identity.ts';
import { LinkAuthority } from '../../src/shared/runtime/link-authority.ts';
import { createMemoryLog } from './memory-log.ts';

export const clock = createSystemClock();
export const random = createSystemRandom();

/** Credentials in memory; `text` is everything that was ever stored. */
export function memoryCredentials(): CredentialStore & { values: Map<string, string> } {
  const values = new Map<string, string>();
  return {
    values,
    get: (key) => values.get(key) ?? null,
    set: async (key, value) => void values.set(key, value),
    compareAndSet: async (key, expected, value) => {
      if ((values.get(key) ?? null) !== expected) return false;
      if (value === null) values.delete(key);
      else values.set(key, value);
      return true;
    },
  };
}

export interface TestMaster {
  address: string;
  identity: ServerIdentity;
  authority: LinkAuthority;
  listener: LinkListener;
  credentials: ReturnType<typeof memoryCredentials>;
  log: ReturnType<typeof createMemoryLog>;
  metrics: ReturnType<typeof createPromMetrics>;
  /** Connections that proved themselves. */
  connections: Connection[];
}

export async function startMaster(scope: Scope, folder: string, replaced: Partial<ServerIdentity> = {}): Promise<TestMaster> {
  const identity = { ...(await openServerIdentity({ folder, hosts: ['127.0.0.1'], random, wallMs: clock.wallMs() })), ...replaced };
  const log = createMemoryLog();
  const metrics = createPromMetrics();
  const credentials = memoryCredentials();
  const connections: Connection[] = [];
  let address = '';
  const authority = new LinkAuthority({
    credentials,
    random,
    clock,
    log,
    caFingerprint: identity.caFingerprint,
    addresses: () => [address],
    closePeer: (edge, reason) => listener.closePeer(edge, reason),
  });
  const listener = createLinkListener({ host: '127.0.0.1', port: 0, masterId: 'master-1', ...identity, authority, clock, random, log, metrics });
  ({ address } = await listener.start((connection) => connections.push(connection)));
  scope.defer('master', () => listener.close());
  return { address, identity, authority, listener, credentials, log, metrics, connections };
}

export interface TestEdge {
  dialler: LinkDialler;
  identity: EdgeIdentity;
  credentials: ReturnType<typeof memoryCredentials>;
  log: ReturnType<typeof createMemoryLog>;
  dial(address: string): Promise<Connection>;
}

export async function createEdge(enrolment: string | null, credentials = memoryCredentials()): Promise<TestEdge> {
  const identity = await EdgeIdentity.open(credentials, random, enrolment);
  const log = createMemoryLog();
  const dialler = createLinkDialler({ identity, clock, random, log, verifyPinned });
  return { dialler, identity, credentials, log, dial: (address) => dialler.dial(address, AbortSignal.timeout(10_000)) };
}

/** Listens and frames collected of one end. */
export function collect(connection: Connection): { frames: string[]; closed: Promise<string> } {
  const frames: string[] = [];
  const closed = new Promise<string>((resolve) => {
    connection.listen({ frame: (text) => void frames.push(text), drained: () => undefined, closed: resolve });
  });
  return { frames, closed };
}

/** A plain TCP relay that passes bytes on; whoever terminates TLS is somebody else. */
export async function startRelay(scope: Scope, target: string): Promise<{ address: string; server: Server }> {
  const port = Number(target.slice(target.lastIndexOf(':') + 1));
  const sockets = new Set<Socket>();
  const server = createTcpServer((near) => {
    const far = connectTcp(port, '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
    }
    near.pipe(far).pipe(near);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  scope.defer('relay', () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  return { address: `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`, server };
}
