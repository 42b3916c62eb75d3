import { BenchFederation, type BenchModule } from './support/federation.ts';
import { cpuUsOf } from './support/processes.ts';
import { Program } from './support/program.ts';
import { type Report, RUNS } from './support/report.ts';
import { inSetting, type Setting } from './support/scope.ts';
import { median } from './support/statistics.ts';

const MODULES = 5_000;
const CHANGES_PER_SECOND = 1_000;
const REFUSED = 1_000;
const REFUSED_SECONDS = 20;

interface Latency {
  p50Ms: number;
  p99Ms: number;
}

const everyMs = (MODULES * 1_000) / CHANGES_PER_SECOND;

/** 5,000 modules on one edge, 1,000 changes of status a second: how long does a local command take? */
export async function benchBusy(report: Report): Promise<void> {
  const [bare, busy, cpu]: [Latency[], Latency[], number[]] = [[], [], []];
  for (let run = 0; run < RUNS; run += 1) {
    bare.push(await inSetting(besideNothing));
    await inSetting(async (setting) => {
      const { latency, cpuShare } = await besideChanges(setting);
      busy.push(latency);
      cpu.push(cpuShare);
    });
  }
  report.figure('p50 of a bare ws and a pipe, with nothing else to do, ms', median(bare.map(({ p50Ms }) => p50Ms)));
  report.figure('p99 of a bare ws and a pipe, with nothing else to do, ms', median(bare.map(({ p99Ms }) => p99Ms)));
  report.figure('p50 of a local command, ms', median(busy.map(({ p50Ms }) => p50Ms)));
  report.target('p99 of a local command, ms', median(busy.map(({ p99Ms }) => p99Ms)), { atMost: 5 });
  report.figure('processor time of master, edge and driver hosts, % of a core', median(cpu));
}

/** 100 commands a second, after so many that V8 has compiled what runs and collected what that left. Resolves when those that count begin. */
async function paced(url: string, apiKey: string): Promise<Program> {
  const client = await Program.start('programs/paced-client.ts', url, apiKey, 'Ticker', '10', '1500', '1500');
  await client.next();
  return client;
}

async function besideNothing({ own }: Setting): Promise<Latency> {
  const server = own(await Program.start('rivals/ws-pipe-echo.ts'));
  const { port } = await server.next<{ port: number }>();
  return await own(await paced(`ws://127.0.0.1:${port}`, '')).next<Latency>();
}

async function besideChanges({ folder, own }: Setting): Promise<{ latency: Latency; cpuShare: number }> {
  const modules: BenchModule[] = Array.from({ length: MODULES }, (_, i) => ({
    id: `mod-${i}`,
    name: 'Ticker',
    driver: 'ticker',
    // Spread over the interval.
    settings: { everyMs, firstMs: Math.floor((i * everyMs) / MODULES) },
  }));
  const world = own(await BenchFederation.start(folder, modules));
  const client = own(await paced(world.socketUrl(world.edge), world.apiKey));
  const before = cpuUsOf(world.pids);
  const from = Date.now();
  const latency = await client.next<Latency>();
  return { latency, cpuShare: ((cpuUsOf(world.pids) - before) / 1_000 / (Date.now() - from)) * 100 };
}

/** 1,000 devices at a port where nobody listens: what does trying again and again cost? */
export async function benchRefused(report: Report): Promise<void> {
  const modules: BenchModule[] = Array.from({ length: REFUSED }, (_, i) => ({ id: `mod-${i}`, name: 'Lamp', driver: 'mock', port: 9 }));
  const shares: { host: number; all: number }[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    await inSetting(async ({ folder, own }) => void shares.push(await besideRefusals(own(await BenchFederation.start(folder, modules)))));
  }
  report.target('processor time of the driver host, % of a core over 20 s', median(shares.map(({ host }) => host)), { atMost: 5 });
  report.figure('of master, edge and driver hosts, % of a core over 20 s', median(shares.map(({ all }) => all)));
}

/** Processor time in percent of a core. */
async function besideRefusals(world: BenchFederation): Promise<{ host: number; all: number }> {
  // The first attempts follow each other sooner.
  await new Promise((done) => setTimeout(done, 15_000));
  const used = () => [cpuUsOf(world.driverHosts), cpuUsOf(world.pids)] as const;
  const before = used();
  await new Promise((done) => setTimeout(done, REFUSED_SECONDS * 1_000));
  const [host = 0, all = 0] = used().map((us, i) => (us - (before[i] ?? 0)) / (REFUSED_SECONDS * 10_000));
  return { host, all };
}
