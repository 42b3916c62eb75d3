import { BenchFederation } from './support/federation.ts';
import { Broker, certificate, isInstalled } from './support/broker.ts';
import { type Load, loadOf } from './support/load.ts';
import { childrenOf } from '../test/support/processes.ts';
import { Program } from './support/program.ts';
import { type Report, medians, RUNS } from './support/report.ts';
import { inSetting, type Setting } from './support/scope.ts';

/** Starts the servers; says which program asks, and how it is called before the number of its callers. */
type Contender = (setting: Setting) => Promise<{ program: string; args: string[]; pids: number[] }>;

const contenders: Record<string, Contender> = {
  'Holdfast: client, master, edge, driver': async ({ folder, own }) => {
    const world = own(await BenchFederation.start(folder, [{ id: 'mod-display', name: 'Display', driver: 'echo' }]));
    return { program: 'programs/exec-client.ts', args: [world.socketUrl(world.master), world.apiKey], pids: world.pids };
  },
  'ws relay: client, relay, responder, piped process': async ({ folder, own }) => {
    const responder = own(await Program.start('rivals/ws-json-responder.ts', folder, 'pipe'));
    const relay = own(await Program.start('rivals/ws-relay.ts', String((await responder.next<{ port: number }>()).port)));
    const { port } = await relay.next<{ port: number }>();
    return { program: 'programs/exec-client.ts', args: [`ws://127.0.0.1:${port}`, ''], pids: [relay.pid, responder.pid, ...childrenOf(responder.pid)] };
  },
  'socket.io TLS: client, relay, responder': async ({ folder, own }) => {
    const { cert, key } = await certificate(folder);
    const responder = own(await Program.start('rivals/socketio-responder.ts', cert, key));
    const relay = own(await Program.start('rivals/socketio-responder.ts', cert, key, String((await responder.next<{ port: number }>()).port)));
    const { port } = await relay.next<{ port: number }>();
    return { program: 'rivals/socketio-client.ts', args: [String(port)], pids: [relay.pid, responder.pid] };
  },
};

const ofNats: Record<string, Contender> = {
  'NATS TLS: client, server, responder': async ({ folder, own }) => {
    const server = own(await Broker.nats(folder, { tls: true }));
    const responder = own(await Program.start('rivals/nats-responder.ts', String(server.port)));
    await responder.next();
    return { program: 'rivals/nats-client.ts', args: [String(server.port)], pids: [server.pid, responder.pid] };
  },
  'moleculer: client, NATS server, responder': async ({ folder, own }) => {
    const server = own(await Broker.nats(folder, { tls: false }));
    const responder = own(await Program.start('rivals/moleculer-node.ts', String(server.port)));
    await responder.next();
    return { program: 'rivals/moleculer-node.ts', args: [String(server.port)], pids: [server.pid, responder.pid] };
  },
};

/** A command from a client through the master to a driver of the edge and back, against others that pass requests on. */
export async function benchExec(report: Report): Promise<void> {
  const all = { ...contenders, ...(isInstalled('nats-server') ? ofNats : {}) };
  if (!isInstalled('nats-server')) report.missing('nats-server');
  const { single, many } = await turns(all);
  const rows = Object.keys(all).map((name) => {
    const [one, more] = [medians(single.get(name) ?? []), medians(many.get(name) ?? [])];
    return [name, more.perSecond, more.p50Us, more.p99Us, more.cpuUs, one.p50Us, one.p99Us, one.cpuUs].map((cell) => (typeof cell === 'number' ? Math.round(cell).toLocaleString('en') : cell));
  });
  report.table(['', '64: /s', '64: p50 µs', '64: p99 µs', '64: cpu µs', '1: p50 µs', '1: p99 µs', '1: cpu µs'], rows);
  const [ours = '', relay = ''] = Object.keys(contenders);
  const ratio = (of: Map<string, Load[]>, read: (load: Load) => number): number => read(medians(of.get(ours) ?? [])) / read(medians(of.get(relay) ?? []));
  report.target('commands a second at 64 in flight, of those of the ws relay', ratio(many, ({ perSecond }) => perSecond), { atLeast: 0.5 });
  report.target('p50 at 64 in flight, of that of the ws relay', ratio(many, ({ p50Us }) => p50Us), { atMost: 2.2 });
  report.figure('processor time of a command at 64 in flight, of that of the ws relay', ratio(many, ({ cpuUs }) => cpuUs));
  report.figure('p50 of a single command, of that of the ws relay', ratio(single, ({ p50Us }) => p50Us));
}

/** In turn, so that whatever else the machine does meets all alike. */
async function turns(all: Record<string, Contender>): Promise<Record<'single' | 'many', Map<string, Load[]>>> {
  const none = (): Map<string, Load[]> => new Map(Object.keys(all).map((name) => [name, []]));
  const loads = { single: none(), many: none() };
  for (let run = 0; run < RUNS; run += 1) {
    for (const [name, contender] of Object.entries(all)) {
      await inSetting(async (setting) => {
        const { program, args, pids } = await contender(setting);
        const callers = async (count: number): Promise<Load> => {
          const client = await Program.start(program, ...args, String(count));
          try {
            return await loadOf(client, pids);
          } finally {
            await client.stop();
          }
        };
        // One at a time is too few to get code optimised within a warm-up.
        loads.many.get(name)?.push(await callers(64));
        loads.single.get(name)?.push(await callers(1));
      });
    }
  }
  return loads;
}
