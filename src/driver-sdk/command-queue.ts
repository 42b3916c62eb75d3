import { HoldfastError, toHoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Clock, Timer } from '../shared/ports/clock.ts';
import type { Call } from './call.ts';
import type { Transport } from './transport.ts';

/** What a reply handler says of a message that came while its command was in flight. */
export type Verdict<T> =
  /** Answered; the command resolves with null. */
  | 'done'
  /** Not the answer: goes to the `received` handlers. */
  | 'ignore'
  /** Send the command again, as after a timeout. */
  | 'retry'
  /** The device refused. */
  | { abort: string }
  /** Answered; the command resolves with it. */
  | { value: T };

/** Drivers need not have been compiled: a handler may forget to say anything, or promise to. */
const isVerdict = (given: unknown): boolean =>
  given === 'done' || given === 'ignore' || given === 'retry' || (typeof given === 'object' && given !== null && ('abort' in given || 'value' in given));

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

/** The beginning of one connection: what its handlers send then, such as a login, goes before everything else. */
export interface Greeting {
  /** They have not ended in time. */
  readonly patience: Timer;
}

export type Reply<T> = (message: Buffer) => Verdict<T>;

interface Command {
  data: Uint8Array;
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
  #inFlight: { command: Command; timer: Timer } | null = null;
  #pause: Timer | null = null;
  /** Only what belongs to it may leave; null: the line is for everybody. */
  #greeting: Greeting | null = null;
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
    return this.#greeting;
  }

  /** A connection begins: everything else waits until it is `greeted`. `late` is called when that takes more than `greetingMs`. */
  greet(late: () => void): Greeting {
    this.#greeting = { patience: this.#options.clock.after(limits.greetingMs, late) };
    return this.#greeting;
  }

  greeted(greeting: Greeting): void {
    if (this.#greeting !== greeting) return;
    this.#endGreeting();
    this.#pump();
  }

  /** `greeting`: the one that it belongs to, if that is not over. */
  send<T>(data: Uint8Array, options: SendOptions, reply: Reply<T>, call: Call | null, greeting: Greeting | null = null): Promise<T | null> {
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
        greeting: this.#belongs(options.name, greeting) ? this.#greeting : null,
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
    const { command } = this.#inFlight;
    let verdict: Verdict<unknown>;
    try {
      verdict = command.reply(message);
      if (!isVerdict(verdict)) throw new TypeError('its reply handler gave no verdict');
    } catch (error) {
      this.#settle(() => command.reject(toHoldfastError(error, this.#options.module)));
      return true;
    }
    if (verdict === 'ignore') return false;
    if (verdict === 'retry') this.#retry('asked for it again too often');
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
    if (lost !== null) {
      if (lost.name !== null && lost.retriesLeft > 0) this.#again(lost);
      else lost.reject(this.#lost(lost));
    }
    this.#pump();
  }

  disconnected(): void {
    this.#connected = false;
    this.#endGreeting();
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
    this.#endGreeting();
    this.#pause?.cancel();
    const lost = this.#takeInFlight();
    lost?.reject(new HoldfastError('CANCELLED', { fate: 'unknown' }));
    for (const command of this.#queue.splice(0)) {
      command.reject(command.sent ? new HoldfastError('CANCELLED', { fate: 'unknown' }) : notSent);
    }
  }

  #pump(): void {
    this.#sendNext();
    if (this.#closed === null) this.#options.transport.demand(this.#inFlight !== null || this.#queue.length > 0);
  }

  #sendNext(): void {
    const { clock, transport, module } = this.#options;
    while (this.#inFlight === null && this.#pause === null && this.#closed === null && transport.ready) {
      const command = this.#takeNext();
      if (command === undefined) return;
      const { call } = command;
      if (call !== null && call.error === null && clock.monotonicMs() >= call.deadlineMs) {
        call.abandon((fate) => new HoldfastError('DEADLINE', { fate }));
      }
      if (call !== null && call.error !== null) {
        command.reject(call.error);
        continue;
      }
      try {
        transport.write(command.data);
      } catch (error) {
        // Refused now, but an earlier attempt did leave.
        const unknown = new HoldfastError('CANCELLED', { fate: 'unknown' });
        command.reject(command.sent ? unknown : toHoldfastError(error, module));
        continue;
      }
      command.sent = true;
      call?.markSent();
      if (command.wait) this.#inFlight = { command, timer: clock.after(command.timeoutMs, () => this.#late()) };
      else command.resolve(null);
      if (command.delayMs > 0) this.#pause = clock.after(command.delayMs, () => this.#resume());
    }
  }

  #takeNext(): Command | undefined {
    if (this.#greeting === null) return this.#queue.shift();
    const at = this.#queue.findIndex(({ greeting }) => greeting === this.#greeting);
    return at === -1 ? undefined : this.#queue.splice(at, 1)[0];
  }

  /** Also what takes the place of a command of the greeting: a handler waits for it. */
  #belongs(name: string | undefined, greeting: Greeting | null): boolean {
    if (this.#greeting === null) return false;
    if (greeting === this.#greeting) return true;
    const older = name === undefined ? undefined : [this.#inFlight?.command, ...this.#queue].find((command) => command?.name === name);
    return older?.greeting === this.#greeting;
  }

  #endGreeting(): void {
    this.#greeting?.patience.cancel();
    this.#greeting = null;
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

  /** First of its priority again, unless a newer one of its name waits. */
  #again(command: Command): void {
    command.retriesLeft -= 1;
    command.isRepeated = true;
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
