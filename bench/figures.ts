import { join, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { type Client, createClient, type Location, routes } from '../src/client-sdk/index.ts';
import { type DemoOptions, Federation } from '../src/demo/federation.ts';
import { type LinkMemory, measureBareLinks, measureIdleLinks } from './idle-links.ts';
import { gaps, readWrites } from '../test/support/write-log.ts';

/**
 * The figures of the README: real processes on loopback, one site at a time, printed as a table.
 * `npm run figures` takes about eight minutes and must not share the machine with anything else. One of them: `npm run figures -- links`.
 */

const dist = resolve('dist');
const note = (figure: string, measured: string, target: string, met: boolean): void => {
  process.stdout.write(`${figure.padEnd(76)} ${measured.padStart(22)}   ${target.padEnd(14)} ${target === '' ? '' : met ? 'ok' : 'missed'}\n`);
};
const seconds = (ms: number): string => `${(ms / 1_000).toFixed(2)} s`;
const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);
const quantile = (values: number[], share: number): number => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN;

const site = (id: string, policy: 'available' | 'exclusive' = 'available') => ({ id, name: id, policy, timezone: 'UTC' });

async function federation<T>(options: Pick<DemoOptions, 'environment'> & { sites: ReturnType<typeof site>[]; devicesPerSite: number }, use: (world: Federation) => Promise<T>): Promise<T> {
  const world = await Federation.start({ dist, timeoutSeconds: 6, signal: new AbortController().signal, progress: () => undefined, ...options });
  try {
    return await use(world);
  } finally {
    await world.close();
  }
}

async function until(client: Client, id: string, matches: (location: Location) => boolean): Promise<number> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const location = await client.call(routes.edgeShow, { params: { id } }).catch(() => null);
    if (location !== null && matches(location)) return performance.now();
    if (performance.now() > deadline) throw new Error(`${id} did not get there: ${JSON.stringify(location)}`);
    await new Promise((done) => setTimeout(done, 5));
  }
}

async function cutsAndTakeovers(): Promise<void> {
  await federation({ sites: [site('berlin')], devicesPerSite: 1_000 }, async (world) => {
    const edge = world.edge('berlin');
    if (edge === undefined) throw new Error('no edge');
    const client = world.client();
    const noticed: number[] = [];
    for (const mode of ['cut', 'silent', 'silent-up', 'silent-down', 'silent'] as const) {
      const from = performance.now();
      edge.relay.set(mode);
      noticed.push((await until(client, 'berlin', ({ link }) => link.state === 'down')) - from);
      edge.relay.set('open');
      await until(client, 'berlin', ({ holder, state }) => holder === 'edge' && state === 'standby');
    }
    note('A cut or half-open link is noticed within (longest of 5)', seconds(Math.max(...noticed)), '≤ 3.50 s', Math.max(...noticed) <= 3_500);

    const killed = performance.now();
    edge.process.signal('SIGKILL');
    const began = await until(client, 'berlin', ({ state }) => state === 'taking-over' || state === 'holding');
    const held = await until(client, 'berlin', ({ state, modules }) => state === 'holding' && modules.running === 1_000);
    note('Takeover begins after the edge was killed (timeout 6 s)', seconds(began - killed), '6 to 7 s', began - killed >= 6_000 && began - killed <= 7_000);
    note('1,000 modules controlled by the master after that', seconds(held - began), '≤ 2.00 s', held - began <= 2_000);

    // The edge alone: no master can be reached.
    world.master.process.signal('SIGKILL');
    await world.master.process.exited;
    const booted = performance.now();
    await world.restartEdge('berlin');
    const alone = createClient({ origin: edge.origin, apiKey: world.apiKey });
    const claiming = await until(alone, 'berlin', ({ state }) => state === 'claiming' || state === 'holding');
    const driving = await until(alone, 'berlin', ({ state, modules }) => state === 'holding' && modules.running === 1_000);
    note('Edge without any master: claims after its start', seconds(claiming - booted), '≥ 3 s by rule', claiming - booted >= 3_000);
    note('1,000 modules controlled by the edge after that', seconds(driving - claiming), '≤ 2.00 s', driving - claiming <= 2_000);
    alone.close();
    client.close();
  });
}

async function handbacks(): Promise<void> {
  await federation({ sites: [site('berlin')], devicesPerSite: 100 }, async (world) => {
    const client = world.client();
    let sent = 0;
    let answered = 0;
    const codes = new Map<string, number>();
    const stop = new AbortController();
    const sender = async (index: number): Promise<void> => {
      while (!stop.signal.aborted) {
        sent += 1;
        const params = { id: 'sys-berlin', module: `Display_${index}`, method: 'set' };
        await client.call(routes.exec, { params, body: ['level', sent % 100] }, { timeoutMs: 10_000 }).then(
          () => (answered += 1),
          (error: unknown) => {
            const code = error instanceof Error && 'code' in error ? String(error.code) : 'other';
            codes.set(code, (codes.get(code) ?? 0) + 1);
          },
        );
      }
    };
    const senders = [1, 2, 3, 4].map(sender);
    for (let i = 0; i < 50; i += 1) {
      await client.call(routes.takeover, { params: { id: 'berlin' }, body: {} }, { timeoutMs: 20_000 });
      await client.call(routes.handback, { params: { id: 'berlin' }, body: {} }, { timeoutMs: 20_000 });
    }
    stop.abort();
    await Promise.all(senders);
    const backs = gaps(readWrites(join(world.dataDir, 'writes.jsonl')), 'berlin').filter((_, i) => i % 2 === 1);
    note('Planned hand-back of 100 modules: gap without a write, p50 / p99 of 50', `${Math.round(quantile(backs, 0.5))} / ${Math.round(quantile(backs, 0.99))} ms`, '≤ 250 ms p99', quantile(backs, 0.99) <= 250);
    const refused = [...codes].map(([code, count]) => `${count} ${code}`).join(', ') || 'none';
    note('Commands during 100 hand-overs: sent / answered / refused with a code', `${sent} / ${answered} / ${refused}`, 'none lost', answered + sum(codes.values()) === sent);
    client.close();
  });
}

async function coldStart(): Promise<void> {
  await federation({ sites: [site('berlin')], devicesPerSite: 1 }, async (world) => {
    const client = world.client();
    const batch = 2_000;
    for (let from = 0; from < 10_000; from += batch) {
      const modules = Array.from({ length: batch }, (_, i) => `  - {id: mod-x-${from + i}, name: Lamp, driver_id: driver-mock, running: false, edge_control_id: berlin, ip: 127.0.0.1, port: 9}`);
      await client.call(routes.apply, { body: { text: `modules:\n${modules.join('\n')}\n`, dry_run: false } }, { timeoutMs: 60_000 });
    }
    world.master.process.signal('SIGKILL');
    await world.master.process.exited;
    const from = performance.now();
    await world.restartMaster();
    await world.master.process.line(({ event }) => event === 'master-loaded', 30_000);
    const tookMs = performance.now() - from;
    note('Master cold start with 10,000 module documents, until it waits for edges', seconds(tookMs), '≤ 2.00 s', tookMs <= 2_000);
    client.close();
  });
}

async function idleLinks(): Promise<void> {
  const idle = await measureIdleLinks(dist);
  note(`Resident memory for one more idle edge link, slope over ${idle.links} / of it V8`, inKb(idle), '≤ 60 KB', idle.residentKb <= 60);
  note('More for each link over which 8 KB came at once', `${idle.usedKb.toFixed(1)} KB`, '', true);
  const bare = await measureBareLinks();
  note(`The same for a bare server, HTTPS and ws, slope over ${bare.links} / of it V8`, inKb(bare), '', true);
  process.stdout.write('  (after collecting garbage, without buffers of the kernel; the young generation of V8 held at 1 MiB, which it is not otherwise)\n');
}

const inKb = ({ residentKb, error, heapKb }: LinkMemory): string => `${residentKb.toFixed(1)} ± ${error.toFixed(1)} / ${heapKb.toFixed(1)} KB`;

const all = { cuts: cutsAndTakeovers, handbacks, cold: coldStart, links: idleLinks };
const wanted = process.argv.slice(2);
process.stdout.write(`${'Figure'.padEnd(76)} ${'measured'.padStart(22)}   target\n`);
for (const [name, measure] of Object.entries(all)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  try {
    await measure();
  } catch (error) {
    // What comes next has servers of its own.
    process.stdout.write(`${name}: not measured: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
