import type { Clock, Timer } from '../shared/ports/clock.ts';
import { limits } from '../shared/model/limits.ts';
import type { Reply, SendOptions } from './command-queue.ts';
import type { Transport } from './transport.ts';

/** What a command queue needs of a transport. */
type Line = Pick<Transport, 'ready' | 'write' | 'demand' | 'unanswered' | 'reset'>;

/** Above whatever a driver may ask for. */
const FIRST = 1e9;

interface First {
  data: Uint8Array;
  name: string | null;
  wait: boolean;
  attemptsLeft: number;
}

/** The beginning of one connection: the commands of its handlers that have no outcome yet. */
export interface Greeting {
  readonly commands: Set<First>;
  readonly timer: Timer;
}

/**
 * Stands between the command queue and the line. What the handlers send at the beginning of a connection, such as a login, goes
 * first; whatever else waits is held back until they have ended, or for `greetingMs`.
 */
export class GreetedLine implements Line {
  readonly #line: Line;
  readonly #clock: Clock;
  #current: Greeting | null = null;
  /** Awaits its answer. */
  #inFlight: First | null = null;

  constructor(line: Line, clock: Clock) {
    this.#line = line;
    this.#clock = clock;
  }

  /** null: the line is for everybody. */
  get current(): Greeting | null {
    return this.#current;
  }

  /** A connection begins. `late`: its handlers have not ended in time. */
  begin(late: () => void): Greeting {
    this.end();
    const begun = { commands: new Set<First>(), timer: this.#clock.after(limits.greetingMs, late) };
    this.#current = begun;
    return begun;
  }

  end(): void {
    this.#current?.timer.cancel();
    this.#current = null;
    this.#inFlight = null;
  }

  /** What the queue is given for a command that belongs to the greeting, or takes the place of one that does. */
  first<T>(data: Uint8Array, options: SendOptions, reply: Reply<T>, by: Greeting | null): { options: SendOptions; reply: Reply<T> } {
    const greeting = this.#current;
    const { name = null, wait = true, priority = 50, retries = 3 } = options;
    const belongs = greeting !== null && (by === greeting || [...greeting.commands].some((other) => name !== null && other.name === name));
    if (!belongs) return { options, reply };
    const command = { data, name, wait, attemptsLeft: retries + 1 };
    const { commands } = greeting;
    commands.add(command);
    // The queue goes on right after the verdict: the handler, which hears of it later, may have more to send.
    const judge: Reply<T> = (message) => {
      let goesOn = false;
      try {
        const verdict = reply(message);
        goesOn = verdict === 'ignore' || (verdict === 'retry' && command.attemptsLeft > 0);
        return verdict;
      } finally {
        if (!goesOn) commands.delete(command);
      }
    };
    return { options: { ...options, priority: priority + FIRST }, reply: judge };
  }

  /** It has its outcome, whatever that is. */
  settled(data: Uint8Array): void {
    const command = this.#find(data);
    if (command !== undefined) this.#current?.commands.delete(command);
  }

  get ready(): boolean {
    return this.#line.ready && (this.#current === null || this.#current.commands.size > 0);
  }

  write(data: Uint8Array): void {
    const command = this.#find(data);
    this.#inFlight = command?.wait === true ? command : null;
    if (command !== undefined) command.attemptsLeft -= 1;
    if (command?.wait === false) this.#current?.commands.delete(command);
    this.#line.write(data);
  }

  demand(wanted: boolean): void {
    this.#line.demand(wanted);
  }

  unanswered(isFirst: boolean): void {
    // The last attempt: the queue gives it up now.
    if (this.#inFlight?.attemptsLeft === 0) this.#current?.commands.delete(this.#inFlight);
    this.#line.unanswered(isFirst);
  }

  reset(reason: string): void {
    this.#line.reset(reason);
  }

  #find(data: Uint8Array): First | undefined {
    return [...(this.#current?.commands ?? [])].find((command) => command.data === data);
  }
}
