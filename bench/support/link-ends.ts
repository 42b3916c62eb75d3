import { createSystemClock } from '../../src/shared/adapters/clock/system-clock.ts';
import { createLinkDialler } from '../../src/shared/adapters/link-ws/dialler.ts';
import { createLinkListener } from '../../src/shared/adapters/link-ws/listener.ts';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import { createSystemRandom } from '../../src/shared/adapters/random/system-random.ts';
import { openServerIdentity, verifyPinned } from '../../src/shared/adapters/tls/certificates.ts';
import { tuneV8 } from '../../src/shared/adapters/v8/tune-v8.ts';
import { parseEnrolment } from '../../src/shared/link/enrolment.ts';
import { EdgeIdentity } from '../../src/shared/runtime/peer/edge-identity.ts';
import { LinkAuthority } from '../../src/shared/runtime/peer/link-authority.ts';
import { PeerLink } from '../../src/shared/runtime/peer/peer-link.ts';
import type { PeerLinkHandlers } from '../../src/shared/runtime/peer/peer-link-options.ts';
import { silentLog } from '../../test/support/silent-log.ts';
import { memoryCredentials } from './memory-credentials.ts';

/** The two ends of a real link, with TLS, proof and session, and without nodes behind them. */

// As in servers.
tuneV8();

const EDGE = 'berlin';
const clock = createSystemClock();
const random = createSystemRandom();
const floor = { generation: 0, number: 2 };
const terms = { failover: true, policy: 'available', timeoutMs: 20_000, paused: false } as const;

function createLink(side: 'edge' | 'master', handlers: Partial<PeerLinkHandlers>): PeerLink {
  const ignore = { ended: () => undefined, epochHeard: () => undefined, up: () => undefined, control: () => undefined, open: () => undefined, down: () => undefined, post: () => undefined };
  return new PeerLink({
    side,
    clock,
    random,
    log: silentLog,
    metrics: createPromMetrics(),
    bootId: random.hex(8),
    floor: () => floor,
    resumeWindowMs: 10_000,
    peer: side === 'edge' ? 'master' : EDGE,
    handlers: { request: async (_, body) => body, ...ignore, ...handlers },
  });
}

/** A master that answers each request with its body; returns what an edge needs to enrol. */
export async function startAnsweringMaster(folder: string): Promise<{ enrolment: string }> {
  const identity = await openServerIdentity({ folder, hosts: ['127.0.0.1'], random, wallMs: clock.wallMs() });
  const parts = { random, clock, log: silentLog, metrics: createPromMetrics() };
  let address = '';
  const authority = new LinkAuthority({
    ...parts,
    credentials: memoryCredentials(),
    caFingerprint: identity.caFingerprint,
    addresses: () => [address],
    closePeer: () => undefined,
  });
  const link = createLink('master', {
    control: (message, socket) => {
      if (message.t !== 'hello') return;
      const { negotiation, epoch } = message;
      link.sendControl(socket, { t: 'negotiate', negotiation, winner: 'edge', reason: 'no-takeover-happened', epoch, terms });
    },
  });
  const listener = createLinkListener({ ...parts, ...identity, host: '127.0.0.1', port: 0, masterId: 'master', authority });
  ({ address } = await listener.start((connection) => link.attach(connection)));
  return authority.add(EDGE);
}

/** An edge's link to it, negotiated. */
export async function connectEdge(enrolment: string): Promise<PeerLink> {
  const identity = await EdgeIdentity.open(memoryCredentials(), random, enrolment);
  const dialler = createLinkDialler({ identity, clock, random, log: silentLog, verifyPinned });
  const connection = await dialler.dial(parseEnrolment(enrolment).addresses[0] ?? '', AbortSignal.timeout(10_000));
  return new Promise((resolve) => {
    const link = createLink('edge', {
      up: (socket) => link.sendControl(socket, { t: 'hello', negotiation: 1, epoch: floor, state: 'standby', held: [] }),
      open: () => resolve(link),
    });
    link.attach(connection);
  });
}
