import { Broker, isInstalled } from './support/broker.ts';
import { BenchFederation } from './support/federation.ts';
import { cpuUsOf } from './support/processes.ts';
import { Program } from './support/program.ts';
import { type Report, RUNS } from './support/report.ts';
import { inSetting, type Setting } from './support/scope.ts';
import { median } from './support/statistics.ts';

const SUBSCRIBERS = 1_000;

interface Delivery {
  perSecond: number;
  /** Processor time of the servers for one delivered message. */
  cpuUs: number;
}

/** Starts the server; says which program subscribes, and how it is called. */
type Contender = (setting: Setting) => Promise<{ program: string; args: string[]; pids: number[] }>;

const contenders: Record<string, Contender> = {
  'Holdfast: driver of the edge, clients of the master': async ({ folder, own }) => {
    const world = own(await BenchFederation.start(folder, [{ id: 'mod-display', name: 'Display', driver: 'echo' }]));
    return { program: 'programs/ws-subscribers.ts', args: [world.socketUrl(world.master), world.apiKey], pids: world.pids };
  },
  'ws broadcast': async ({ own }) => {
    const server = own(await Program.start('rivals/ws-broadcast.ts'));
    const { port } = await server.next<{ port: number }>();
    return { program: 'programs/ws-subscribers.ts', args: [`ws://127.0.0.1:${port}`, ''], pids: [server.pid] };
  },
  'socket.io': async ({ own }) => {
    const server = own(await Program.start('rivals/socketio-broadcast.ts'));
    const { port } = await server.next<{ port: number }>();
    return { program: 'rivals/socketio-subscribers.ts', args: [String(port)], pids: [server.pid] };
  },
};

const brokers: Record<string, { installed: string; contender: Contender }> = {
  NATS: {
    installed: 'nats-server',
    contender: async ({ folder, own }) => {
      const server = own(await Broker.nats(folder, { tls: false }));
      return { program: 'rivals/nats-subscribers.ts', args: [String(server.port)], pids: [server.pid] };
    },
  },
  mosquitto: {
    installed: 'mosquitto',
    contender: async ({ folder, own }) => {
      const server = own(await Broker.mosquitto(folder));
      return { program: 'rivals/mqtt-subscribers.ts', args: [String(server.port)], pids: [server.pid] };
    },
  },
};

/** One value that changes, told to 1,000 clients in two processes. */
export async function benchFanout(report: Report): Promise<void> {
  const all = { ...contenders };
  for (const [name, { installed, contender }] of Object.entries(brokers)) {
    if (isInstalled(installed)) all[name] = contender;
    else report.missing(installed);
  }
  const deliveries = new Map<string, Delivery[]>(Object.keys(all).map((name) => [name, []]));
  for (let run = 0; run < RUNS; run += 1) {
    for (const [name, contender] of Object.entries(all)) deliveries.get(name)?.push(await inSetting((setting) => deliver(contender, setting)));
  }
  const medianOf = (name: string, read: (delivery: Delivery) => number): number => median((deliveries.get(name) ?? []).map(read));
  const rows = Object.keys(all).map((name) => [
    name,
    Math.round(medianOf(name, ({ perSecond }) => perSecond)).toLocaleString('en'),
    medianOf(name, ({ cpuUs }) => cpuUs).toFixed(2),
  ]);
  report.table(['', 'delivered /s', 'servers: cpu µs'], rows);
  const [ours = '', bare = ''] = Object.keys(contenders);
  const ratio = (read: (delivery: Delivery) => number): number => medianOf(ours, read) / medianOf(bare, read);
  report.target('messages delivered a second, of those of the ws broadcast', ratio(({ perSecond }) => perSecond), { atLeast: 0.8 });
  report.figure('processor time of the servers for a message, of that of the ws broadcast', ratio(({ cpuUs }) => cpuUs));
}

async function deliver(contender: Contender, setting: Setting): Promise<Delivery> {
  const { program, args, pids } = await contender(setting);
  const half = String(SUBSCRIBERS / 2);
  const listening = setting.own(await Program.start(program, ...args, half, ''));
  await listening.next();
  const publishing = setting.own(await Program.start(program, ...args, half, 'publishes'));
  await publishing.next();
  const both = [listening, publishing];
  const measuring = both.map((each) => each.next());
  for (const each of both) each.send({ go: true });
  await Promise.all(measuring);
  const before = cpuUsOf(pids);
  const results = await Promise.all(both.map((each) => each.next<{ perSecond: number }>()));
  const perSecond = results.reduce((sum, each) => sum + each.perSecond, 0);
  return { perSecond, cpuUs: (cpuUsOf(pids) - before) / (perSecond * 3) };
}
