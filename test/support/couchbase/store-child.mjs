// Couchbase stores in a process of their own: a fault in the native part of the SDK must not end the tests. Started by store-process.ts.
import { createSystemClock } from '../../../dist/shared/adapters/clock/system-clock.js';
import { createSystemRandom } from '../../../dist/shared/adapters/random/system-random.js';
import { openCouchbaseStore } from '../../../dist/shared/adapters/store-couchbase/couchbase-store.js';
import { openEmbeddedStore } from '../../../dist/shared/adapters/store-embedded/embedded-store.js';
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

async function call({ store, method, args }) {
  if (method === 'open') return open(store, ...args);
  const opened = stores.get(store);
  if (method === 'contact') return { inTouch: opened.inTouch, ageMs: opened.ageMs };
  return opened[method](...args);
}

process.on('message', async ({ id, ...request }) => {
  try {
    say({ id, result: (await call(request)) ?? null });
  } catch (error) {
    say({ id, error: error instanceof HoldfastError ? error.toJSON() : String(error?.stack ?? error) });
  }
});
process.on('disconnect', () => process.exit(0));
