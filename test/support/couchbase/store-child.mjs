// Couchbase stores in a process of their own: a fault in the native part of the SDK must not end the tests. Started by store-process.ts.
import couchbase from 'couchbase';
import { createSystemClock } from '../../../dist/shared/adapters/clock/system-clock.js';
import { createSystemRandom } from '../../../dist/shared/adapters/random/system-random.js';
import { openCouchbaseStore } from '../../../dist/shared/adapters/store-couchbase/couchbase-store.js';
import { openEmbeddedStore } from '../../../dist/shared/adapters/store-embedded/embedded-store.js';
import { inspectStore, rebuildIndexes } from '../../../dist/shared/adapters/store-couchbase/inspect-store.js';
import { HoldfastError } from '../../../dist/shared/model/errors.js';

const stores = new Map();
const say = (message) => process.send(message);

function logFor(store) {
  const line = (level) => (event, facts) => say({ store, log: { level, event, facts: JSON.parse(JSON.stringify(facts ?? {})) } });
  const log = { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error'), child: () => log };
  return log;
}

async function open(name, options) {
  const store = await openCouchbaseStore({
    caFile: null,
    owner: { role: 'master', location: null },
    ...options,
    copy: options.copyPath === undefined ? null : await openEmbeddedStore({ path: options.copyPath, log: logFor(name) }),
    clock: createSystemClock(),
    random: createSystemRandom(),
    log: logFor(name),
    metrics: { add: () => undefined, set: () => undefined, read: () => 0 },
    signal: AbortSignal.timeout(30_000),
  });
  store.onChange((head, touched) => say({ store: name, change: { head, touched: touched === null ? null : [...touched] } }));
  stores.set(name, store);
}

/** A scope of its own in a real cluster, so that tests do not meet; gone with `drop`. */
async function scopes(method, { address, password }) {
  const cluster = await couchbase.connect(`${address.tls ? 'couchbases' : 'couchbase'}://${address.hosts}`, { username: address.user, password });
  const manager = cluster.bucket(address.bucket).collections();
  for (const scope of [address.scope, `${address.scope}-private`]) {
    if (method === 'drop') await manager.dropScope(scope).catch(() => undefined);
    else await manager.createScope(scope);
  }
  if (method === 'make') {
    for (const name of ['documents', 'indexes']) await manager.createCollection(name, address.scope);
    await manager.createCollection('log', `${address.scope}-private`);
  }
  await cluster.close();
}

async function call({ store, method, args }) {
  if (method === 'open') return open(store, ...args);
  if (method === 'make' || method === 'drop') return scopes(method, ...args);
  const world = { caFile: null, clock: createSystemClock(), random: createSystemRandom(), signal: AbortSignal.timeout(30_000) };
  if (method === 'processor') return (process.cpuUsage().user + process.cpuUsage().system) / 1_000;
  if (method === 'inspect') return inspectStore({ ...world, ...args[0] });
  if (method === 'rebuild') return rebuildIndexes({ ...world, ...args[0] }, args[1]);
  const opened = stores.get(store);
  if (method === 'contact') return { inTouch: opened.inTouch, ageMs: opened.ageMs };
  return opened[method](...args);
}

async function answer({ id, ...request }) {
  try {
    say({ id, result: (await call(request)) ?? null });
  } catch (error) {
    say({ id, error: error instanceof HoldfastError ? error.toJSON() : String(error?.stack ?? error) });
  }
}

process.on('message', (request) => void answer(request));
process.on('disconnect', () => process.exit(0));
