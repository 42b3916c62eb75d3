import type { z } from 'zod';
import type { ClusterAddress } from '../../model/cluster-address.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import { scopesOf } from '../../model/store-address.ts';
import type { ClusterChange, ReplicationState } from '../../model/xdcr.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ClusterAnswer, ClusterCall, ClusterRest } from '../../ports/cluster-rest.ts';
import { bucketSchema, isDone, parseAnswer, poolsSchema, referencesSchema, refusal, scopesSchema, settingsSchema, tasksSchema } from './cluster-answers.ts';

/**
 * Replication by the database from the centre to a site: each thing is looked for first, and made only where it is missing,
 * so that a setup that broke off is repeated. docs/couchbase.md, "Copies at the sites".
 */

export interface Cluster {
  /** `centre` or `site`. */
  name: string;
  address: ClusterAddress;
  password: string;
  rest: ClusterRest;
}

export interface XdcrOptions {
  centre: Cluster;
  /** How the centre calls the site. */
  name: string;
  clock: Clock;
  signal: AbortSignal;
  /** Looks, and says what it would change. */
  dryRun: boolean;
}

export interface SetUpOptions extends XdcrOptions {
  site: Cluster;
  /** PEM of the authority of the site; null: without TLS. */
  siteCa: string | null;
  /** Quota of a node that is set up here, in megabytes; a bucket that is made gets half of it. */
  memoryMb: number;
}

const SECRET = new Set(['password']);
const AWHILE_MS = 500;

/** What was changed, or would be. Throws CLUSTER_UNREACHABLE, CLUSTER_REFUSED. */
export async function setUpXdcr(options: SetUpOptions): Promise<ClusterChange[]> {
  const { centre, site } = options;
  const work = new Work(options);
  const fresh = new Map([centre, site].map((cluster) => [cluster, false]));
  for (const cluster of [centre, site]) fresh.set(cluster, await work.initialise(cluster, options.memoryMb));
  // In a dry run a node that would be set up has nothing yet, and nobody to ask.
  const unasked = (cluster: Cluster): boolean => options.dryRun && fresh.get(cluster) === true;
  const resolutions = [];
  for (const cluster of [centre, site]) resolutions.push(await work.bucket(cluster, Math.floor(options.memoryMb / 2), unasked(cluster)));
  if (resolutions[0] !== resolutions[1]) {
    const problem = `the buckets resolve conflicts in different ways (${resolutions.join(' and ')}): make that of the site anew`;
    throw new HoldfastError('CLUSTER_REFUSED', { call: 'the bucket at the site', status: 200, problem });
  }
  for (const cluster of [centre, site]) await work.collections(cluster, unasked(cluster));
  const uuid = await work.reference(options, { unasked: unasked(centre), siteIsNew: fresh.get(site) === true });
  await work.replication(options, uuid);
  return work.made;
}

/** Of one site, or of all. Throws CLUSTER_UNREACHABLE, CLUSTER_REFUSED. */
export async function xdcrStates(options: Omit<XdcrOptions, 'name' | 'dryRun'> & { name: string | null }): Promise<ReplicationState[]> {
  const { centre, name } = options;
  const work = new Work({ ...options, dryRun: true });
  const references = (await work.references(centre)).filter((reference) => name === null || reference.name === name);
  const tasks = await work.tasks(centre);
  return references.flatMap(({ name: known, hostname, secureType, uuid }) => {
    const own = tasks.filter(({ source, target }) => source === centre.address.bucket && uuidOf(target) === uuid);
    const base = { name: known, hostname, encryption: secureType ?? 'unknown' };
    if (own.length === 0) return [{ ...base, id: null, status: 'none', changes_left: null, docs_written: null, errors: [] }];
    return own.map(({ id, status, pauseRequested, changesLeft, docsWritten, errors = [] }) => ({
      ...base,
      id: id ?? null,
      status: pauseRequested === true ? 'paused' : (status ?? 'unknown'),
      changes_left: changesLeft ?? null,
      docs_written: docsWritten ?? null,
      errors: errors.map((error) => (typeof error === 'string' ? error : JSON.stringify(error))),
    }));
  });
}

/** Ends the replication, and forgets the site if no other uses it. What the site has stays there. Throws CLUSTER_UNREACHABLE, CLUSTER_REFUSED. */
export async function removeXdcr(options: XdcrOptions): Promise<ClusterChange[]> {
  const { centre, name } = options;
  const work = new Work(options);
  const reference = (await work.references(centre)).find((known) => known.name === name);
  if (reference === undefined) return [];
  const tasks = (await work.tasks(centre)).filter(({ target }) => uuidOf(target) === reference.uuid);
  const own = tasks.filter(({ source }) => source === centre.address.bucket);
  for (const { id } of own) if (id !== undefined) await work.change(centre, { method: 'DELETE', path: `/controller/cancelXDCR/${encodeURIComponent(id)}` });
  if (tasks.length === own.length) await work.change(centre, { method: 'DELETE', path: `/pools/default/remoteClusters/${encodeURIComponent(name)}` });
  return work.made;
}

const keyspacesOf = (scope: string): string[] =>
  scopesOf(scope).flatMap(({ scope: of, collections }) => collections.map((collection) => `${of}.${collection}`));
const uuidOf = (target: string | undefined): string | undefined => /^\/remoteClusters\/([^/]+)\//.exec(target ?? '')?.[1];

/** The calls of one command. */
class Work {
  readonly made: ClusterChange[] = [];
  readonly #options: Pick<XdcrOptions, 'clock' | 'signal' | 'dryRun'>;

  constructor(options: Pick<XdcrOptions, 'clock' | 'signal' | 'dryRun'>) {
    this.#options = options;
  }

  /** True: the node was not set up before. */
  async initialise(cluster: Cluster, memoryMb: number): Promise<boolean> {
    const { isEnterprise, pools } = await this.#need(cluster, { method: 'GET', path: '/pools', anonymous: true }, poolsSchema);
    if (isEnterprise === false) {
      const problem = 'it is a Community Edition, whose licence and servers refuse XDCR: use HOLDFAST_REPLICATION=feed';
      throw new HoldfastError('CLUSTER_REFUSED', { call: `GET /pools at the ${cluster.name}`, status: 200, problem });
    }
    if (pools.length > 0) {
      await this.#done(cluster, { method: 'GET', path: '/pools/default' });
      return false;
    }
    const { user: username, host: hostname } = cluster.address;
    const form = { hostname, username, password: cluster.password, services: 'kv', memoryQuota: String(memoryMb), port: 'SAME' };
    await this.change(cluster, { method: 'POST', path: '/clusterInit', form, anonymous: true });
    await this.#until(cluster, { method: 'GET', path: '/pools/default' }, () => true);
    return true;
  }

  /** How the bucket resolves conflicts. */
  async bucket(cluster: Cluster, quotaMb: number, unasked: boolean): Promise<string> {
    const { bucket } = cluster.address;
    const look: ClusterCall = { method: 'GET', path: `/pools/default/buckets/${bucket}` };
    const found = unasked ? null : await this.#look(cluster, look, bucketSchema);
    if (found !== null) return found.conflictResolutionType ?? 'seqno';
    const form = { name: bucket, ramQuota: String(quotaMb), storageBackend: 'couchstore', replicaNumber: '0', conflictResolutionType: 'seqno' };
    await this.change(cluster, { method: 'POST', path: '/pools/default/buckets', form });
    await this.#until(cluster, look, (body) => {
      const { nodes = [] } = parseAnswer(bucketSchema, cluster.name, look, { status: 200, body });
      return nodes.length > 0 && nodes.every(({ status }) => status === 'healthy');
    });
    return 'seqno';
  }

  async collections(cluster: Cluster, unasked: boolean): Promise<void> {
    const base = `/pools/default/buckets/${cluster.address.bucket}/scopes`;
    // In a dry run the bucket may be missing too.
    const found = unasked ? null : await this.#look(cluster, { method: 'GET', path: base }, scopesSchema);
    for (const { scope, collections } of scopesOf(cluster.address.scope)) {
      const known = found?.scopes.find(({ name }) => name === scope);
      if (known === undefined) await this.change(cluster, { method: 'POST', path: base, form: { name: scope } });
      for (const name of collections) {
        if (known?.collections.some((collection) => collection.name === name) === true) continue;
        await this.change(cluster, { method: 'POST', path: `${base}/${scope}/collections`, form: { name } });
      }
    }
  }

  /** Of the reference to the site; null in a dry run that would make it. */
  async reference(options: SetUpOptions, { unasked, siteIsNew }: { unasked: boolean; siteIsNew: boolean }): Promise<string | null> {
    const { centre, site, name, siteCa } = options;
    const { host, port, user: username } = site.address;
    const path = '/pools/default/remoteClusters';
    const hostname = `${host}:${port}`;
    const security = siteCa === null ? { secureType: 'none' } : { secureType: 'full', certificate: siteCa };
    const form = { name, hostname, username, password: site.password, ...security };
    const found = unasked ? undefined : (await this.references(centre)).find((known) => known.name === name);
    if (found !== undefined) {
      if (siteIsNew) {
        const problem = `the centre knows another cluster as ${name}: holdfast xdcr remove it first`;
        throw new HoldfastError('CLUSTER_REFUSED', { call: `GET ${path} at the ${centre.name}`, status: 200, problem });
      }
      const same = found.hostname === hostname && (found.secureType ?? 'none') === security.secureType && (found.username ?? username) === username;
      if (!same) await this.change(centre, { method: 'POST', path: `${path}/${encodeURIComponent(name)}`, form });
      return found.uuid;
    }
    await this.change(centre, { method: 'POST', path, form });
    if (this.#options.dryRun) return null;
    const made = (await this.references(centre)).find((known) => known.name === name);
    if (made !== undefined) return made.uuid;
    const problem = 'the reference was taken and is not listed';
    throw new HoldfastError('CLUSTER_REFUSED', { call: `POST ${path} at the ${centre.name}`, status: 200, problem });
  }

  async replication({ centre, site, name }: SetUpOptions, uuid: string | null): Promise<void> {
    const [from, to] = [keyspacesOf(centre.address.scope), keyspacesOf(site.address.scope)];
    const rules = Object.fromEntries(from.map((keyspace, i) => [keyspace, to[i] ?? keyspace]));
    const mapping = { collectionsExplicitMapping: 'true', colMappingRules: JSON.stringify(rules) };
    const id = `${uuid}/${centre.address.bucket}/${site.address.bucket}`;
    const task = uuid === null ? undefined : (await this.tasks(centre)).find((known) => known.id === id);
    if (task === undefined) {
      const form = { replicationType: 'continuous', fromBucket: centre.address.bucket, toCluster: name, toBucket: site.address.bucket, ...mapping };
      return await this.change(centre, { method: 'POST', path: '/controller/createReplication', form });
    }
    const path = `/settings/replications/${encodeURIComponent(id)}`;
    const settings = await this.#need(centre, { method: 'GET', path }, settingsSchema);
    const { colMappingRules: known } = settings;
    const sorted = (all: object): string => JSON.stringify(Object.entries(all).toSorted(([a], [b]) => (a < b ? -1 : 1)));
    const mapped = typeof known === 'string' ? known === mapping.colMappingRules : sorted(known ?? {}) === sorted(rules);
    const form = {
      ...(mapped && settings.collectionsExplicitMapping === true ? {} : mapping),
      ...(task.pauseRequested === true || task.status === 'paused' ? { pauseRequested: 'false' } : {}),
    };
    if (Object.keys(form).length > 0) await this.change(centre, { method: 'POST', path, form });
  }

  async references(cluster: Cluster): Promise<z.output<typeof referencesSchema>> {
    const all = await this.#need(cluster, { method: 'GET', path: '/pools/default/remoteClusters' }, referencesSchema);
    return all.filter(({ deleted }) => deleted !== true);
  }

  async tasks(cluster: Cluster): Promise<z.output<typeof tasksSchema>> {
    const all = await this.#need(cluster, { method: 'GET', path: '/pools/default/tasks' }, tasksSchema);
    return all.filter(({ type }) => type === 'xdcr');
  }

  async change(cluster: Cluster, call: ClusterCall): Promise<void> {
    const shown = Object.entries(call.form ?? {}).map(([key, value]) => [key, SECRET.has(key) ? '***' : value]);
    this.made.push({ cluster: cluster.name, call: `${call.method} ${cluster.rest.origin}${call.path}`, form: Object.fromEntries(shown) });
    if (this.#options.dryRun) return;
    await this.#done(cluster, call);
  }

  /** null: there is no such thing. */
  async #look<T>(cluster: Cluster, call: ClusterCall, schema: z.ZodType<T>): Promise<T | null> {
    const answer = await cluster.rest.call(call);
    if (answer.status === 404) return null;
    if (!isDone(answer)) throw refusal(cluster.name, call, answer);
    return parseAnswer(schema, cluster.name, call, answer);
  }

  async #need<T>(cluster: Cluster, call: ClusterCall, schema: z.ZodType<T>): Promise<T> {
    return parseAnswer(schema, cluster.name, call, await this.#done(cluster, call));
  }

  async #done(cluster: Cluster, call: ClusterCall): Promise<ClusterAnswer> {
    const answer = await cluster.rest.call(call);
    if (!isDone(answer)) throw refusal(cluster.name, call, answer);
    return answer;
  }

  /** What was made takes a moment. */
  async #until(cluster: Cluster, call: ClusterCall, holds: (body: string) => boolean): Promise<void> {
    if (this.#options.dryRun) return;
    const { clock, signal } = this.#options;
    const end = clock.monotonicMs() + limits.clusterSetUpMs;
    for (;;) {
      const answer = await cluster.rest.call(call);
      if (isDone(answer) && holds(answer.body)) return;
      if (clock.monotonicMs() > end) throw refusal(cluster.name, call, { ...answer, body: `not ready within ${limits.clusterSetUpMs / 1_000} s` });
      await clock.sleep(AWHILE_MS, signal);
    }
  }
}
