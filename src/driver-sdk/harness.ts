import { createAlarm } from '../shared/foundation/alarm.ts';
import type { Json, JsonObject } from '../shared/foundation/json.ts';
import type { Alarm, Clock, Timer } from '../shared/ports/clock.ts';
import type { ModuleFunction, ModuleLogLine, ModuleSpec } from '../shared/ports/device-link.ts';
import { Call } from './call.ts';
import type { Driver } from './driver.ts';
import { type FakeMethods, FakeSystem } from './fake-system.ts';
import type { HttpRequest } from './http.ts';
import { type ManualAnswer, ManualHttp } from './manual-http.ts';
import { limits } from '../shared/model/limits.ts';
import { Module } from './module.ts';
import { Silence } from './silence.ts';
import type { Transport, TransportHandler } from './transport.ts';
import { nextTurn, untilQuiet } from './until-quiet.ts';

export interface HarnessOptions {
  settings?: JsonObject;
  /** What `ctx.handover.restore` finds: the result of `stop` of another harness. */
  handover?: Json;
  /** What the clock on the wall says at the start: ISO text; 2025-01-01T00:00:00Z unless told. */
  now?: string;
  /** The other modules of the system, such as `Display_1`, with their methods. Index by index, from 1. */
  system?: Record<string, FakeMethods>;
}

/** Runs a driver without a device: the test says what the device does and how time passes. */
export interface Harness {
  /** Sets the driver up; rejects when it fails. The device is not connected yet. */
  start(): Promise<void>;
  /** A service counts as connected from the start. */
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  /** Make-and-break: the connection has ended and was made again, and the device counted as connected meanwhile. */
  reopen(): Promise<void>;
  /** The oldest bytes sent and not yet expected must be these; text as `send` encodes it, in UTF-8. */
  expectSent(data: string | Uint8Array): void;
  expectNothingSent(): void;
  /** The oldest bytes sent and not yet expected, to look into; throws when there are none. */
  takeSent(): Buffer;
  /** The device sends this; text in UTF-8. */
  reply(data: string | Uint8Array): Promise<void>;
  /** The oldest request not yet expected must have these fields; `GET` unless told. Returns all of it. Drivers of services only. */
  expectRequest(request: HttpRequest): HttpRequest;
  expectNoRequest(): void;
  /** The service answers the oldest request that waits. */
  respond(answer: ManualAnswer): Promise<void>;
  exec(method: string, ...args: Json[]): Promise<Json>;
  /** Time passes, for the clock on the wall and for schedules. */
  advance(ms: number): Promise<void>;
  /** The other modules of the system. */
  readonly system: {
    /** The oldest call of another module that was not yet expected must be this one. */
    expectCall(module: string, method: string, ...args: Json[]): void;
    expectNoCall(): void;
    /** A status variable of another module gets a value: subscribers hear of it. */
    setStatus(module: string, key: string, value: Json): Promise<void>;
  };
  /**
   * Gives changed settings, all of them, to a driver that takes them (`onUpdate`). false: it does not, and a server would start
   * the module anew.
   */
  update(settings: JsonObject): Promise<boolean>;
  /** Last published values. */
  readonly status: Readonly<Record<string, Json>>;
  readonly log: readonly { level: ModuleLogLine['level']; message: string }[];
  /** Name, arity and parameters of the public methods. */
  functions(): Record<string, ModuleFunction>;
  /** Returns the hand-over state. */
  stop(): Promise<Json | null>;
}

const START = '2025-01-01T00:00:00Z';

export function createHarness(driver: Driver, options: HarnessOptions = {}): Harness {
  let acts = 0;
  const acted = (): void => void (acts += 1);
  const settle = (): Promise<void> => untilQuiet(() => acts);
  const after = (act: () => void): Promise<void> => {
    act();
    return settle();
  };
  const clock = new ManualClock(Date.parse(options.now ?? START), settle);
  const spec = specFor(driver, options.settings ?? {});
  const line = new ManualTransport();
  const service = new ManualHttp(clock, spec.id);
  // A driver that can speak both is tested over bytes.
  const isService = driver.transports.length > 0 && driver.transports.every((kind) => kind === 'http');
  const system = new FakeSystem(options.system ?? {}, acted);
  const status: Record<string, Json> = {};
  const log: { level: ModuleLogLine['level']; message: string }[] = [];
  const host = {
    clock,
    transport: isService || driver.transports.length === 0 ? null : line,
    http: isService ? service : null,
    system,
    publish: (key: string, value: Json) => {
      status[key] = value;
    },
    log: (level: ModuleLogLine['level'], message: string) => void log.push({ level, message }),
    entered: acted,
  };
  const module = new Module(driver, spec, host, options.handover ?? null);
  return {
    status,
    log,
    start: () => later(module.start()),
    connect: () => after(() => (isService ? service : line).connect()),
    disconnect: () => after(() => (isService ? service.disconnect('the service does not answer') : line.disconnect())),
    reopen: () => after(() => line.reopen()),
    expectSent: (data) => line.expect(data),
    expectNothingSent: () => line.expectNothing(),
    takeSent: () => line.take(),
    reply: (data) => after(() => line.receive(Buffer.from(data))),
    expectRequest: (request) => service.expect(request),
    expectNoRequest: () => service.expectNone(),
    respond: (answer) => after(() => service.respond(answer)),
    exec: (method, ...args) => {
      const call = new Call({ user: 'harness', deadlineMs: clock.monotonicMs() + 60_000 });
      return later(module.exec(method, args, call));
    },
    advance: (ms) => clock.advance(ms),
    system: {
      expectCall: (name, method, ...args) => system.expectCall(name, method, args),
      expectNoCall: () => system.expectNoCall(),
      setStatus: async (name, key, value) => {
        system.setStatus(name, key, value);
        await settle();
      },
    },
    update: (settings) => later(module.update(settings)),
    functions: () => module.functions(),
    stop: () => stop(module, clock, settle),
  };
}

async function stop(module: Module, clock: ManualClock, settle: () => Promise<void>): Promise<Json | null> {
  let over = false;
  const stopped = later(module.stop(limits.moduleStopMs).finally(() => (over = true)));
  const isOver = (): boolean => over;
  await settle();
  // It waits for an answer, or for what never comes: as a server does, for a while.
  if (!isOver()) await clock.advance(limits.moduleDrainMs);
  if (!isOver()) await clock.advance(limits.moduleStopMs);
  return stopped;
}

/** A test may look at it only after it has let the device answer: until then its failure is nobody's fault. */
function later<T>(result: Promise<T>): Promise<T> {
  result.catch(() => undefined);
  return result;
}

/** Text as text, also within control characters (STX, ETX); anything else in hexadecimal. */
function shownBytes(bytes: Buffer): string {
  const text = bytes.toString();
  const controls = text.match(/(?!\s)\p{Cc}/gu)?.length ?? 0;
  const isText = Buffer.from(text).equals(bytes) && controls * 2 <= text.length;
  return isText ? JSON.stringify(text) : `the bytes ${bytes.toString('hex').replaceAll(/..(?=.)/g, '$& ')}`;
}

const specFor = (driver: Driver, settings: JsonObject): ModuleSpec => ({
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
  settings,
  // Only logic belongs to a system.
  systems: driver.role === 'logic' ? ['sys-harness'] : [],
});

class ManualTransport implements Transport {
  readonly #sent: Buffer[] = [];
  ready = false;
  readonly #silence = new Silence(2);
  #handler: TransportHandler | null = null;
  #broken = false;
  /** The driver has ended the connection, and that was not told yet. */
  #end: (() => void) | null = null;

  open(handler: TransportHandler): void {
    this.#handler = handler;
    handler.attempted();
  }

  get up(): boolean {
    return this.ready;
  }

  write(data: Uint8Array): void {
    this.#sent.push(Buffer.from(data));
  }

  demand(): void {}

  unanswered(isFirst: boolean): void {
    this.#silence.unanswered(isFirst);
    if (this.#silence.isGone) this.reset('the device does not answer');
  }

  openBreaker(problem: string): void {
    this.#drop(problem, () => {
      this.#broken = true;
      this.#handler?.broken(problem);
    });
  }

  reset(reason: string): void {
    this.#drop(reason);
  }

  renew(): void {}

  close(): Promise<void> {
    this.ready = false;
    this.#handler = null;
    return Promise.resolve();
  }

  connect(): void {
    this.#end?.();
    this.ready = true;
    this.#silence.end();
    if (this.#broken) this.#handler?.broken(null);
    this.#broken = false;
    this.#handler?.connected();
  }

  reopen(): void {
    if (!this.ready) throw new Error('the device is not connected');
    this.ready = false;
    this.#handler?.interrupted();
    this.ready = true;
    this.#handler?.reopened();
  }

  disconnect(): void {
    this.#end?.();
    this.#down('the device closed the connection');
  }

  receive(chunk: Uint8Array): void {
    this.#silence.end();
    this.#handler?.received(chunk);
  }

  expect(data: string | Uint8Array): void {
    const sent = this.#sent.shift();
    const wanted = Buffer.from(data);
    if (sent?.equals(wanted) === true) return;
    // Escapes such as \xaa are characters, and two bytes each.
    const meantBytes = typeof data === 'string' && sent?.equals(Buffer.from(data, 'latin1')) === true;
    const hint = meantBytes ? '; give bytes as a Uint8Array, for text is sent in UTF-8' : '';
    throw new Error(`expected ${shownBytes(wanted)} to be sent, got ${sent === undefined ? 'nothing' : shownBytes(sent)}${hint}`);
  }

  expectNothing(): void {
    if (this.#sent.length > 0) throw new Error(`expected nothing to be sent, got ${this.#sent.map(shownBytes).join(', ')}`);
  }

  take(): Buffer {
    const sent = this.#sent.shift();
    if (sent === undefined) throw new Error('nothing was sent');
    return sent;
  }

  /** As on a server: nothing more leaves, and the end is told of when the code that wanted it is done. */
  #drop(reason: string, then: () => void = () => undefined): void {
    if (!this.ready) return then();
    this.ready = false;
    const end = (): void => {
      if (this.#end !== end) return;
      this.#end = null;
      this.#handler?.disconnected(reason);
      then();
    };
    this.#end = end;
    void nextTurn().then(end);
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
  readonly #startWallMs: number;
  readonly #due = new Set<{ atMs: number; callback: () => void }>();

  readonly #settle: () => Promise<void>;

  constructor(startWallMs: number, settle: () => Promise<void>) {
    this.#startWallMs = startWallMs;
    this.#settle = settle;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#startWallMs + this.#nowMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    const entry = { atMs: this.#nowMs + Math.max(0, delayMs), callback };
    this.#due.add(entry);
    return { cancel: () => void this.#due.delete(entry) };
  }

  alarm(callback: () => void): Alarm {
    return createAlarm(this, callback);
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
    await this.#settle();
    for (;;) {
      const next = [...this.#due].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#due.delete(next);
      this.#nowMs = next.atMs;
      next.callback();
      await this.#settle();
    }
    this.#nowMs = untilMs;
  }
}
