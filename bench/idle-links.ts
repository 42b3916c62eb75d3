import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { routes } from '../src/client-sdk/index.ts';
import { Child } from '../src/demo/child.ts';
import { Federation } from '../src/demo/federation.ts';
import { Program } from './support/program.ts';

const WARM_UP = 200;
const STEPS = 4;
const STEP = 100;
/** Of the bare server: about what an edge gets here, in frames like the parts of the link. */
const COPY_BYTES = 128 * 1_024;
const FRAME_BYTES = 8 * 1_024;
const SETTLE_MS = 10_000;

export interface LinkMemory {
  /** For each link, by least squares. */
  residentKb: number;
  /** Standard error of that. */
  error: number;
  /** Of it: what V8 has of the system for the heap of the main thread. */
  heapKb: number;
  links: number;
}

interface Look {
  links: number;
  resident: number;
  heap: number;
}

/** V8's young generation is held at its least size: else it grows by megabytes between two looks, whatever the number of links. */
const memoryProbe = { NODE_OPTIONS: `--max-semi-space-size=1 --import=${resolve('bench/memory-probe.mjs')}` };

/** A process that was started with `memoryProbe`. */
class Measured {
  readonly #process: Child;
  #asked = 0;

  constructor(process: Child) {
    this.#process = process;
  }

  /** After everything has settled: replicas have caught up, and heartbeats are all there is. */
  async look(links: number): Promise<Look> {
    await new Promise((done) => setTimeout(done, SETTLE_MS));
    this.#asked += 1;
    const asked = this.#asked;
    this.#process.signal('SIGUSR2');
    const line = await this.#process.line((said) => said['event'] === 'memory' && said['asked'] === asked, 30_000);
    const rollup = readFileSync(`/proc/${this.#process.pid}/smaps_rollup`, 'utf8');
    return { links, resident: Number(/^Rss:\s+(\d+) kB$/m.exec(rollup)?.[1]), heap: Number(line['heapTotal']) / 1_024 };
  }
}

/** Slope of `value` over the links, and its standard error. */
function slope(looks: readonly Look[], value: (look: Look) => number): { slope: number; error: number } {
  const mean = (of: (look: Look) => number): number => looks.reduce((sum, look) => sum + of(look), 0) / looks.length;
  const [x, y] = [mean(({ links }) => links), mean(value)];
  const spread = looks.reduce((sum, { links }) => sum + (links - x) ** 2, 0);
  const by = looks.reduce((sum, look) => sum + (look.links - x) * (value(look) - y), 0) / spread;
  const rest = looks.reduce((sum, look) => sum + (value(look) - y - by * (look.links - x)) ** 2, 0);
  return { slope: by, error: Math.sqrt(rest / (looks.length - 2) / spread) };
}

/** Adds links step by step, and looks at the process after each. */
async function growth(measured: Measured, connect: (links: number) => Promise<void>): Promise<LinkMemory> {
  const looks: Look[] = [];
  for (let step = 0; step <= STEPS; step += 1) {
    const links = WARM_UP + step * STEP;
    await connect(links);
    looks.push(await measured.look(links));
  }
  const resident = slope(looks, (look) => look.resident);
  return { residentKb: resident.slope, error: resident.error, heapKb: slope(looks, ({ heap }) => heap).slope, links: STEPS * STEP };
}

/**
 * What one more idle edge link costs in resident memory of the master; buffers of the kernel are not in it. The edges are enrolled before, and
 * the master then starts again: what enrolling took is not in it either. What they pull when they link is: each has to get its whole copy.
 * `usedKb`: what is added for each link when its edge has once sent 8 KB at a time, as one with many devices does.
 */
export async function measureIdleLinks(dist: string): Promise<LinkMemory & { usedKb: number }> {
  const options = { dist, sites: [], devicesPerSite: 0, environment: memoryProbe, signal: new AbortController().signal };
  const world = await Federation.start({ ...options, progress: () => undefined });
  const edges = await Program.start('idle-edges.ts');
  try {
    await edges.next();
    await enrol(world, edges, WARM_UP + STEPS * STEP);
    world.master.process.signal('SIGKILL');
    await world.master.process.exited;
    await world.restartMaster();
    const measured = new Measured(world.master.process);
    const idle = await growth(measured, async (links) => {
      edges.send({ links });
      await edges.next();
    });
    const all = WARM_UP + STEPS * STEP;
    const before = await measured.look(all);
    edges.send({ use: true });
    await edges.next();
    const after = await measured.look(all);
    return { ...idle, usedKb: (after.resident - before.resident) / all };
  } finally {
    await edges.stop();
    await world.close();
  }
}

/** The least that keeps links, in the same way: HTTPS and `ws`, the copy in frames of this size, heartbeats. No session, proof or authority. */
export async function measureBareLinks(): Promise<LinkMemory> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-bare-'));
  const env = { NODE_OPTIONS: `--max-semi-space-size=1 --import=tsx ${memoryProbe.NODE_OPTIONS}` };
  const script = resolve('bench/rivals/ws-idle-server.ts');
  const args = [folder, String(COPY_BYTES), String(FRAME_BYTES)];
  const server = new Child({ name: 'bare server', script, args, env, logFile: join(folder, 'log') });
  const { port } = await server.line((said) => said['port'] !== undefined, 30_000);
  const clients = await Program.start('rivals/ws-idle-clients.ts', String(port));
  try {
    await clients.next();
    return await growth(new Measured(server), async (links) => {
      clients.send({ links });
      await clients.next();
    });
  } finally {
    await clients.stop();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function enrol(world: Federation, edges: Program, count: number): Promise<void> {
  const client = world.client();
  const ids = Array.from({ length: count }, (_, i) => `edge-${i}`);
  const text = `edges:\n${ids.map((id) => `  - {id: ${id}, name: ${id}, timeout: 3600}`).join('\n')}\n`;
  await client.call(routes.apply, { body: { text, dry_run: false } }, { timeoutMs: 60_000 });
  const added: string[] = [];
  while (added.length < count) {
    const some = ids.slice(added.length, added.length + 10);
    added.push(...(await Promise.all(some.map(async (id) => (await client.call(routes.edgeAdd, { body: { id } })).enrolment))));
  }
  edges.send({ enrol: added });
  await edges.next();
  client.close();
}
