import { type Load, loadOf } from './support/load.ts';
import { Program } from './support/program.ts';
import { medians, type Report, RUNS } from './support/report.ts';
import { inSetting } from './support/scope.ts';

const IN_FLIGHT = [1, 64, 512];

/** One link against a bare WebSocket with JSON and ids: the same TLS, payload and processes, in turn on the same machine. */
export async function benchLink(report: Report): Promise<void> {
  const rows: string[][] = [];
  const ratios = new Map<number, { rate: number; cpu: number }>();
  for (const inFlight of IN_FLIGHT) {
    const link: Load[] = [];
    const ws: Load[] = [];
    for (let run = 0; run < RUNS; run += 1) {
      link.push(await runLink(inFlight));
      ws.push(await runWebSocket(inFlight));
    }
    const [ours, theirs] = [medians(link), medians(ws)];
    const compare = (read: (load: Load) => number): string[] => [Math.round(read(ours)).toLocaleString('en'), Math.round(read(theirs)).toLocaleString('en'), (read(ours) / read(theirs)).toFixed(2)];
    rows.push([String(inFlight), ...compare(({ perSecond }) => perSecond), ...compare(({ p50Us }) => p50Us), ...compare(({ cpuUs }) => cpuUs)]);
    ratios.set(inFlight, { rate: ours.perSecond / theirs.perSecond, cpu: ours.cpuUs / theirs.cpuUs });
  }
  report.table(['requests in flight', 'link /s', 'ws /s', 'ratio', 'link p50 µs', 'ws p50 µs', 'ratio', 'link cpu µs', 'ws cpu µs', 'ratio'], rows);
  report.target('requests a second at 64 in flight, of those of a bare WebSocket', ratios.get(64)?.rate ?? Number.NaN, { atLeast: 0.8 });
  report.figure('processor time of a request at 64 in flight, of that of a bare WebSocket', ratios.get(64)?.cpu ?? Number.NaN);
}

const runLink = (inFlight: number): Promise<Load> =>
  inSetting(async ({ folder, own }) => {
    const responder = own(await Program.start('programs/link-responder.ts', folder));
    const { enrolment } = await responder.next<{ enrolment: string }>();
    return loadOf(own(await Program.start('programs/link-client.ts', enrolment, String(inFlight))), [responder.pid]);
  });

const runWebSocket = (inFlight: number): Promise<Load> =>
  inSetting(async ({ folder, own }) => {
    const responder = own(await Program.start('rivals/ws-json-responder.ts', folder));
    const { port } = await responder.next<{ port: number }>();
    return loadOf(own(await Program.start('rivals/ws-json-client.ts', String(port), String(inFlight))), [responder.pid]);
  });
