import type { Cluster } from 'couchbase';
import { backoffMs } from '../../foundation/backoff.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import { describeAddress, type StoreAddress } from '../../model/store-address.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Random } from '../../ports/random.ts';
import { kvFailure, toHoldfastError } from './failures.ts';

type Sdk = typeof import('couchbase');

export interface Connection {
  readonly sdk: Sdk;
  readonly cluster: Cluster;
  close(): Promise<void>;
}

export interface ConnectOptions {
  address: StoreAddress;
  password: string;
  /** PEM file of the authority that has signed the certificates of the cluster; null: those that the machine trusts. */
  caFile: string | null;
  clock: Clock;
  random: Random;
  log: Log;
  signal: AbortSignal;
}

/** Loaded only where it is configured: it is large, and has native parts. Throws CONFIG_INVALID where it is not installed. */
export async function loadSdk(): Promise<Sdk> {
  try {
    return await import('couchbase');
  } catch (error) {
    const problem = `needs the package couchbase, which cannot be loaded: run \`npm install couchbase@4.7.1\` (${error instanceof Error ? error.message.split('\n')[0] : String(error)})`;
    throw new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_STORE', problem }, { cause: error });
  }
}

/** Waits for the cluster, and says so. Throws STORE_REFUSED when it refuses, and the reason of the signal. */
export async function connectCluster(options: ConnectOptions): Promise<Connection> {
  const { address, clock, random, log, signal } = options;
  const sdk = await loadSdk();
  const since = clock.monotonicMs();
  for (let attempt = 0; ; attempt += 1) {
    signal.throwIfAborted();
    try {
      const cluster = await connectOnce(sdk, options);
      return { sdk, cluster, close: () => cluster.close() };
    } catch (error) {
      const failure = kvFailure(error);
      // A cluster that is being set up refuses everybody for a moment.
      if (failure.kind === 'refused' && clock.monotonicMs() - since > limits.storeSetUpMs) throw toHoldfastError(failure, describeAddress(address));
      const waited = Math.round((clock.monotonicMs() - since) / 1_000);
      log.warn('store.waiting', { store: describeAddress(address), problem: failure.message, attempt: attempt + 1, seconds: waited });
      await clock.sleep(backoffMs({ firstMs: 250, maxMs: 5_000, factor: 2, jitter: 0.5 }, attempt, random.next()), signal);
    }
  }
}

function connectOnce(sdk: Sdk, { address, password, caFile }: ConnectOptions): Promise<Cluster> {
  return sdk.connect(`${address.tls ? 'couchbases' : 'couchbase'}://${address.hosts}`, {
    username: address.user,
    password,
    ...(caFile === null ? {} : { security: { trustStorePath: caFile } }),
    timeouts: {
      bootstrapTimeout: limits.storeConnectMs,
      kvTimeout: limits.storeRequestMs,
      kvDurableTimeout: limits.storeDurableMs,
    },
  });
}
