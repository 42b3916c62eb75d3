import type * as Sdk from 'couchbase';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { StoreAddress } from '../../model/store-address.ts';
import { KvFailure } from './failures.ts';

export interface ConnectionOptions {
  address: StoreAddress;
  password: string;
  /** PEM file of the authority that has signed the certificates of the cluster; null: those that the machine trusts. */
  caFile: string | null;
}

/** Loaded only where it is configured: it is large, and has native parts. Throws CONFIG_INVALID where it is not installed. */
async function loadSdk(): Promise<typeof Sdk> {
  try {
    return await import('couchbase');
  } catch (error) {
    const why = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    const problem = `needs the package couchbase, which cannot be loaded: run \`npm install couchbase@4.7.1\` (${why})`;
    throw new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_STORE', problem }, { cause: error });
  }
}

/** The connection to a cluster. Once it is made the SDK makes it anew by itself; until then nobody does but the caller. */
export class Connection {
  readonly sdk: typeof Sdk;
  readonly #options: ConnectionOptions;
  #cluster: Sdk.Cluster | null = null;

  private constructor(sdk: typeof Sdk, options: ConnectionOptions) {
    this.sdk = sdk;
    this.#options = options;
  }

  static async load(options: ConnectionOptions): Promise<Connection> {
    return new Connection(await loadSdk(), options);
  }

  /** Throws what the SDK throws. */
  async ensure(): Promise<void> {
    if (this.#cluster !== null) return;
    const { address, password, caFile } = this.#options;
    this.#cluster = await this.sdk.connect(`${address.tls ? 'couchbases' : 'couchbase'}://${address.hosts}`, {
      username: address.user,
      password,
      ...(caFile === null ? {} : { security: { trustStorePath: caFile } }),
      timeouts: {
        bootstrapTimeout: limits.storeConnectMs,
        kvTimeout: limits.storeRequestMs,
        kvDurableTimeout: limits.storeDurableMs,
      },
      // Nobody reads what the SDK would report about each request.
      tracingConfig: { enableTracing: false },
      metricsConfig: { enableMetrics: false },
    });
  }

  get cluster(): Sdk.Cluster {
    if (this.#cluster === null) throw new KvFailure('unreachable', 'it was not reached since the start', { trouble: 'away' });
    return this.#cluster;
  }

  async close(): Promise<void> {
    await this.#cluster?.close();
  }
}
