import type { Json } from '../shared/foundation/json.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import { limits } from '../shared/model/limits.ts';
import type { Connection, Outcome } from './connection.ts';
import type { Meta } from './frames.ts';
import type { HttpTransport } from './transport.ts';

export interface CommandOptions {
  signal?: AbortSignal;
  /** For the answer, waiting for a server included. */
  timeoutMs?: number;
}

interface Command {
  readonly meta: Meta;
  readonly args: readonly Json[];
  /** Handed to a socket: from then on it is never sent again, unless a server says that it did not take it. */
  isSent: boolean;
  isSettled: boolean;
  settle(outcome: Outcome): void;
}

interface Whereabouts {
  /** Where commands go now; null: they wait. */
  active(): Connection | null;
  /** Is another server on its way to serve? */
  isMoving(): boolean;
}

/** Commands of a session. Each is settled exactly once and run at most once: what may have been sent is not sent again. */
export class Commands {
  readonly #after: HttpTransport['after'];
  readonly #where: Whereabouts;
  /** Not sent, in order. */
  #waiting: Command[] = [];
  readonly #open = new Set<Command>();
  #isOver = false;

  constructor(after: HttpTransport['after'], where: Whereabouts) {
    this.#after = after;
    this.#where = where;
  }

  /** Sends it now, or as soon as there is a connection. */
  run(call: Pick<Command, 'meta' | 'args'>, { signal, timeoutMs = limits.sdkExecMs }: CommandOptions = {}): Promise<Json> {
    return new Promise((resolve, reject) => {
      if (this.#open.size >= limits.sdkWaitingCommands) {
        throw new HoldfastError('LIMIT_REACHED', { what: 'commands may be under way in one session', limit: limits.sdkWaitingCommands });
      }
      const cancel = (): void => command.settle({ error: new HoldfastError('CANCELLED', { fate: fateOf(command) }) });
      const stop = this.#after(timeoutMs, () => command.settle({ error: new HoldfastError('DEADLINE', { fate: fateOf(command) }) }));
      const command: Command = {
        ...call,
        isSent: false,
        isSettled: false,
        settle: (outcome) => {
          if (command.isSettled) return;
          command.isSettled = true;
          stop();
          signal?.removeEventListener('abort', cancel);
          this.#open.delete(command);
          if ('error' in outcome) reject(outcome.error);
          else resolve(outcome.value);
        },
      };
      this.#open.add(command);
      signal?.addEventListener('abort', cancel, { once: true });
      if (signal?.aborted === true || this.#isOver) cancel();
      this.#waiting.push(command);
      this.flush();
    });
  }

  /** Sends what waits. */
  flush(): void {
    const connection = this.#where.active();
    if (connection === null) return;
    const waiting = this.#waiting.filter(({ isSettled }) => !isSettled);
    this.#waiting = waiting.filter((command) => !this.#send(connection, command));
  }

  /** The session ends. */
  cancel(): void {
    this.#isOver = true;
    for (const command of this.#open) command.settle({ error: new HoldfastError('CANCELLED', { fate: fateOf(command) }) });
  }

  #send(connection: Connection, command: Command): boolean {
    command.isSent = connection.request('exec', { ...command.meta, args: command.args }, (outcome) => {
      if ('error' in outcome && this.#isForNext(outcome.error, connection)) this.#wait(command, connection);
      else command.settle(outcome);
    });
    return command.isSent;
  }

  /** A server that stops refuses commands without looking at them. One where nobody drives may have said who will. */
  #isForNext({ code, facts }: HoldfastError, refusedBy: Connection): boolean {
    if (code !== 'NO_HOLDER' || facts['nested'] === true) return code === 'SHUTTING_DOWN';
    return this.#where.isMoving() || this.#where.active() !== refusedBy;
  }

  /** It was not run: the next server gets it, now if it is there already. */
  #wait(command: Command, refusedBy: Connection): void {
    command.isSent = false;
    this.#waiting.push(command);
    if (this.#where.active() !== refusedBy) this.flush();
  }
}

const fateOf = ({ isSent }: Command): 'not-sent' | 'unknown' => (isSent ? 'unknown' : 'not-sent');
