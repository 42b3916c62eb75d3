import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, closeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { type Client, createClient, routes } from '../../src/client-sdk/index.ts';
import { childrenOf } from '../../test/support/processes.ts';
import { poll } from './poll.ts';

const root = resolve(import.meta.dirname, '../..');
export const SITE = 'berlin';
export const SYSTEM = 'sys-berlin';

export interface BenchModule {
  id: string;
  name: string;
  driver: string;
  port?: number;
  settings?: object;
}

/** A compiled server with its output in a file: nobody spends time on reading it. */
class Server {
  readonly #process: ChildProcess;
  readonly #log: string;

  constructor(log: string, env: Record<string, string>) {
    this.#log = log;
    const output = openSync(log, 'a');
    const options = (process.env['BENCH_NODE_OPTIONS'] ?? '').split(' ').filter((option) => option !== '');
    this.#process = spawn(process.execPath, [...options, join(root, 'dist/main.js'), 'serve'], { env, stdio: ['ignore', output, output] });
    closeSync(output);
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** The first line of its log about `event`. */
  async said(event: string): Promise<Record<string, unknown>> {
    return await poll(`${this.#log} says ${event}`, async () => {
      if (this.#process.exitCode !== null) throw new Error(`a server ended:\n${(await readFile(this.#log, 'utf8')).slice(-2_000)}`);
      const line = (await readFile(this.#log, 'utf8')).split('\n').find((text) => text.includes(`"event":"${event}"`));
      return line === undefined ? null : (JSON.parse(line) as Record<string, unknown>);
    });
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    const late = setTimeout(() => this.#process.kill('SIGKILL'), 10_000);
    await exited;
    clearTimeout(late);
  }
}

/** A master and one edge that drives the given modules, each a process on loopback with its own driver hosts. */
export class BenchFederation {
  readonly master: { origin: string; pid: number };
  readonly edge: { origin: string; pid: number };
  readonly apiKey: string;
  readonly #servers: Server[];

  private constructor({ master, edge, apiKey, servers }: Pick<BenchFederation, 'master' | 'edge' | 'apiKey'> & { servers: Server[] }) {
    this.master = master;
    this.edge = edge;
    this.apiKey = apiKey;
    this.#servers = servers;
  }

  static async start(folder: string, modules: readonly BenchModule[]): Promise<BenchFederation> {
    const servers: Server[] = [];
    const serve = (name: string, env: Record<string, string>): Server => {
      const common = { HOLDFAST_ROLE: name, HOLDFAST_DATA: join(folder, name), HOLDFAST_HTTP: '127.0.0.1:0', HOLDFAST_DRIVERS: join(root, 'bench/drivers'), HOLDFAST_DRIVER_HOSTS: '1' };
      const server = new Server(join(folder, `${name}.log`), { ...common, ...env });
      servers.push(server);
      return server;
    };
    try {
      const master = serve('master', { HOLDFAST_LINK: '127.0.0.1:0' });
      const { link } = await master.said('master-loaded');
      const { origin } = await master.said('ready');
      const apiKey = (await readFile(join(folder, 'master/admin.key'), 'utf8')).trim();
      const client = createClient({ origin: String(origin), apiKey });
      await apply(client, modules);
      const { enrolment } = await client.call(routes.edgeAdd, { body: { id: SITE } });
      const edge = serve('edge', { HOLDFAST_MASTERS: String(link), HOLDFAST_ENROL: enrolment });
      const edgeOrigin = String((await edge.said('ready'))['origin']);
      await driven(createClient({ origin: edgeOrigin, apiKey }), client, modules.length);
      client.close();
      return new BenchFederation({ master: { origin: String(origin), pid: master.pid }, edge: { origin: edgeOrigin, pid: edge.pid }, apiKey, servers });
    } catch (error) {
      for (const server of servers) await server.stop();
      throw error;
    }
  }

  /** Servers and driver hosts. */
  get pids(): number[] {
    return [this.master.pid, this.edge.pid].flatMap((pid) => [pid, ...childrenOf(pid)]);
  }

  /** Those of the edge. */
  get driverHosts(): number[] {
    return childrenOf(this.edge.pid);
  }

  /** The WebSocket of clients at a server. */
  socketUrl({ origin }: { origin: string }): string {
    return `${origin.replace(/^http/, 'ws')}/api/engine/v2/systems/control`;
  }

  async close(): Promise<void> {
    for (const server of this.#servers.toReversed()) await server.stop();
  }
}

async function apply(client: Client, modules: readonly BenchModule[]): Promise<void> {
  const drivers = [...new Set(modules.map(({ driver }) => driver))];
  const batch = 1_000;
  const send = (site: object): Promise<unknown> => client.call(routes.apply, { body: { text: stringify(site), dry_run: false } }, { timeoutMs: 60_000 });
  await send({
    drivers: drivers.map((name) => ({ id: `driver-${name}`, name, builtin: name, role: name === 'mock' ? 'device' : 'logic' })),
    edges: [{ id: SITE, name: SITE, timeout: 3_600 }],
  });
  for (let from = 0; from < modules.length; from += batch) {
    const some = modules.slice(from, from + batch);
    await send({
      systems: [{ id: from === 0 ? SYSTEM : `${SYSTEM}-${from}`, name: `System ${from}`, edge_control_id: SITE, modules: some.map(({ id }) => id) }],
      modules: some.map(({ id, name, driver, port, settings }) => ({
        ...{ id, name, driver_id: `driver-${driver}`, edge_control_id: SITE },
        ...(port === undefined ? {} : { ip: '127.0.0.1', port }),
        ...(settings === undefined ? {} : { settings }),
      })),
    });
  }
}

/** The edge drives all modules, and the master knows that it does. */
async function driven(edge: Client, master: Client, modules: number): Promise<void> {
  let last = '';
  const drives = poll('the edge drives its modules', async () => {
    // Until its copy of the documents is there, it knows no key.
    const seen = await edge.call(routes.edgeShow, { params: { id: SITE } }).catch(() => null);
    last = JSON.stringify(seen);
    if (seen?.holder === 'master') await master.call(routes.handback, { params: { id: SITE }, body: {} }).catch(() => undefined);
    return seen?.holder === 'edge' && seen.state === 'holding' && seen.modules.running === modules ? true : null;
  });
  await drives.catch((error: unknown) => {
    throw new Error(`it was last seen as ${last}`, { cause: error });
  });
  edge.close();
}
