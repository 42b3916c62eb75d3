import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Load } from './support/load.ts';
import { Program } from './support/program.ts';
import { median } from './support/statistics.ts';
import { table } from './support/table.ts';

const RUNS = 3;
const IN_FLIGHT = [1, 64, 512];

/** One link against a bare WebSocket with JSON and ids: the same TLS, payload and processes, in turn on the same machine. */
export async function benchLink(): Promise<string> {
  const rows = [['requests in flight', 'link /s', 'ws /s', 'ratio', 'link p50 µs', 'ws p50 µs', 'ratio', 'link cpu µs', 'ws cpu µs', 'ratio']];
  for (const inFlight of IN_FLIGHT) {
    const link: Load[] = [];
    const ws: Load[] = [];
    for (let run = 0; run < RUNS; run += 1) {
      link.push(await inFolder((folder) => runLink(folder, inFlight)));
      ws.push(await inFolder((folder) => runWebSocket(folder, inFlight)));
    }
    const compare = (read: (load: Load) => number): string[] => {
      const [ours, theirs] = [median(link.map(read)), median(ws.map(read))];
      return [Math.round(ours).toLocaleString('en'), Math.round(theirs).toLocaleString('en'), (ours / theirs).toFixed(2)];
    };
    rows.push([String(inFlight), ...compare(({ perSecond }) => perSecond), ...compare(({ p50Us }) => p50Us), ...compare(({ cpuUs }) => cpuUs)]);
  }
  return table(rows);
}

async function runLink(folder: string, inFlight: number): Promise<Load> {
  const responder = await Program.start('programs/link-responder.ts', folder);
  const { enrolment } = await responder.next<{ enrolment: string }>();
  return runClient(responder, await Program.start('programs/link-client.ts', enrolment, String(inFlight)));
}

async function runWebSocket(folder: string, inFlight: number): Promise<Load> {
  const responder = await Program.start('rivals/ws-json-responder.ts', folder);
  const { port } = await responder.next<{ port: number }>();
  return runClient(responder, await Program.start('rivals/ws-json-client.ts', String(port), String(inFlight)));
}

async function runClient(responder: Program, client: Program): Promise<Load> {
  try {
    return await client.next<Load>();
  } finally {
    await client.stop();
    await responder.stop();
  }
}

async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}
