import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Client, createClient, routes } from '../client-sdk/index.ts';
import { Scope } from '../shared/foundation/scope.ts';
import { Child } from './child.ts';
import { Relay } from './relay.ts';
import { type DemoSite, DEVICES_PER_SITE, siteFile } from './site.ts';

export interface DemoEdge {
  id: string;
  origin: string;
  relay: Relay;
  process: Child;
  data: string;
  env: Record<string, string>;
}

export interface DemoOptions {
  /** Seconds without an edge before the master takes over. */
  timeoutSeconds?: number;
  sites?: readonly Pick<DemoSite, 'id' | 'name' | 'policy' | 'timezone'>[];
  devicesPerSite?: number;
  /** Devices reset a second connection while one is open. */
  singleConnection?: boolean;
  /** More environment variables of every server, or of each by its name: `master`, or the id of an edge. */
  environment?: Environment | ((server: string) => Environment);
  /** Folder of the compiled program; the tests run from the sources. */
  dist?: string;
  signal: AbortSignal;
  progress(line: string): void;
}

type Environment = Readonly<Record<string, string>>;

const SITES = [
  { id: 'berlin', name: 'Berlin', policy: 'available', timezone: 'Europe/Berlin' },
  { id: 'lisbon', name: 'Lisbon', policy: 'exclusive', timezone: 'Europe/Lisbon' },
] as const;

/** Several federations may start on one small machine. */
const START_MS = 60_000;
const compiled = dirname(dirname(fileURLToPath(import.meta.url)));

/** A whole federation on loopback, each part an operating-system process of its own. Leaves nothing behind. */
export class Federation {
  readonly dataDir: string;
  readonly #dist: string;
  readonly #environment: (server: string) => Environment;
  readonly #scope = new Scope();
  readonly #edges = new Map<string, DemoEdge>();
  #master: Child | null = null;
  #masterEnv: Record<string, string> = {};
  #masterOrigin = '';
  #masterLink = '';
  #masterId = '';
  #apiKey = '';

  private constructor(dataDir: string, { dist = compiled, environment = {} }: Pick<DemoOptions, 'dist' | 'environment'>) {
    this.dataDir = dataDir;
    this.#dist = dist;
    this.#environment = typeof environment === 'function' ? environment : () => environment;
  }

  static async start(options: DemoOptions): Promise<Federation> {
    const federation = new Federation(await mkdtemp(join(tmpdir(), 'holdfast-demo-')), options);
    federation.#scope.defer('data', () => rm(federation.dataDir, { recursive: true, force: true, maxRetries: 5 }));
    try {
      await federation.#start(options);
      return federation;
    } catch (error) {
      await federation.close();
      throw error;
    }
  }

  get apiKey(): string {
    return this.#apiKey;
  }

  get master(): { id: string; origin: string; link: string; process: Child } {
    if (this.#master === null) throw new Error('the demo has no master yet');
    return { id: this.#masterId, origin: this.#masterOrigin, link: this.#masterLink, process: this.#master };
  }

  get edges(): DemoEdge[] {
    return [...this.#edges.values()];
  }

  edge(id: string): DemoEdge | undefined {
    return this.#edges.get(id);
  }

  client(origin: string = this.#masterOrigin): Client {
    return createClient({ origin, apiKey: this.#apiKey });
  }

  /** Starts a killed edge again, from what its disk has. */
  async restartEdge(id: string): Promise<void> {
    const edge = this.#edges.get(id);
    if (edge === undefined || edge.process.running) return;
    edge.process = this.#serve(`edge ${id}`, id, edge.env);
    await edge.process.line(({ event }) => event === 'ready', START_MS);
  }

  async restartMaster(): Promise<void> {
    if (this.#master === null || this.#master.running) return;
    this.#master = this.#serve('master', 'master', this.#masterEnv);
    await this.#master.line(({ event }) => event === 'listening', START_MS);
  }

  /** Starts a second process on the data directory of `folder`, for whoever wants to see it refused. */
  async tryServe(folder: 'master'): Promise<{ exited: string; output: string }> {
    const child = this.#serve('second master', `second-${folder}`, { ...this.#masterEnv, HOLDFAST_HTTP: '127.0.0.1:0', HOLDFAST_LINK: '127.0.0.1:0' });
    const exited = await child.exited;
    return { exited, output: await readFile(join(this.dataDir, `second-${folder}.log`), 'utf8') };
  }

  async close(): Promise<void> {
    await this.#scope.close('demo ends');
  }

  async #start(options: DemoOptions): Promise<void> {
    const { timeoutSeconds = 8, sites = SITES, devicesPerSite = DEVICES_PER_SITE, singleConnection = false, signal, progress } = options;
    progress('starting simulated devices');
    const withPorts: DemoSite[] = await Promise.all(
      sites.map(async (site) => ({ ...site, ports: await this.#startDevices(site.id, devicesPerSite, singleConnection) })),
    );
    signal.throwIfAborted();
    progress('starting the master');
    await this.#startMaster();
    const client = this.client();
    this.#scope.defer('client', () => client.close());
    await client.call(routes.apply, { body: { text: siteFile(withPorts, timeoutSeconds, new Date()), dry_run: false } });
    signal.throwIfAborted();
    const started = sites.map(async ({ id, name }) => {
      progress(`starting the edge of ${name}`);
      const { enrolment } = await client.call(routes.edgeAdd, { body: { id } });
      return this.#startEdge(id, enrolment);
    });
    for (const edge of await Promise.all(started)) this.#edges.set(edge.id, edge);
    signal.throwIfAborted();
    progress('waiting until each edge controls its devices');
    for (const { id, origin } of this.edges) {
      const edge = this.client(origin);
      try {
        await this.#untilReady({ edge, master: client }, id, signal);
      } finally {
        edge.close();
      }
    }
  }

  /** The edge has its own copy of the documents, and drives every device in it. */
  async #untilReady({ edge, master }: { edge: Client; master: Client }, id: string, signal: AbortSignal): Promise<void> {
    const deadline = Date.now() + START_MS;
    for (;;) {
      signal.throwIfAborted();
      // Until its copy is there, it knows no key.
      const seen = await edge.call(routes.edgeShow, { params: { id } }).catch(() => null);
      // On a slow machine the timeout was over before the edge was up.
      if (seen?.holder === 'master') await master.call(routes.handback, { params: { id }, body: {} }).catch(() => undefined);
      if (seen?.holder === 'edge' && seen.state === 'holding' && seen.modules.total > 0 && seen.modules.running === seen.modules.total) return;
      if (Date.now() > deadline) throw new Error(`the edge ${id} did not come up: ${JSON.stringify(seen)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #startDevices(site: string, count: number, single: boolean): Promise<number[]> {
    const log = join(this.dataDir, `devices-${site}.jsonl`);
    const args = ['--ports', String(count), '--base-port', '0', '--control-port', '0', '--log', log, '--with-parent', ...(single ? ['--single'] : [])];
    const script = join(this.#dist, 'drivers', 'mock', 'device-main.js');
    const logFile = join(this.dataDir, `devices-${site}.log`);
    const child = this.#own(new Child({ name: `devices ${site}`, script, args, env: {}, logFile }));
    const line = await child.line((said) => Array.isArray(said['ports']), START_MS);
    return line['ports'] as number[];
  }

  async #startMaster(): Promise<void> {
    const env = {
      HOLDFAST_ROLE: 'master',
      HOLDFAST_DATA: join(this.dataDir, 'master'),
      HOLDFAST_HTTP: '127.0.0.1:0',
      HOLDFAST_LINK: '127.0.0.1:0',
      HOLDFAST_LOG: 'info',
    };
    this.#master = this.#serve('master', 'master', env);
    const { link } = await this.#master.line(({ event }) => event === 'master-loaded', START_MS);
    const { origin, id } = await this.#master.line(({ event }) => event === 'ready', START_MS);
    this.#masterLink = String(link);
    this.#masterOrigin = String(origin);
    this.#masterId = String(id);
    // The same ports again after a restart: edges and people know them.
    this.#masterEnv = { ...env, HOLDFAST_HTTP: hostOf(this.#masterOrigin), HOLDFAST_LINK: this.#masterLink };
    this.#apiKey = (await readFile(join(this.dataDir, 'master', 'admin.key'), 'utf8')).trim();
  }

  async #startEdge(id: string, enrolment: string): Promise<DemoEdge> {
    const relay = await Relay.open({ host: '127.0.0.1', port: Number(this.#masterLink.split(':').at(-1)) });
    this.#scope.defer(`relay ${id}`, () => relay.close());
    const data = join(this.dataDir, id);
    const env = { HOLDFAST_ROLE: 'edge', HOLDFAST_DATA: data, HOLDFAST_HTTP: '127.0.0.1:0', HOLDFAST_MASTERS: relay.address, HOLDFAST_LOG: 'info' };
    await mkdir(data, { recursive: true, mode: 0o700 });
    const process = this.#serve(`edge ${id}`, id, { ...env, HOLDFAST_ENROL: enrolment });
    const origin = String((await process.line(({ event }) => event === 'ready', START_MS))['origin']);
    const again = { ...env, HOLDFAST_HTTP: hostOf(origin) };
    // For whoever starts it again by hand: `env $(cat environment) node dist/main.js serve`.
    await writeFile(join(data, 'environment'), `${Object.entries(again).map(([name, value]) => `${name}=${value}`).join('\n')}\n`);
    return { id, origin, relay, process, data, env: again };
  }

  #serve(name: string, folder: string, env: Record<string, string>): Child {
    const script = join(this.#dist, 'main.js');
    const logFile = join(this.dataDir, `${folder}.log`);
    const withLog = { ...env, ...this.#environment(folder), HOLDFAST_WRITE_LOG: join(this.dataDir, 'writes.jsonl') };
    return this.#own(new Child({ name, script, args: ['serve', '--with-parent'], env: withLog, logFile }));
  }

  #own(child: Child): Child {
    this.#scope.defer(child.name, () => child.stop());
    return child;
  }
}

const hostOf = (origin: string): string => new URL(origin).host;
