import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { join, resolve } from 'node:path';
import { expect } from 'vitest';
import type { DeviceLogLine } from '../../src/drivers/mock/device-program.ts';
import { createSystemClock, monotonicMs } from '../../src/shared/adapters/clock/system-clock.ts';
import { createHostProcesses } from '../../src/shared/adapters/host-process/host-process.ts';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import { createSystemRandom } from '../../src/shared/adapters/random/system-random.ts';
import type { Json } from '../../src/shared/foundation/json.ts';
import type { Scope } from '../../src/shared/foundation/scope.ts';
import type { Epoch } from '../../src/shared/model/control.ts';
import type { DeviceLink, ModuleSpec } from '../../src/shared/ports/device-link.ts';
import type { Metrics } from '../../src/shared/ports/metrics.ts';
import { createDriverHosts } from '../../src/shared/runtime/driver-hosts/driver-hosts.ts';
import { createMemoryLog } from './memory-log.ts';

/** Compiled files: a child process cannot start from a `.ts` file on every Node that we support. */
const dist = resolve('dist');
export const testDrivers = resolve('test/support/test-drivers.mjs');

export interface Devices {
  ports: number[];
  /** Everything that happened so far, in order. */
  log(): DeviceLogLine[];
  control(order: object): Promise<void>;
}

/** Mock devices in a process of their own, so that nothing of the test delays them. */
export async function startDevices(scope: Scope, folder: string, options: { ports?: number; flags?: string[] } = {}): Promise<Devices> {
  const log = join(folder, 'devices.jsonl');
  const flags = ['--ports', String(options.ports ?? 1), '--control-port', '0', '--log', log, ...(options.flags ?? [])];
  const child = spawn(process.execPath, [join(dist, 'drivers/mock/device-main.js'), ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
  scope.defer('devices', () => end(child));
  const { ports, control } = JSON.parse(await firstLine(child)) as { ports: number[]; control: number };
  return {
    ports,
    log: () => readLines<DeviceLogLine>(log),
    control: (order) => ask(control, order),
  };
}

export function readLines<T>(file: string): T[] {
  if (!existsSync(file)) return [];
  const text = readFileSync(file, 'utf8');
  // The last line may be half written.
  return text.slice(0, text.lastIndexOf('\n') + 1).split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as T);
}

export interface Hands {
  link: DeviceLink;
  metrics: Metrics;
  log: ReturnType<typeof createMemoryLog>;
  /** Last value of each status variable, `module.key`. */
  status: Map<string, unknown>;
}

/** What the hands of tests drive under. */
export const epoch: Epoch = { generation: 0, number: 2 };
export const never = (): AbortSignal => new AbortController().signal;

/** Runs a method of a module of the location `hq`. */
export const exec = ({ link }: Hands, module: string, method: string, ...args: Json[]): Promise<Json> =>
  link.exec({ location: 'hq', module, method, args, epoch, deadlineMs: monotonicMs() + 5_000, requestId: 'r', user: 'ada' }, never());

export function startHands(scope: Scope, options: { hosts?: number; nodeId?: string; writeLog?: string; drivers?: { driversModule?: string; driversFolder?: string } } = {}): Hands {
  const log = createMemoryLog();
  const metrics = createPromMetrics();
  const hostProcesses = createHostProcesses({ entry: join(dist, 'driver-host/main.js'), ...(options.drivers ?? { driversModule: testDrivers }) });
  const { hosts = 1, nodeId = 'node-1', drivers: _, ...rest } = options;
  const link = createDriverHosts({ clock: createSystemClock(), log, metrics, random: createSystemRandom(), hostProcesses, hosts, nodeId, ...rest });
  link.prepare();
  scope.defer('hands', () => link.close());
  const status = new Map<string, unknown>();
  link.onStatus(({ module, key, value }) => status.set(`${module}.${key}`, value));
  return { link, metrics, log, status };
}

export const moduleSpec = (id: string, port: number, more: Partial<ModuleSpec> = {}): ModuleSpec => ({
  id,
  driver: 'mock',
  role: 'device',
  name: 'Display',
  ip: '127.0.0.1',
  port,
  tls: false,
  udp: false,
  makebreak: false,
  uri: '',
  settings: {},
  systems: [],
  ...more,
});

/** Waits for a condition, with a deadline. */
export async function waitFor(what: string, condition: () => boolean, timeout = 10_000): Promise<void> {
  await expect.poll(condition, { timeout, interval: 10, message: what }).toBe(true);
}

/** Runs a file of test/support in a process of its own and resolves with the first line that it prints. */
export async function startParent(scope: Scope, setup: object): Promise<{ child: ChildProcess; ready: { hosts: number[] } }> {
  const child = spawn(process.execPath, [resolve('test/support/driver-hosts-parent.mjs'), JSON.stringify(setup)], { stdio: ['ignore', 'pipe', 'inherit'] });
  scope.defer('parent', () => end(child));
  return { child, ready: JSON.parse(await firstLine(child)) as { hosts: number[] } };
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once('exit', done));
  child.kill('SIGKILL');
  await gone;
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((done, fail) => {
    let text = '';
    child.once('exit', (code) => fail(new Error(`the process ended with ${code} before it was ready`)));
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const end = text.indexOf('\n');
      if (end !== -1) done(text.slice(0, end));
    });
  });
}

function ask(port: number, order: object): Promise<void> {
  return new Promise((done, fail) => {
    const socket = net.connect({ host: '127.0.0.1', port });
    socket.on('error', fail);
    socket.once('data', (chunk) => {
      socket.destroy();
      const answer = JSON.parse(chunk.toString()) as { ok: boolean; problem?: string };
      if (answer.ok) done();
      else fail(new Error(answer.problem));
    });
    socket.write(`${JSON.stringify(order)}\n`);
  });
}
