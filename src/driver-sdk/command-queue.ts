import { HoldfastError, toHoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock, Timer } from '../shared/ports/clock.ts';
import type { Call } from './call.ts';
import type { Transport } from './transport.ts';

/** What a reply handler says of a message that came while its command was in flight. */
export type Verdict<T> =
  /** Answered; the command resolves with null. */
  | 'done'
  /** A part of the answer: `reply` gets it again with the next message, and the time-out begins anew. */
  | 'more'
  /** Not the answer: goes to the `received` handlers. */
  | 'ignore'
  /** Send the command again, as after a timeout. */
  | 'retry'
  /** The device refused. */
  | { abort: string }
  /** Answered; the command resolves with it. */
  | { value: T };

/** Drivers need not have been compiled: a handler may forget to say anything, or promise to. */
const isVerdict = (given: unknown): boolean => {
  if (typeof given === 'string') return ['done', 'more', 'ignore', 'retry'].includes(given);
  return typeof given === 'object' && given !== null && ('abort' in given || 'value' in given);
};

export interface SendOptions {
  /** A newer command of that name takes the place of a queued one. Named commands wait while the device is offline. */
  name?: string;
  /** Higher goes first; 50 unless told. */
  priority?: number;
  timeoutMs?: number;
  /** How often it is sent again without an answer; 3 unless told. */
  retries?: number;
  /** false: resolves when the bytes have left, no answer is awaited. */
  wait?: boolean;
  /** Pause before the next command, when the driver's own is too short. */
  delayMs?: number;
}

/** The beginning of a connection: what its handlers send then, such as a login, goes before everything else. */
export interface Greeting {
  /** Of one line (`opened`): what is left of it when that ends has no place on another, which begins with its own. */
  readonly ofLine: boolean;
  /** They have not ended in time. */
  readonly patience: Timer;
}

/** `parts`: the messages to which it said `more` since the command was sent. */
export type Reply<T> = (message: Buffer, parts: readonly Buffer[]) => Verdict<T>;

/** A function is asked each time that the command leaves. */
export type CommandData = Uint8Array | (() => Uint8Array);

interface Command {
  data: CommandData;
  name: string | null;
  priority: number;
  timeoutMs: number;
  retriesLeft: number;
  isRepeated: boolean;
  wait: boolean;
  delayMs: number;
  reply: Reply<unknown>;
  call: Call | null;
  greeting: Greeting | null;
  /** Was handed to the socket at least once. */
  sent: boolean;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

/**
 * What becomes of the connection when an answer did not come in time. `reconnect`: it is made anew, because the late answer
 * would be taken for that of the next command. Named commands are sent again over the next connection, the others end with
 * DEADLINE, and those that wait with DEVICE_LOST.
 */
export type AfterTimeout = 'keep' | 'reconnect';

/** How a driver wants its device to be spoken to. */
interface Manners {
  /** Least pause between two commands. */
  delayMs: number;
  afterTimeout: AfterTimeout;
}

export interface CommandQueueOptions extends Manners {
  module: string;
  clock: Clock;
  transport: Pick<Transport, 'ready' | 'write' | 'demand' | 'unanswered' | 'reset'>;
}

/** What one message of an answer costs besides its bytes. */
const PART_BYTES = 64;

/** The command that waits for its answer. */
interface InFlight {
  command: Command;
  timer: Timer;
  parts: Buffer[];
  /** What `parts` cost, and since when there are some. */
  bytes: number;
  sinceMs: number | null;
}

/** Above whatever priority a driver may ask for. */
const FIRST = 1e9;
const rankOf = ({ greeting, priority }: Command): number => (greeting === null ? priority : FIRST + priority);

/** The commands of one module: one in flight, higher priority first, then first come first served. */
export class CommandQueue {
  readonly #options: CommandQueueOptions;
  #manners: Manners;
  /** In the order of sending; at most `commandQueue`. */
  readonly #queue: Command[] = [];
  #connected = false;
  #inFlight: InFlight | null = null;
  /** A command is about to leave; one whose data is a function of the driver may send others. */
  #sending = false;
  #pause: Timer | null = null;
  /** Only what belongs to the last of them may leave; those before it go on afterwards. None: the line is for everybody. */
  #greetings: Greeting[] = [];
  #closed: HoldfastError | null = null;

  constructor(options: CommandQueueOptions) {
    this.#options = options;
    this.#manners = options;
  }

  /** Another driver, or other code of it. */
  follow(manners: Manners): void {
    this.#manners = manners;
  }

  get greeting(): Greeting | null {
    return this.#greetings.at(-1) ?? null;
  }

  /** The line is at its beginning: nobody's turn has come. */
  get opening(): boolean {
    return this.#greetings.some(({ ofLine }) => ofLine);
  }

  /**
   * A connection begins: everything else waits until it is `greeted`. `late` is called when that takes more than `greetingMs`.
   * One of the same kind that is not over ends, and what is left of it comes again from its handlers.
   */
  greet(ofLine: boolean, late: () => void): Greeting {
    this.#endGreetings((other) => other.ofLine === ofLine);
    const left = this.#queue.filter(({ greeting, name }) => greeting?.ofLine === ofLine && name === null);
    for (const command of left) this.#drop(command, this.#lost(command));
    const greeting = { ofLine, patience: this.#options.clock.after(limits.greetingMs, late) };
    this.#greetings.push(greeting);
    return greeting;
  }

  isGreeting(greeting: Greeting): boolean {
    return this.#greetings.includes(greeting);
  }

  greeted(greeting: Greeting): void {
    if (!this.isGreeting(greeting)) return;
    this.#endGreetings((other) => other === greeting);
    this.#pump();
  }

  /** `greeting`: the one that it belongs to, if that is not over. */
  send<T>(data: CommandData, options: SendOptions, reply: Reply<T>, call: Call | null, greeting: Greeting | null = null): Promise<T | null> {
    const { module } = this.#options;
    return new Promise<T | null>((resolve, reject) => {
      const command: Command = {
        data,
        name: options.name ?? null,
        priority: options.priority ?? 50,
        timeoutMs: options.timeoutMs ?? limits.commandMs,
        retriesLeft: options.retries ?? 3,
        isRepeated: false,
        wait: options.wait ?? true,
        delayMs: Math.max(this.#manners.delayMs, options.delayMs ?? 0),
        reply,
        call,
        greeting: this.#greetingOf(options.name, greeting),
        sent: false,
        // `settle` passes what this very `reply` returned, or null.
        resolve: resolve as (value: unknown) => void,
        reject,
      };
      const refusal = this.#closed ?? call?.error ?? null;
      if (refusal !== null) return reject(refusal);
      if (command.name === null && !this.#connected) return reject(new HoldfastError('DEVICE_OFFLINE', { module }));
      if (!this.#replace(command)) {
        const limit = limits.commandQueue;
        if (this.#queue.length >= limit) return reject(new HoldfastError('QUEUE_FULL', { module, limit }));
        this.#insert(command);
      }
      this.#pump();
    });
  }

  /** Offers a message of the device to the command in flight. false: it is not its answer. */
  offer(message: Buffer): boolean {
    if (this.#inFlight === null) return false;
    const { command, parts } = this.#inFlight;
    let verdict: Verdict<unknown>;
    try {
      verdict = command.reply(message, parts);
      if (!isVerdict(verdict)) throw new TypeError('its reply handler gave no verdict');
    } catch (error) {
      if (this.#inFlight?.command === command) this.#settle(() => command.reject(toHoldfastError(error, this.#options.module)));
      return true;
    }
    if (verdict === 'ignore') return false;
    // The handler may have ended the connection, and the command with it.
    if (this.#inFlight?.command !== command) return true;
    if (verdict === 'more') this.#goOn(message);
    else if (verdict === 'retry') this.#retry('asked for it again too often');
    else if (verdict === 'done') this.#settle(() => command.resolve(null));
    else if ('abort' in verdict) this.#settle(() => command.reject(this.#refused(verdict.abort)));
    else this.#settle(() => command.resolve(verdict.value));
    return true;
  }

  connected(): void {
    this.#connected = true;
    this.#pump();
  }

  /**
   * What was in flight may or may not have arrived. Named commands are sent again over the next connection,
   * the others end.
   */
  interrupted(): void {
    const lost = this.#takeInFlight();
    this.#endGreetings(({ ofLine }) => ofLine);
    if (lost !== null) {
      if (lost.name !== null && lost.retriesLeft > 0) this.#again(lost);
      else lost.reject(this.#lost(lost));
    }
    for (const command of this.#queue.filter(({ greeting }) => greeting?.ofLine === true)) this.#drop(command, this.#lost(command));
    this.#pump();
  }

  disconnected(): void {
    this.#connected = false;
    this.#endGreetings(() => true);
    this.interrupted();
    for (const command of this.#queue.filter(({ name }) => name === null)) this.#drop(command, this.#lost(command));
  }

  drained(): void {
    this.#pump();
  }

  /** A call was given up: what it still has in the queue must not leave. */
  dropAbandoned(): void {
    for (const command of this.#queue.filter(({ call }) => call?.error)) this.#drop(command, command.call?.error);
    this.#pump();
  }

  close(reason: string): void {
    const { module } = this.#options;
    const notSent = new HoldfastError('GATE_CLOSED', { module, reason });
    this.#closed = notSent;
    this.#endGreetings(() => true);
    this.#pause?.cancel();
    const lost = this.#takeInFlight();
    lost?.reject(new HoldfastError('CANCELLED', { fate: 'unknown' }));
    for (const command of this.#queue.splice(0)) {
      command.reject(command.sent ? new HoldfastError('CANCELLED', { fate: 'unknown' }) : notSent);
    }
  }

  #pump(): void {
    this.#sendNext();
    if (this.#closed === null) this.#options.transport.demand(this.#inFlight !== null || this.#queue.length > 0 || this.opening);
  }

  #sendNext(): void {
    if (this.#sending) return;
    this.#sending = true;
    try {
      while (this.#inFlight === null && this.#pause === null && this.#closed === null && this.#options.transport.ready) {
        const command = this.#takeNext();
        if (command === undefined) break;
        const error = this.#errorOf(command);
        if (error === null) this.#leave(command);
        else command.reject(error);
      }
    } finally {
      this.#sending = false;
    }
  }

  /** Why the call of a command is over; null: it is not. */
  #errorOf({ call }: Command): HoldfastError | null {
    if (call !== null && call.error === null && this.#options.clock.monotonicMs() >= call.deadlineMs) {
      call.abandon((fate) => new HoldfastError('DEADLINE', { fate }));
    }
    return call?.error ?? null;
  }

  #leave(command: Command): void {
    const { clock, transport, module } = this.#options;
    try {
      const data = typeof command.data === 'function' ? command.data() : command.data;
      // The function may have ended the connection.
      if (!transport.ready) return this.#putBack(command);
      transport.write(data);
    } catch (error) {
      // Refused now, but an earlier attempt did leave.
      const unknown = new HoldfastError('CANCELLED', { fate: 'unknown' });
      command.reject(command.sent ? unknown : toHoldfastError(error, module));
      return;
    }
    command.sent = true;
    command.call?.markSent();
    if (command.wait) this.#inFlight = { command, timer: this.#timeoutOf(command), parts: [], bytes: 0, sinceMs: null };
    else command.resolve(null);
    if (command.delayMs > 0) this.#pause = clock.after(command.delayMs, () => this.#resume());
  }

  /** One that may wait for another connection does, and the others end with this one. */
  #putBack(command: Command): void {
    const mayWait = command.greeting?.ofLine !== true && (command.name !== null || this.#connected);
    if (mayWait) this.#firstAgain(command);
    else command.reject(this.#lost(command));
  }

  #takeNext(): Command | undefined {
    const last = this.greeting;
    if (last === null) return this.#queue.shift();
    const at = this.#queue.findIndex(({ greeting }) => greeting === last);
    return at === -1 ? undefined : this.#queue.splice(at, 1)[0];
  }

  /** Also what takes the place of a command of a greeting belongs to that: a handler waits for it. */
  #greetingOf(name: string | undefined, greeting: Greeting | null): Greeting | null {
    if (this.#greetings.length === 0) return null;
    if (greeting !== null && this.isGreeting(greeting)) return greeting;
    const older = name === undefined ? undefined : [this.#inFlight?.command, ...this.#queue].find((command) => command?.name === name);
    return older?.greeting != null && this.isGreeting(older.greeting) ? older.greeting : null;
  }

  #endGreetings(which: (greeting: Greeting) => boolean): void {
    if (this.#greetings.length === 0) return;
    for (const greeting of this.#greetings.filter(which)) greeting.patience.cancel();
    this.#greetings = this.#greetings.filter((greeting) => !which(greeting));
  }

  #timeoutOf(command: Command): Timer {
    return this.#options.clock.after(command.timeoutMs, () => this.#late());
  }

  #goOn(part: Buffer): void {
    if (this.#inFlight === null) return;
    const { clock } = this.#options;
    const { command, timer, parts } = this.#inFlight;
    const nowMs = clock.monotonicMs();
    const sinceMs = this.#inFlight.sinceMs ?? nowMs;
    const bytes = this.#inFlight.bytes + part.length + PART_BYTES;
    if (bytes > limits.answerBytes || nowMs - sinceMs > limits.answerMs) return this.#giveUpAnswer();
    parts.push(part);
    // Nobody waits for the rest any more: what does not come in the present time is not waited for.
    if (command.call?.error) {
      this.#inFlight = { ...this.#inFlight, bytes, sinceMs };
      return;
    }
    timer.cancel();
    this.#inFlight = { command, timer: this.#timeoutOf(command), parts, bytes, sinceMs };
  }

  /** More of it would be taken for the answer to the next command. */
  #giveUpAnswer(): void {
    const problem = 'its answer has no end';
    const command = this.#takeInFlight();
    this.#options.transport.reset(problem);
    command?.reject(command.call?.error ?? this.#refused(problem));
    this.#pump();
  }

  #resume(): void {
    this.#pause = null;
    this.#pump();
  }

  #late(): void {
    const command = this.#inFlight?.command;
    this.#options.transport.unanswered(command?.isRepeated !== true);
    if (this.#manners.afterTimeout === 'reconnect') this.#giveUpLine();
    else this.#retry(null);
  }

  #giveUpLine(): void {
    // Taken first: what ends with the connection is told that the device is lost, and this one is late.
    const command = this.#takeInFlight();
    this.#options.transport.reset('no answer came in time');
    if (command !== null) this.#retryOrEnd(command, command.name !== null, null);
    this.#pump();
  }

  #retry(problem: string | null): void {
    const command = this.#takeInFlight();
    if (command === null) return;
    this.#retryOrEnd(command, true, problem);
    this.#pump();
  }

  #retryOrEnd(command: Command, mayRepeat: boolean, problem: string | null): void {
    if (command.call?.error) command.reject(command.call.error);
    else if (mayRepeat && command.retriesLeft > 0) this.#again(command);
    else command.reject(problem === null ? new HoldfastError('DEADLINE', { fate: 'unknown' }) : this.#refused(problem));
  }

  #again(command: Command): void {
    command.retriesLeft -= 1;
    command.isRepeated = true;
    this.#firstAgain(command);
  }

  /** First of its priority again, unless a newer one of its name waits. */
  #firstAgain(command: Command): void {
    if (command.name !== null && this.#queue.some(({ name }) => name === command.name)) {
      command.reject(this.#replaced(command.name));
      return;
    }
    const at = this.#queue.findIndex((other) => rankOf(other) <= rankOf(command));
    this.#queue.splice(at === -1 ? this.#queue.length : at, 0, command);
  }

  #insert(command: Command): void {
    let at = this.#queue.length;
    const isLower = (other: Command | undefined): boolean => other !== undefined && rankOf(other) < rankOf(command);
    while (isLower(this.#queue[at - 1])) at -= 1;
    this.#queue.splice(at, 0, command);
  }

  /** Keeps the place of the older one, so that a command that is renewed all the time does get its turn. */
  #replace(command: Command): boolean {
    if (command.name === null) return false;
    const at = this.#queue.findIndex(({ name }) => name === command.name);
    const older = this.#queue[at];
    if (older === undefined) return false;
    older.reject(this.#replaced(command.name));
    if (rankOf(older) === rankOf(command)) {
      this.#queue[at] = command;
    } else {
      this.#queue.splice(at, 1);
      this.#insert(command);
    }
    return true;
  }

  #drop(command: Command, error: unknown): void {
    this.#queue.splice(this.#queue.indexOf(command), 1);
    command.reject(error);
  }

  #settle(outcome: () => void): void {
    this.#takeInFlight();
    outcome();
    this.#pump();
  }

  #takeInFlight(): Command | null {
    const command = this.#inFlight?.command ?? null;
    this.#inFlight?.timer.cancel();
    this.#inFlight = null;
    return command;
  }

  #refused(problem: string): HoldfastError {
    return new HoldfastError('DEVICE_REFUSED', { module: this.#options.module, problem });
  }

  #lost({ sent }: Command): HoldfastError {
    return new HoldfastError('DEVICE_LOST', { module: this.#options.module, fate: sent ? 'unknown' : 'not-sent' });
  }

  #replaced(name: string): HoldfastError {
    return new HoldfastError('COMMAND_REPLACED', { module: this.#options.module, name });
  }
}
