import { EdgeNode } from '../src/edge/edge-node.ts';
import { createSystemClock } from '../src/shared/adapters/clock/system-clock.ts';
import { createLinkDialler } from '../src/shared/adapters/link-ws/dialler.ts';
import { createPromMetrics } from '../src/shared/adapters/metrics/prom-metrics.ts';
import { createSystemRandom } from '../src/shared/adapters/random/system-random.ts';
import { createMemoryJournal } from '../src/shared/adapters/store-memory/memory-journal.ts';
import { createMemoryStore } from '../src/shared/adapters/store-memory/memory-store.ts';
import { verifyPinned } from '../src/shared/adapters/tls/certificates.ts';
import { nodeWebhooks } from '../src/shared/adapters/webhooks/node-webhooks.ts';
import type { CredentialStore } from '../src/shared/ports/credential-store.ts';
import { limits } from '../src/shared/model/limits.ts';
import type { DeviceLink } from '../src/shared/ports/device-link.ts';
import type { Log } from '../src/shared/ports/log.ts';
import type { Connection, LinkDialler } from '../src/shared/ports/transport.ts';
import { EdgeIdentity } from '../src/shared/runtime/peer/edge-identity.ts';
import { endWithParent, hear, tell } from './support/child.ts';
import { memoryCredentials } from './support/memory-credentials.ts';

/**
 * Many edges without devices in one process, whole but for their disks. `enrol` takes enrolment strings, each for an identity;
 * `links` says how many shall have started and keep a link; `use` sends a frame over each. Each is answered when it is done.
 */

const clock = createSystemClock();
const random = createSystemRandom();
const silent = (): void => undefined;
const log: Log = { debug: silent, info: silent, warn: silent, error: silent, child: () => log };

const noDevices: DeviceLink = {
  prepare: silent,
  start: () => Promise.resolve({ started: 0, failed: [] }),
  closeGate: silent,
  restamp: silent,
  setLease: silent,
  stop: () => Promise.resolve({ handover: {} }),
  functions: () => Promise.reject(new Error('no devices')),
  reload: () => Promise.resolve([]),
  manage: () => Promise.resolve([]),
  onProgress: () => silent,
  onEdited: () => silent,
  serveSystems: silent,
  exec: () => Promise.reject(new Error('no devices')),
  onStatus: () => silent,
  onLog: () => silent,
  writes: () => Promise.resolve([]),
  close: () => Promise.resolve(),
};

interface Enrolled {
  credentials: CredentialStore;
  identity: EdgeIdentity;
  dialler: LinkDialler;
}

/** Dials once, which spends the token, and hangs up. */
async function enrol(enrolment: string): Promise<Enrolled> {
  const credentials = memoryCredentials();
  const identity = await EdgeIdentity.open(credentials, random, enrolment);
  const links = createLinkDialler({ identity, clock, random, log, verifyPinned });
  const dialler: LinkDialler = {
    async dial(address, signal) {
      const connection = await links.dial(address, signal);
      connections.push(connection);
      return connection;
    },
  };
  const [address = ''] = identity.addresses;
  (await dialler.dial(address, AbortSignal.timeout(limits.dialAttemptMs))).close('enrolled');
  return { credentials, identity, dialler };
}

async function start({ credentials, identity, dialler }: Enrolled): Promise<EdgeNode> {
  const ports = { credentials, clock, random, log, metrics: createPromMetrics(), journal: createMemoryJournal({ clock }), store: createMemoryStore(), deviceLink: noDevices, dialler, webhooks: nodeWebhooks };
  const node = new EdgeNode(ports, { id: identity.edge, addresses: identity.addresses });
  await node.start();
  return node;
}

async function until(done: () => boolean): Promise<void> {
  const deadline = clock.monotonicMs() + 120_000;
  while (!done()) {
    if (clock.monotonicMs() > deadline) throw new Error('some links did not come up');
    await new Promise((next) => setTimeout(next, 100));
  }
}

/** It has a link, and a copy of the documents, in which it found itself. */
const isIdle = (node: EdgeNode): boolean => node.links().every(({ state }) => state === 'up') && node.location(node.id) !== null;

const AT_A_TIME = 10;
/** Longer than any frame of an edge without devices. The master answers that it knows no such frame. */
const AS_STATUS = `{"t":"as-status","text":"${'x'.repeat(8_000)}"}`;
const enrolled: Enrolled[] = [];
const connections: Connection[] = [];
const nodes: EdgeNode[] = [];
endWithParent();
tell({ started: true });
for (;;) {
  const order = await hear<{ enrol: string[] } | { links: number } | { use: true }>();
  if ('enrol' in order) {
    while (order.enrol.length > 0) enrolled.push(...(await Promise.all(order.enrol.splice(0, AT_A_TIME).map(enrol))));
  } else if ('use' in order) {
    for (const connection of connections) connection.send(AS_STATUS);
  } else {
    // A few at a time, as edges come: what a crowd takes at its height is not what a link costs.
    while (nodes.length < order.links) {
      nodes.push(...(await Promise.all(enrolled.splice(0, AT_A_TIME).map(start))));
      await until(() => nodes.every(isIdle));
    }
  }
  tell({ enrolled: enrolled.length, links: nodes.length });
}
