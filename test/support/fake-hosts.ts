import { expect } from 'vitest';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import type { HoldfastError } from '../../src/shared/model/errors.ts';
import type { ExecCall, ModuleSpec } from '../../src/shared/ports/device-link.ts';
import type { HostProcess, HostProcessHandler } from '../../src/shared/ports/host-process.ts';
import type { Log } from '../../src/shared/ports/log.ts';
import { createDriverHosts } from '../../src/shared/runtime/driver-hosts/driver-hosts.ts';
import type { FromHost, ToHost } from '../../src/shared/runtime/driver-hosts/messages.ts';
import { FakeClock } from './fake-clock.ts';
import { seededRandom } from './seeded-random.ts';
import { silentLog } from './silent-log.ts';

/** A driver host that answers what it is told to answer. */
export class FakeHost implements HostProcess {
  readonly pid: number;
  readonly heard: ToHost[] = [];
  flushed = 0;
  answersPings = true;
  answersStops = true;
  killed = false;
  /** Modules that take changed settings while they run. */
  updatable: string[] = [];
  /** Message at which the process ends. */
  endsAt: ToHost['t'] | null = null;
  /** Why new code of a driver is refused; null: it is taken. */
  refusal: HoldfastError | null = null;
  /** Modules that run what was compiled. */
  same: string[] = [];
  /** Modules that new code can reach by a new start only. */
  unswappable: string[] = [];
  /** Modules that do not start, and why. */
  failing: Record<string, string> = {};
  /** Starts and stops are answered one by one, by `answerStart` and `answerStop`. */
  holdsStarts = false;
  holdsStops = false;
  readonly #waiting: { starts: FromHost[]; stops: FromHost[] } = { starts: [], stops: [] };
  #handler: HostProcessHandler | null = null;

  constructor(pid: number) {
    this.pid = pid;
  }

  send(message: object): void {
    const told = message as ToHost;
    this.heard.push(told);
    if (told.t === this.endsAt) return queueMicrotask(() => this.die('exit code 1'));
    if (told.t === 'ping' && this.answersPings) this.say({ t: 'pong', id: told.id, refused: 0 });
    if (told.t === 'start') {
      const failed = told.modules.flatMap(({ spec: { id: module } }) => (this.failing[module] === undefined ? [] : [{ module, problem: this.failing[module] }]));
      this.#answer('starts', this.holdsStarts, { t: 'started', id: told.id, failed });
    }
    if (told.t === 'update') this.say({ t: 'updated', id: told.id, restart: told.modules.map(({ id }) => id).filter((id) => !this.updatable.includes(id)) });
    if (told.t === 'compile') this.say({ t: 'compiled', id: told.id, compiled: { name: told.driver, entry: `/drivers/${told.driver}.ts`, code: '' } });
    if (told.t === 'prepare') this.say(this.refusal === null ? { t: 'prepared', id: told.id, same: this.same } : { t: 'error', id: told.id, error: this.refusal.toJSON() });
    if (told.t === 'reload') {
      const modules = told.modules.map(({ id }) => ({ module: id, problem: null, restart: this.unswappable.includes(id), pausedMs: 7 }));
      this.say({ t: 'reloaded', id: told.id, modules });
    }
    if (told.t === 'stop' && this.answersStops) this.#answer('stops', this.holdsStops, { t: 'stopped', id: told.id, handover: {} });
    if (told.t === 'writes') this.say({ t: 'writes', id: told.id, writes: [] });
  }

  say(message: FromHost): void {
    queueMicrotask(() => this.#handler?.message(message));
  }

  #answer(kind: 'starts' | 'stops', holds: boolean, message: FromHost): void {
    if (holds) this.#waiting[kind].push(message);
    else this.say(message);
  }

  /** The oldest that waits; false: none does. */
  answerStart(): boolean {
    return this.#sayOldest('starts');
  }

  answerStop(): boolean {
    return this.#sayOldest('stops');
  }

  #sayOldest(kind: 'starts' | 'stops'): boolean {
    const message = this.#waiting[kind].shift();
    if (message !== undefined) this.say(message);
    return message !== undefined;
  }

  /** What it writes to its error output. */
  print(text: string): void {
    this.#handler?.output(text);
  }

  flush(): void {
    this.flushed = this.heard.length;
  }

  bufferedBytes(): number {
    return 0;
  }

  listen(handler: HostProcessHandler): void {
    this.#handler = handler;
    this.say({ t: 'ready' });
  }

  end(): void {
    this.die('exit code 0');
  }

  kill(): void {
    this.killed = true;
    this.die('SIGKILL');
  }

  die(reason: string, culprit: string | null = null, problem = 'boom'): void {
    const handler = this.#handler;
    this.#handler = null;
    const words = culprit === null ? '' : `noise\n${JSON.stringify({ lastWords: 'crashed', culprit, problem })}\n`;
    handler?.ended(reason, words);
  }

  of<T extends ToHost['t']>(type: T): Extract<ToHost, { t: T }>[] {
    return this.heard.filter((message): message is Extract<ToHost, { t: T }> => message.t === type);
  }
}

export const epoch = (number: number) => ({ generation: 0, number });
export const never: AbortSignal = new AbortController().signal;

export const spec = (id: string, more: Partial<ModuleSpec> = {}): ModuleSpec => ({
  id,
  driver: 'mock',
  role: 'device',
  name: 'Display',
  ip: '127.0.0.1',
  port: 1,
  tls: false,
  udp: false,
  makebreak: false,
  uri: '',
  settings: {},
  systems: [],
  ...more,
});

export function setUp(hosts = 1, log: Log = silentLog) {
  const clock = new FakeClock();
  const metrics = createPromMetrics();
  const processes: FakeHost[] = [];
  /** Processes in which code was tried. */
  const trials: FakeHost[] = [];
  /** Of the next trials. */
  const trial: { refusal: HoldfastError | null; ends: boolean } = { refusal: null, ends: false };
  const hostProcesses = {
    startTrial: () => {
      const host = new FakeHost(1_000 + trials.length);
      host.refusal = trial.refusal;
      host.endsAt = trial.ends ? 'prepare' : null;
      trials.push(host);
      return host;
    },
    start: () => {
      const host = new FakeHost(processes.length + 1);
      processes.push(host);
      return host;
    },
  };
  const link = createDriverHosts({ clock, log, metrics, random: { next: seededRandom(1), hex: () => '00' }, hostProcesses, hosts, nodeId: 'node-1' });
  link.prepare();
  const host = (index = processes.length - 1): FakeHost => processes[index] ?? expect.fail(`there is no host ${index}`);
  const call = (more: Partial<ExecCall> = {}): ExecCall => ({
    location: 'hq',
    module: 'mod-1',
    method: 'echo',
    args: [],
    epoch: epoch(2),
    deadlineMs: clock.monotonicMs() + 1_000,
    requestId: 'r-1',
    user: 'ada',
    ...more,
  });
  const start = (modules = [spec('mod-1')], more: object = {}) =>
    link.start({ location: 'hq', epoch: epoch(2), modules, handover: {}, ...more }, never);
  const startedAt = (index: number) => host(index).of('start').flatMap(({ modules }) => modules.map((module) => module.spec.id));
  const restarts = () => metrics.read('holdfast_driver_host_restarts_total', {});
  return { clock, metrics, trials, trial, processes, link, host, call, start, startedAt, restarts };
}
