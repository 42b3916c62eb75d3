import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface Recorded {
  method: string;
  path: string;
  form: Record<string, string>;
  authorization: string | null;
}

interface Replication {
  id: string;
  source: string;
  target: string;
  paused: boolean;
  mapping: Record<string, string>;
  changesLeft: number;
  errors: string[];
}

interface Answer {
  status: number;
  body: unknown;
}

const OK: Answer = { status: 200, body: [] };
const gone = (body: unknown = 'Requested resource not found.\r\n'): Answer => ({ status: 404, body });

/** The administration of a cluster as its documentation says, as far as `holdfast xdcr` uses it. It writes down every call. */
export class ClusterServer {
  readonly calls: Recorded[] = [];
  /** Calls that it does not know. */
  readonly unknown: string[] = [];
  isEnterprise = true;
  /** So often a new bucket is said not to be ready. */
  warmUps = 0;
  user = 'admin';
  password: string | null;
  readonly buckets = new Map<string, { conflictResolutionType: string; warmUps: number; scopes: Map<string, string[]> }>();
  readonly references = new Map<string, { uuid: string; form: Record<string, string> }>();
  readonly replications = new Map<string, Replication>();
  /** What it says instead; null: as documented. */
  instead: (call: Recorded) => Answer | null = () => null;
  origin = '';
  #close: () => Promise<void> = async () => undefined;

  /** `password` null: nobody has set the node up yet. */
  constructor(password: string | null) {
    this.password = password;
  }

  /** The calls that are to change something. */
  get changes(): string[] {
    return this.calls.filter(({ method }) => method !== 'GET').map(({ method, path }) => `${method} ${path}`);
  }

  async start(tls: { cert: string; key: string } | null = null): Promise<void> {
    const listener: RequestListener = (request, response) => {
      void this.#handle(request).then(({ status, body }) => {
        response.statusCode = status;
        response.end(typeof body === 'string' ? body : JSON.stringify(body));
      });
    };
    const server = tls === null ? createServer(listener) : createTlsServer(tls, listener);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.origin = `${tls === null ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}`;
    this.#close = () => new Promise((resolve) => void server.close(() => resolve()));
  }

  close(): Promise<void> {
    return this.#close();
  }

  /** `http://admin@127.0.0.1:1/holdfast`. */
  address(bucket = 'holdfast', user = this.user): string {
    return `${this.origin.replace('://', `://${user}@`)}/${bucket}`;
  }

  async #handle(request: IncomingMessage): Promise<Answer> {
    const form = Object.fromEntries(new URLSearchParams(await text(request)));
    const call = { method: request.method ?? '', path: request.url ?? '', form, authorization: request.headers.authorization ?? null };
    this.calls.push(call);
    return this.instead(call) ?? this.#answer(call);
  }

  #answer(call: Recorded): Answer {
    const { method, path, form, authorization } = call;
    if (method === 'GET' && path === '/pools') {
      const pools = this.password === null ? [] : [{ name: 'default', uri: '/pools/default?uuid=1' }];
      return { status: 200, body: { isAdminCreds: false, isEnterprise: this.isEnterprise, pools, implementationVersion: '7.6.2-3721-enterprise' } };
    }
    if (this.password === null) {
      if (method !== 'POST' || path !== '/clusterInit') return gone('unknown pool');
      this.user = form['username'] ?? '';
      this.password = form['password'] ?? '';
      return { status: 200, body: { newBaseUri: `${this.origin}/` } };
    }
    if (authorization !== `Basic ${Buffer.from(`${this.user}:${this.password}`).toString('base64')}`) return { status: 401, body: '' };
    if (method === 'GET' && path === '/pools/default') return { status: 200, body: { name: 'default', nodes: [] } };
    return this.#buckets(call) ?? this.#xdcr(call) ?? this.#unknown(call);
  }

  #buckets({ method, path, form }: Recorded): Answer | null {
    const [, name = '', rest = ''] = /^\/pools\/default\/buckets(?:\/([^/]+)(.*))?$/.exec(path) ?? ['', null];
    if (!path.startsWith('/pools/default/buckets')) return null;
    if (method === 'POST' && name === '') {
      this.buckets.set(form['name'] ?? '', { conflictResolutionType: form['conflictResolutionType'] ?? 'seqno', warmUps: this.warmUps, scopes: new Map() });
      return { status: 202, body: '' };
    }
    const bucket = this.buckets.get(name ?? '');
    if (bucket === undefined) return gone();
    if (rest === '' && method === 'GET') {
      bucket.warmUps -= 1;
      return { status: 200, body: { name, conflictResolutionType: bucket.conflictResolutionType, nodes: [{ status: bucket.warmUps < 0 ? 'healthy' : 'warmup' }] } };
    }
    if (rest === '/scopes' && method === 'GET') {
      const scopes = [...bucket.scopes].map(([scope, collections]) => ({ name: scope, uid: '8', collections: collections.map((of) => ({ name: of, uid: '9' })) }));
      return { status: 200, body: { uid: '1', scopes } };
    }
    if (rest === '/scopes' && method === 'POST') {
      bucket.scopes.set(form['name'] ?? '', []);
      return { status: 200, body: { uid: '2' } };
    }
    const scope = bucket.scopes.get(/^\/scopes\/([^/]+)\/collections$/.exec(rest ?? '')?.[1] ?? '');
    if (scope === undefined || method !== 'POST') return null;
    scope.push(form['name'] ?? '');
    return { status: 200, body: { uid: '3' } };
  }

  #xdcr({ method, path, form }: Recorded): Answer | null {
    const of = (prefix: string): string | null => (path.startsWith(`${prefix}/`) ? decodeURIComponent(path.slice(prefix.length + 1)) : null);
    if (path === '/pools/default/remoteClusters' && method === 'GET') {
      return { status: 200, body: [...this.references].map(([name, { uuid, form: { password: _, certificate: __, ...shown } }]) => ({ name, uuid, deleted: false, ...shown })) };
    }
    const named = of('/pools/default/remoteClusters');
    if (method === 'POST' && (path === '/pools/default/remoteClusters' || named !== null)) {
      const known = named === null ? undefined : this.references.get(named);
      this.references.set(form['name'] ?? '', { uuid: known?.uuid ?? 'abc123', form });
      return { status: 200, body: { name: form['name'], uuid: 'abc123' } };
    }
    if (method === 'DELETE' && named !== null) return this.references.delete(named) ? { status: 200, body: 'ok' } : gone('unknown remote cluster');
    if (method === 'GET' && path === '/pools/default/tasks') {
      const idle = { type: 'rebalance', status: 'notRunning', statusIsStale: false, masterRequestTimedOut: false };
      return { status: 200, body: [idle, ...[...this.replications.values()].map(taskOf)] };
    }
    if (method === 'POST' && path === '/controller/createReplication') {
      const { fromBucket = '', toBucket = '', toCluster = '' } = form;
      const uuid = this.references.get(toCluster)?.uuid;
      if (uuid === undefined) return { status: 400, body: { errors: { toCluster: 'cannot find remote cluster' } } };
      const id = `${uuid}/${fromBucket}/${toBucket}`;
      this.replications.set(id, { id, source: fromBucket, target: `/remoteClusters/${uuid}/buckets/${toBucket}`, paused: false, mapping: form, changesLeft: 0, errors: [] });
      return { status: 200, body: { id } };
    }
    const replication = this.replications.get(of('/settings/replications') ?? of('/controller/cancelXDCR') ?? '');
    if (replication === undefined) return null;
    if (method === 'DELETE') return this.replications.delete(replication.id) ? OK : gone();
    const { collectionsExplicitMapping, colMappingRules = '{}' } = { ...replication.mapping, ...form };
    replication.mapping = { ...replication.mapping, ...(collectionsExplicitMapping === undefined ? {} : { collectionsExplicitMapping }), colMappingRules };
    if (form['pauseRequested'] !== undefined) replication.paused = form['pauseRequested'] === 'true';
    const body = { pauseRequested: replication.paused, collectionsExplicitMapping: collectionsExplicitMapping === 'true', colMappingRules: JSON.parse(colMappingRules) as unknown };
    return { status: 200, body };
  }

  #unknown({ method, path }: Recorded): Answer {
    this.unknown.push(`${method} ${path}`);
    return gone();
  }
}

const taskOf = ({ id, source, target, paused, changesLeft, errors }: Replication): object => ({
  cancelURI: `/controller/cancelXDCR/${encodeURIComponent(id)}`,
  settingsURI: `/settings/replications/${encodeURIComponent(id)}`,
  status: paused ? 'paused' : 'running',
  replicationType: 'xmem',
  continuous: true,
  filterExpression: '',
  id,
  pauseRequested: paused,
  source,
  target,
  type: 'xdcr',
  recommendedRefreshPeriod: 10,
  changesLeft,
  docsChecked: 0,
  docsWritten: 31_591,
  maxVBReps: null,
  errors,
});
