import type { Json, JsonObject } from '../shared/foundation/json.ts';
import type { Clock, Timer } from '../shared/ports/clock.ts';
import type { ModuleLogLine } from '../shared/ports/device-link.ts';
import { Call } from './call.ts';
import type { Driver } from './driver.ts';
import { Module } from './module.ts';
import type { Transport, TransportHandler } from './transport.ts';

export interface HarnessOptions {
  settings?: JsonObject;
  /** What `ctx.handover.restore` finds: the result of `stop` of another harness. */
  handover?: Json;
}

/** Runs a driver without a device: the test says what the device does and how time passes. */
export interface Harness {
  /** Sets the driver up; rejects when it fails. The device is not connected yet. */
  start(): Promise<void>;
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  /** The oldest bytes sent and not yet expected must be these. */
  expectSent(data: string): void;
  expectNothingSent(): void;
  /** The device sends this. */
  reply(data: string | Uint8Array): Promise<void>;
  exec(method: string, ...args: Json[]): Promise<Json>;
  advance(ms: number): Promise<void>;
  /** Last published values. */
  readonly status: Readonly<Record<string, Json>>;
  readonly log: readonly { level: ModuleLogLine['level']; message: string }[];
  /** Returns the hand-over state. */
  stop(): Promise<Json | null>;
}

export function createHarness(driver: Driver, options: HarnessOptions = {}): Harness {
  const clock = new ManualClock();
  const line = new ManualTransport();
  const status: Record<string, Json> = {};
  const log: { level: ModuleLogLine['level']; message: string }[] = [];
  const spec = {
    id: 'mod-harness',
    driver: driver.name,
    role: driver.role,
    name: 'Harness',
    ip: '',
    port: 0,
    tls: false,
    udp: false,
    makebreak: false,
    uri: '',
    settings: options.settings ?? {},
  };
  const host = {
    clock,
    transport: driver.transports.some((kind) => kind !== 'http') ? line : null,
    http: null,
    publish: (key: string, value: Json) => {
      status[key] = value;
    },
    log: (level: ModuleLogLine['level'], message: string) => void log.push({ level, message }),
    entered: () => undefined,
  };
  const module = new Module(driver, spec, host, options.handover ?? null);
  return {
    status,
    log,
    start: () => module.start(),
    connect: () => line.connect(),
    disconnect: () => line.disconnect(),
    expectSent: (data) => {
      const sent = line.sent.shift();
      if (sent === data) return;
      throw new Error(`expected ${JSON.stringify(data)} to be sent, got ${JSON.stringify(sent ?? null)}`);
    },
    expectNothingSent: () => {
      if (line.sent.length > 0) throw new Error(`expected nothing to be sent, got ${JSON.stringify(line.sent)}`);
    },
    reply: (data) => line.receive(Buffer.from(data)),
    exec: (method, ...args) => {
      const call = new Call({ user: 'harness', deadlineMs: clock.monotonicMs() + 60_000 });
      return module.exec(method, args, call);
    },
    advance: (ms) => clock.advance(ms),
    stop: () => module.stop(0),
  };
}

/**
 * Lets promises that are due run. Awaiting a few turns is enough: nothing in a driver under test waits for the world.
 */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

class ManualTransport implements Transport {
  readonly sent: string[] = [];
  ready = false;
  #handler: TransportHandler | null = null;

  open(handler: TransportHandler): void {
    this.#handler = handler;
    handler.attempted();
  }

  write(data: Uint8Array): void {
    this.sent.push(Buffer.from(data).toString('latin1'));
  }

  demand(): void {}

  unanswered(): void {}

  openBreaker(problem: string): void {
    this.#down(problem);
    this.#handler?.broken(problem);
  }

  reset(reason: string): void {
    this.#down(reason);
  }

  close(): Promise<void> {
    this.ready = false;
    this.#handler = null;
    return Promise.resolve();
  }

  connect(): Promise<void> {
    this.ready = true;
    this.#handler?.connected();
    return settle();
  }

  disconnect(): Promise<void> {
    this.#down('the device closed the connection');
    return settle();
  }

  receive(chunk: Uint8Array): Promise<void> {
    this.#handler?.received(chunk);
    return settle();
  }

  #down(reason: string): void {
    if (!this.ready) return;
    this.ready = false;
    this.#handler?.disconnected(reason);
  }
}

/** Time passes only when told to. */
class ManualClock implements Clock {
  #nowMs = 0;
  readonly #due = new Set<{ atMs: number; callback: () => void }>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    const entry = { atMs: this.#nowMs + Math.max(0, delayMs), callback };
    this.#due.add(entry);
    return { cancel: () => void this.#due.delete(entry) };
  }

  sleep(delayMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.after(delayMs, resolve);
      signal.addEventListener('abort', () => {
        timer.cancel();
        reject(signal.reason as Error);
      });
    });
  }

  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    for (;;) {
      const next = [...this.#due].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#due.delete(next);
      this.#nowMs = next.atMs;
      next.callback();
      await settle();
    }
    this.#nowMs = untilMs;
  }
}
