import { createInterface } from 'node:readline';
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
import type { DeviceLink } from '../src/shared/ports/device-link.ts';
import type { Log } from '../src/shared/ports/log.ts';
import { EdgeIdentity } from '../src/shared/runtime/edge-identity.ts';

/** Many edges without devices in one process, whole but for their disks: an enrolment string per line of the input starts one. */

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

function memoryCredentials(): CredentialStore {
  const values = new Map<string, string>();
  return {
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

async function start(enrolment: string): Promise<void> {
  const credentials = memoryCredentials();
  const identity = await EdgeIdentity.open(credentials, random, enrolment);
  const dialler = createLinkDialler({ identity, clock, random, log, verifyPinned });
  const ports = { credentials, clock, random, log, metrics: createPromMetrics(), journal: createMemoryJournal({ clock }), store: createMemoryStore(), deviceLink: noDevices, dialler, webhooks: nodeWebhooks };
  await new EdgeNode(ports, { id: identity.edge, addresses: identity.addresses }).start();
}

for await (const enrolment of createInterface({ input: process.stdin })) await start(enrolment);
