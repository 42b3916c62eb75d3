import type { CancelSignal } from '../../foundation/cancel.ts';
import type { Json } from '../../foundation/json.ts';
import { NumberedTable } from '../../foundation/numbered-table.ts';
import { HoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import type { Clock, Timer } from '../../ports/clock.ts';
import type { ExecCall } from '../../ports/device-link.ts';
import type { HostProcess } from '../../ports/host-process.ts';
import type { Log } from '../../ports/log.ts';
import { EarliestTimer } from '../earliest-timer.ts';
import { type Answer, fromHostSchema, type LastWords, lastWordsSchema } from './messages.ts';
import type { LogMessage, StatusMessage, ToHost } from './messages.ts';
import { type Pending, PendingCall } from './pending-call.ts';
import { type SystemCaller, type SystemOfCaller, SystemRequests } from './system-requests.ts';

export interface HostPeerEvents {
  status(message: StatusMessage): void;
  log(message: LogMessage): void;
  /** Writes that the fence of the host refused. */
  refused(count: number): void;
  /** A text of the process without the secrets of the modules here: a driver may print anything. */
  hide(text: string): string;
  /** Whose system a module may ask of. Throws what it is told otherwise. */
  systemOf(caller: SystemCaller): SystemOfCaller;
  /** Once. Everything that was asked has been settled. */
  ended(end: HostEnd): void;
}

export interface HostEnd {
  reason: string;
  /** What the process could still say. */
  words: LastWords | null;
  /** It ran and ended without a word, and not because of this node: the modules that had calls under way, by key. null: otherwise. */
  atWork: readonly string[] | null;
}

/** Messages that are answered, without the id that `ask` adds. */
type Asked = 'start' | 'stop' | 'update' | 'compile' | 'prepare' | 'check' | 'reload' | 'writes' | 'functions';
export type Question = { [T in Asked]: Omit<Extract<ToHost, { t: T }>, 'id'> }[Asked];

/** The host answers calls by their deadline; this much later it is not going to. */
const LATE_MS = 100;

/** The node's end of one driver host process. */
export class HostPeer {
  /** Resolves when the process is gone, and its sockets with it. */
  readonly gone: Promise<void>;
  readonly #process: HostProcess;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #events: HostPeerEvents;
  readonly #pending = new NumberedTable<Pending>();
  /** When calls are given up that the host should have answered. */
  readonly #late: EarliestTimer;
  readonly #systems: SystemRequests;
  #lastPing = 0;
  #ready = false;
  /** Heartbeats without an answer. Counted, not timed: a node that was stopped itself must not blame its hosts. */
  #unanswered = 0;
  #heartbeat: Timer;
  #killed: string | null = null;
  #isGone = false;

  constructor(process: HostProcess, base: { clock: Clock; log: Log }, events: HostPeerEvents) {
    this.#process = process;
    this.#clock = base.clock;
    this.#log = base.log.child({ driverHost: process.pid });
    this.#events = events;
    this.#late = new EarliestTimer(base.clock, () => this.#expire());
    this.#systems = new SystemRequests({
      clock: base.clock,
      systemOf: (caller) => events.systemOf(caller),
      post: (message) => this.post(message),
    });
    this.#heartbeat = this.#clock.after(limits.hostHeartbeatMs, () => this.#beat());
    this.gone = new Promise((resolve) => {
      process.listen({
        message: (message) => this.#receive(message),
        output: (text) => this.#log.debug('driver-host-output', { text: events.hide(text) }),
        ended: (reason, lastWords) => {
          this.#ended(reason, lastWords);
          resolve();
        },
      });
    });
  }

  get pid(): number {
    return this.#process.pid;
  }

  post(message: ToHost): void {
    this.#process.send(message);
  }

  /** Does not wait for the end of the event-loop turn. */
  postNow(message: ToHost): void {
    this.#process.send(message);
    this.#process.flush();
  }

  /** Resolves with the answer, or null when the process ended before. Liveness is the heartbeat's affair. */
  ask(question: Question): Promise<Answer | null> {
    // Whoever waited for something else meanwhile does not know yet.
    if (this.#isGone) return Promise.resolve(null);
    return new Promise((resolve) => {
      const id = this.#pending.add({ dueMs: Infinity, of: null, answer: resolve, giveUp: () => resolve(null), lost: () => resolve(null) });
      this.post({ ...question, id });
    });
  }

  exec(call: ExecCall, signal: CancelSignal): Promise<Json> {
    const { location, module, method, args, epoch, deadlineMs, user } = call;
    if (this.#pending.size >= limits.pendingRequests || this.#process.bufferedBytes() > limits.hostPipeBytes) {
      return Promise.reject(new HoldfastError('QUEUE_FULL', { module, limit: limits.pendingRequests }));
    }
    return new Promise((resolve, reject) => {
      const aborted = (): void => this.#giveUp(id, 'CANCELLED');
      const dueMs = deadlineMs + LATE_MS;
      const id = this.#pending.add(new PendingCall({ location, module, dueMs, signal, aborted, resolve, reject }));
      this.#late.watch(dueMs);
      this.post({ t: 'exec', id, location, module, method, args, epoch, deadlineMs, user });
    });
  }

  /** Nobody waits for this call any more. */
  #giveUp(id: number, code: 'CANCELLED' | 'DEADLINE'): void {
    this.post({ t: 'cancel', id });
    this.#pending.take(id)?.giveUp(code);
  }

  /** Gives up the calls that are not going to be answered; when the next one is due. */
  #expire(): number | null {
    const nowMs = this.#clock.monotonicMs();
    let nextMs = Infinity;
    for (const [id, { dueMs }] of this.#pending.entries()) {
      if (dueMs <= nowMs) this.#giveUp(id, 'DEADLINE');
      else nextMs = Math.min(nextMs, dueMs);
    }
    return nextMs === Infinity ? null : nextMs;
  }

  kill(reason: string): void {
    if (this.#killed !== null) return;
    this.#killed = reason;
    this.#log.warn('driver-host-killed', { reason });
    this.#process.kill();
  }

  /** Ends the pipe, and the process if it does not follow. Resolves when it is gone. */
  async close(): Promise<void> {
    this.#killed = 'closed';
    this.#process.end();
    const timer = this.#clock.after(limits.moduleStopMs, () => this.#process.kill());
    await this.gone;
    timer.cancel();
  }

  #beat(): void {
    this.#heartbeat = this.#clock.after(limits.hostHeartbeatMs, () => this.#beat());
    const patienceMs = this.#ready ? limits.hostDeadMs : limits.hostBootMs;
    if (this.#unanswered >= patienceMs / limits.hostHeartbeatMs) {
      this.kill(this.#ready ? 'it does not answer' : 'it did not start');
      return;
    }
    this.#unanswered += 1;
    this.#lastPing += 1;
    this.post({ t: 'ping', id: this.#lastPing });
  }

  #receive(input: unknown): void {
    const parsed = fromHostSchema.safeParse(input);
    if (!parsed.success) {
      this.kill(`it broke the protocol: ${parsed.error.message}`);
      return;
    }
    const message = parsed.data;
    switch (message.t) {
      case 'ready':
        this.#ready = true;
        this.#unanswered = 0;
        break;
      case 'pong':
        this.#unanswered = 0;
        if (message.refused > 0) this.#events.refused(message.refused);
        break;
      case 'status':
        this.#events.status(message);
        break;
      case 'log':
        this.#events.log(message);
        break;
      case 'system':
      case 'system.end':
        this.#systems.receive(message);
        break;
      default: {
        this.#pending.take(message.id)?.answer(message);
      }
    }
  }

  #atWork(): string[] {
    return Array.from(new Set(this.#pending.values().flatMap(({ of }) => of ?? [])));
  }

  #ended(exit: string, output: string): void {
    this.#isGone = true;
    this.#heartbeat.cancel();
    this.#late.cancel();
    this.#systems.close();
    const words = readLastWords(output);
    // Its own words know whose code it was, also when the node ended it at the same moment.
    const { hide } = this.#events;
    const reason = hide(words?.problem ?? this.#killed ?? exit);
    const atWork = words === null && this.#killed === null && this.#ready ? this.#atWork() : null;
    if (this.#killed !== 'closed') {
      this.#log.error('driver-host-ended', { reason, exit, culprit: words?.culprit ?? null, atWork, output: hide(output) });
    }
    const fate = this.#ready ? 'unknown' : 'not-sent';
    for (const [id] of this.#pending.entries()) this.#pending.take(id)?.lost(fate);
    this.#events.ended({ reason, words, atWork });
  }
}

function readLastWords(output: string): LastWords | null {
  for (const line of output.split('\n').reverse()) {
    if (!line.startsWith('{"lastWords"')) continue;
    try {
      return lastWordsSchema.parse(JSON.parse(line));
    } catch {
      return null;
    }
  }
  return null;
}
