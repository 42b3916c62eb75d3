import { BenchFederation } from './support/federation.ts';
import { Broker, certificate, isInstalled } from './support/broker.ts';
import { type Load, loadOf } from './support/load.ts';
import { Program } from './support/program.ts';
import { type Report, medians, RUNS } from './support/report.ts';
import { inSetting, type Setting } from './support/scope.ts';

type Contender = (setting: Setting, inFlight: number) => Promise<Load>;

const contenders: Record<string, Contender> = {
  'Holdfast: client, master, edge, driver': async ({ folder, own }, inFlight) => {
    const world = own(await BenchFederation.start(folder, [{ id: 'mod-display', name: 'Display', driver: 'echo' }]));
    const client = own(await Program.start('programs/exec-client.ts', world.socketUrl(world.master), world.apiKey, String(inFlight)));
    return loadOf(client, world.pids);
  },
  'ws relay: client, relay, responder': async ({ folder, own }, inFlight) => {
    const responder = own(await Program.start('rivals/ws-json-responder.ts', folder));
    const relay = own(await Program.start('rivals/ws-relay.ts', String((await responder.next<{ port: number }>()).port)));
    const { port } = await relay.next<{ port: number }>();
    return loadOf(own(await Program.start('programs/exec-client.ts', `ws://127.0.0.1:${port}`, '', String(inFlight))), [relay.pid, responder.pid]);
  },
  'socket.io TLS: client, relay, responder': async ({ folder, own }, inFlight) => {
    const { cert, key } = await certificate(folder);
    const responder = own(await Program.start('rivals/socketio-responder.ts', cert, key));
    const relay = own(await Program.start('rivals/socketio-responder.ts', cert, key, String((await responder.next<{ port: number }>()).port)));
    const { port } = await relay.next<{ port: number }>();
    return loadOf(own(await Program.start('rivals/socketio-client.ts', String(port), String(inFlight))), [relay.pid, responder.pid]);
  },
};

const ofNats: Record<string, Contender> = {
  'NATS TLS: client, server, responder': async ({ folder, own }, inFlight) => {
    const server = own(await Broker.nats(folder, { tls: true }));
    const responder = own(await Program.start('rivals/nats-responder.ts', String(server.port)));
    await responder.next();
    return loadOf(own(await Program.start('rivals/nats-client.ts', String(server.port), String(inFlight))), [server.pid, responder.pid]);
  },
  'moleculer: client, NATS server, responder': async ({ folder, own }, inFlight) => {
    const server = own(await Broker.nats(folder, { tls: false }));
    const responder = own(await Program.start('rivals/moleculer-node.ts', String(server.port)));
    await responder.next();
    return loadOf(own(await Program.start('rivals/moleculer-node.ts', String(server.port), String(inFlight))), [server.pid, responder.pid]);
  },
};

/** A command from a client through the master to a driver of the edge and back, against others that pass requests on. */
export async function benchExec(report: Report): Promise<void> {
  const all = { ...contenders, ...(isInstalled('nats-server') ? ofNats : {}) };
  if (!isInstalled('nats-server')) report.missing('nats-server');
  const single = await turns(all, 1);
  const many = await turns(all, 64);
  const rows = Object.keys(all).map((name) => {
    const [one, more] = [medians(single.get(name) ?? []), medians(many.get(name) ?? [])];
    return [name, one.p50Us, one.p99Us, one.cpuUs, more.perSecond, more.p99Us, more.cpuUs].map((cell) => (typeof cell === 'number' ? Math.round(cell).toLocaleString('en') : cell));
  });
  report.table(['', '1: p50 µs', '1: p99 µs', '1: cpu µs', '64: /s', '64: p99 µs', '64: cpu µs'], rows);
  const [ours = '', relay = ''] = Object.keys(contenders);
  const ratio = (of: Map<string, Load[]>, read: (load: Load) => number): number => read(medians(of.get(ours) ?? [])) / read(medians(of.get(relay) ?? []));
  report.target('commands a second at 64 in flight, of those of the ws relay', ratio(many, ({ perSecond }) => perSecond), { atLeast: 0.5 });
  report.target('p50 of a single command, of that of the ws relay', ratio(single, ({ p50Us }) => p50Us), { atMost: 2.2 });
  report.figure('processor time of a command at 64 in flight, of that of the ws relay', ratio(many, ({ cpuUs }) => cpuUs));
}

/** In turn, so that whatever else the machine does meets all alike. */
async function turns(all: Record<string, Contender>, inFlight: number): Promise<Map<string, Load[]>> {
  const loads = new Map<string, Load[]>(Object.keys(all).map((name) => [name, []]));
  for (let run = 0; run < RUNS; run += 1) {
    for (const [name, contender] of Object.entries(all)) loads.get(name)?.push(await inSetting((setting) => contender(setting, inFlight)));
  }
  return loads;
}
