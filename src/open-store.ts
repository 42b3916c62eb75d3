import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dataFiles } from './data-files.ts';
import { createSystemClock } from './shared/adapters/clock/system-clock.ts';
import { createSystemRandom } from './shared/adapters/random/system-random.ts';
import type { IndexReport } from './shared/adapters/store-couchbase/index-repair.ts';
import type { InspectOptions, StoreInspection } from './shared/adapters/store-couchbase/inspect-store.ts';
import { openEmbeddedStore } from './shared/adapters/store-embedded/embedded-store.ts';
import type { Config, StoreConfig } from './shared/model/config.ts';
import type { AnyDocument } from './shared/model/documents.ts';
import { HoldfastError } from './shared/model/errors.ts';
import type { Clock } from './shared/ports/clock.ts';
import type { DocumentStore, FeedHead } from './shared/ports/document-store.ts';
import type { Log } from './shared/ports/log.ts';
import type { Metrics } from './shared/ports/metrics.ts';
import type { OrmImport } from './shared/runtime/site-files/orm-import.ts';
import type { Random } from './shared/ports/random.ts';

/** The documents of a server, wherever they are. */
export interface ServerStore extends DocumentStore {
  /** Writes a consistent copy that `holdfast restore` takes, while the store is in use. Refuses to overwrite. */
  backup(toFile: string): Promise<void>;
  /** Milliseconds since the documents were known to be those of the database; null: they are now. */
  staleMs(): number | null;
}

/** Is the database of this server a copy, which that of the master fills? */
export const isReplicated = (config: Config): boolean => config.role === 'edge' && config.replication === 'xdcr';

interface StoreParts {
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  signal: AbortSignal;
  /** Of an edge; null: this is a master. */
  location: string | null;
}

/** Throws STORE_BUSY, STORE_DAMAGED, STORE_REFUSED, CONFIG_INVALID, and the reason of `signal` while it waits for a database. */
export async function openStore(config: Config, { location, ...parts }: StoreParts): Promise<ServerStore> {
  const files = dataFiles(config.data);
  if (config.store === null) {
    const embedded = await openEmbeddedStore({ path: files.documents, log: parts.log });
    return Object.assign(embedded, { staleMs: () => null });
  }
  const [{ openCouchbaseStore }, password] = await Promise.all([import('./shared/adapters/store-couchbase/couchbase-store.ts'), readPassword(config.store)]);
  // The copy of this server also keeps a second one out of its data directory.
  const copy = await openEmbeddedStore({ path: files.copy, log: parts.log });
  const { address, caFile } = config.store;
  const { log } = parts;
  const replicated = isReplicated(config);
  const fill = (): Promise<Filling> => documentsOf(files.documents, { log, cursor: config.role === 'edge' });
  const shared = await openCouchbaseStore({ ...parts, owner: { role: config.role, location }, replicated, address, password, caFile, copy, fill });
  const staleMs = (): number | null => (shared.inTouch ? null : shared.ageMs);
  return Object.assign(shared, { backup: (toFile: string) => copy.backup(toFile), staleMs });
}

/** What is wrong with a database, for the doctor. Changes nothing that lasts. Throws CONFIG_INVALID. */
export async function inspectSharedStore(store: StoreConfig, { replicated, signal }: { replicated: boolean; signal: AbortSignal }): Promise<StoreInspection> {
  const { inspectStore } = await import('./shared/adapters/store-couchbase/inspect-store.ts');
  return inspectStore({ ...(await inspectionOf(store, signal)), replicated });
}

/** null: servers are writing, or nothing is stored yet. Throws CONFIG_INVALID, STORE_REFUSED, STORE_UNREACHABLE. */
export async function rebuildSharedIndexes(store: StoreConfig, { dryRun, signal }: { dryRun: boolean; signal: AbortSignal }): Promise<IndexReport | null> {
  const { rebuildIndexes } = await import('./shared/adapters/store-couchbase/inspect-store.ts');
  return rebuildIndexes(await inspectionOf(store, signal), dryRun);
}

/** Documents of ACA Engine in a bucket, as a site file. Reads only. Throws CONFIG_INVALID, STORE_REFUSED, STORE_UNREACHABLE. */
export async function importForeign(store: StoreConfig): Promise<Pick<OrmImport, 'report' | 'skipped'> & { text: string }> {
  const [{ readForeignDocuments }, { importOrm }, { siteText }] = await Promise.all([
    import('./shared/adapters/store-couchbase/foreign-documents.ts'),
    import('./shared/runtime/site-files/orm-import.ts'),
    import('./shared/runtime/site-files/site-file.ts'),
  ]);
  const sources = await readForeignDocuments({ address: store.address, caFile: store.caFile, password: await readPassword(store) });
  const { documents, report, skipped } = importOrm(sources.toSorted((a, b) => (a.id < b.id ? -1 : 1)));
  return { text: siteText(documents, ['# Documents of ACA Engine, made by `holdfast import couchbase`.', '']), report, skipped };
}

async function inspectionOf(store: StoreConfig, signal: AbortSignal): Promise<InspectOptions> {
  const { address, caFile } = store;
  return { address, caFile, password: await readPassword(store), clock: createSystemClock(), random: createSystemRandom(), signal };
}

interface Filling {
  documents: AnyDocument[];
  cursor: FeedHead | null;
}

/** What the server had before it was given a database. */
async function documentsOf(path: string, { log, cursor }: { log: Log; cursor: boolean }): Promise<Filling> {
  if (!existsSync(path)) return { documents: [], cursor: null };
  const store = await openEmbeddedStore({ path, log });
  try {
    const { entries } = await store.changesSince({ ...(await store.head()), sequence: 0 }, Number.MAX_SAFE_INTEGER);
    const documents = entries.flatMap(({ document }) => (document === null ? [] : [document]));
    return { documents, cursor: cursor ? await store.cursor() : null };
  } finally {
    await store.close();
  }
}

/** Read at each start: it may have been changed. Throws CONFIG_INVALID. */
async function readPassword({ password, passwordFile }: StoreConfig): Promise<string> {
  if (passwordFile === null) return password ?? '';
  try {
    return (await readFile(passwordFile, 'utf8')).trim();
  } catch (error) {
    const problem = `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    throw new HoldfastError('CONFIG_INVALID', { variable: 'HOLDFAST_STORE_PASSWORD_FILE', problem }, { cause: error });
  }
}
